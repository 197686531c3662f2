//! What a run counted by day and by version, as `DescribeJob` and the report show it.

use serde_json::{Value, json};

use crate::{
    ids::RunId,
    store::{DayRow, RunVersionRow, Store, StoreError},
};

/// Days that a picture shows.
pub(super) const DAYS_SHOWN: usize = 14;

/// Adds `calls_by_day` (the newest first, so many at most), `most_calls_in_a_day`, `versions` and
/// `throttled`.
pub fn run_figures(
    store: &Store,
    run: RunId,
    days_max: usize,
    shown: &mut Value,
) -> Result<(), StoreError> {
    let days = store.run_days(run, u32::MAX)?;
    let versions = store.run_versions(run)?;
    let most = days
        .iter()
        .filter(|row| !row.day.is_empty())
        .max_by_key(|row| row.tally.calls());
    if let Some(most) = most {
        shown["most_calls_in_a_day"] = json!({ "day": most.day, "calls": most.tally.calls() });
    }
    let closed: f64 = days.iter().map(|row| row.tally.closed.as_secs_f64()).sum();
    let throttled: u64 = days.iter().map(|row| row.tally.throttled).sum();
    shown["throttled"] = json!({ "calls": throttled, "closed_s": closed });
    let days: Vec<Value> = days.iter().take(days_max).map(day).collect();
    shown["calls_by_day"] = days.into();
    let versions: Vec<Value> = versions.iter().map(version).collect();
    shown["versions"] = versions.into();
    Ok(())
}

/// A day; its name is null for all that was counted before days were kept.
fn day(row: &DayRow) -> Value {
    let tally = &row.tally;
    json!({
        "day": Some(&row.day).filter(|day| !day.is_empty()),
        "calls": tally.calls(),
        "first_tries": tally.first_tries,
        "retries": tally.retries,
        "done": tally.done,
        "failed": tally.failed,
        "redone": tally.redone,
        "put_back": tally.put_back,
        "interrupted": tally.interrupted,
        "throttled": tally.throttled,
        "closed_s": tally.closed.as_secs_f64(),
    })
}

/// A version; null for all that was counted before versions were kept, 0 for what ended without an answer
/// of a handler.
#[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
fn version(row: &RunVersionRow) -> Value {
    let tally = &row.tally;
    let judged = tally
        .calls
        .saturating_sub(tally.throttled + tally.interrupted);
    let known = tally.version > 0 && judged > 0;
    json!({
        "version": Some(tally.version).filter(|version| *version >= 0),
        "calls": tally.calls,
        "done": tally.done,
        "failed_tries": tally.failed_tries,
        "failed": tally.failed,
        "throttled": tally.throttled,
        "interrupted": tally.interrupted,
        "failure_rate": known.then(|| tally.failed_tries as f64 / judged as f64),
        "first_at": row.first.to_string(),
        "last_at": row.last.to_string(),
    })
}
