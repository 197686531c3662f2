//! `DescribeMapRun`: where a Map Run stands, in items and in children.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{map_runs, seconds, shapes::LONG_ARN};
use crate::{
    api::{Api, ApiError, shape::Member},
    iteration::RunStatus,
    runtime::{RuntimeError, execution_arn},
    store::ExecutionStatus,
};

pub(super) const INPUT: &[Member] = &[Member::required("mapRunArn", &LONG_ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    map_run_arn: String,
}

/// As AWS spells it.
pub(super) const fn status_name(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running | RunStatus::Paused => "RUNNING",
        RunStatus::Succeeded => "SUCCEEDED",
        RunStatus::Failed => "FAILED",
        RunStatus::Aborted => "ABORTED",
    }
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let row = map_runs::map_run(api, &input.map_run_arn)?;
    let gone = || RuntimeError::Damaged {
        what: input.map_run_arn.clone(),
        cause: "its run is missing".to_owned(),
    };
    let run = api.store.run(row.run)?.ok_or_else(gone)?;
    let execution = api.store.execution(run.execution)?.ok_or_else(gone)?;
    let children = api.store.child_counts(row.run)?;
    let count = |status: ExecutionStatus| -> u64 {
        let found = children.iter().find(|(known, _)| *known == status);
        found.map_or(0, |(_, count)| *count)
    };
    let all: u64 = children.iter().map(|(_, count)| count).sum();
    let counters = run.checkpoint.counters;
    let total = run
        .checkpoint
        .total
        .unwrap_or(counters.done + counters.failed + count(ExecutionStatus::Running));
    let ended = counters.done + counters.failed;
    let (timed_out, aborted) = (
        count(ExecutionStatus::TimedOut),
        count(ExecutionStatus::Aborted),
    );
    let failed_items = counters.failed.saturating_sub(timed_out + aborted);
    let waiting = if run.checkpoint.status.is_ended() {
        0
    } else {
        total.saturating_sub(ended)
    };
    let running = count(ExecutionStatus::Running).min(waiting);
    let mut shown = json!({
        "mapRunArn": input.map_run_arn,
        "executionArn": execution_arn(&api.place(), &execution),
        "status": status_name(run.checkpoint.status),
        "startDate": seconds(run.started),
        "maxConcurrency": row.concurrency,
        "toleratedFailurePercentage": row.tolerated_percentage,
        "toleratedFailureCount": row.tolerated_count,
        "itemCounts": {
            "pending": waiting - running,
            "running": running,
            "succeeded": counters.done,
            "failed": failed_items,
            "timedOut": timed_out,
            "aborted": aborted,
            "total": total,
            "resultsWritten": if row.written > 0 { ended } else { 0 },
            "failuresNotRedrivable": 0,
            "pendingRedrive": 0,
        },
        "executionCounts": {
            "pending": 0,
            "running": count(ExecutionStatus::Running),
            "succeeded": count(ExecutionStatus::Succeeded),
            "failed": count(ExecutionStatus::Failed),
            "timedOut": timed_out,
            "aborted": aborted,
            "total": all,
            "resultsWritten": row.written,
            "failuresNotRedrivable": 0,
            "pendingRedrive": 0,
        },
        "redriveCount": row.redrives,
    });
    if let Some(ended) = run.ended {
        shown["stopDate"] = seconds(ended);
    }
    if let Some(redriven) = row.redriven {
        shown["redriveDate"] = seconds(redriven);
    }
    Ok(shown)
}
