//! Where a job stands, in figures: what `ListJobs` and `DescribeJob` have in common.
//!
//! A live run tells it from memory, one that rests from its rows. Either way the figures of one
//! answer belong to one instant.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Api, ApiError, eta};
use crate::{
    iteration::{Counters, DAYS_MAX, PauseReason, RowStatus, RunStatus, WakeReason},
    limiter::Throttle,
    runtime::{Engine, RunView},
    store::{JobRow, RunRow},
    time::Timestamp,
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
    shown["left_out"] = figures.left_out.into();
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
    let calling = figures.in_flight > 0;
    let instant = |at: Option<Timestamp>| at.map(|at| at.to_string());
    if let Some(wait) = waits_for(api, view) {
        let soon = |until: Timestamp| until.since(api.now()) < SOON;
        let paced = matches!(wait.word, "pace" | "turn") && wait.until.is_none_or(soon);
        // Why two names: with calls under way, or from one moment to the next, it goes on, only not
        // faster.
        let keys = if paced || (calling && wait.until.is_some()) {
            ["limited_kind", "limited_by", "limited_until"]
        } else {
            ["waits_kind", "waits_for", "waits_until"]
        };
        shown[keys[0]] = wait.word.into();
        shown[keys[1]] = wait.why.into();
        shown[keys[2]] = instant(wait.until).into();
    }
    shown["oldest_call_at"] = instant(view.oldest_call.filter(|_| calling)).into();
    shown["idle_since"] = instant(view.idle_since).into();
    let usage = api
        .engine
        .as_ref()
        .and_then(|engine: &Engine| engine.usage_of(&job.name));
    if let Some(usage) = usage {
        shown["calls_in_window"] = json!({ "first_tries": usage.first, "retries": usage.retry });
        shown["limiter_closed_until"] = instant(usage.closed_until).into();
        shown["limiter_paused"] = usage.paused.into();
        shown["quota_left"] = usage.left.into();
        shown["quota_resets_at"] = usage.resets_at.map(|at| at.to_string()).into();
    }
}

fn resting(api: &Api, run: &RunRow, shown: &mut Value) -> Result<(), ApiError> {
    let checkpoint = &run.checkpoint;
    shown["live"] = false.into();
    status(checkpoint.status, checkpoint.pause.as_ref(), shown);
    counters(checkpoint.counters, checkpoint.total, shown);
    shown["left_out"] = checkpoint.left_out.into();
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
        shown["in_doubt"] = api.store.in_doubt(run)?.into();
    }
    Ok(())
}

fn status(status: RunStatus, pause: Option<&PauseReason>, shown: &mut Value) {
    shown["status"] = status.as_str().into();
    if let Some(pause) = pause {
        shown["pause_reason"] = pause.to_string().into();
        shown["pause_kind"] = pause.word().into();
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
    shown["redone"] = counters.redone.into();
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
        let total = (read as f64 / share).round() as u64;
        Some(total.saturating_sub(view.figures.left_out))
    })
}

/// A pace that lets the next call through within this limits a run and does not make it wait.
const SOON: Duration = Duration::from_secs(10);

/// What a run waits for.
struct Wait {
    /// In a word, for programs.
    word: &'static str,
    /// For people.
    why: String,
    /// Until when, where that is known and not over.
    until: Option<Timestamp>,
}

impl Wait {
    fn new(word: &'static str, why: impl Into<String>) -> Self {
        Self {
            word,
            why: why.into(),
            until: None,
        }
    }
}

fn waits_for(api: &Api, view: &RunView) -> Option<Wait> {
    if view.figures.status != RunStatus::Running {
        return None;
    }
    let trouble = api.store.pulse().and_then(|pulse| pulse.trouble);
    if let Some(trouble) = trouble {
        let why = format!("the state file to be writable ({trouble})");
        return Some(Wait::new("state", why));
    }
    if view.disk_full {
        return Some(Wait::new("disk", "room on the disk"));
    }
    if view.figures.parked_full {
        let why = "retries: too many records wait for one";
        return Some(Wait::new("retries", why));
    }
    let calling = view.figures.in_flight > 0;
    if view.starting && view.off_hours.is_none() && !calling {
        return Some(Wait::new("worker", "a worker to start"));
    }
    if let Some(what) = view.source_waits.as_ref().filter(|_| !calling) {
        return Some(Wait::new("messages", what.as_ref()));
    }
    let (at, reason) = view.figures.wake?;
    let (word, why) = match reason {
        WakeReason::Throttled(why) => throttle(why),
        WakeReason::Due if calling => return None,
        WakeReason::Due => ("retry", "the next retry"),
    };
    if calling && at <= api.now() {
        return None;
    }
    // Why not the last instant of all: until when is then nobody's knowledge.
    let until = (at > api.now() && at < Timestamp::MAX).then_some(at);
    Some(Wait {
        until,
        ..Wait::new(word, why)
    })
}

/// The throttle in a word for programs, and for people.
const fn throttle(why: Throttle) -> (&'static str, &'static str) {
    match why {
        Throttle::Pace => ("pace", "the pace"),
        Throttle::Spread => ("spread", "the quota, which is spread evenly"),
        Throttle::Quota => ("quota", "the quota, which is spent"),
        Throttle::RetryShare => ("retry_share", "the retries' share of the quota"),
        Throttle::Turn => ("turn", "its turn at the limiter"),
        Throttle::Closed => ("closed", "the limiter, which a handler closed"),
        Throttle::Paused => ("limiter_paused", "the limiter, which is paused"),
        Throttle::Hours => ("hours", "the hours of its schedule"),
        Throttle::Weight => (
            "weight",
            "a limit that lets a record of this weight through",
        ),
    }
}
