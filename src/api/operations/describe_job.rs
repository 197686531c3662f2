//! `DescribeJob`: the whole picture of a job.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, figures, standing};
use crate::{
    config::{Limit, job::PluginRef},
    runtime::unknown_job,
    store::JobRow,
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
    let events: Vec<Value> = api
        .store
        .events(&job.name, EVENTS_MAX)?
        .into_iter()
        .map(|event| {
            json!({ "at": event.at.to_string(), "kind": event.kind, "detail": event.detail })
        })
        .collect();
    shown["events"] = events.into();
    machine(api, &mut shown);
    Ok(shown)
}

/// What the job's file says, as it was last taken over.
fn file(job: &JobRow, shown: &mut Value) {
    shown["file"] = job.path.as_str().into();
    let Ok(file) = job.file() else {
        return;
    };
    shown["description"] = file.description.into();
    shown["concurrency"] = file.process.concurrency.into();
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
fn machine(api: &Api, shown: &mut Value) {
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
