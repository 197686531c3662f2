//! `SendTaskFailure`: fails a task.

use serde::Deserialize;
use serde_json::Value;

use super::{
    shapes::{CAUSE, ERROR, TASK_TOKEN},
    task_answers,
};
use crate::{
    api::{Api, ApiError, shape::Member},
    payload::Failure,
    runtime::TaskAnswer,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("taskToken", &TASK_TOKEN),
    Member::optional("error", &ERROR),
    Member::optional("cause", &CAUSE),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    task_token: String,
    error: Option<String>,
    cause: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let error = input.error.unwrap_or_default();
    let failure = Failure::new(error, input.cause.unwrap_or_default());
    task_answers::give(api, &input.task_token, TaskAnswer::Failed(failure)).await
}
