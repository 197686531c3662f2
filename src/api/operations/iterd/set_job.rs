//! `SetJob`: set values over a job's file, or go back to what the file says.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Api, ApiError};
use crate::runtime::Clear;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Keys (`limit.pace`) with their values as they are written on a command line.
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    clear: Cleared,
}

/// What goes back to the file: some keys, or `all`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cleared {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    all: bool,
}

impl From<Cleared> for Clear {
    fn from(cleared: Cleared) -> Self {
        if cleared.all {
            Self::All
        } else {
            Self::Keys(cleared.keys)
        }
    }
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let author = caller.to_owned();
    let (set, clear) = (pairs(input.set)?, input.clear.into());
    let engine = api.engine()?;
    let done = engine.set_job(&input.job, &set, &clear, &author).await?;
    Ok(json!({ "job": input.job, "done": done, "live": api.is_working() }))
}

/// Keys with their values as text; a value that is none is refused.
pub(super) fn pairs(set: Map<String, Value>) -> Result<Vec<(String, String)>, ApiError> {
    set.into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Number(number) => Ok((key, number.to_string())),
            // JSON's lists of texts are TOML's.
            Value::Array(list) => Ok((key, Value::Array(list).to_string())),
            Value::Null | Value::Bool(_) | Value::Object(_) => Err(ApiError::validation(format!(
                "{key} takes a text, a number or a list of texts"
            ))),
        })
        .collect()
}
