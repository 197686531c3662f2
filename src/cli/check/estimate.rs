//! What a job will take: time, calls, and room for its state.
//!
//! Owns the reckoning from a source's survey and a job's plan. It knows the limits and the hours to the
//! minute and the handler not at all, so a time is a bound from below: if there is always a worker free.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use crate::{
    cli::survey::Survey,
    config::job::{Attempts, JobFile, Opening},
    limiter::{Forecast, Limits, Stretch},
    runtime::Plan,
    time::Timestamp,
};

/// A row in a b-tree beside its texts: its header, the numbers in it (run, place, version, attempts,
/// instant), its pointer in the page.
const ROW_BYTES: u64 = 30;

/// As [`ROW_BYTES`], of an entry in the index by id.
const ENTRY_BYTES: u64 = 16;

/// Pages of a b-tree that grows at its end are full but for a sixteenth; where ids come in any order,
/// an index fills two thirds of its pages.
const FILL: (u64, u64) = (17, 16);
const INDEX_FILL: (u64, u64) = (3, 2);

/// The state of a job without a record.
const EMPTY_BYTES: u64 = 256 * 1024;

/// What is asked of a reckoning.
pub(super) struct Question<'a> {
    pub(super) file: &'a JobFile,
    pub(super) plan: &'a Plan,
    pub(super) survey: &'a Survey,
    /// How long a result is, in bytes, where somebody knows.
    pub(super) result_bytes: Option<u64>,
    pub(super) now: Timestamp,
}

/// When so many calls would begin.
pub(in crate::cli) fn forecast(plan: &Plan, calls: u64, now: Timestamp) -> Forecast {
    plan.limits.forecast(calls, plan.weight, now, |at| {
        let opening = plan.schedule.as_ref().map(|schedule| schedule.opening(at));
        let (open, until) = match opening {
            None => (true, Timestamp::MAX),
            Some(Opening::Open(until)) => (true, until),
            Some(Opening::Closed(until)) => (false, until),
        };
        Stretch { open, until }
    })
}

/// The answer, with how it was found.
pub(super) fn estimate(question: &Question<'_>) -> Value {
    let Question {
        file,
        plan,
        survey,
        now,
        ..
    } = question;
    let calls = survey.records.saturating_sub(survey.malformed);
    let most = calls_with_retries(calls, file);
    let (soon, late) = (forecast(plan, calls, *now), forecast(plan, most, *now));
    let instant = |at: Timestamp| (at != Timestamp::MAX).then(|| at.to_string());
    let seconds = |at: Timestamp| (at != Timestamp::MAX).then(|| at.since(*now).as_secs_f64());
    json!({
        "records": survey.records,
        "records_read": survey.read,
        "exact": survey.whole,
        "calls": { "least": calls, "most": most },
        "starts_at": instant(soon.first),
        "ends_at": { "earliest": instant(soon.last), "latest": instant(late.last) },
        "seconds": { "least": seconds(soon.last), "most": seconds(late.last) },
        "never": soon.last == Timestamp::MAX,
        "retry_share": file.retry.quota_share().fraction(),
        "calls_per_day": calls_per_day(calls, soon, *now),
        "calls_per_day_max": most_in_a_day(&plan.limits, plan.weight),
        "state": state(question),
        "how": "records by the limits and hours, if a worker is always free and nobody else uses the limiter; \
                at most, with retries at their share of the limit all the time",
    })
}

/// Retries have their share while new items wait, and no more attempts than the job allows.
fn calls_with_retries(calls: u64, file: &JobFile) -> u64 {
    let hundredths = u64::from(file.retry.quota_share().hundredths());
    let share = match 10_000_u64.saturating_sub(hundredths) {
        0 => u64::MAX,
        rest => calls.saturating_mul(10_000).div_ceil(rest),
    };
    match file.retry.attempts {
        Attempts::Count(attempts) => share.min(calls.saturating_mul(attempts.into())),
        // Without a bound on the share either there is nothing to reckon with.
        Attempts::Forever if share == u64::MAX => calls,
        Attempts::Forever => share,
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an average, for people"
)]
fn calls_per_day(calls: u64, forecast: Forecast, now: Timestamp) -> Option<u64> {
    if forecast.last == Timestamp::MAX {
        return None;
    }
    let days = (forecast.last.since(now).as_secs_f64() / 86_400.0).max(1.0);
    Some((calls as f64 / days).round() as u64)
}

/// What the limits let through within 24 hours, at most; none where they let everything through.
fn most_in_a_day(limits: &Limits, weight: NonZeroU32) -> Option<u64> {
    limits.most_in_a_day(weight)
}

/// Bytes of the state directory when all is done.
fn state(question: &Question<'_>) -> Value {
    let survey = question.survey;
    let item_bytes = survey.average(survey.item_bytes);
    let id_bytes = survey.average(survey.id_bytes);
    let result_bytes = question.result_bytes.unwrap_or(item_bytes);
    let row = scaled(ROW_BYTES + id_bytes + result_bytes, FILL);
    let has_id = question.plan.source.id.is_some();
    let entry = if has_id {
        scaled(ENTRY_BYTES + id_bytes, INDEX_FILL)
    } else {
        0
    };
    let bytes = survey
        .records
        .saturating_mul(row + entry)
        .saturating_add(EMPTY_BYTES);
    json!({
        "bytes": bytes,
        "bytes_per_record": row + entry,
        "record_bytes": item_bytes,
        "id_bytes": id_bytes,
        "result_bytes": result_bytes,
        "result_bytes_known": question.result_bytes.is_some(),
        "how": format!(
            "a row of {ROW_BYTES} bytes with the id and the result, in pages that are {}/{} full, and for \
             records with an id an entry of {ENTRY_BYTES} bytes with it, in pages that are {}/{} full; \
             a result is taken to be as long as a record unless --result-bytes says how long; \
             failures, which keep their record, are not reckoned with, nor is the write-ahead log",
            FILL.1, FILL.0, INDEX_FILL.1, INDEX_FILL.0,
        ),
    })
}

fn scaled(bytes: u64, (times, over): (u64, u64)) -> u64 {
    bytes.saturating_mul(times).div_ceil(over)
}
