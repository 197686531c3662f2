//! `AdoptJob`: take a run over from another state directory.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// The other state directory, absolute.
    from: PathBuf,
    /// The job file from now on, absolute; none: the one that is known here, else there.
    file: Option<PathBuf>,
}

pub(super) async fn call(api: &Api, input: &Input, caller: &str) -> Result<Value, ApiError> {
    if !input.from.is_absolute() {
        return Err(ApiError::validation(
            "name the state directory by its absolute path",
        ));
    }
    let engine = api.engine()?;
    let file = input.file.as_deref();
    let adopted = engine.adopt(&input.job, &input.from, file, caller).await?;
    Ok(json!({
        "job": input.job,
        "run": adopted.run.0,
        "status": adopted.status.as_str(),
        "done": adopted.done,
        "failed": adopted.failed,
        "next_index": adopted.next,
        "notes": adopted.notes,
        "live": api.is_working(),
    }))
}
