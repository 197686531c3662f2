//! Integers and random numbers. The draw is the scope's own, so a step stays a function.

use serde_json::Value;

use super::{Outcome, Refusal, Scope};

pub(super) fn add(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    integer(&arguments[0])?
        .checked_add(integer(&arguments[1])?)
        .map(Value::from)
        .ok_or_else(|| "the sum is outside the range of integers".into())
}

/// A number from the first argument up to and without the second; a third one is the seed.
pub(super) fn random(arguments: &[Value], scope: &mut Scope<'_>) -> Outcome {
    let (from, to) = (integer(&arguments[0])?, integer(&arguments[1])?);
    let range = i128::from(to) - i128::from(from);
    if range < 1 {
        return Err("the start must be below the end".into());
    }
    let draw = match arguments.get(2) {
        Some(seed) => scramble(integer(seed)?.unsigned_abs()),
        None => (scope.random)(),
    };
    i64::try_from(i128::from(from) + i128::from(draw) % range)
        .map(Value::from)
        .map_err(|_| "the range is too wide".into())
}

/// splitmix64: one seed, one well-spread number.
const fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Spec: numbers are rounded to the nearest integer.
pub(super) fn integer(value: &Value) -> Result<i64, Refusal> {
    let Value::Number(number) = value else {
        return Err("an argument that must be a number is none".into());
    };
    if let Some(integer) = number.as_i64() {
        return Ok(integer);
    }
    let rounded = number.as_f64().unwrap_or(f64::NAN).round();
    // The decimal text is exact for every integral double; parsing refuses what does not fit.
    format!("{rounded:.0}")
        .parse()
        .map_err(|_| "a number is outside the range of integers".into())
}
