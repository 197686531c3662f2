//! `ListVersions`: the versions of plugins, and which are in force.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    api::ErrorKind,
    store::{DeployedVersion, InForceRow},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The name in the plugin's manifest, or its place; all of them where it is not given.
    plugin: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let in_force = api.store.all_in_force()?;
    let names = match &input.plugin {
        None => api.store.plugins()?,
        Some(wanted) => {
            let at = in_force.iter().find(|row| row.place == *wanted);
            vec![at.map_or_else(|| wanted.clone(), |row| row.plugin.clone())]
        }
    };
    let canaries = api.store.all_canaries()?;
    let mut plugins = Vec::new();
    for name in names {
        let versions = api.store.versions(&name)?;
        if versions.is_empty() {
            return Err(ApiError::new(
                ErrorKind::NotFound,
                format!(
                    "no plugin {name:?} has versions here; iterd plugin list shows those that have"
                ),
            ));
        }
        let here: Vec<&InForceRow> = in_force.iter().filter(|row| row.plugin == name).collect();
        let versions: Vec<Value> = versions.iter().map(|it| version(api, it, &here)).collect();
        let canaries: Vec<Value> = canaries
            .iter()
            .filter(|row| row.plugin == name)
            .map(|row| canary(api, row))
            .collect::<Result<_, _>>()?;
        let aliases = api.store.plugin_aliases(Some(&name))?;
        let aliases: Vec<Value> = aliases
            .iter()
            .map(|row| json!({ "alias": row.alias, "version": row.version, "by": row.author }))
            .collect();
        plugins.push(json!({
            "plugin": name,
            "versions": versions,
            "canaries": canaries,
            "aliases": aliases,
        }));
    }
    Ok(json!({ "plugins": plugins }))
}

/// A version that proves itself, and what it has shown to each job.
fn canary(api: &Api, row: &InForceRow) -> Result<Value, ApiError> {
    // Why none without one: a command that only reads the file sees no run at work.
    let jobs = match api.engine() {
        Ok(engine) => engine.canary_figures(&row.place, row.version)?,
        Err(_) => Vec::new(),
    };
    let jobs: Vec<Value> = jobs
        .into_iter()
        .map(|(job, tally)| {
            json!({
                "job": job,
                "successes": tally.successes,
                "outcomes": tally.outcomes,
                "failures": tally.disproofs,
            })
        })
        .collect();
    Ok(json!({
        "version": row.version,
        "place": row.place,
        "by": row.author,
        "since": row.at.to_string(),
        "jobs": jobs,
    }))
}

fn version(api: &Api, version: &DeployedVersion, in_force: &[&InForceRow]) -> Value {
    let row = &version.row;
    let places: Vec<&str> = in_force
        .iter()
        .filter(|it| it.version == row.version)
        .map(|it| it.place.as_str())
        .collect();
    let copy = api
        .store
        .path()
        .parent()
        .map(|root| root.join("plugins").join(&row.plugin).join(&row.hash));
    json!({
        "version": row.version,
        "hash": row.hash,
        "first_seen": row.created.to_string(),
        "deployed": version.deployed.map(|at| at.to_string()),
        "by": version.author,
        "in_force_at": places,
        "kept": copy.is_some_and(|copy| copy.is_dir()),
    })
}
