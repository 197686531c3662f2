//! `StopJob`: end a job's run; starting the job again goes on from there.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
}

pub(super) async fn call(api: &Api, input: &Input, caller: &str) -> Result<Value, ApiError> {
    api.engine()?.stop(&input.job, caller).await?;
    Ok(json!({ "job": input.job }))
}
