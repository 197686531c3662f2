//! `ListExecutions`: of a machine, or the children of a Map Run; the newest first.

use serde::Deserialize;
use serde_json::Value;

use super::{
    executions::{self, status_of},
    listing::Page,
    map_runs, names,
    shapes::{ARN, EXECUTION_STATUS, LONG_ARN, LONG_PAGE_TOKEN, MAX_RESULTS, REDRIVE_FILTER},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    arn::Qualifier,
    ids::ExecutionId,
    store::{ExecutionFilter, ExecutionsOf, MachineKind},
};

pub(super) const INPUT: &[Member] = &[
    Member::optional("stateMachineArn", &ARN),
    Member::optional("statusFilter", &EXECUTION_STATUS),
    MAX_RESULTS,
    Member::optional("nextToken", &LONG_PAGE_TOKEN),
    Member::optional("mapRunArn", &LONG_ARN),
    Member::optional("redriveFilter", &REDRIVE_FILTER),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: Option<String>,
    status_filter: Option<String>,
    max_results: Option<u32>,
    next_token: Option<String>,
    map_run_arn: Option<String>,
    redrive_filter: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let of = match (&input.state_machine_arn, &input.map_run_arn) {
        (Some(arn), None) => {
            let found = names::machine(api, arn)?;
            if found.row.kind == MachineKind::Express {
                let message = "This operation is not supported by this type of state machine";
                return Err(ApiError::states(
                    Fault::StateMachineTypeNotSupported,
                    message,
                ));
            }
            let name = found.row.name;
            match found.named.qualifier {
                None => ExecutionsOf::Machine(name),
                Some(Qualifier::Version(version)) => ExecutionsOf::Version(name, version),
                Some(Qualifier::Alias(alias)) => ExecutionsOf::Alias(name, alias),
            }
        }
        (None, Some(arn)) => ExecutionsOf::Run(map_runs::map_run(api, arn)?.run),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::validation(
                "Must provide exactly one of StateMachineArn or MapRunArn",
            ));
        }
    };
    let status = input.status_filter.as_deref();
    let filter = ExecutionFilter {
        status: status.and_then(status_of),
        pending_redrive: status == Some(executions::PENDING_REDRIVE),
        redriven: input
            .redrive_filter
            .as_deref()
            .map(|filter| filter == "REDRIVEN"),
    };
    let query = format!(
        "ListExecutions {:?} {:?} {:?} {:?}",
        input.state_machine_arn, input.map_run_arn, input.status_filter, input.redrive_filter
    );
    let page = Page::new(api, &query, input.max_results, input.next_token.as_deref())?;
    let before = page.after.parse().unwrap_or(i64::MAX);
    let rows = api
        .store
        .executions(&of, filter, ExecutionId(before), page.rows_to_read())?;
    let told: Result<Vec<Value>, ApiError> =
        rows.iter().map(|row| executions::told(api, row)).collect();
    let told: Vec<(Value, ExecutionId)> = told?
        .into_iter()
        .zip(rows.iter().map(|row| row.id))
        .collect();
    Ok(page.answer(
        "executions",
        &told,
        |(row, _)| row.clone(),
        |(_, id)| id.to_string(),
    ))
}
