//! `ListEvents`: what happened to a job, to all of them, and to the daemon; the newest last.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    runtime::unknown_job,
    store::{EventKind, EventQuery, EventRow},
    time::Timestamp,
};

/// Events in one answer, at most.
const PAGE_MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Of one job alone.
    job: Option<String>,
    /// Of these kinds alone.
    #[serde(default)]
    kinds: Vec<String>,
    /// From then on: ISO 8601.
    since: Option<String>,
    /// Those behind this one, the oldest first; else the newest are answered.
    after: Option<i64>,
    /// Those before this one.
    before: Option<i64>,
    max: Option<u32>,
}

pub(super) fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    if let Some(job) = &input.job
        && api.store.job(job)?.is_none()
    {
        return Err(unknown_job(&api.store, job).into());
    }
    let kinds: Result<Vec<EventKind>, ApiError> =
        input.kinds.iter().map(|text| kind(text)).collect();
    let max = input.max.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let query = EventQuery {
        job: input.job,
        kinds: kinds?,
        since: input.since.as_deref().map(instant).transpose()?,
        after: input.after,
        before: input.before,
        // Why one more: it tells whether there are more.
        rows_max: max + 1,
    };
    let mut events = api.store.events(&query)?;
    let more = events.len() > max as usize;
    if more && query.after.is_some() {
        events.pop();
    } else if more {
        events.remove(0);
    }
    let shown: Vec<Value> = events.iter().map(show).collect();
    Ok(json!({ "events": shown, "more": more }))
}

/// An event, as every operation shows it.
pub(super) fn show(event: &EventRow) -> Value {
    json!({
        "id": event.id,
        "at": event.at.to_string(),
        "job": event.job,
        "kind": event.kind.as_str(),
        "reason": event.reason,
        "author": event.author,
        "detail": event.detail,
    })
}

fn kind(text: &str) -> Result<EventKind, ApiError> {
    EventKind::parse(text).ok_or_else(|| {
        let known: Vec<String> = EventKind::ALL
            .iter()
            .map(|kind| kind.as_str().replace(' ', "-"))
            .collect();
        ApiError::validation(format!(
            "no kind {text:?} of events is known; known are {}",
            known.join(", ")
        ))
    })
}

fn instant(text: &str) -> Result<Timestamp, ApiError> {
    text.parse().map(Timestamp::from_jiff).map_err(|_| {
        ApiError::validation(format!(
            "{text:?} is no instant; write for example 2026-11-25T10:00:00Z"
        ))
    })
}
