//! `DescribeMapRun`: where a Map Run stands, in items and in children.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{map_runs, seconds, shapes::LONG_ARN};
use crate::{
    api::{Api, ApiError, shape::Member},
    iteration::{Checkpoint, RunStatus},
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
    let queued = match row.redrives {
        0 => 0,
        _ => api.store.queued_count(row.run)?,
    };
    let counts = Counts {
        children: &children,
        checkpoint: &run.checkpoint,
        queued,
        written: row.written,
    };
    let mut shown = json!({
        "mapRunArn": input.map_run_arn,
        "executionArn": execution_arn(&api.place(), &execution),
        "status": status_name(run.checkpoint.status),
        "startDate": seconds(run.started),
        "maxConcurrency": row.concurrency,
        "toleratedFailurePercentage": row.tolerated_percentage,
        "toleratedFailureCount": row.tolerated_count,
        "itemCounts": counts.items(),
        "executionCounts": counts.executions(),
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

/// How many children of a Map Run stand how, and how many items.
struct Counts<'a> {
    children: &'a [(ExecutionStatus, u64)],
    checkpoint: &'a Checkpoint,
    /// Children that wait for a slot to be redriven in.
    queued: u64,
    /// Children whose results are in files.
    written: u64,
}

impl Counts<'_> {
    fn count(&self, status: ExecutionStatus) -> u64 {
        let found = self.children.iter().find(|(known, _)| *known == status);
        found.map_or(0, |(_, count)| *count)
    }

    fn items(&self) -> Value {
        let counters = self.checkpoint.counters;
        let running = self.count(ExecutionStatus::Running);
        let ended = counters.done + counters.failed;
        let total = self.checkpoint.total.unwrap_or(ended + running);
        let waiting = if self.checkpoint.status.is_ended() {
            0
        } else {
            total.saturating_sub(ended)
        };
        let running = running.min(waiting);
        let timed_out = self.count(ExecutionStatus::TimedOut);
        let aborted = self.count(ExecutionStatus::Aborted);
        json!({
            "pending": waiting - running,
            "running": running,
            "succeeded": counters.done,
            "failed": counters.failed.saturating_sub(timed_out + aborted),
            "timedOut": timed_out,
            "aborted": aborted,
            "total": total,
            "resultsWritten": if self.written > 0 { ended } else { 0 },
            "failuresNotRedrivable": 0,
            "pendingRedrive": self.queued,
        })
    }

    fn executions(&self) -> Value {
        json!({
            "pending": 0,
            "running": self.count(ExecutionStatus::Running),
            "succeeded": self.count(ExecutionStatus::Succeeded),
            "failed": self.count(ExecutionStatus::Failed),
            "timedOut": self.count(ExecutionStatus::TimedOut),
            "aborted": self.count(ExecutionStatus::Aborted),
            "total": self.children.iter().map(|(_, count)| count).sum::<u64>(),
            "resultsWritten": self.written,
            "failuresNotRedrivable": 0,
            "pendingRedrive": self.queued,
        })
    }
}
