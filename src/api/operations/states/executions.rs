//! Executions as callers name them, and as they are told.

use serde_json::{Value, json};

use super::{json_faults, names, seconds};
use crate::{
    api::{Api, ApiError, Fault},
    arn::{Arn, Part, Resource},
    payload::Payload,
    runtime::{ResolvedMachine, RuntimeError, execution_arn},
    store::{ExecutionRow, ExecutionStatus},
};

/// Largest input of an execution, in bytes of its JSON.
const INPUT_BYTES_MAX: usize = 262_144;

/// The execution that a name speaks of.
pub(super) fn execution(api: &Api, arn: &str) -> Result<ExecutionRow, ApiError> {
    let parsed: Arn = arn.parse().map_err(RuntimeError::from)?;
    let kind = parsed.resource.kind();
    let Resource::Execution { machine, name } = &parsed.resource else {
        return Err(names::wrong_kind(arn, kind));
    };
    let found = if parsed.place == api.place() {
        match machine {
            Part {
                name: of,
                label: None,
            } => api.store.execution_named(of, name)?,
            Part {
                name: of,
                label: Some(label),
            } => api.store.child_named(&format!("{of}/{label}"), name)?,
        }
    } else {
        None
    };
    found.ok_or_else(|| unknown(arn))
}

pub(super) fn unknown(arn: &str) -> ApiError {
    let message = format!("Execution Does Not Exist: '{arn}'");
    ApiError::states(Fault::ExecutionDoesNotExist, message)
}

/// An execution's input as it was sent; nothing is an empty object.
pub(super) fn input(text: Option<String>) -> Result<Payload, ApiError> {
    let text = text.unwrap_or_else(|| "{}".to_owned());
    if text.len() > INPUT_BYTES_MAX {
        let message = format!(
            "Invalid State Machine Execution Input: it has {} bytes, at most {INPUT_BYTES_MAX} are allowed",
            text.len()
        );
        return Err(ApiError::states(Fault::InvalidExecutionInput, message));
    }
    if text.trim().is_empty() {
        let message = "Invalid State Machine Execution Input: 'Invalid execution input.'";
        return Err(ApiError::states(Fault::InvalidExecutionInput, message));
    }
    Payload::parse(&*text).map_err(|error| {
        let why = json_faults::told(&text, &error);
        let message = format!("Invalid State Machine Execution Input: '{why}'");
        ApiError::states(Fault::InvalidExecutionInput, message)
    })
}

/// The machine that is to be run; not a part of one.
pub(super) fn resolve(api: &Api, arn: &str) -> Result<ResolvedMachine, ApiError> {
    let machine = api.engine()?.resolve_machine(arn)?;
    if machine.label.is_some() {
        return Err(names::labelled());
    }
    Ok(machine)
}

/// A child of a redriven run that has no slot yet.
pub(super) const PENDING_REDRIVE: &str = "PENDING_REDRIVE";

/// The status of that name.
pub(super) fn status_of(name: &str) -> Option<ExecutionStatus> {
    [
        ExecutionStatus::Running,
        ExecutionStatus::Succeeded,
        ExecutionStatus::Failed,
        ExecutionStatus::TimedOut,
        ExecutionStatus::Aborted,
    ]
    .into_iter()
    .find(|status| status.told() == name)
}

/// What lists and descriptions both tell of an execution.
pub(super) fn told(api: &Api, row: &ExecutionRow) -> Result<Value, ApiError> {
    let place = api.place();
    let mut shown = json!({
        "executionArn": execution_arn(&place, row),
        // Of a child: the labelled part of the machine.
        "stateMachineArn": place.machine(&row.machine),
        "name": row.name,
        "status": row.status.told(),
        "startDate": seconds(row.started),
    });
    if let Some(stopped) = row.stopped {
        shown["stopDate"] = seconds(stopped);
    }
    if let Some(version) = row.version {
        shown["stateMachineVersionArn"] = place.version(&row.machine, version).into();
    }
    if let Some(alias) = &row.alias {
        shown["stateMachineAliasArn"] = place.alias(&row.machine, alias).into();
    }
    if let Some((run, item)) = row.child_of
        && let Some(run) = api.store.map_run(run)?
    {
        let unsuccessful = !matches!(
            row.status,
            ExecutionStatus::Running | ExecutionStatus::Succeeded
        );
        if unsuccessful && run.redrives > 0 && api.store.is_queued(run.run, item)? {
            shown["status"] = PENDING_REDRIVE.into();
        }
        shown["mapRunArn"] = place.map_run(&run.machine, &run.label, &run.uuid).into();
    }
    shown["redriveCount"] = row.redrives.into();
    if let Some(redriven) = row.redriven {
        shown["redriveDate"] = seconds(redriven);
    }
    Ok(shown)
}
