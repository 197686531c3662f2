//! Texts and identifiers.

use std::collections::HashSet;

use serde_json::Value;

use super::{Outcome, Scope};
use crate::ids::uuid_of;

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
