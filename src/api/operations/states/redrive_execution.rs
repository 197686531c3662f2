//! `RedriveExecution`: has an execution that ended without success go on where it failed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions, seconds,
    shapes::{ARN, CLIENT_TOKEN},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    runtime::Redriven,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("executionArn", &ARN),
    Member::optional("clientToken", &CLIENT_TOKEN),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    execution_arn: String,
    client_token: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let row = executions::execution(api, &input.execution_arn)?;
    let redriven = api
        .engine()?
        .redrive_execution(row.id, input.client_token)
        .await?;
    match redriven {
        Redriven::At(at) => Ok(json!({ "redriveDate": seconds(at) })),
        Redriven::Refused(why) => {
            let message = format!("Execution Not Redrivable: '{why}'");
            Err(ApiError::states(Fault::ExecutionNotRedrivable, message))
        }
        Redriven::Unknown => Err(executions::unknown(&input.execution_arn)),
    }
}
