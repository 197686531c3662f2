//! `StartJob`: start a job by its file or its name, or go on with its unfinished run.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, item};
use crate::{
    config::job::JobFile,
    runtime::{Opening, RuntimeError, Started, unknown_job},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// A job that is known.
    job: Option<String>,
    /// A job file, absolute; the daemon reads it.
    file: Option<PathBuf>,
    /// Begin anew after a finished run.
    #[serde(default)]
    again: bool,
    /// Try so many records from the beginning first, then pause.
    first: Option<u64>,
    /// Try so many records spread over the dataset first, then pause; only a new run.
    sample: Option<u32>,
    /// Begin at this record, an id or a place as `#17`; only a new run.
    from: Option<String>,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let engine = api.engine()?;
    let file = match (&input.job, &input.file) {
        (Some(name), None) => {
            let Some(row) = api.store.job(name)? else {
                return Err(unknown_job(&api.store, name).into());
            };
            // Why the file first: it may have been edited since it was last taken over.
            match JobFile::read(row.path.as_ref()) {
                Ok(file) if file.name == *name => file,
                Ok(_) | Err(crate::config::ConfigError::Unreadable { .. }) => {
                    engine.job_file(&row)?
                }
                Err(error) => return Err(RuntimeError::from(error).into()),
            }
        }
        (None, Some(path)) => JobFile::read(path).map_err(RuntimeError::from)?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::validation("name a job or a file, one of the two"));
        }
    };
    let opening = opening(input)?;
    let started = engine.start_at(&file, input.again, &opening).await?;
    let word = match started {
        Started::New => "started",
        Started::Resumed => "resumed",
        Started::Running => "running",
        Started::Finished => "finished",
    };
    Ok(json!({ "job": file.name, "outcome": word, "live": api.is_working() }))
}

fn opening(input: &Input) -> Result<Opening, ApiError> {
    if input.first.is_some() && input.sample.is_some() {
        return Err(ApiError::validation("first or sample, not both"));
    }
    if input.first == Some(0) {
        return Err(ApiError::validation("first: at least one record"));
    }
    Ok(Opening {
        first: input.first,
        sample: input.sample,
        from: input.from.as_deref().map(item).transpose()?,
    })
}
