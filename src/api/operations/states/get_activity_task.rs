//! `GetActivityTask`: the next task of an activity; waits up to a minute for one.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    names,
    shapes::{ARN, NAME},
};
use crate::api::{Api, ApiError, Fault, shape::Member};

pub(super) const INPUT: &[Member] = &[
    Member::required("activityArn", &ARN),
    Member::optional("workerName", &NAME),
];

/// Spec: "the service holds on to the request for 60 seconds".
const HELD: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    activity_arn: String,
    worker_name: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let arn = &input.activity_arn;
    let row = names::activity(api, arn)?.ok_or_else(|| names::unknown_activity(arn))?;
    let waiting = api.engine()?.activity_task(&row.name, input.worker_name);
    match tokio::time::timeout(HELD, waiting).await {
        Err(_) => Ok(json!({})),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(Some(task))) => Ok(json!({ "taskToken": task.token, "input": task.input })),
        Ok(Ok(None)) => Err(ApiError::states(
            Fault::ActivityWorkerLimitExceeded,
            "as many workers wait for tasks of this activity as may",
        )),
    }
}
