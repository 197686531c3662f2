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
    let engine = api.engine()?;
    engine.resume(&input.job).await?;
    engine.go_on_with(&input.job).await?;
    Ok(json!({ "job": input.job }))
}
