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
    /// Whether what is in flight is cut off.
    #[serde(default)]
    now: bool,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let author = caller.to_owned();
    let engine = api.engine()?;
    engine
        .pause(&input.job, author, input.note, input.now)
        .await?;
    Ok(json!({ "job": input.job }))
}
