//! `TestNotification`: tells a job's `[notify]` command a test, and answers what it said.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let tried = api.engine()?.test_notification(&input.job).await?;
    Ok(json!({
        "job": input.job,
        "told": tried.failure.is_none(),
        "failure": tried.failure,
        "output": tried.output,
        "took_s": tried.took.as_secs_f64(),
        "command": tried.command,
        "event": tried.event,
        "served": api.is_working(),
    }))
}
