//! `ListMapRuns`: the Map Runs of an execution, the newest first.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions,
    listing::Page,
    seconds,
    shapes::{ARN, MAX_RESULTS, NEXT_TOKEN},
};
use crate::api::{Api, ApiError, shape::Member};

pub(super) const INPUT: &[Member] = &[
    Member::required("executionArn", &ARN),
    MAX_RESULTS,
    NEXT_TOKEN,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    execution_arn: String,
    max_results: Option<u32>,
    next_token: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let execution = executions::execution(api, &input.execution_arn)?;
    let query = format!("ListMapRuns {}", input.execution_arn);
    let page = Page::new(api, &query, input.max_results, input.next_token.as_deref())?;
    let before: i64 = page.after.parse().unwrap_or(i64::MAX);
    let place = api.place();
    let mut told = Vec::new();
    let rows = api.store.map_runs_of(execution.id)?;
    for row in rows.into_iter().filter(|row| row.run.0 < before) {
        let Some(run) = api.store.run(row.run)? else {
            continue;
        };
        let mut shown = json!({
            "executionArn": input.execution_arn,
            "mapRunArn": place.map_run(&row.machine, &row.label, &row.uuid),
            "stateMachineArn": place.machine(&execution.machine),
            "startDate": seconds(run.started),
        });
        if let Some(ended) = run.ended {
            shown["stopDate"] = seconds(ended);
        }
        told.push((shown, row.run));
        if told.len() >= page.rows_to_read() as usize {
            break;
        }
    }
    Ok(page.answer(
        "mapRuns",
        &told,
        |(row, _)| row.clone(),
        |(_, run)| run.0.to_string(),
    ))
}
