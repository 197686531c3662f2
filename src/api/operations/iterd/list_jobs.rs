//! `ListJobs`: every job that is known, each with where it stands.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, describe_job, standing};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

pub(super) fn call(api: &Api, _: &Input) -> Result<Value, ApiError> {
    let mut jobs = Vec::new();
    for job in api.store.jobs()? {
        jobs.push(standing::of(api, &job)?);
    }
    let mut shown = json!({ "jobs": jobs });
    describe_job::machine(api, &mut shown);
    Ok(shown)
}
