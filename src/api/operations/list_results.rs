//! `ListResults`: the results of a job's newest run, in dataset order.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{ids::Index, store::ResultRow};

/// Results in one answer, at most: some hundred bytes each, answered within milliseconds.
const PAGE_MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// From this index on.
    #[serde(default)]
    from: Index,
    max: Option<u32>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Some(run) = api.run(&input.job)? else {
        return Ok(json!({ "results": [] }));
    };
    let max = input.max.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let page = api.store.results(run.id, input.from, Index::MAX, max)?;
    let next = page
        .rows
        .last()
        .filter(|_| page.more)
        .map(|last| last.index + 1);
    let edited = match (page.rows.first(), page.rows.last()) {
        (Some(first), Some(last)) => api.store.edited_items(run.id, first.index, last.index)?,
        _ => BTreeSet::new(),
    };
    let show = |row: &ResultRow| {
        let mut shown = show(row);
        if edited.contains(&row.index) {
            shown["edited"] = true.into();
        }
        shown
    };
    let results: Vec<Value> = page.rows.iter().map(show).collect();
    Ok(json!({ "results": results, "next": next }))
}

pub(super) fn show(row: &ResultRow) -> Value {
    let mut shown = json!({ "index": row.index });
    if let Some(id) = &row.id {
        shown["id"] = id.as_str().into();
    }
    shown["result"] = row.result.value().clone();
    shown["version"] = row.version.into();
    shown["attempts"] = row.attempts.into();
    shown
}
