//! Tasks of activities that wait for a worker: in the order of their coming, each until a worker has it.
//!
//! Invariant: a task's row comes with the commit that asks for it, and goes with the one that hands it out
//! or has it behind.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError};
use crate::ids::{ExecutionId, FrameId, Generation};

/// A task that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityTaskRow {
    /// Its place among those that wait; `None`: behind all others.
    pub place: Option<i64>,
    /// The activity's name.
    pub activity: String,
    /// The execution that waits.
    pub execution: ExecutionId,
    /// Its frame.
    pub frame: FrameId,
    /// What the frame asked for.
    pub generation: Generation,
    /// What the worker is given, JSON.
    pub input: String,
    /// How long a worker may take, from when it has the task.
    pub timeout: Option<Duration>,
    /// How long it may be silent, from when it has the task.
    pub heartbeat: Option<Duration>,
}

pub(super) fn put(db: &Connection, row: &ActivityTaskRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO activity_tasks (id, activity, execution, frame, generation, input,
                                                timeout_us, heartbeat_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        row.place,
        row.activity,
        row.execution.0,
        row.frame.0,
        row.generation.0,
        row.input,
        row.timeout.map(micros),
        row.heartbeat.map(micros),
    ])?;
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn remove(
    db: &Connection,
    execution: ExecutionId,
    frame: FrameId,
) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM activity_tasks WHERE execution = ?1 AND frame = ?2")?
        .execute(params![execution.0, frame.0])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<ActivityTaskRow> {
    let duration = |column| {
        let micros: Option<i64> = row.get(column)?;
        Ok::<_, rusqlite::Error>(micros.map(|micros| Duration::from_micros(micros.unsigned_abs())))
    };
    Ok(ActivityTaskRow {
        place: row.get(0)?,
        activity: row.get(1)?,
        execution: ExecutionId(row.get(2)?),
        frame: FrameId(row.get(3)?),
        generation: Generation(row.get(4)?),
        input: row.get(5)?,
        timeout: duration(6)?,
        heartbeat: duration(7)?,
    })
}

impl Store {
    /// The tasks of an activity that came first, at most so many.
    pub fn activity_tasks(
        &self,
        activity: &str,
        rows_max: u32,
    ) -> Result<Vec<ActivityTaskRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, activity, execution, frame, generation, input, timeout_us, heartbeat_us
                 FROM activity_tasks WHERE activity = ?1 ORDER BY id LIMIT ?2",
            )?;
            let rows = statement.query_map(params![activity, rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
