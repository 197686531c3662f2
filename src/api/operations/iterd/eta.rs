//! When a live job will end: what the forecast says, as `ListJobs` and `DescribeJob` show it.

use serde_json::{Value, json};

use super::Api;
use crate::{
    iteration::{Forecast, Guess, Outlook, RunStatus, Tally, forecast},
    runtime::{Engine, RunView},
    store::DayRow,
    time::Timestamp,
};

/// By what part the number of records may be wrong that is reckoned from the bytes of the first few: they
/// are shorter where they are numbered. The more was read, the less.
const ESTIMATED_TOTAL: f64 = 0.15;

/// Adds `eta` (`earliest`, `expected`, `latest`, or `never` with the reason) and `eta_s`, the expected one
/// in seconds. Nothing where too little is known, or nothing is left.
pub(super) fn show(
    api: &Api,
    job: &str,
    view: &RunView,
    total: Option<u64>,
    days: &[DayRow],
    shown: &mut Value,
) {
    let now = api.now();
    match forecast_of(api, job, view, total, days) {
        Forecast::Ends {
            earliest,
            expected,
            latest,
        } => {
            shown["eta"] = json!({
                "earliest": earliest.to_string(),
                "expected": expected.to_string(),
                "latest": latest.map(|at| at.to_string()),
            });
            shown["eta_s"] = expected.since(now).as_secs_f64().into();
        }
        Forecast::Never(why) => shown["eta"] = json!({ "never": why }),
        Forecast::Unknown => {}
    }
}

fn forecast_of(
    api: &Api,
    job: &str,
    view: &RunView,
    total: Option<u64>,
    days: &[DayRow],
) -> Forecast {
    let figures = &view.figures;
    match figures.status {
        RunStatus::Running => {}
        RunStatus::Paused => return Forecast::Never("it is paused"),
        RunStatus::Succeeded | RunStatus::Failed | RunStatus::Aborted => return Forecast::Unknown,
    }
    let Some(total) = total else {
        return Forecast::Unknown;
    };
    let retrying = figures.retrying as u64;
    let ended = figures.counters.done + figures.counters.failed + retrying + figures.held;
    let tallies: Vec<Tally> = days.iter().map(|row| row.tally).collect();
    let limits = api
        .engine
        .as_ref()
        .and_then(|engine: &Engine| engine.limits_of(job));
    let binds = limits.as_ref().is_some_and(|(limits, ..)| {
        limits.permits_per_s().is_some() || limits.window_at(api.now()).is_some()
    });
    forecast(&Outlook {
        now: api.now(),
        to_go: total.saturating_sub(ended),
        to_go_error: if figures.total.is_some() {
            0.0
        } else {
            ESTIMATED_TOTAL * (1.0 - view.source_share.unwrap_or(0.0))
        },
        retrying,
        retry_due: figures.retry_due.filter(|at| *at < Timestamp::MAX),
        days: &tallies,
        // Why: without limits whatever holds it up (a slow source, the disk) shows in the rate alone.
        capacity: view.capacity.or_else(|| {
            let rate = view.rate.filter(|rate| *rate > 0.0 && !binds)?;
            Some(Guess {
                low: rate * 0.7,
                likely: rate,
                high: rate * 1.4,
            })
        }),
        limits: limits.as_ref().map(|(limits, usage, _)| (limits, usage)),
        sharers: limits.as_ref().map_or(1, |(_, _, sharers)| *sharers),
        course: &view.course,
    })
}
