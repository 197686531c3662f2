//! `StartSyncExecution`: runs an express execution and answers with its end.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions, names, seconds,
    shapes::{ARN, EXECUTION_INPUT, INCLUDED_DATA, NAME, TRACE_HEADER},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    runtime::StartExecution,
    store::ExecutionKind,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineArn", &ARN),
    Member::optional("name", &NAME),
    Member::optional("input", &EXECUTION_INPUT),
    Member::optional("traceHeader", &TRACE_HEADER),
    Member::optional("includedData", &INCLUDED_DATA),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
    name: Option<String>,
    #[serde(rename = "input")]
    payload: Option<String>,
    trace_header: Option<String>,
    included_data: Option<String>,
}

/// What AWS bills for at least.
const BILLED_MS: u64 = 100;
const BILLED_MB: u64 = 64;

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    if let Some(name) = &input.name {
        names::check_name(name)?;
    }
    let with_data = input.included_data.as_deref() != Some("METADATA_ONLY");
    let machine = executions::resolve(api, &input.state_machine_arn)?;
    let payload = executions::input(input.payload)?;
    let asked = StartExecution {
        program: (&machine).into(),
        name: input.name,
        input: payload.clone(),
        trace_header: input.trace_header.clone(),
    };
    if asked.program.kind != ExecutionKind::Express {
        let message = "This operation is not supported by this type of state machine";
        return Err(ApiError::states(
            Fault::StateMachineTypeNotSupported,
            message,
        ));
    }
    let end = api.engine()?.run_execution(asked, None).await?;
    let took = end.stopped.since(end.started).as_millis();
    let took = u64::try_from(took).unwrap_or(u64::MAX);
    let place = api.place();
    let mut answer = json!({
        "executionArn": place.express(&machine.name, &end.name, &end.id.to_string()),
        "stateMachineArn": machine.arn,
        "name": end.name,
        "startDate": seconds(end.started),
        "stopDate": seconds(end.stopped),
        "status": end.status.told(),
        "inputDetails": { "included": with_data },
        "outputDetails": { "included": with_data },
        "billingDetails": {
            "billedDurationInMilliseconds": took.div_ceil(BILLED_MS).max(1) * BILLED_MS,
            "billedMemoryUsedInMB": BILLED_MB,
        },
    });
    if with_data {
        answer["input"] = payload.text().into();
    }
    if let Some(output) = end.output.filter(|_| with_data) {
        answer["output"] = output.text().into();
    }
    for (key, value) in [("error", end.error), ("cause", end.cause)] {
        if let Some(value) = value {
            answer[key] = value.into();
        }
    }
    if let Some(header) = input.trace_header {
        answer["traceHeader"] = header.into();
    }
    Ok(answer)
}
