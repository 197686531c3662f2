//! Executions whose end a task of another waits for.
//!
//! Invariant: a row comes with the commit that starts the one, and goes with that which tells the other.

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError};
use crate::ids::{ExecutionId, FrameId, Generation};

/// Who waits for an execution's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwaitedRow {
    /// Whose end it is.
    pub child: ExecutionId,
    /// The execution that waits.
    pub parent: ExecutionId,
    /// Its frame.
    pub frame: FrameId,
    /// What the frame asked for.
    pub generation: Generation,
    /// Input and output are told as JSON instead of as its text.
    pub parsed: bool,
}

fn read(row: &Row<'_>) -> rusqlite::Result<AwaitedRow> {
    Ok(AwaitedRow {
        child: ExecutionId(row.get(0)?),
        parent: ExecutionId(row.get(1)?),
        frame: FrameId(row.get(2)?),
        generation: Generation(row.get(3)?),
        parsed: row.get(4)?,
    })
}

pub(super) fn put(db: &Connection, row: &AwaitedRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO awaited_executions (child, parent, frame, generation, parsed)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        row.child.0,
        row.parent.0,
        row.frame.0,
        row.generation.0,
        row.parsed
    ])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, child: ExecutionId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM awaited_executions WHERE child = ?1")?
        .execute([child.0])?;
    Ok(())
}

impl Store {
    /// All of them.
    pub fn awaited(&self) -> Result<Vec<AwaitedRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT child, parent, frame, generation, parsed FROM awaited_executions",
            )?;
            let rows = statement.query_map([], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
