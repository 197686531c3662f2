//! `StartExecution`: begins an execution; the same name with the same input again is the same start.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions, names, seconds,
    shapes::{ARN, EXECUTION_INPUT, NAME, TRACE_HEADER},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    runtime::{Begun, Seat, StartExecution},
    store::ExecutionKind,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineArn", &ARN),
    Member::optional("name", &NAME),
    Member::optional("input", &EXECUTION_INPUT),
    Member::optional("traceHeader", &TRACE_HEADER),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
    name: Option<String>,
    #[serde(rename = "input")]
    payload: Option<String>,
    trace_header: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    if let Some(name) = &input.name {
        names::check_name(name)?;
    }
    let machine = executions::resolve(api, &input.state_machine_arn)?;
    let payload = executions::input(input.payload)?;
    let asked = StartExecution {
        program: (&machine).into(),
        name: input.name,
        input: payload,
        trace_header: input.trace_header,
    };
    begin(api, asked, None).await
}

/// Begins an execution, and tells it. With a seat it counts among those of a trigger.
pub(in crate::api) async fn begin(
    api: &Api,
    asked: StartExecution,
    seat: Option<Seat>,
) -> Result<Value, ApiError> {
    let machine = asked.program.machine.clone();
    let kind = asked.program.kind;
    let place = api.place();
    match api.engine()?.start_seated(asked, seat).await? {
        Begun::Running {
            id, name, started, ..
        } => {
            let arn = match kind {
                ExecutionKind::Express => place.express(&machine, &name, &id.to_string()),
                ExecutionKind::Standard | ExecutionKind::Job => place.execution(&machine, &name),
            };
            Ok(json!({ "executionArn": arn, "startDate": seconds(started) }))
        }
        Begun::Exists { name, .. } => {
            let arn = place.execution(&machine, &name);
            let message = format!("Execution Already Exists: '{arn}'");
            Err(ApiError::states(Fault::ExecutionAlreadyExists, message))
        }
    }
}
