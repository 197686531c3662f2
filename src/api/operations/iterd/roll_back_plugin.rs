//! `RollBackPlugin`: withdraw the version that proves itself, else go back to the one of before.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, deploy_plugin};
use crate::runtime::{RolledBack, RuntimeError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// A plugin's name, its folder, or a job.
    plugin: String,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let (engine, author) = (api.engine()?.clone(), caller.to_owned());
    // Why in a task of its own: whoever asked may go away between the commit and the switch.
    let going = tokio::spawn(async move { engine.roll_back(&input.plugin, &author).await });
    Ok(match going.await.map_err(|_| RuntimeError::Closed)?? {
        RolledBack::Withdrawn { plugin, version } => {
            json!({ "plugin": plugin, "withdrawn": version })
        }
        RolledBack::PutBack(deployed) => deploy_plugin::answer(&deployed, api),
    })
}
