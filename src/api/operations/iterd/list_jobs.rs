//! `ListJobs`: every job that is known, each with where it stands; how many executions run; topics whose messages are not all delivered;
//! of a daemon its triggers, too.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, describe_job, standing};

/// Topics that are shown: more than people read.
const TOPICS_MAX: u32 = 100;

/// Running executions that are counted; from there on it is "many".
const RUNNING_MAX: u32 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

pub(super) fn call(api: &Api, _: &Input) -> Result<Value, ApiError> {
    let mut jobs = Vec::new();
    for job in api.store.jobs()? {
        jobs.push(standing::of(api, &job)?);
    }
    let topics = api.store.outbox_figures(TOPICS_MAX)?.into_iter().map(|it| {
        json!({
            "topic": it.topic,
            "waiting": it.waiting,
            "failing": it.failing,
            "given_up": it.given_up,
            "given_up_at": it.given_up_at.map(|at| at.to_string()),
            "error": it.error,
        })
    });
    let topics: Vec<Value> = topics.collect();
    let running = api.store.running_count(RUNNING_MAX)?;
    let mut shown = json!({ "jobs": jobs, "topics": topics, "executions": running });
    // Of who serves: the file alone does not know what the settings of a daemon are.
    if let Ok(engine) = api.engine()
        && engine.is_service()
    {
        let triggers = engine.triggers_standing()?.into_iter().map(|one| {
            json!({
                "trigger": one.name,
                "kind": one.kind,
                "machine": one.machine,
                "trouble": one.trouble,
            })
        });
        shown["triggers"] = triggers.collect();
    }
    describe_job::machine(api, &mut shown);
    Ok(shown)
}
