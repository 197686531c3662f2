//! `SendTaskHeartbeat`: a task is under way still.

use serde::Deserialize;
use serde_json::Value;

use super::{shapes::TASK_TOKEN, task_answers};
use crate::{
    api::{Api, ApiError, shape::Member},
    runtime::TaskAnswer,
};

pub(super) const INPUT: &[Member] = &[Member::required("taskToken", &TASK_TOKEN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    task_token: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    task_answers::give(api, &input.task_token, TaskAnswer::Beat).await
}
