//! Executions and their live frames.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::{
    ids::{ExecutionId, FrameId},
    machine::{self, Part, RowKey},
    time::Timestamp,
};

/// An execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionRow {
    /// Its number.
    pub id: ExecutionId,
    /// The machine's name; of a job: the job's.
    pub machine: String,
    /// Its name, unique within the machine.
    pub name: String,
    /// The definition it runs.
    pub definition: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What it was started with, JSON.
    pub input: String,
    /// What it ended with, JSON.
    pub output: Option<String>,
    /// The error's name, where it failed.
    pub error: Option<String>,
    /// The error's cause.
    pub cause: Option<String>,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub stopped: Option<Timestamp>,
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// It goes on.
    Running,
    /// It came to its end.
    Succeeded,
    /// An error was not caught.
    Failed,
    /// It took longer than its definition allows.
    TimedOut,
    /// Somebody stopped it.
    Aborted,
}

impl ExecutionStatus {
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Aborted,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Aborted => "aborted",
        }
    }
}

const COLUMNS: &str = "id, machine, name, definition, status, input, output, error, cause, \
                       started_us, stopped_us";

fn read(row: &Row<'_>) -> rusqlite::Result<ExecutionRow> {
    let status: String = row.get(4)?;
    Ok(ExecutionRow {
        id: ExecutionId(row.get(0)?),
        machine: row.get(1)?,
        name: row.get(2)?,
        definition: row.get(3)?,
        // Invariant: the schema's CHECK lets no other text in.
        status: ExecutionStatus::ALL
            .into_iter()
            .find(|known| known.as_str() == status)
            .unwrap_or(ExecutionStatus::Aborted),
        input: row.get(5)?,
        output: row.get(6)?,
        error: row.get(7)?,
        cause: row.get(8)?,
        started: Timestamp(row.get(9)?),
        stopped: row.get::<_, Option<i64>>(10)?.map(Timestamp),
    })
}

pub(super) fn insert(db: &Connection, row: &ExecutionRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO executions (id, machine, name, definition, status, input, started_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        row.id.0,
        row.machine,
        row.name,
        row.definition,
        row.status.as_str(),
        row.input,
        row.started.0
    ])?;
    Ok(())
}

pub(super) fn end(
    db: &Connection,
    execution: ExecutionId,
    status: ExecutionStatus,
    [output, error, cause]: [Option<&str>; 3],
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE executions SET status = ?2, output = ?3, error = ?4, cause = ?5, stopped_us = ?6
         WHERE id = ?1",
    )?
    .execute(params![
        execution.0,
        status.as_str(),
        output,
        error,
        cause,
        at.0
    ])?;
    db.prepare_cached("DELETE FROM frames WHERE execution = ?1")?
        .execute([execution.0])?;
    Ok(())
}

pub(super) fn reopen(db: &Connection, execution: ExecutionId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE executions SET status = 'running', output = NULL, error = NULL, cause = NULL,
         stopped_us = NULL WHERE id = ?1",
    )?
    .execute([execution.0])?;
    Ok(())
}

pub(super) fn put_frames(
    db: &Connection,
    execution: ExecutionId,
    changes: &machine::Changes,
) -> rusqlite::Result<()> {
    let mut remove = db.prepare_cached("DELETE FROM frames WHERE execution = ?1 AND frame = ?2")?;
    for frame in &changes.removed {
        remove.execute(params![execution.0, frame.0])?;
    }
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO frames (execution, frame, part, idx, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in &changes.put {
        let key = row.key;
        let part = key.part.as_str();
        put.execute(params![execution.0, key.frame.0, part, key.index, row.body])?;
    }
    Ok(())
}

fn read_frame(row: &Row<'_>) -> rusqlite::Result<Option<machine::Row>> {
    let part: String = row.get(1)?;
    // Invariant: the schema's CHECK lets no other text in.
    let Some(part) = Part::parse(&part) else {
        return Ok(None);
    };
    Ok(Some(machine::Row {
        key: RowKey {
            frame: FrameId(row.get(0)?),
            part,
            index: row.get(2)?,
        },
        body: row.get(3)?,
    }))
}

impl Store {
    /// An execution by its number.
    pub fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM executions WHERE id = ?1"))?
                .query_row([id.0], read)
                .optional()?)
        })
    }

    /// The executions that were running when the file was last written, oldest first.
    pub fn running_executions(&self) -> Result<Vec<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM executions WHERE status = 'running' ORDER BY id"
            ))?;
            let rows = statement.query_map([], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The newest execution of a machine.
    pub fn newest_execution(&self, machine: &str) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM executions WHERE machine = ?1 ORDER BY id DESC LIMIT 1"
                ))?
                .query_row([machine], read)
                .optional()?)
        })
    }

    /// The rows of a live execution, as the interpreter stored them.
    pub fn frames(&self, execution: ExecutionId) -> Result<Vec<machine::Row>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db
                .prepare_cached("SELECT frame, part, idx, body FROM frames WHERE execution = ?1")?;
            let rows = statement.query_map([execution.0], read_frame)?;
            Ok(rows
                .filter_map(Result::transpose)
                .collect::<rusqlite::Result<_>>()?)
        })
    }
}
