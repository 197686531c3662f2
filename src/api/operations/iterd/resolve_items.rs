//! `ResolveItems`: say what became of items in doubt.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, items, payload};
use crate::runtime::{DecisionOrder, Deed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Ids, or places as `#17`.
    #[serde(default)]
    items: Vec<String>,
    /// Everything that is held instead.
    #[serde(default)]
    all: bool,
    /// What is said of them.
    #[serde(rename = "as")]
    said: Option<As>,
    /// The result of what is done, the text of a JSON value; `null` unless given.
    result: Option<String>,
    /// Why it has failed.
    #[serde(default)]
    cause: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum As {
    Done,
    Retry,
    Failed,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let deed = match input.said {
        Some(As::Done) => {
            let text = input.result.unwrap_or_else(|| "null".to_owned());
            Deed::Done(payload("the result", text)?)
        }
        Some(As::Retry) => Deed::Again,
        Some(As::Failed) => Deed::Failed(input.cause),
        None => return Err(ApiError::validation("say what: done, retry or failed")),
    };
    let author = caller.to_owned();
    let engine = api.engine()?;
    let count = if input.all {
        engine.decide_on_held(&input.job, &deed, &author).await?
    } else {
        let names = items(&input.items)?;
        let order = DecisionOrder {
            names,
            deed,
            author,
        };
        engine.decide(&input.job, order).await?.len() as u64
    };
    Ok(json!({ "job": input.job, "items": count, "live": api.is_working() }))
}
