//! The shell around the cores: load, step, commit, dispatch.
//!
//! An [`Engine`] owns a state directory and the jobs in it. Each live run has an actor (`run/`) that
//! feeds the pure core and carries out what it says after the commit; a keeper (`jobs`) makes it
//! anew should it break off. Invariant: nothing outside is told or asked for anything that is not
//! durable yet.

mod author;
mod chronicler;
mod control;
mod disk;
mod edit;
mod engine;
mod error;
mod executions;
mod exporter;
mod jobs;
mod keeper;
mod limiters;
mod lookout;
mod notifier;
mod plan;
mod plugin_events;
mod plugins;
mod pruner;
mod run;
mod run_events;
mod scheduler;
mod state_dir;

#[cfg(test)]
mod tests;

pub use author::on_behalf_of;
pub use chronicler::Chronicler;
pub use control::unknown_job;
pub use disk::Disk;
pub use engine::{Engine, EngineSetup};
pub use error::RuntimeError;
pub use jobs::Started;
pub use limiters::{Limiters, SharedLimiter};
pub use lookout::Lookout;
pub use notifier::{Notifier, Tried};
pub use plan::{Plan, StoredPlan};
pub use plugins::{Found, IDENTITY, Plugins, plugin_folder, plugin_manifest};
pub use pruner::Pruner;
pub use run::RunView;
pub use scheduler::Scheduler;
pub use state_dir::{StateDir, StateError, StatePaths};
