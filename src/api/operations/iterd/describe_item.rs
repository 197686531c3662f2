//! `DescribeItem`: everything that is known of one item of a job's newest run.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, item, list_items, list_results};
use crate::{
    ids::Index,
    runtime::{ItemName, RuntimeError},
    store::{InterventionRow, RunRow, Trace},
};

/// Records with one id that are named where there are several.
const PLACES_MAX: u32 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// An id, or a place as `#17`.
    item: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let name = item(&input.item)?;
    let Some(run) = api.run(&input.job)? else {
        return Err(unknown(input, &name, "; it was never started"));
    };
    let index = match &name {
        ItemName::Index(index) => *index,
        ItemName::Id(id) => match api.store.places_of(run.id, id, PLACES_MAX)?.as_slice() {
            [index] => *index,
            [] => {
                let hint = "; what has no outcome yet and never failed is known by its place: '#0'";
                return Err(unknown(input, &name, hint));
            }
            several => return Err(RuntimeError::ambiguous_item(&name, several).into()),
        },
    };
    let mut shown = match api.store.trace(run.id, index)? {
        Trace::Child(row) => {
            let live = is_live(api, &input.job);
            let mut shown = list_items::child(&row, live);
            shown["item"] = value(&row.payload);
            shown
        }
        Trace::Failed(row) => list_items::failed(&row),
        Trace::Done(row) => {
            let mut shown = list_results::show(&row);
            shown["status"] = "done".into();
            shown["at"] = row.at.to_string().into();
            shown
        }
        Trace::Nothing => untouched(api, &run, input, &name, index)?,
    };
    let interventions = api.store.interventions(run.id, index)?;
    if !interventions.is_empty() {
        shown["interventions"] = interventions.iter().map(intervention).collect();
    }
    Ok(shown)
}

fn is_live(api: &Api, job: &str) -> bool {
    let engine = api.engine.as_ref();
    engine.is_some_and(|engine| engine.view(job).is_some())
}

/// An item of which the file knows nothing.
fn untouched(
    api: &Api,
    run: &RunRow,
    input: &Input,
    name: &ItemName,
    index: Index,
) -> Result<Value, ApiError> {
    let checkpoint = &run.checkpoint;
    let read = checkpoint.total.map(|total| total + checkpoint.left_out);
    let status = if index < checkpoint.left_out {
        "left_out"
    } else if index < checkpoint.high_mark && is_live(api, &input.job) {
        "in_flight"
    } else if index < checkpoint.high_mark {
        "in_doubt"
    } else if read.is_some_and(|read| index >= read) {
        return Err(unknown(input, name, "; the source has fewer records"));
    } else {
        "to_go"
    };
    Ok(json!({ "index": index, "status": status }))
}

fn intervention(row: &InterventionRow) -> Value {
    let mut shown = json!({
        "what": row.kind.as_str(),
        "by": row.author,
        "note": row.note,
        "at": row.at.to_string(),
    });
    if let Some(original) = &row.original {
        shown["original"] = value(original);
    }
    shown
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn unknown(input: &Input, name: &ItemName, hint: &str) -> ApiError {
    RuntimeError::UnknownItem {
        job: input.job.clone(),
        name: name.to_string(),
        hint: hint.to_owned(),
    }
    .into()
}
