//! JSON to text and back, and the shallow merge.

use serde_json::Value;

use super::{Outcome, Scope};

/// Blank text is `null`, as AWS answers.
pub(super) fn from_text(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    let text = arguments[0]
        .as_str()
        .ok_or("the argument must be a string")?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    if text.trim() == "-0" {
        // AWS has no negative zero among its integers.
        return Ok(0.into());
    }
    serde_json::from_str(text).map_err(|error| format!("the argument is no JSON: {error}").into())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every function of the table has this shape"
)]
pub(super) fn to_text(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    Ok(arguments[0].to_string().into())
}

/// The second object's fields win; deep merging is not part of the language.
pub(super) fn merge(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    match (&arguments[0], &arguments[1], &arguments[2]) {
        (Value::Object(left), Value::Object(right), Value::Bool(false)) => {
            let mut merged = left.clone();
            merged.extend(right.clone());
            Ok(Value::Object(merged))
        }
        (Value::Object(_), Value::Object(_), _) => {
            Err("the third argument must be false, deep merging is not supported".into())
        }
        _ => Err("the first two arguments must be objects".into()),
    }
}
