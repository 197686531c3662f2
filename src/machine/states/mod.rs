//! What each type of state does when it is entered, and when its answer comes; a file per type.

pub(super) mod choice;
pub(super) mod fail;
pub(super) mod map;
pub(super) mod parallel;
pub(super) mod pass;
pub(super) mod run;
pub(super) mod succeed;
pub(in crate::machine) mod task;
pub(super) mod wait;

use super::{
    data::{Exit, Seen},
    failure::Raised,
    frame,
    step::Stepper,
};
use crate::{
    asl::{
        Setting, StateId,
        jsonata::{JsonataFailure, kind},
        path::Path,
        template::EvalError,
    },
    ids::FrameId,
    payload::Payload,
};

/// What came of entering a state.
pub(super) enum Turn {
    /// It is done.
    Leave(Exit),
    /// It is done, and says where to go on.
    Choose(StateId, Exit),
    /// It waits for an input.
    Blocked,
}

pub(super) type Entered = Result<Turn, Raised>;

/// A setting's value: as written, or read from what its path finds in the effective input.
fn resolve<T: Copy>(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    setting: &Setting<T>,
    computed: (
        &str,
        &'static str,
        impl FnOnce(&serde_json::Value) -> Option<T>,
    ),
    read: impl FnOnce(&serde_json::Value, &Path) -> Result<T, Raised>,
) -> Result<T, Raised> {
    match setting {
        Setting::Fixed(value) => Ok(*value),
        Setting::Path(path) => {
            let value = step.evaluate(id, Seen::of(input), |scope| scope.find(path))?;
            read(&value, path)
        }
        Setting::Jsonata(expression) => {
            let (field, expected, accept) = computed;
            step.evaluate(id, Seen::of(input), |scope| {
                let value = expression.evaluate(scope);
                let value = value.map_err(|error| error.located(field))?;
                accept(&value)
                    .ok_or_else(|| {
                        unexpected(&value, expected, |failure| expression.failed(failure))
                    })
                    .map_err(|error| error.located(field))
            })
        }
    }
}

/// The error of a value that its field does not want.
fn unexpected(
    value: &serde_json::Value,
    expected: &'static str,
    failed: impl FnOnce(JsonataFailure) -> EvalError,
) -> EvalError {
    failed(JsonataFailure::Unexpected {
        expected,
        found: kind(value),
        value: value.to_string(),
    })
}

/// In AWS's words: a path's value is not the number it must be.
fn no_number(field: &str, value: &serde_json::Value, kind: &str, path: &Path) -> Raised {
    let found = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    Raised::runtime(format!(
        "The {field} field refers to value \"{found}\" which is not a valid {kind}: {path}"
    ))
}

/// A whole number that is not negative, found by a path.
fn whole(
    field: &str,
    value: &serde_json::Value,
    path: &Path,
    negative: impl FnOnce() -> String,
) -> Result<u64, Raised> {
    // Recorded: a text that is a number is one.
    let parsed = value
        .as_str()
        .and_then(|text| text.parse::<i64>().ok())
        .map(serde_json::Value::from);
    let value = parsed.as_ref().unwrap_or(value);
    match (value.as_u64(), value.as_i64()) {
        (Some(number), _) => Ok(number),
        (None, Some(_)) => Err(Raised::runtime(negative())),
        (None, None) => Err(no_number(field, value, "integer", path)),
    }
}
