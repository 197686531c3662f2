//! What each type of state does when it is entered, and when its answer comes; a file per type.

pub(super) mod choice;
pub(super) mod fail;
pub(super) mod map;
pub(super) mod parallel;
pub(super) mod pass;
pub(super) mod run;
pub(super) mod succeed;
pub(super) mod task;
pub(super) mod wait;

use super::{failure::Raised, frame, step::Stepper};
use crate::{
    asl::{Setting, StateId, path::Path},
    ids::FrameId,
    payload::Payload,
};

/// What came of entering a state.
pub(super) enum Turn {
    /// It is done, with this output.
    Leave(Payload),
    /// It is done, and says where to go on.
    Choose(StateId, Payload),
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
    read: impl FnOnce(&serde_json::Value, &Path) -> Result<T, Raised>,
) -> Result<T, Raised> {
    match setting {
        Setting::Fixed(value) => Ok(*value),
        Setting::Path(path) => {
            let value = step.evaluate(id, input, None, |scope| scope.find(path))?;
            read(&value, path)
        }
    }
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
    match (value.as_u64(), value.as_i64()) {
        (Some(number), _) => Ok(number),
        (None, Some(_)) => Err(Raised::runtime(negative())),
        (None, None) => Err(no_number(field, value, "integer", path)),
    }
}
