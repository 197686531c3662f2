//! Texts and identifiers.

use std::collections::HashSet;

use serde_json::Value;

use super::{Outcome, Scope};

/// Splits at each character of the second argument; empty pieces are left out, as AWS answers.
pub(super) fn split(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    match (&arguments[0], &arguments[1]) {
        (Value::String(text), Value::String(separators)) => {
            let separators: HashSet<char> = separators.chars().collect();
            Ok(text
                .split(|c: char| separators.contains(&c))
                .filter(|piece| !piece.is_empty())
                .collect())
        }
        _ => Err("both arguments must be strings".into()),
    }
}

/// Version 4, from two draws of the scope.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every function of the table has this shape"
)]
pub(super) fn uuid(_: &[Value], scope: &mut Scope<'_>) -> Outcome {
    Ok(uuid_of((scope.random)(), (scope.random)()).into())
}

/// The identifier that two random numbers make.
pub(crate) fn uuid_of(high: u64, low: u64) -> String {
    let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    let digits = format!("{high:016x}{low:016x}");
    let mut text = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}
