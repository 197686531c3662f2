//! What happened to jobs, for people.

use rusqlite::{Connection, params};

use super::{Store, StoreError};
use crate::time::Timestamp;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// When.
    pub at: Timestamp,
    /// To which job; empty: to the daemon itself.
    pub job: String,
    /// What kind of thing, one word: `started`, `paused`, `deployed`.
    pub kind: String,
    /// The rest, in a sentence.
    pub detail: String,
}

pub(super) fn insert(db: &Connection, row: &EventRow) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO events (at_us, job, kind, detail) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![row.at.0, row.job, row.kind, row.detail])?;
    Ok(())
}

impl Store {
    /// The last things that happened to a job, newest first.
    pub fn events(&self, job: &str, rows_max: u32) -> Result<Vec<EventRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT at_us, job, kind, detail FROM events WHERE job = ?1
                 ORDER BY id DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![job, rows_max], |row| {
                Ok(EventRow {
                    at: Timestamp(row.get(0)?),
                    job: row.get(1)?,
                    kind: row.get(2)?,
                    detail: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
