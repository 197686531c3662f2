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
    Ok((page.rows.iter().map(child).collect(), page.more))
}

/// What was dispatched and has no outcome: rows in flight, and what lies without a row between
/// watermark and high mark.
fn in_doubt(
    api: &Api,
    run: &RunRow,
    after: Option<Index>,
    max: u32,
) -> Result<(Vec<Value>, bool), ApiError> {
    let (mut items, mut more) = children(api, run, RowStatus::InFlight, after, max)?;
    // Why: what lies behind a page that is cut short belongs to the next one.
    let behind = items
        .last()
        .filter(|_| more)
        .and_then(|last| last["index"].as_u64())
        .unwrap_or(Index::MAX);
    let checkpoint = &run.checkpoint;
    let first = after.map_or(0, |after| after + 1).max(checkpoint.watermark);
    let implicit = (first..checkpoint.high_mark.min(behind))
        .filter(|index| {
            !checkpoint
                .done
                .iter()
                .any(|(from, to)| (*from..*to).contains(index))
        })
        .take(max as usize)
        .map(|index| json!({ "index": index, "status": "in_doubt" }));
    items.extend(implicit);
    items.sort_by_key(|item| item["index"].as_u64());
    more |= items.len() >= max as usize;
    items.truncate(max as usize);
    Ok((items, more))
}

fn child(row: &ChildRow) -> Value {
    let status = match row.status {
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

fn failed(row: &FailureRow) -> Value {
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
