//! iterd's own SQLite file: what is durable, and the only place that writes SQL for it.
//!
//! Owns the file, its schema, one writer thread and two readers. Whoever wants something written
//! sends [`Change`]s (values, never SQL) and is answered when they are committed; one transaction
//! carries the changes of everybody who waited (group commit). A read is short, and never blocks
//! the writer.
//!
//! Invariant: the changes of one [`Store::commit`] are in the file together or not at all, and
//! those of one [`Line`] in the order they were sent, none of them behind one that was refused.

mod activities;
mod activity_tasks;
mod adoptions;
mod awaited;
mod change;
mod children;
mod connection;
mod definitions;
mod error;
mod event_kind;
mod events;
mod executions;
mod exports;
mod failures;
mod figures;
mod history;
mod interventions;
mod jobs;
mod limiters;
mod machine_aliases;
mod machine_cache;
mod machine_change;
mod machine_versions;
mod machines;
mod map_runs;
mod notifications;
mod outcomes;
mod page;
mod plugins;
mod positions;
mod pruning;
mod readers;
mod records;
mod redo;
mod results;
mod runs;
mod services;
mod sessions;
mod sources;
mod tags;
mod timers;
mod traces;
mod triggers;
mod workers;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

pub use activities::ActivityRow;
pub use activity_tasks::ActivityTaskRow;
pub use adoptions::{AdoptionRow, CopiedRows, Copying, DepartureRow};
pub use awaited::AwaitedRow;
pub use change::Change;
pub use children::ChildRow;
pub use connection::{FORMAT, StoreSettings};
pub use definitions::DefinitionHash;
pub use error::StoreError;
pub use event_kind::EventKind;
pub use events::{EventQuery, EventRow};
pub use executions::{
    ExecutionFilter, ExecutionKind, ExecutionRow, ExecutionStatus, ExecutionsOf, Runs,
};
pub use exports::{ExportPage, ExportRow};
pub use failures::{ErrorGroup, FailureRow, Requeue, RequeuePage};
pub use figures::{DayRow, PausedTime, RunVersionRow, VersionTally};
pub use history::{HistoryExtent, HistoryFigures, HistoryRow};
pub use interventions::{Intervention, InterventionRow};
pub use jobs::JobRow;
pub use limiters::{By, LimiterOrders};
pub use machine_aliases::{MachineAliasRow, Route, Routing};
pub use machine_change::MachineChange;
pub use machine_versions::MachineVersionRow;
pub use machines::{MachineKind, MachineRow, NewRevision, Revision};
pub use map_runs::MapRunRow;
pub use notifications::{Delivery, NotificationFigures, NotificationRow};
pub use outcomes::{Place, PlaceKind};
pub use page::Page;
pub use plugins::{DeployedVersion, InForceRow, PluginAliasRow, VersionRow};
pub use positions::{POSITION_EVERY_ITEMS, Position};
pub use records::{KeptRecord, Sought};
pub use redo::{NAMES_MAX, RecordName, RedoRow, RedoScan, ResultScope, SupersededRow};
pub use results::ResultRow;
pub use runs::RunRow;
/// A value of a column that is changed while rows are copied.
pub use rusqlite::types::Value as CopiedValue;
pub use services::{
    intake::{InQueue, IntakeChange, ReceivedMessage},
    topics::{OutboxFigures, OutboxRow},
};
pub use sessions::{SessionChange, SessionRow};
pub use sources::SourceRow;
pub use tags::TagOwner;
pub use timers::{TimerKind, TimerRow};
pub use traces::Trace;
pub use triggers::{TriggerChange, TriggerFileRow};
pub use workers::WorkerRow;
pub use writer::{Committed, WriterPulse};

use tokio::sync::watch;

use crate::{
    ids::{ActivityId, ExecutionId, MachineId, RunId},
    integration::service::{Call, Embedded, Refusal},
};

/// The open file. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    path: Arc<PathBuf>,
    readers: Arc<readers::Readers>,
    writer: Option<writer::Writer>,
    next: Arc<NextIds>,
}

/// The numbers that the next rows get. Written by whoever takes one, under the lock of the state
/// directory, so that nobody else counts beside us.
struct NextIds {
    execution: AtomicI64,
    run: AtomicI64,
    machine: AtomicI64,
    activity: AtomicI64,
}

impl Store {
    /// The name of the file in a state directory.
    pub const FILE: &'static str = "iterd.db";

    /// Opens the file for reading and writing, and makes or migrates it. The caller holds the lock
    /// of the state directory.
    pub fn open(directory: &Path, settings: StoreSettings) -> Result<Self, StoreError> {
        let path = directory.join(Self::FILE);
        let connection = connection::open_writer(&path, settings)?;
        let next = NextIds {
            execution: AtomicI64::new(connection::last_id(&connection, "executions")? + 1),
            run: AtomicI64::new(connection::last_id(&connection, "runs")? + 1),
            machine: AtomicI64::new(connection::last_id(&connection, "machines")? + 1),
            activity: AtomicI64::new(connection::last_id(&connection, "activities")? + 1),
        };
        let readers = readers::Readers::open(&path)?;
        let writer = writer::Writer::start(connection, &path, settings)?;
        Ok(Self {
            path: Arc::new(path),
            readers: Arc::new(readers),
            writer: Some(writer),
            next: Arc::new(next),
        })
    }

    /// Opens the file for reading alone, as a command does where nobody serves. It must exist.
    pub fn open_read_only(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(Self::FILE);
        Ok(Self {
            readers: Arc::new(readers::Readers::open(&path)?),
            path: Arc::new(path),
            writer: None,
            next: Arc::new(NextIds {
                execution: AtomicI64::new(i64::MAX),
                run: AtomicI64::new(i64::MAX),
                machine: AtomicI64::new(i64::MAX),
                activity: AtomicI64::new(i64::MAX),
            }),
        })
    }

