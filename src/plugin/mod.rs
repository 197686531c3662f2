//! Processing code that users write: its folder and manifest, its versions, and the hosts that run it.
//!
//! A [`Pool`] runs the calls of one run through workers of one plugin. A worker is a process that
//! the [`Spawner`] starts through the [launcher](launch), which locks it in and ties its life to
//! ours; the [`rescuer`] kills what a killed daemon left behind. Which program a worker runs is the
//! business of its [host].
//!
//! Knows neither `store` nor `runtime`. What must be durable (the processes that a successor has to
//! kill) leaves through the port [`WorkerLog`], what people and logs are to see through [`Events`];
//! the runtime implements both.

use std::{path::PathBuf, time::Duration};

use crate::{
    ids::{Generation, Index, VersionNumber},
    payload::{Failure, Payload},
};
use compact_str::CompactString;

mod access;
mod compose;
mod environment;
mod event;
pub mod host;
pub mod launch;
mod lines;
mod manifest;
pub mod orphans;
mod pool;
mod process;
mod procfs;
mod protocol;
pub mod rescuer;
mod sandbox;
mod secrets;
mod spawner;
mod version;
mod watch;
mod worker;

pub use access::{Access, CallerRole, NoAccess};
pub use compose::Composer;
pub use environment::{
    ConfinedError, EnvironmentError, Environments, RUNTIME_CLIENT, discard_environments,
};
pub use event::{Event, Events, ItemRef, Stream};
pub(crate) use host::{
    http::preview as preview_request,
    lambda::{request_id, trace_id},
};
pub use manifest::{
    Handler, Health, HostKind, Http, Instance, Limits, Manifest, ManifestError, Reload, Runtime,
    SandboxMode, Template, Wasm,
};
pub use pool::{Pool, PoolError, PoolSpec, Rollout, Tally};
pub(crate) use procfs::boot;
pub(crate) use protocol::call_line;
pub(crate) use sandbox::lack as sandbox_lack;
pub use secrets::{SecretError, SecretSource};
pub use spawner::{Launcher, SpawnError, Spawner, WorkerLog, WorkerLogError, WorkerRecord};
pub use version::{Snapshot, SnapshotError, SnapshotLimits, discard_snapshot, snapshot};
pub use watch::{Watch, WatchError, watch};

/// A version of a plugin, ready to run.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its number, given by the store; travels in every [`Answer`].
    pub number: VersionNumber,
    /// The immutable copy of the plugin's folder ([`Snapshot::path`]); workers run in it.
    pub folder: PathBuf,
    /// What its `plugin.toml` says.
    pub manifest: Manifest,
    /// The Python environment that was made for it, where it needs one.
    pub environment: Option<PathBuf>,
}

/// One item (or task) handed over to a worker.
#[derive(Debug, Clone)]
pub struct Call {
    /// Returned in the [`Answer`]; unique among the calls under way of one pool.
    pub ticket: u64,
    /// Place of the item in its dataset.
    pub index: Index,
    /// The item's own identity, where it has one.
    pub id: Option<CompactString>,
    /// Which dispatch of the item this is; returned in the [`Answer`].
    pub generation: Generation,
    /// What the handler is given.
    pub payload: Payload,
    /// Which try this is, from 1; interruptions do not count.
    pub attempt: u32,
    /// The idempotency key: the same over retries and crashes.
    pub key: CompactString,
    /// Counted from the hand-over to the worker; `None`: as long as it takes.
    pub timeout: Option<Duration>,
    /// Where a former try was within the item, as its handler said last.
    pub cursor: Option<Payload>,
}

/// What became of a [`Call`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// The call's.
    pub ticket: u64,
    /// The call's.
    pub generation: Generation,
    /// The version of the plugin that the call was handed to; of a call that never was, the current one.
    pub version: VersionNumber,
    /// What came of it.
    pub outcome: Outcome,
}

/// How a call ended, or where it is.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The handler's result.
    Done(Payload),
    /// The handler, or the host on its behalf (time-out, crash while this was its only call), says why not.
    Failed(Failure),
    /// As `Failed`, of a version that still has to prove itself; it counts as no attempt.
    FailedCanary(Failure),
    /// It goes on, and this is where it is within its item: what a further try is given. Any number of
    /// these come before the call's one answer.
    Reached(Payload),
    /// The worker went away for reasons that are not this call's; it counts as no attempt.
    Interrupted,
}
