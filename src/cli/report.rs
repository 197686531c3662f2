//! `iterd report JOB`: accounts for every record of a run.
//!
//! Reads the source once more and holds it against results and failures, over the file alone. The exit
//! code is 0 only where every record has exactly one outcome.

use std::ops::ControlFlow;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    archive::Archive,
    exit::{Code, DONE, FAILED, Failure, INVALID},
    report_page,
    session::Session,
    survey::Scratch,
};
use crate::{
    api::run_figures,
    integration::source::{Fingerprint, OpenContext, Progress},
    runtime::{Audit, AuditError, FoundRecords, audit, audit_trusting},
    time::{Clock as _, SystemClock},
};

/// Errors that are listed; a run with more kinds of them has another problem.
const ERRORS_MAX: u32 = 100;

/// The error of records that somebody decided to leave out.
const SKIPPED: &str = "Skipped";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// Of this run [default: the newest]
    #[arg(long, value_name = "N")]
    run: Option<i64>,
    /// Do not read the source again: hold the run against what it counted itself
    #[arg(long)]
    trust_source: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let archive = Archive::open(session, &arguments.job, arguments.run)?;
    let audit = if arguments.trust_source {
        audit_trusting(&archive.store, &archive.run)?
    } else {
        audited(&archive)?
    };
    let mut answer = run_of(&archive)?;
    account(&archive, &audit, &mut answer)?;
    answer["source"]["read"] = (!arguments.trust_source).into();
    session.answer(&answer, report_page::page)?;
    Ok(Code(if audit.balances() { DONE } else { FAILED }))
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Source(error) => Self::new(
                INVALID,
                format!("{error}; --trust-source reports without reading the source again"),
            ),
            AuditError::Store(error) => error.into(),
        }
    }
}

/// Reads the source with a bar on a terminal.
fn audited(archive: &Archive) -> Result<Audit, Failure> {
    let spec = archive.source()?;
    let scratch = Scratch::new()?;
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("reading the source {bar:24} {percent}%")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut progress = |progress: Progress| {
        if let Some(extent) = progress.extent {
            bar.set_length(extent.bytes_total);
            bar.set_position(extent.bytes);
        }
        ControlFlow::Continue(())
    };
    let mut context = OpenContext {
        spool_dir: scratch.path(),
        spool_bytes_max: u64::MAX,
        progress: &mut progress,
    };
    let bytes_max = archive.settings.config.items.record_bytes_max;
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let audit = audit(&archive.store, &archive.run, &spec, &mut context, bytes_max)?;
    bar.finish_and_clear();
    Ok(audit)
}

/// What the run is: when, how long, from what, with which limits.
fn run_of(archive: &Archive) -> Result<Value, Failure> {
    let (run, now) = (&archive.run, SystemClock.now());
    let paused = archive.store.paused_time(run.id)?;
    let until = run.ended.unwrap_or(now);
    let paused_now = paused
        .since
        .map_or(0.0, |since| until.since(since).as_secs_f64());
    let mut answer = json!({
        "job": run.job,
        "run": run.id.0,
        "status": run.checkpoint.status.as_str(),
        "so_far": !run.checkpoint.status.is_ended(),
        "started_at": run.started.to_string(),
        "ended_at": run.ended.map(|at| at.to_string()),
        "duration_s": until.since(run.started).as_secs_f64(),
        "paused_s": paused.before.as_secs_f64() + paused_now,
    });
    let spec = archive.source()?;
    answer["source"] = json!({
        "path": spec.path.display().to_string(),
        // Why ok: a report that trusts the source needs none.
        "fingerprint": Fingerprint::take(&spec).ok(),
    });
    if let Some(file) = archive.file()
        && let Ok(limit) = file.limiter(&archive.settings.config.limiters)
    {
        answer["limit"] = json!({
            "pace": limit.pace,
            "quota": limit.quota,
            "weight": limit.weight,
            "reserve": limit.reserve,
            "time_zone": limit.time_zone.iana_name(),
        });
    }
    Ok(answer)
}

/// What became of the records, and what it took.
fn account(archive: &Archive, audit: &Audit, answer: &mut Value) -> Result<(), Failure> {
    let (store, run) = (&archive.store, &archive.run);
    let errors = store.failures_by_error(run.id, ERRORS_MAX)?;
    let skipped = errors.iter().find(|group| group.error == SKIPPED);
    let skipped = skipped.map_or(0, |group| group.items);
    let errors: Vec<Value> = errors
        .iter()
        .filter(|group| group.error != SKIPPED)
        .map(|group| json!({ "error": group.error, "items": group.items, "cause": group.cause }))
        .collect();
    let found = |found: &FoundRecords| json!({ "records": found.records, "first": found.first });
    answer["balances"] = audit.balances().into();
    answer["records"] = audit.records.into();
    answer["left_out"] = audit.left_out.into();
    answer["done"] = audit.done.into();
    answer["failed"] = audit.failed.saturating_sub(skipped).into();
    answer["skipped"] = skipped.into();
    answer["errors"] = errors.into();
    answer["open"] = found(&audit.open);
    answer["missing"] = found(&audit.missing);
    answer["double"] = found(&audit.double);
    answer["stray"] = found(&audit.stray);
    answer["renamed"] = found(&audit.renamed);
    answer["duplicates"] = json!({
        "ids": audit.duplicate_ids,
        "records": audit.duplicate_records,
        "first": audit.first_duplicates,
    });
    run_figures(store, run.id, usize::MAX, answer)?;
    let sum = |key: &str| -> u64 {
        let days = answer["calls_by_day"].as_array().into_iter().flatten();
        days.filter_map(|day| day[key].as_u64()).sum()
    };
    let (calls, first, retries) = (sum("calls"), sum("first_tries"), sum("retries"));
    let put_back = sum("put_back");
    answer["calls"] = json!({ "all": calls, "first_tries": first, "retries": retries });
    answer["redone"] = run.checkpoint.counters.redone.into();
    answer["put_back"] = put_back.into();
    Ok(())
}
