//! `DescribeJob`: the whole picture of a job.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    iteration::{Counters, RowStatus, RunStatus, WakeReason},
    runtime::{Engine, RunView, unknown_job},
    store::{JobRow, RunRow},
    time::Timestamp,
};

/// Groups of errors that are shown; the most frequent ones, the rest is one command away.
const ERROR_GROUPS_MAX: u32 = 10;

/// Events that are shown.
const EVENTS_MAX: u32 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Some(job) = api.store.job(&input.job)? else {
        return Err(unknown_job(&api.store, &input.job).into());
    };
    let mut shown = brief(api, &job)?;
    shown["file"] = job.path.as_str().into();
    if let Some(run) = api.run(&job.name)? {
        let errors: Vec<Value> = api
            .store
            .failures_by_error(run.id, ERROR_GROUPS_MAX)?
            .into_iter()
            .map(
                |group| json!({ "error": group.error, "items": group.items, "cause": group.cause }),
            )
            .collect();
        shown["errors"] = errors.into();
    }
    let events: Vec<Value> = api
        .store
        .events(&job.name, EVENTS_MAX)?
        .into_iter()
        .map(|event| {
            json!({ "at": event.at.to_string(), "kind": event.kind, "detail": event.detail })
        })
        .collect();
    shown["events"] = events.into();
    Ok(shown)
}

/// A job in a few figures.
pub(super) fn brief(api: &Api, job: &JobRow) -> Result<Value, ApiError> {
    let mut shown = json!({ "job": job.name, "started": job.started });
    let Some(run) = api.run(&job.name)? else {
        shown["status"] = "not started".into();
        return Ok(shown);
    };
    shown["run"] = run.id.0.into();
    shown["started_at"] = run.started.to_string().into();
    if let Some(ended) = run.ended {
        shown["ended_at"] = ended.to_string().into();
    }
    let view = api
        .engine
        .as_ref()
        .and_then(|engine| engine.view(&job.name));
    match view {
        Some(view) => live(api, job, &view.borrow(), &mut shown),
        None => resting(api, &run, &mut shown)?,
    }
    Ok(shown)
}

fn live(api: &Api, job: &JobRow, view: &RunView, shown: &mut Value) {
    let figures = &view.figures;
    shown["live"] = true.into();
    status(
        figures.status,
        view.pause.as_ref().map(ToString::to_string),
        shown,
    );
    counters(figures.counters, figures.total, shown);
    shown["in_flight"] = figures.in_flight.into();
    shown["retrying"] = figures.retrying.into();
    shown["waiting"] = figures.waiting.into();
    shown["held"] = figures.held.into();
    shown["queued"] = figures.queued.into();
    let eta = eta_seconds(view);
    shown["rate_per_s"] = view.rate.into();
    shown["eta_s"] = eta.into();
    if let Some(why) = waits_for(view, api.now()) {
        shown["waits_for"] = why.into();
    }
    let usage = api
        .engine
        .as_ref()
        .and_then(|engine: &Engine| engine.usage_of(&job.name));
    if let Some(usage) = usage {
        shown["calls_in_window"] = json!({ "first_tries": usage.first, "retries": usage.retry });
        shown["quota_left"] = usage.left.into();
        shown["quota_resets_at"] = usage.resets_at.map(|at| at.to_string()).into();
    }
}

fn resting(api: &Api, run: &RunRow, shown: &mut Value) -> Result<(), ApiError> {
    let checkpoint = &run.checkpoint;
    shown["live"] = false.into();
    let pause = checkpoint.pause.as_ref().map(ToString::to_string);
    status(checkpoint.status, pause, shown);
    counters(checkpoint.counters, checkpoint.total, shown);
    let count = |status| api.store.count_children(run.id, status);
    shown["in_flight"] = 0.into();
    shown["retrying"] = count(RowStatus::Retrying)?.1.into();
    shown["waiting"] = count(RowStatus::Waiting)?.1.into();
    shown["held"] = count(RowStatus::Held)?.1.into();
    shown["queued"] = count(RowStatus::Queued)?.1.into();
    if !checkpoint.status.is_ended() {
        let done: u64 = checkpoint.done.iter().map(|(from, to)| to - from).sum();
        let implicit = checkpoint.high_mark - checkpoint.watermark - done;
        shown["in_doubt"] = (implicit + count(RowStatus::InFlight)?.1).into();
    }
    Ok(())
}

fn status(status: RunStatus, pause: Option<String>, shown: &mut Value) {
    shown["status"] = status.as_str().into();
    if let Some(pause) = pause {
        shown["pause_reason"] = pause.into();
    }
}

fn counters(counters: Counters, total: Option<u64>, shown: &mut Value) {
    shown["done"] = counters.done.into();
    shown["failed"] = counters.failed.into();
    shown["total"] = total.into();
    shown["calls"] = json!({
        "first_tries": counters.first_tries,
        "retries": counters.retries,
        "interrupted": counters.interrupted,
        "throttled": counters.throttled,
    });
}

/// Seconds until the end at the rate of the last minute, where total or place are known.
#[expect(clippy::cast_precision_loss, reason = "an estimate, for people")]
fn eta_seconds(view: &RunView) -> Option<f64> {
    let figures = &view.figures;
    let ended = figures.counters.done + figures.counters.failed;
    let total = match (figures.total, view.source_share) {
        (Some(total), _) => total as f64,
        (None, Some(share)) if share > 0.0 => figures.read as f64 / share,
        (None, _) => return None,
    };
    let rate = view.rate.filter(|rate| *rate > 0.0)?;
    Some((total - ended as f64).max(0.0) / rate)
}

/// What the run waits for, in a sentence.
fn waits_for(view: &RunView, now: Timestamp) -> Option<String> {
    if view.disk_full {
        return Some("room on the disk".to_owned());
    }
    if view.figures.in_flight > 0 || view.figures.status != RunStatus::Running {
        return None;
    }
    if let Some(until) = view.off_hours {
        return Some(format!("the hours of its schedule until {until}"));
    }
    let (at, reason) = view.figures.wake?;
    let until = if at > now {
        format!(" until {at}")
    } else {
        String::new()
    };
    Some(match reason {
        WakeReason::Throttled(why) => format!("the limiter ({why}){until}"),
        WakeReason::Due => format!("the next retry{until}"),
    })
}
