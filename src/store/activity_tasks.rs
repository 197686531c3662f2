//! Tasks of activities that wait for a worker: in the order of their coming, each until a worker has it.
//!
//! Invariant: a task's row comes with the commit that asks for it, and goes with the one that hands it out
//! or has it behind.

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError};
use crate::ids::{ExecutionId, FrameId, Generation};

/// A task that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityTaskRow {
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
}

pub(super) fn put(db: &Connection, row: &ActivityTaskRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO activity_tasks (activity, execution, frame, generation, input)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        row.activity,
        row.execution.0,
        row.frame.0,
        row.generation.0,
        row.input
    ])?;
    Ok(())
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
    Ok(ActivityTaskRow {
        activity: row.get(0)?,
        execution: ExecutionId(row.get(1)?),
        frame: FrameId(row.get(2)?),
        generation: Generation(row.get(3)?),
        input: row.get(4)?,
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
                "SELECT activity, execution, frame, generation, input FROM activity_tasks
                 WHERE activity = ?1 ORDER BY id LIMIT ?2",
            )?;
            let rows = statement.query_map(params![activity, rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
