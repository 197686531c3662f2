//! Where records begin in a run's source: sparse, so that any of them can be read again without
//! reading all that lies before it.
//!
//! Invariant: a position is a fact about the source and says nothing of what was done. Where there is
//! none, reading begins at the source's start.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::ids::{Cursor, Index, RunId};

/// Records from one position to the next: 3,125 rows for 3.2 million records, and some milliseconds of
/// reading to any of them.
pub const POSITION_EVERY_ITEMS: u64 = 1024;

/// Where a record begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The record that is read first from there.
    pub index: Index,
    /// The place in the source.
    pub cursor: Cursor,
}

impl Position {
    /// The source's beginning.
    #[must_use]
    pub const fn start() -> Self {
        Self {
            index: 0,
            cursor: Cursor::start(),
        }
    }
}

pub(super) fn put(db: &Connection, run: RunId, rows: &[Position]) -> rusqlite::Result<()> {
    // Why replace: a source that is read once more may have changed before the watermark got there.
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO positions (run, idx, cursor) VALUES (?1, ?2, ?3)",
    )?;
    for row in rows {
        statement.execute(params![run.0, signed(row.index), row.cursor.as_str()])?;
    }
    Ok(())
}

impl Store {
    /// The last position at or before a record.
    pub fn position_before(&self, run: RunId, index: Index) -> Result<Position, StoreError> {
        self.readers.with(|db| {
            let found = db
                .prepare_cached(
                    "SELECT idx, cursor FROM positions WHERE run = ?1 AND idx <= ?2
                     ORDER BY idx DESC LIMIT 1",
                )?
                .query_row(params![run.0, signed(index)], |row| {
                    Ok(Position {
                        index: unsigned(row.get(0)?),
                        cursor: Cursor::new(row.get::<_, String>(1)?),
                    })
                })
                .optional()?;
            Ok(found.unwrap_or_else(Position::start))
        })
    }
}
