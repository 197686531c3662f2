//! `RetryItems`: put failed items back to be done again.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::ids::Index;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Only those that failed with this error.
    error: Option<String>,
    /// Only this one.
    index: Option<Index>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let engine = api.engine()?;
    let items = engine.retry(&input.job, input.error, input.index).await?;
    Ok(json!({ "job": input.job, "items": items, "live": api.is_working() }))
}
