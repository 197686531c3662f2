//! `ListResults`: the results of a job's newest run, in dataset order.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    ids::{Index, RunId},
    store::ResultRow,
};

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
    let results = shown(api, run.id, &page.rows)?;
    Ok(json!({ "results": results, "next": next }))
}

fn shown(api: &Api, run: RunId, rows: &[ResultRow]) -> Result<Vec<Value>, ApiError> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let redoing = api.store.redone_between(run, first.index, last.index)?;
    let edited = api.store.edited_items(run, first.index, last.index)?;
    let show = |row: &ResultRow| {
        let mut shown = show(row);
        if edited.contains(&row.index) {
            shown["edited"] = true.into();
        }
        if redoing.binary_search(&row.index).is_ok() {
            shown["redoing"] = true.into();
        }
        shown
    };
    Ok(rows.iter().map(show).collect())
}

/// A result as it is told; what is so of most results is left out.
pub(super) fn show(row: &ResultRow) -> Value {
    let mut shown = json!({ "index": row.index });
    if let Some(id) = &row.id {
        shown["id"] = id.as_str().into();
    }
    shown["result"] = row.result.value().clone();
    shown["version"] = row.version.into();
    shown["attempts"] = row.attempts.into();
    if row.redo > 0 {
        shown["redo"] = row.redo.into();
    }
    shown
}
