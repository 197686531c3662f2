//! What a trigger's caller is answered: the execution that was started, or the output of one that ended.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Api, states};
use crate::{
    api::{ApiError, ErrorKind, Fault},
    config::TriggerKind,
    payload::Payload,
    runtime::{Came, ExecutionEnd, MappingError, RuntimeError, Trigger},
    store::{ExecutionKind, ExecutionStatus},
    time::Timestamp,
};

/// What became of a request.
pub(in crate::api) enum Triggered {
    /// An execution goes.
    Started(Value),
    /// One has ended with an output.
    Output(String),
    /// One has ended without.
    Failed(Value),
}

/// The trigger of that name, where it takes requests.
pub(in crate::api) fn trigger(api: &Api, name: &str) -> Option<Arc<Trigger>> {
    let trigger = api.engine().ok()?.trigger(name)?;
    trigger.spec.proof().is_some().then_some(trigger)
}

/// The instant that an execution begins at.
pub(in crate::api) fn now(api: &Api) -> Timestamp {
    api.now()
}

/// The name and the input of the execution that is to be for what came, which nobody needs behind it.
pub(in crate::api) fn mapped(
    trigger: &Trigger,
    came: Came,
) -> Result<(Option<String>, Payload), ApiError> {
    let mapped = trigger.map(&came).map_err(|error| unmapped(&error));
    drop(came);
    mapped
}

/// Starts the execution of that name and input.
pub(in crate::api) async fn start_for(
    api: &Api,
    trigger: &Trigger,
    (name, input): (Option<String>, Payload),
) -> Result<Triggered, ApiError> {
    let asked = trigger.asked(api.engine()?, name, input)?;
    let seat = trigger
        .seat(api.engine()?)
        .map_err(|full| ApiError::states(Fault::ExecutionLimitExceeded, full.to_string()))?;
    if !matches!(trigger.spec.kind, TriggerKind::Http { wait: true, .. }) {
        let started = states::begin(api, asked, seat).await;
        return started.map(Triggered::Started);
    }
    if asked.program.kind != ExecutionKind::Express {
        let error = RuntimeError::Conflict(format!(
            "the trigger {} waits for an output, which takes an express machine",
            trigger.name
        ));
        return Err(error.into());
    }
    let machine = asked.program.machine.clone();
    let end = api.engine()?.run_execution(asked, seat).await?;
    Ok(told(api, &machine, end))
}

fn told(api: &Api, machine: &str, end: ExecutionEnd) -> Triggered {
    if let (ExecutionStatus::Succeeded, Some(output)) = (end.status, &end.output) {
        return Triggered::Output(output.text().to_owned());
    }
    let arn = api.place().express(machine, &end.name, &end.id.to_string());
    Triggered::Failed(json!({
        "error": end.error.as_deref().unwrap_or(end.status.told()),
        "message": end.cause.unwrap_or_default(),
        "executionArn": arn,
    }))
}

fn unmapped(error: &MappingError) -> ApiError {
    match error {
        MappingError::TooLong(_) => {
            ApiError::states(Fault::InvalidExecutionInput, error.to_string())
        }
        MappingError::Eval { .. } | MappingError::Name(_) | MappingError::Payload(_) => {
            ApiError::new(ErrorKind::Validation, error.to_string())
        }
    }
}
