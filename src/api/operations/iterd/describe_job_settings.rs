//! `DescribeJobSettings`: what is in force for a job, key by key, and who says so.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    config::{Limit, LimitSpec, Origin, Row},
    runtime::{KnownLimiter, RuntimeError, known_limiters, unknown_job},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Some(job) = api.store.job(&input.job)? else {
        return Err(unknown_job(&api.store, &input.job).into());
    };
    let file = job
        .file()
        .map_err(|problems| RuntimeError::Job(problems.to_string()))?;
    let mut rows: Vec<Value> = file.rows().iter().map(row).collect();
    if let Limit::Shared(name) = &file.limit {
        let known = known_limiters(&api.store, &api.config())?;
        if let Some(limiter) = known.get(name) {
            let at = rows.iter().position(|row| row["key"] == "limit.use");
            let at = at.map_or(rows.len(), |at| at + 1);
            rows.splice(at..at, shared(name, limiter));
        }
    }
    Ok(json!({ "job": job.name, "file": job.path, "settings": rows }))
}

fn row(row: &Row) -> Value {
    let mut shown = json!({
        "key": row.key,
        "value": row.value,
        "origin": row.origin.to_string(),
    });
    if let Origin::Override { author, at } = &row.origin {
        shown["author"] = author.as_str().into();
        shown["at"] = at.to_string().into();
    }
    shown
}

/// What the shared limiter of a job is set to.
fn shared(name: &str, limiter: &KnownLimiter) -> Vec<Value> {
    let spec = limiter.spec.clone().unwrap_or_default();
    let rows = spec.rows(&format!("limiters.{name}"));
    rows.into_iter()
        .map(|(key, last, value)| {
            let set = limiter.overrides.iter().find(|(key, _)| key == last);
            let origin = match set {
                Some((_, set)) => Origin::Override {
                    author: set.author.clone(),
                    at: set.at,
                },
                None => Origin::Default,
            };
            let mut shown = row(&Row { key, value, origin });
            if set.is_none() {
                shown["origin"] = origin_of(limiter, &spec, last).into();
            }
            shown
        })
        .collect()
}

/// Why not a place: a daemon knows what its settings say and not in which line.
fn origin_of(limiter: &KnownLimiter, spec: &LimitSpec, key: &str) -> &'static str {
    let default = LimitSpec::default();
    let written = match key {
        "time_zone" => spec.time_zone != default.time_zone,
        "reset_hour" => spec.reset_hour != default.reset_hour,
        "spread" => spec.spread != default.spread,
        "reserve" => spec.reserve != default.reserve,
        "weight" => spec.weight != default.weight,
        _ => true,
    };
    if limiter.spec.is_some() && written {
        "the settings"
    } else {
        "default"
    }
}
