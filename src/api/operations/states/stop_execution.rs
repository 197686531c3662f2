//! `StopExecution`: ends an execution as aborted. One that has ended stays as it is.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions, seconds,
    shapes::{ARN, CAUSE, ERROR},
};
use crate::api::{Api, ApiError, shape::Member};

pub(super) const INPUT: &[Member] = &[
    Member::required("executionArn", &ARN),
    Member::optional("error", &ERROR),
    Member::optional("cause", &CAUSE),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    execution_arn: String,
    error: Option<String>,
    cause: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let row = executions::execution(api, &input.execution_arn)?;
    let stopped = api
        .engine()?
        .stop_execution(row.id, input.error, input.cause)
        .await?;
    let stopped = stopped.ok_or_else(|| executions::unknown(&input.execution_arn))?;
    Ok(json!({ "stopDate": seconds(stopped) }))
}
