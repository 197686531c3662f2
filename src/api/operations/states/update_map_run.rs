//! `UpdateMapRun`: other limits for a Map Run, in force at once.

use serde::Deserialize;
use serde_json::Value;

use super::{
    map_runs, nothing,
    shapes::{CONCURRENCY, LONG_ARN, PERCENTAGE, TOLERATED_COUNT},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    runtime::MapRunLimits,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("mapRunArn", &LONG_ARN),
    Member::optional("maxConcurrency", &CONCURRENCY),
    Member::optional("toleratedFailurePercentage", &PERCENTAGE),
    Member::optional("toleratedFailureCount", &TOLERATED_COUNT),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    map_run_arn: String,
    max_concurrency: Option<u32>,
    tolerated_failure_percentage: Option<f64>,
    tolerated_failure_count: Option<u64>,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let row = map_runs::map_run(api, &input.map_run_arn)?;
    let limits = MapRunLimits {
        concurrency: input.max_concurrency,
        tolerated_percentage: input.tolerated_failure_percentage,
        tolerated_count: input.tolerated_failure_count,
    };
    if limits == MapRunLimits::default() {
        let message = "At least one of maxConcurrency, toleratedFailurePercentage or toleratedFailureCount must be specified";
        return Err(ApiError::states(Fault::MissingRequiredParameter, message));
    }
    api.engine()?.update_map_run(row.run, limits).await?;
    Ok(nothing())
}
