//! `FindRecord`: a record of a job's newest run, by its identity or its place.
//!
//! Answers what a row keeps: what waits, is in doubt, or has failed. What is done or was never read has
//! no row, and has to be read from the source, which this does not.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{api::ErrorKind, payload::Payload, store::Sought};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// The record's identity, or its place in the dataset where none has this identity.
    item: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Input { job, item } = input;
    let missing = |message: String| ApiError::new(ErrorKind::NotFound, message);
    let Some(run) = api.run(job)? else {
        return Err(missing(format!(
            "job {job:?} was never started, so nothing of its records is kept; give the record with --file"
        )));
    };
    let by_id = api.store.kept_record(run.id, Sought::Id(item))?;
    let found = match (by_id, item.parse()) {
        (None, Ok(index)) => api.store.kept_record(run.id, Sought::Index(index))?,
        (found, _) => found,
    };
    let Some(record) = found else {
        return Err(missing(format!(
            "job {job:?} keeps no record {item:?}: only what failed, waits or is in doubt is kept; give the record with --file or --json-item"
        )));
    };
    let Some(payload) = record.payload else {
        return Err(missing(format!(
            "record {item:?} of job {job:?} could not be read from its source, so there is nothing to call a handler with"
        )));
    };
    let payload = Payload::parse(payload)
        .map_err(|error| ApiError::validation(format!("the stored record is no JSON: {error}")))?;
    Ok(json!({
        "index": record.index,
        "id": record.id,
        "status": record.status,
        "attempts": record.attempts,
        // Why as text: a record keeps its numbers as they were written.
        "record": payload.text(),
    }))
}