    /// Sends changes to be committed together; answered when they are durable. Waits where the
    /// writer's queue is full.
    ///
    /// Dropping the answer does not take the changes back.
    pub async fn commit(&self, changes: Vec<Change>) -> Committed {
        match &self.writer {
            Some(writer) => writer.send(changes, None).await,
            None => Committed::refused(StoreError::ReadOnly),
        }
    }

    /// As [`Store::commit_blocking`], without waiting until the changes are durable: what follows is
    /// written behind them.
    pub fn commit_soon(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        match &self.writer {
            Some(writer) => writer.send_soon(changes),
            None => Err(StoreError::ReadOnly),
        }
    }

    /// Has a call of an embedded service carried out; answered when it is durable. One that changes nothing
    /// keeps nobody waiting who writes.
    pub async fn call(&self, call: Call) -> Result<Result<serde_json::Value, Refusal>, StoreError> {
        if Embedded::only_reads(&call.action) {
            let store = self.clone();
            let looked_up = tokio::task::spawn_blocking(move || store.look_up(&call));
            return looked_up.await.map_err(|_| StoreError::Closed)?;
        }
        let answers = self.line().ask(vec![call]).await?.0.alone().await?;
        answers.into_iter().next().ok_or(StoreError::Closed)
    }

    /// Wakes when somebody outside is to be told something: a notification is durable.
    pub async fn news(&self) {
        match &self.writer {
            Some(writer) => writer.news().await,
            None => std::future::pending().await,
        }
    }

    /// Wakes when something may be owed by the outbox.
    pub async fn posted(&self) {
        match &self.writer {
            Some(writer) => writer.posted().await,
            None => std::future::pending().await,
        }
    }

    /// Changes when messages have come into queues, or when they can be received has changed.
    #[must_use]
    pub fn messages(&self) -> watch::Receiver<u64> {
        match &self.writer {
            Some(writer) => writer.messages(),
            None => watch::Sender::new(0).subscribe(),
        }
    }

    /// A line of commits that build upon one another.
    #[must_use]
    pub fn line(&self) -> Line {
        Line {
            store: self.clone(),
            broken: Arc::default(),
        }
    }

    /// Makes an idle writer show a sign of life; never waits.
    pub fn poke(&self) {
        if let Some(writer) = &self.writer {
            writer.poke();
        }
    }

    /// As [`Store::commit`], for threads that may block until the changes are durable.
    pub fn commit_blocking(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        match &self.writer {
            Some(writer) => writer.send_blocking(changes),
            None => Err(StoreError::ReadOnly),
        }
    }

    /// Writes everything that was committed back into the file itself, before the process ends. What
    /// is not written back stays in the WAL beside it, and is not lost.
    pub async fn tidy(&self) {
        if let Some(writer) = &self.writer {
            writer.tidy().await;
        }
    }

    /// How the writer fares: when it last showed signs of life, and what it waits for.
    #[must_use]
    pub fn pulse(&self) -> Option<WriterPulse> {
        self.writer.as_ref().map(writer::Writer::pulse)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number for a new execution, never given before.
    #[must_use]
    pub fn next_execution_id(&self) -> ExecutionId {
        ExecutionId(self.next.execution.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a new run, never given before.
    #[must_use]
    pub fn next_run_id(&self) -> RunId {
        RunId(self.next.run.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a new machine, never given before.
    #[must_use]
    pub fn next_machine_id(&self) -> MachineId {
        MachineId(self.next.machine.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a new activity, never given before.
    #[must_use]
    pub fn next_activity_id(&self) -> ActivityId {
        ActivityId(self.next.activity.fetch_add(1, Ordering::Relaxed))
    }
}

/// Commits that build upon one another: once one of them was refused, all that follow are.
///
/// Why: a checkpoint says that everything before it is done. Behind a commit whose results were
/// refused it would say so of results that nobody has.
#[derive(Clone)]
pub struct Line {
    store: Store,
    broken: Arc<AtomicBool>,
}

/// Calls of embedded services, and what follows from their answers, in one commit.
///
/// The writer carries the calls out and holds its transaction open until [`Asked::commit`] says what is
/// written beside them: so they are done exactly once, together with it.
pub struct Asked(writer::Asked);

impl Asked {
    /// What was answered, in the order of the calls: the last word only with what is committed.
    pub async fn answers(&mut self) -> Result<Vec<Result<serde_json::Value, Refusal>>, StoreError> {
        self.0.answers().await
    }

    /// Sends what follows; answered when all of it is durable. Unless this is called, nothing was done.
    pub fn commit(self, changes: Vec<Change>) -> Committed {
        self.0.commit(changes)
    }
}

impl Line {
    /// Has calls of embedded services carried out, in a commit that is still to be completed. Whoever
    /// asks completes it soon, and awaits nothing else of the store before that: everybody who writes
    /// waits meanwhile, and after ten seconds it is refused.
    pub async fn ask(&self, calls: Vec<Call>) -> Result<Asked, StoreError> {
        match &self.store.writer {
            Some(writer) => {
                let broken = Some(Arc::clone(&self.broken));
                writer.ask(calls, broken).await.map(Asked)
            }
            None => Err(StoreError::ReadOnly),
        }
    }

    /// As [`Store::commit`].
    pub async fn commit(&self, changes: Vec<Change>) -> Committed {
        match &self.store.writer {
            Some(writer) => writer.send(changes, Some(Arc::clone(&self.broken))).await,
            None => Committed::refused(StoreError::ReadOnly),
        }
    }
}
