//! `RedoItems`: put finished records back to be done again, or tell which ones that would be.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, list_results};
use crate::{
    asl::path::{Condition, PathError},
    runtime::{ChangedRecord, Redone, RuntimeError, Selection, preview_redo},
    store::{RecordName, ResultRow, ResultScope},
    time::Timestamp,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// Only results of this version.
    version: Option<u32>,
    /// Only results answered from the first instant on and before the second, RFC 3339.
    between: Option<(String, String)>,
    /// Only results of which this holds, in the words of a JSONPath filter.
    r#where: Option<String>,
    /// Only these: ids, or `#` and an index.
    ids: Option<Vec<String>>,
    /// Tell only.
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let (job, dry_run) = (input.job.clone(), input.dry_run);
    let selection = selection(input)?;
    let outcome = if dry_run {
        preview(api, &job, selection).await?
    } else {
        api.engine()?.redo(&job, selection, caller).await?
    };
    let mut shown = show(&outcome);
    shown["job"] = job.into();
    shown["dry_run"] = dry_run.into();
    shown["live"] = api.is_working().into();
    Ok(shown)
}

async fn preview(api: &Api, job: &str, selection: Selection) -> Result<Redone, ApiError> {
    let Some(run) = api.run(job)? else {
        return Ok(Redone::default());
    };
    let store = api.store.clone();
    // Why on another thread: the search may take seconds.
    let looking = tokio::task::spawn_blocking(move || preview_redo(&store, run.id, &selection));
    Ok(looking.await.map_err(|_| RuntimeError::Closed)??)
}

fn selection(input: Input) -> Result<Selection, ApiError> {
    let between = match input.between {
        Some((from, to)) => {
            let (from, to) = (instant(&from)?, instant(&to)?);
            if from >= to {
                let why =
                    format!("between {from} and {to} lies nothing: the first has to be earlier");
                return Err(ApiError::validation(why));
            }
            Some((from, to))
        }
        None => None,
    };
    let condition = match input.r#where {
        Some(text) => Some(Condition::parse(&text).map_err(|error| point_into(&text, &error))?),
        None => None,
    };
    let names = input.ids.map(|ids| {
        let names = ids.iter().map(|id| RecordName::parse(id));
        names.collect()
    });
    let scope = ResultScope {
        version: input.version,
        between,
    };
    if scope == ResultScope::default() && condition.is_none() && names.is_none() {
        let why = "say which results: version, between, where or ids";
        return Err(ApiError::validation(why));
    }
    Ok(Selection {
        scope,
        condition,
        names,
    })
}

fn instant(text: &str) -> Result<Timestamp, ApiError> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(Timestamp::from_jiff).map_err(|_| {
        ApiError::validation(format!(
            "{text:?} is no instant; write it as in 2026-03-01T00:00:00Z"
        ))
    })
}

/// A condition that is longer is not shown with its error.
const POINTED_CHARS_MAX: usize = 1000;

/// The error with the place it means, as people see it.
fn point_into(text: &str, error: &PathError) -> ApiError {
    let before = text.get(..error.offset).unwrap_or(text).chars().count();
    if before > POINTED_CHARS_MAX {
        let message = format!(
            "the condition is wrong at character {before}: {}",
            error.message
        );
        return ApiError::validation(message);
    }
    ApiError::validation(format!(
        "the condition is wrong: {}\n  {text}\n  {:before$}^",
        error.message, ""
    ))
}

fn show(outcome: &Redone) -> Value {
    let examples: Vec<Value> = outcome.examples.iter().map(example).collect();
    let unknown: Vec<String> = outcome.unknown.iter().map(ToString::to_string).collect();
    let changed: Vec<Value> = outcome.changed.iter().map(changed).collect();
    json!({
        "items": outcome.items,
        "examples": examples,
        "under_way": outcome.under_way,
        "unknown_items": outcome.unknown_items,
        "unknown": unknown,
        "changed_items": outcome.changed_items,
        "changed": changed,
    })
}

fn example(row: &ResultRow) -> Value {
    let mut shown = list_results::show(row);
    shown["at"] = row.at.to_string().into();
    shown
}

fn changed(record: &ChangedRecord) -> Value {
    json!({ "index": record.index, "id": record.id, "cause": record.cause })
}
