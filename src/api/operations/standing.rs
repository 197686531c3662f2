//! Where a job stands, in figures: what `ListJobs` and `DescribeJob` have in common.
//!
//! A live run tells it from memory, one that rests from its rows. Either way the figures of one
//! answer belong to one instant.

use serde_json::{Value, json};

use super::{Api, ApiError, eta};
use crate::{
    iteration::{Counters, DAYS_MAX, PauseReason, RowStatus, RunStatus, WakeReason},
    limiter::Throttle,
    runtime::{Engine, RunView},
    store::{JobRow, RunRow},
};

/// A job in a few figures.
pub(super) fn of(api: &Api, job: &JobRow) -> Result<Value, ApiError> {
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
        Some(view) => {
            let view = view.borrow().clone();
            live(api, job, &view, &mut shown);
            let days = api.store.run_days(run.id, DAYS_MAX)?;
            let total = total(&view);
            eta::show(api, &job.name, &view, total, &days, &mut shown);
        }
        None => resting(api, &run, &mut shown)?,
    }
    Ok(shown)
}

fn live(api: &Api, job: &JobRow, view: &RunView, shown: &mut Value) {
    let figures = &view.figures;
    shown["live"] = true.into();
    status(figures.status, view.pause.as_ref(), shown);
    counters(figures.counters, figures.total, shown);
    shown["in_flight"] = figures.in_flight.into();
    shown["retrying"] = figures.retrying.into();
    shown["waiting"] = figures.waiting.into();
    shown["held"] = figures.held.into();
    shown["queued"] = figures.queued.into();
    let total = total(view);
    let ended = figures.counters.done + figures.counters.failed;
    shown["to_go"] = total.map(|total| total.saturating_sub(ended)).into();
    shown["total_estimate"] = total.into();
    shown["rate_per_s"] = view.rate.into();
    shown["version"] = view.version.0.into();
    if let Some((why, until)) = waits_for(api, view) {
        shown["waits_for"] = why.into();
        shown["waits_until"] = until.into();
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
    status(checkpoint.status, checkpoint.pause.as_ref(), shown);
    counters(checkpoint.counters, checkpoint.total, shown);
    let ended = checkpoint.counters.done + checkpoint.counters.failed;
    shown["to_go"] = checkpoint
        .total
        .map(|total| total.saturating_sub(ended))
        .into();
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

fn status(status: RunStatus, pause: Option<&PauseReason>, shown: &mut Value) {
    shown["status"] = status.as_str().into();
    if let Some(pause) = pause {
        shown["pause_reason"] = pause.to_string().into();
        // Why beside the sentence: programs go by a word.
        let word = match pause {
            PauseReason::Operator { .. } => "operator",
            PauseReason::Failing { .. }
            | PauseReason::InARow { .. }
            | PauseReason::FailedShare { .. } => "failures",
            PauseReason::Held { .. } => "held",
            PauseReason::Source { .. } => "source",
            PauseReason::Plugin { .. } => "plugin",
        };
        shown["pause_kind"] = word.into();
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

/// How many items there are: known once the source's end was seen, until then extrapolated from how
/// much of it was read.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, for people; the conversion saturates"
)]
fn total(view: &RunView) -> Option<u64> {
    let read = view.figures.read;
    view.figures.total.or_else(|| {
        let share = view.source_share.filter(|share| *share > 0.0)?;
        Some((read as f64 / share).round() as u64)
    })
}

/// What the run waits for, in words, and until when, where that is known and not over.
fn waits_for(api: &Api, view: &RunView) -> Option<(String, Option<String>)> {
    if view.figures.status != RunStatus::Running {
        return None;
    }
    let trouble = api.store.pulse().and_then(|pulse| pulse.trouble);
    if let Some(trouble) = trouble {
        return Some((format!("the state file to be writable ({trouble})"), None));
    }
    if view.disk_full {
        return Some(("room on the disk".to_owned(), None));
    }
    if view.figures.parked_full {
        let why = "retries: too many records wait for one";
        return Some((why.to_owned(), None));
    }
    if view.figures.in_flight > 0 {
        return None;
    }
    if view.starting && view.off_hours.is_none() {
        return Some(("a worker to start".to_owned(), None));
    }
    let (at, reason) = view.figures.wake?;
    let why = match reason {
        WakeReason::Throttled(why) => throttle(why),
        WakeReason::Due => "the next retry",
    };
    let until = (at > api.now()).then(|| at.to_string());
    Some((why.to_owned(), until))
}

const fn throttle(why: Throttle) -> &'static str {
    match why {
        Throttle::Pace => "the pace",
        Throttle::Spread => "the quota, which is spread evenly",
        Throttle::Quota => "the quota, which is spent",
        Throttle::RetryShare => "the retries' share of the quota",
        Throttle::Turn => "its turn at the limiter",
        Throttle::Closed => "the limiter, which a handler closed",
        Throttle::Paused => "the limiter, which is paused",
        Throttle::Hours => "the hours of its schedule",
        Throttle::Weight => "a limit that lets a record of this weight through",
    }
}
