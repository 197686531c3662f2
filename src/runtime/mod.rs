//! The shell around the cores: load, step, commit, dispatch.
//!
//! An [`Engine`] owns a state directory and the jobs in it. Each live run has an actor (`run/`) that
//! feeds the pure core and carries out what it says after the commit; a keeper (`jobs`) makes it
//! anew should it break off. Invariant: nothing outside is told or asked for anything that is not
//! durable yet.

mod adopted_output;
mod adopter;
mod auditor;
mod author;
mod canaries;
mod chronicler;
mod conductor;
mod control;
mod copies;
mod courier;
mod decisions;
mod deployer;
mod disk;
mod edit;
mod engine;
mod error;
mod executions;
mod exporter;
mod finder;
mod history;
mod items;
mod jobs;
mod keeper;
mod limiter_control;
mod limiter_list;
mod limiters;
mod lookout;
mod machines;
mod notifier;
mod overrides;
mod plan;
mod plugin_events;
mod plugins;
mod proof;
mod pruner;
mod queue_elsewhere;
mod reach;
mod receiving;
mod records;
mod redo;
mod request;
mod run;
mod run_events;
mod scheduler;
mod selection;
mod state_dir;
mod telling;
mod tester;
mod token;
mod triggers;

#[cfg(test)]
mod tests;

pub use adopter::Adopted;
pub use auditor::{Audit, AuditError, Found as FoundRecords, audit, audit_trusting};
pub use author::on_behalf_of;
pub use canaries::RolledBack;
pub use chronicler::Chronicler;
pub use conductor::{
    ActivityTask, Begun, ExecutionEnd, MapRunLimits, Program, Redriven, StartExecution, TaskAnswer,
    redrive_refusal,
};
pub use control::unknown_job;
pub use courier::Courier;
pub use decisions::{DECIDED_MAX, DecisionOrder, Deed};
pub use deployer::{Deploy, Deployed, DeployedJob, Stage, Switch};
pub use disk::Disk;
pub use engine::{Engine, EngineSetup};
pub use error::RuntimeError;
pub use finder::ItemName;
pub use history::{HistoryPage, read_history};
pub use items::Opening;
pub use jobs::Started;
pub use limiter_control::LimiterOrder;
pub use limiter_list::{KnownLimiter, known_limiters, unknown_limiter};
pub use limiters::{Limiters, SharedLimiter};
pub use lookout::Lookout;
pub use machines::{NamedMachine, ResolvedMachine, named_machine, text_of};
pub use notifier::{Notifier, Tried};
pub use overrides::Clear;
pub use plan::{Plan, StoredPlan};
pub use plugins::{FIRST_USE, IDENTITY, Plugins, plugin_folder, plugin_manifest};
pub use pruner::Pruner;
pub use queue_elsewhere::{missing_queue, queues_are_elsewhere};
pub use receiving::waits_for_messages;
pub use redo::{ChangedRecord, Redone, preview_redo};
pub use request::{Requests, preview_request};
pub use run::RunView;
pub use scheduler::Scheduler;
pub use selection::Selection;
pub use state_dir::{StateDir, StateError, StatePaths};
pub use tester::{TestCall, Tested, Tester};
pub use token::TaskToken;
pub use triggers::{
    Attendant, Came, Full, MappingError, ProofError, Receiver, Seat, Trigger, TriggerProblem,
    TriggerStanding, check_triggers,
};

pub use conductor::arn_of as execution_arn;
