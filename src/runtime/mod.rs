//! The shell around the cores: load, step, commit, dispatch.
//!
//! An [`Engine`] owns a state directory and the jobs in it. Each live run has an actor (`run/`) that
//! feeds the pure core and carries out what it says after the commit; a keeper (`jobs`) makes it
//! anew should it break off. Invariant: nothing outside is told or asked for anything that is not
//! durable yet.

mod auditor;
mod control;
mod disk;
mod engine;
mod error;
mod executions;
mod exporter;
mod jobs;
mod keeper;
mod limiter_control;
mod limiter_list;
mod limiters;
mod overrides;
mod plan;
mod plugin_events;
mod plugins;
mod pruner;
mod run;
mod scheduler;
mod state_dir;

#[cfg(test)]
mod tests;

pub use auditor::{Audit, AuditError, Found as FoundRecords, audit, audit_trusting};
pub use control::unknown_job;
pub use disk::Disk;
pub use engine::{Engine, EngineSetup};
pub use error::RuntimeError;
pub use jobs::Started;
pub use limiter_control::LimiterOrder;
pub use limiter_list::{KnownLimiter, known_limiters, unknown_limiter};
pub use limiters::{Limiters, SharedLimiter};
pub use overrides::Clear;
pub use plan::{Plan, StoredPlan};
pub use plugins::{Found, IDENTITY, Plugins, plugin_folder, plugin_manifest};
pub use pruner::Pruner;
pub use run::RunView;
pub use scheduler::Scheduler;
pub use state_dir::{StateDir, StateError, StatePaths};
