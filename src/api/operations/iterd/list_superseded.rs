//! `ListSuperseded`: the results of a job's newest run that a redo has replaced, in dataset order.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, list_results};
use crate::ids::Index;

/// Results in one answer, at most, as of `ListResults`.
const PAGE_MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// From this record on.
    #[serde(default)]
    from: Index,
    /// Of that record: from the result on that this redo had given.
    #[serde(default)]
    from_redo: u32,
    max: Option<u32>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Some(run) = api.run(&input.job)? else {
        return Ok(json!({ "results": [] }));
    };
    let max = input.max.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let from = (input.from, input.from_redo);
    let page = api.store.superseded(run.id, from, max)?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|last| last.row.index);
    let next_redo = last.map(|last| last.row.redo + 1);
    let results: Vec<Value> = page
        .rows
        .iter()
        .map(|superseded| {
            let mut shown = list_results::show(&superseded.row);
            shown["redo"] = superseded.row.redo.into();
            shown["at"] = superseded.row.at.to_string().into();
            shown["superseded_at"] = superseded.superseded.to_string().into();
            shown
        })
        .collect();
    Ok(json!({ "results": results, "next": next, "next_redo": next_redo }))
}
