//! What lets a handler call the daemon that runs it, and the services that tasks reach: a port, because
//! the plugin host knows neither keys nor listeners.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a handler may do there, as `role` of its manifest says; never to change what there is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallerRole {
    /// Looks, at tables, objects and executions.
    ReadOnly,
    /// Also puts and sends, starts executions and answers tasks.
    Operator,
}

/// Gives handlers what clients of AWS need.
pub trait Access: Send + Sync {
    /// The environment variables for the plugin of that name. Blocks. An error is for people.
    fn variables(&self, plugin: &str, role: CallerRole)
    -> Result<BTreeMap<String, String>, String>;
}

/// Where nobody listens.
#[derive(Debug, Clone, Copy)]
pub struct NoAccess;

impl Access for NoAccess {
    fn variables(&self, _: &str, _: CallerRole) -> Result<BTreeMap<String, String>, String> {
        Err("nobody listens here for handlers; iterd serve does".to_owned())
    }
}
