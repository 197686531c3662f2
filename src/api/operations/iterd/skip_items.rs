//! `SkipItems`: end items as failed without another try.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, items};
use crate::runtime::{DecisionOrder, Deed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Ids, or places as `#17`.
    items: Vec<String>,
    /// Why, for whoever looks later.
    #[serde(default)]
    because: String,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let order = DecisionOrder {
        names: items(&input.items)?,
        deed: Deed::Skip(input.because),
        author: caller.to_owned(),
    };
    let indexes = api.engine()?.decide(&input.job, order).await?;
    Ok(json!({ "job": input.job, "items": indexes.len(), "indexes": indexes }))
}
