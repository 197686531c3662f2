//! Paths that lead to exactly one place and can be written through: `ResultPath`.
//!
//! Spec: a reference path has names and indexes only. Writing makes the objects that are missing on
//! the way, also where `null` stands; it never replaces anything else on the way.

use serde_json::{Map, Value};

use super::{super::diagnostic::quote, Path, PathError, Root, Step};

/// A path of names and indexes, starting at `$`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferencePath(Path);

/// A result cannot be written where the path says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unable to apply step {step:?} to input {input}")]
pub struct WriteFailure {
    /// The step that does not fit.
    pub step: String,
    /// What stands in its place, abridged.
    pub input: String,
}

impl ReferencePath {
    /// Compiles a reference path.
    ///
    /// # Errors
    /// The text is no path, starts elsewhere than at `$`, or has an operator.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let path = Path::parse(text)?;
        let refuse = |message: &str| Err(PathError::new(0, message));
        if path.root != Root::Input {
            return refuse("results are written to '$', the context object is read-only");
        }
        let plain = |step: &Step| matches!(step, Step::Field(_) | Step::Index(0..));
        if !path.steps.iter().all(plain) {
            return refuse("a reference path has only names and indexes, no operators");
        }
        Ok(Self(path))
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// Whether it is `$`, the whole value.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_root()
    }

    /// The target with the value written at the path.
    ///
    /// # Errors
    /// A step meets something that is neither absent nor of the step's kind.
    pub fn write(&self, mut target: Value, value: Value) -> Result<Value, WriteFailure> {
        let mut place = &mut target;
        for (number, step) in self.0.steps.iter().enumerate() {
            // What is missing on the way becomes an object; the input itself must be one.
            if number > 0 && place.is_null() && matches!(step, Step::Field(_)) {
                *place = Value::Object(Map::new());
            }
            place = match (step, place) {
                (Step::Field(name), Value::Object(map)) => {
                    map.entry(name.to_string()).or_insert(Value::Null)
                }
                (Step::Index(index), Value::Array(items)) => {
                    let length = items.len();
                    usize::try_from(*index)
                        .ok()
                        .and_then(|index| items.get_mut(index))
                        .ok_or_else(|| failure(step, &format!("an array of {length} items")))?
                }
                (_, found) => return Err(failure(step, &abridge(found))),
            };
        }
        *place = value;
        Ok(target)
    }
}

fn failure(step: &Step, input: &str) -> WriteFailure {
    let step = match step {
        Step::Field(name) => name.to_string(),
        Step::Index(index) => index.to_string(),
        Step::Fields(_)
        | Step::Indexes(_)
        | Step::Slice(..)
        | Step::Every
        | Step::Filter(_)
        | Step::Descend => String::new(),
    };
    WriteFailure {
        step,
        input: input.to_owned(),
    }
}

/// Enough of a value to recognise it.
fn abridge(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
        Value::String(text) => quote(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
