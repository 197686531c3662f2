//! `DeployPlugin`: put a version of a plugin in force.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::runtime::{Deploy, Deployed, DeployedJob, RuntimeError, Stage, Switch};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// A plugin's name, its folder, or a job.
    plugin: String,
    /// The folder to take, where it is not the plugin's own.
    from: Option<PathBuf>,
    /// An earlier version instead.
    version: Option<u32>,
    /// Go on with runs that were paused because their calls kept failing.
    #[serde(default)]
    resume: bool,
    /// In force without a proof.
    #[serde(default)]
    at_once: bool,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let deploy = Deploy {
        what: input.plugin,
        from: input.from,
        version: input.version,
        resume: input.resume,
        at_once: input.at_once,
        author: caller.to_owned(),
    };
    let engine = api.engine()?.clone();
    // Why in a task of its own: whoever asked may go away between the commit and the switch.
    let deploying = tokio::spawn(async move { engine.deploy(deploy).await });
    let done = deploying.await.map_err(|_| RuntimeError::Closed)??;
    Ok(answer(&done, api))
}

/// What a deploy came to, on the wire.
pub(super) fn answer(done: &Deployed, api: &Api) -> Value {
    let jobs: Vec<Value> = done.jobs.iter().map(job).collect();
    json!({
        "plugin": done.plugin,
        "version": done.version,
        "before": done.before,
        "stage": match done.stage {
            Stage::InForce => "in_force",
            Stage::Canary => "canary",
        },
        "changed": done.before != Some(done.version),
        "jobs": jobs,
        "live": api.is_working(),
    })
}

fn job(job: &DeployedJob) -> Value {
    let switch = match job.switch {
        Switch::Done => "done",
        Switch::Canary => "canary",
        Switch::Pending => "pending",
        Switch::AtStart => "at_start",
    };
    json!({
        "job": job.name,
        "switch": switch,
        "paused": job.paused,
        "resumed": job.resumed,
    })
}
