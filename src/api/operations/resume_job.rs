//! `ResumeJob`: go on with a paused job.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    api.engine()?.resume(&input.job).await?;
    Ok(json!({ "job": input.job, "live": api.is_working() }))
}
