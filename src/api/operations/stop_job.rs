//! `StopJob`: end a job's run; starting the job again goes on from there.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    author: Option<String>,
}

pub(super) async fn call(api: &Api, input: &Input, caller: &str) -> Result<Value, ApiError> {
    let author = input.author.as_deref().unwrap_or(caller);
    api.engine()?.stop(&input.job, author).await?;
    Ok(json!({ "job": input.job }))
}
