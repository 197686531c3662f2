//! What triggers remember, and what becomes of messages that they were started by.
//!
//! Invariant: what an execution was started for goes with the commit that begins it.

use rusqlite::{Connection, params};

use super::{Change, InQueue, Store, StoreError};
use crate::{ids::ExecutionId, time::Timestamp};

/// A file that an execution was started for, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerFileRow {
    /// The trigger's name.
    pub trigger: String,
    /// The whole path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Its inode.
    pub inode: u64,
    /// When anything of it was changed; `None`: an older release wrote the row.
    pub changed: Option<Timestamp>,
    /// The inode of the folder that the file lies in; `None`: likewise.
    pub folder: Option<u64>,
}

/// One thing to be written of them.
#[derive(Debug, Clone)]
pub enum TriggerChange {
    /// A trigger with a bound has started an execution.
    Started {
        /// Which.
        execution: ExecutionId,
        /// The trigger's name.
        trigger: String,
    },
    /// An execution that such a trigger has started is over.
    Ended(ExecutionId),
    /// An execution was started for a message: it is out of its queue.
    TakeMessage {
        /// Its number.
        message: i64,
    },
    /// No execution could be started for a message: it is hidden for a while.
    HideMessage {
        /// Its number.
        message: i64,
        /// Until then.
        until: Timestamp,
    },
    /// An execution was started for a file, now or before.
    PutFile(TriggerFileRow),
    /// A file is gone.
    ForgetFile(TriggerFileRow),
}

impl From<TriggerChange> for Change {
    fn from(change: TriggerChange) -> Self {
        Self::Trigger(change)
    }
}

impl TriggerChange {
    pub(super) fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Started { execution, trigger } => db
                .prepare_cached(
                    "INSERT OR REPLACE INTO triggered_executions (execution, trigger) VALUES (?1, ?2)",
                )?
                .execute(params![execution.0, trigger])?,
            Self::Ended(execution) => db
                .prepare_cached("DELETE FROM triggered_executions WHERE execution = ?1")?
                .execute([execution.0])?,
            Self::TakeMessage { message } => db
                .prepare_cached("DELETE FROM service_messages WHERE id = ?1")?
                .execute([message])?,
            Self::HideMessage { message, until } => db
                .prepare_cached("UPDATE service_messages SET visible_us = ?2 WHERE id = ?1")?
                .execute(params![message, until.0])?,
            Self::PutFile(row) => db
                .prepare_cached(
                    "INSERT OR REPLACE INTO trigger_files
                     (trigger, path, size, modified_ns, inode, changed_us, folder)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    row.trigger,
                    row.path,
                    row.size.cast_signed(),
                    row.modified_ns,
                    row.inode.cast_signed(),
                    row.changed.map(|changed| changed.0),
                    row.folder.map(u64::cast_signed),
                ])?,
            Self::ForgetFile(row) => db
                .prepare_cached("DELETE FROM trigger_files WHERE trigger = ?1 AND path = ?2")?
                .execute(params![row.trigger, row.path])?,
        };
        Ok(())
    }
}

impl Store {
    /// The executions that run and that triggers with a bound have started, each with its trigger's name.
    pub fn triggered(&self) -> Result<Vec<(ExecutionId, String)>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT t.execution, t.trigger FROM triggered_executions t
                 JOIN executions e ON e.id = t.execution WHERE e.status = 'running'",
            )?;
            let rows =
                statement.query_map([], |row| Ok((ExecutionId(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The files that a trigger has started executions for and that are not gone, as far as is known.
    pub fn trigger_files(&self, trigger: &str) -> Result<Vec<TriggerFileRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT trigger, path, size, modified_ns, inode, changed_us, folder
                 FROM trigger_files WHERE trigger = ?1",
            )?;
            let rows = statement.query_map([trigger], |row| {
                Ok(TriggerFileRow {
                    trigger: row.get(0)?,
                    path: row.get(1)?,
                    size: row.get::<_, i64>(2)?.cast_unsigned(),
                    modified_ns: row.get(3)?,
                    inode: row.get::<_, i64>(4)?.cast_unsigned(),
                    changed: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                    folder: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// When the first message of a queue can be received; `None`: there is none, or no such queue.
    pub fn first_message(&self, queue: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(match self.in_queue(queue)? {
            InQueue::From(at) => Some(at),
            InQueue::Missing | InQueue::Nothing => None,
        })
    }
}
