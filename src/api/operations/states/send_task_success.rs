//! `SendTaskSuccess`: gives a task its result.

use serde::Deserialize;
use serde_json::Value;

use super::{
    json_faults,
    shapes::{OUTPUT, TASK_TOKEN},
    task_answers,
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    payload::Payload,
    runtime::TaskAnswer,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("taskToken", &TASK_TOKEN),
    Member::required("output", &OUTPUT),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    task_token: String,
    output: String,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let output = Payload::parse(&*input.output).map_err(|error| {
        let why = json_faults::told(&input.output, &error);
        let message = format!("Invalid Output: '{why}'");
        ApiError::states(Fault::InvalidOutput, message)
    })?;
    task_answers::give(api, &input.task_token, TaskAnswer::Done(output)).await
}
