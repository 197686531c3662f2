//! `DescribeJob`: the whole picture of a job.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, figures, list_events, standing};
use crate::{
    config::{Limit, job::PluginRef},
    runtime::unknown_job,
    store::{EventKind, EventQuery, JobRow},
};

/// Groups of errors that are shown; the most frequent ones, the rest is one command away.
const ERROR_GROUPS_MAX: u32 = 10;

/// Events that are shown.
const EVENTS_MAX: u32 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let Some(job) = api.store.job(&input.job)? else {
        return Err(unknown_job(&api.store, &input.job).into());
    };
    let mut shown = standing::of(api, &job)?;
    file(&job, &mut shown);
    if let Some(run) = api.run(&job.name)? {
        let errors: Vec<Value> = api
            .store
            .failures_by_error(run.id, ERROR_GROUPS_MAX)?
            .into_iter()
            .map(
                |group| json!({ "error": group.error, "items": group.items, "cause": group.cause }),
            )
            .collect();
        shown["errors"] = errors.into();
        figures::run_figures(&api.store, run.id, figures::DAYS_SHOWN, &mut shown)?;
    }
    events(api, &job.name, &mut shown)?;
    machine(api, &mut shown);
    Ok(shown)
}

/// The last events, since when and how it is paused, and how its notifications fare.
fn events(api: &Api, job: &str, shown: &mut Value) -> Result<(), ApiError> {
    let query = EventQuery {
        job: Some(job.to_owned()),
        rows_max: EVENTS_MAX,
        ..EventQuery::default()
    };
    let events = api.store.events(&query)?;
    // Why the newest first here: it is what a picture is looked at for.
    let events: Vec<Value> = events.iter().rev().map(list_events::show).collect();
    shown["events"] = events.into();
    if shown["status"] == "paused" {
        let paused = api.store.events(&EventQuery {
            kinds: vec![EventKind::Paused],
            rows_max: 1,
            ..query
        })?;
        if let Some(event) = paused.last() {
            shown["paused_at"] = event.at.to_string().into();
            shown["pause_detail"] = event.detail.as_str().into();
        }
    }
    let owed = api.store.notification_figures(job)?;
    shown["notifications"] = json!({
        "waiting": owed.waiting,
        "given_up": owed.given_up,
        "error": owed.error,
    });
    Ok(())
}

/// What the job's file says, as it was last taken over.
fn file(job: &JobRow, shown: &mut Value) {
    shown["file"] = job.path.as_str().into();
    let Ok(file) = job.file() else {
        return;
    };
    shown["description"] = file.description.into();
    shown["concurrency"] = file.process.concurrency.into();
    let source = |key: &str| file.source.get(key).and_then(Value::as_str);
    shown["source"] = json!({
        "kind": source("kind"),
        "path": source("path").map(|path| file.base_dir.join(path).display().to_string()),
    });
    shown["notify"] = file.notify.is_some().into();
    shown["plugin"] = match file.process.plugin {
        PluginRef::Name(name) => name.into(),
        PluginRef::Folder(folder) => {
            let folder = folder.canonicalize().unwrap_or(folder);
            folder.display().to_string().into()
        }
    };
    shown["limit"] = match file.limit {
        Limit::Own(limit) => json!({ "pace": limit.pace, "quota": limit.quota }),
        Limit::Shared(name) => json!({ "use": name }),
    };
}

/// Whether somebody keeps jobs running here, where the state lies, and how the disk under it fares.
pub(super) fn machine(api: &Api, shown: &mut Value) {
    let directory = api.store.path().parent();
    shown["served"] = api.is_working().into();
    shown["state_dir"] = directory.map(|path| path.display().to_string()).into();
    if let Some(engine) = &api.engine {
        let disk = engine.disk();
        shown["disk"] = json!({
            "free_bytes": disk.free(),
            "free_bytes_min": disk.free_min(),
            "full": disk.is_full(),
        });
    }
}
