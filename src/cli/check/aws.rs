//! What AWS Step Functions would not honour of a job: `check --target aws`.
//!
//! Owns the list of what the Amazon States Language has no words for, or other bounds. Asks nobody: it
//! goes by the file. What stays is the definition, which `--definition` prints.

use serde::Serialize;

use crate::{
    asl,
    config::job::{Attempts, JobFile, OnInterrupt, Order},
    integration::source::{OnChange, SourceKind},
    runtime::Plan,
};

/// Spec: quotas of Lambda and of Step Functions, in seconds.
const LAMBDA_SECONDS_MAX: u64 = 900;

/// Something that AWS takes otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// File, line and column.
    pub(super) at: String,
    pub(super) key: &'static str,
    /// What AWS does instead, and what to do about it.
    pub(super) instead: String,
}

/// Everything, in the order of a job file.
pub(super) fn findings(file: &JobFile, plan: &Plan) -> Vec<Finding> {
    let mut found = source(file, plan);
    found.extend(process(file));
    found.extend(limits(file, plan));
    found.extend(retrying(file));
    found.extend(around(file));
    if let Err(problems) = asl::Definition::parse(&plan.definition, asl::Dialect::Aws) {
        found.push(finding(
            file,
            "name",
            format!("AWS refuses the definition: {problems}"),
        ));
    }
    found
}

fn finding(file: &JobFile, key: &'static str, instead: impl Into<String>) -> Finding {
    Finding {
        at: file.problem(key, "").origin.to_string(),
        key,
        instead: instead.into(),
    }
}

fn source(file: &JobFile, plan: &Plan) -> Vec<Finding> {
    let instead = match plan.source.kind {
        SourceKind::Sql(_) => "AWS reads no SQLite file; export it as CSV or JSON Lines to S3",
        SourceKind::Queue(_) => {
            "AWS's Distributed Map reads no queue; let an EventBridge pipe start an execution for each message"
        }
        SourceKind::Directory(_) => {
            "AWS reads no directory; put the files into S3 and use an ItemReader with listObjectsV2"
        }
        SourceKind::Csv(_) | SourceKind::Json(_) | SourceKind::Jsonl => {
            "AWS reads no local file; put it into S3 and add an ItemReader with getObject"
        }
    };
    let mut found = vec![finding(file, "source.path", instead)];
    if file.source.contains_key("id") {
        found.push(finding(
            file,
            "source.id",
            "AWS numbers its items; the id is a field like any other",
        ));
    }
    if plan.source.on_change == OnChange::Extend {
        found.push(finding(
            file,
            "source.on_change",
            "AWS reads the object as it is when the Map Run starts",
        ));
    }
    found
}

fn process(file: &JobFile) -> Vec<Finding> {
    let process = &file.process;
    let mut found = vec![finding(
        file,
        "process.plugin",
        "AWS calls the Lambda function of this name; deploy the handler as one",
    )];
    if process.order == Order::Relaxed {
        found.push(finding(
            file,
            "process.order",
            "on AWS an item keeps its place in MaxConcurrency while it waits for a retry",
        ));
    }
    match process.timeout.map(|timeout| timeout.as_secs()) {
        Some(seconds) if seconds <= LAMBDA_SECONDS_MAX => {}
        _ => found.push(finding(
            file,
            "process.timeout",
            format!("a Lambda function ends after {LAMBDA_SECONDS_MAX} seconds at the latest"),
        )),
    }
    if process.on_interrupt == OnInterrupt::Hold {
        found.push(finding(
            file,
            "process.on_interrupt",
            "AWS holds nothing back; make the handler safe to be called twice",
        ));
    }
    found
}

fn limits(file: &JobFile, plan: &Plan) -> Vec<Finding> {
    let mut found = Vec::new();
    let none = "a Map Run has no pace and no quota: MaxConcurrency alone slows it down";
    if plan.limits.pace.is_some() {
        found.push(finding(file, "limit.pace", none));
    }
    if plan.limits.quota.is_some() {
        found.push(finding(file, "limit.quota", none));
    }
    found
}

fn retrying(file: &JobFile) -> Vec<Finding> {
    let retry = &file.retry;
    let mut found = Vec::new();
    if retry.attempts == Attempts::Forever {
        found.push(finding(
            file,
            "retry.attempts",
            "AWS ends an execution after a year or 25,000 events of its history",
        ));
    }
    for (key, delay) in [
        ("retry.first", retry.first),
        ("retry.max_delay", retry.max_delay),
    ] {
        if delay.subsec_nanos() > 0 {
            found.push(finding(file, key, "AWS takes whole seconds"));
        }
    }
    if retry.quota_share_written.is_some() {
        found.push(finding(
            file,
            "retry.quota_share",
            "there is no quota to share on AWS",
        ));
    }
    let pausing = "AWS fails a Map Run by its ToleratedFailurePercentage; it does not pause one";
    let pause = &file.pause_when;
    if pause.failing.is_some() || pause.in_a_row.is_some() || pause.failed.is_some() {
        found.push(finding(file, "pause_when", pausing));
    }
    found
}

fn around(file: &JobFile) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(schedule) = &file.schedule {
        if schedule.cron.is_some() {
            found.push(finding(
                file,
                "schedule.cron",
                "on AWS a schedule is an EventBridge Scheduler's; it starts beside a run under way",
            ));
        }
        for (key, written) in [
            ("schedule.hours", !schedule.hours.is_empty()),
            ("schedule.blackout", !schedule.blackout.is_empty()),
        ] {
            if written {
                found.push(finding(file, key, "a Map Run on AWS keeps no hours"));
            }
        }
    }
    if file.output.is_some() {
        found.push(finding(
            file,
            "output",
            "AWS writes results to S3 only; add a ResultWriter",
        ));
    }
    if file.notify.is_some() {
        found.push(finding(
            file,
            "notify",
            "AWS sends events to EventBridge; add a rule with a target",
        ));
    }
    found
}
