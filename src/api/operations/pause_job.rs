//! `PauseJob`: hold a job until it is resumed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Why, for whoever looks later.
    #[serde(default)]
    note: String,
    /// Who asks, where the caller knows better than its key tells.
    author: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let author = input.author.unwrap_or_else(|| caller.to_owned());
    api.engine()?.pause(&input.job, author, input.note).await?;
    Ok(json!({ "job": input.job }))
}
