//! `ResumeJob`: go on with a paused job.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Go on with the source as it is now, though it is not what it was.
    #[serde(default)]
    accept_source: bool,
}

pub(super) async fn call(api: &Api, input: &Input, caller: &str) -> Result<Value, ApiError> {
    let engine = api.engine()?;
    if input.accept_source {
        engine.accept_source(&input.job, caller).await?;
    } else {
        engine.resume(&input.job).await?;
    }
    Ok(json!({ "job": input.job, "live": api.is_working() }))
}
