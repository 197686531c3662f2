//! `ListItems`: the items of a job's newest run that are not simply done, by status.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    ids::Index,
    iteration::RowStatus,
    store::{ChildRow, FailureRow, RunRow},
    time::Timestamp,
};

/// Items in one answer, at most.
const PAGE_MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    status: Status,
    /// Only failures with this error.
    error: Option<String>,
    /// After this index.
    after: Option<Index>,
    max: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Failed,
    Retrying,
    Waiting,
    Held,
    Queued,
    InDoubt,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Some(run) = api.run(&input.job)? else {
        return Ok(json!({ "items": [] }));
    };
    let max = input.max.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let (items, more) = match input.status {
        Status::Failed => {
            let error = input.error.as_deref();
            let page = api.store.failures(run.id, error, input.after, max)?;
            let items: Vec<Value> = page.rows.iter().map(failed).collect();
            (items, page.more)
        }
        Status::Retrying => children(api, &run, RowStatus::Retrying, input.after, max)?,
        Status::Waiting => children(api, &run, RowStatus::Waiting, input.after, max)?,
        Status::Held => children(api, &run, RowStatus::Held, input.after, max)?,
        Status::Queued => children(api, &run, RowStatus::Queued, input.after, max)?,
        Status::InDoubt => in_doubt(api, &run, input.after, max)?,
    };
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| last["index"].clone());
    Ok(json!({ "items": items, "next": next }))
}

fn children(
    api: &Api,
    run: &RunRow,
    status: RowStatus,
    after: Option<Index>,
    max: u32,
) -> Result<(Vec<Value>, bool), ApiError> {
    let page = api.store.children(run.id, status, after, max)?;
    Ok((
        page.rows.iter().map(|row| child(row, false)).collect(),
        page.more,
    ))
}

/// What is held, and of a run that rests what was in flight: rows, and what lies without a row between
/// watermark and high mark. A live run knows of what is in flight, so that is not in doubt.
fn in_doubt(
    api: &Api,
    run: &RunRow,
    after: Option<Index>,
    max: u32,
) -> Result<(Vec<Value>, bool), ApiError> {
    let live = api
        .engine
        .as_ref()
        .is_some_and(|engine| engine.view(&run.job).is_some());
    let mut pages = vec![children(api, run, RowStatus::Held, after, max)?];
    if !live && !run.checkpoint.status.is_ended() {
        pages.push(children(api, run, RowStatus::InFlight, after, max)?);
        pages.push(implicit(run, after, max));
    }
    Ok(merge(pages, max as usize))
}

/// What lies between watermark and high mark and is not done: bounded by the window.
fn implicit(run: &RunRow, after: Option<Index>, max: u32) -> (Vec<Value>, bool) {
    let checkpoint = &run.checkpoint;
    let first = after.map_or(0, |after| after + 1).max(checkpoint.watermark);
    let mut indexes = (first..checkpoint.high_mark).filter(|index| {
        let done = &checkpoint.done;
        let at = done.partition_point(|(_, end)| *end <= *index);
        done.get(at).is_none_or(|(from, _)| *from > *index)
    });
    let items = indexes
        .by_ref()
        .take(max as usize)
        .map(|index| json!({ "index": index, "status": "in_doubt" }))
        .collect();
    (items, indexes.next().is_some())
}

/// One page of several, in order. Why a border: what lies behind the end of a page that was cut short
/// belongs to the next one.
fn merge(pages: Vec<(Vec<Value>, bool)>, max: usize) -> (Vec<Value>, bool) {
    let index = |item: &Value| item["index"].as_u64().unwrap_or(Index::MAX);
    let border = pages
        .iter()
        .filter(|(_, more)| *more)
        .filter_map(|(items, _)| items.last().map(index))
        .min();
    let mut items: Vec<Value> = pages.into_iter().flat_map(|(items, _)| items).collect();
    items.sort_by_key(index);
    let whole = items.len();
    items.retain(|item| border.is_none_or(|border| index(item) <= border));
    items.truncate(max);
    let more = border.is_some() || items.len() < whole;
    (items, more)
}

pub(super) fn child(row: &ChildRow, live: bool) -> Value {
    let status = match row.status {
        RowStatus::InFlight if live => "in_flight",
        RowStatus::InFlight => "in_doubt",
        RowStatus::Retrying | RowStatus::Waiting | RowStatus::Held | RowStatus::Queued => {
            row.status.as_str()
        }
    };
    let mut shown = json!({ "index": row.index, "status": status, "attempts": row.attempts });
    if let Some(id) = &row.id {
        shown["id"] = id.as_str().into();
    }
    if row.redo > 0 {
        shown["redo"] = row.redo.into();
    }
    if row.due < Timestamp::MAX && row.status != RowStatus::InFlight {
        shown["due"] = row.due.to_string().into();
    }
    if let Some(error) = &row.error {
        shown["error"] = error.as_str().into();
        shown["cause"] = row.cause.as_deref().unwrap_or("").into();
    }
    shown
}

pub(super) fn failed(row: &FailureRow) -> Value {
    let mut shown = json!({
        "index": row.index,
        "status": "failed",
        "attempts": row.attempts,
        "error": row.error,
        "cause": row.cause,
        "version": row.version,
        "at": row.at.to_string(),
    });
    if let Some(id) = &row.id {
        shown["id"] = id.as_str().into();
    }
    if row.redo > 0 {
        shown["redo"] = row.redo.into();
    }
    if let Some(payload) = &row.payload {
        shown["item"] = serde_json::from_str(payload).unwrap_or(Value::Null);
    }
    shown
}
