//! How far output files are written, and which results came too late for their place.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::ids::{Index, RunId};

/// How far a run's output file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// The run.
    pub run: RunId,
    /// Every result below is in the file, or late.
    pub next: Index,
    /// The file's length; what lies beyond is torn and is cut off.
    pub bytes: u64,
    /// What the sink needs to go on, in its own words.
    pub state: String,
}

pub(super) fn put(db: &Connection, row: &ExportRow, late: &[Index]) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO exports (run, next_idx, bytes, state) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        row.run.0,
        signed(row.next),
        signed(row.bytes),
        row.state
    ])?;
    let mut remove = db.prepare_cached("DELETE FROM late_results WHERE run = ?1 AND idx = ?2")?;
    for index in late {
        remove.execute(params![row.run.0, signed(*index)])?;
    }
    Ok(())
}

pub(super) fn put_late(db: &Connection, run: RunId, index: Index) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO late_results (run, idx) VALUES (?1, ?2)")?
        .execute(params![run.0, signed(index)])?;
    Ok(())
}

impl Store {
    /// How far a run's output file is written; `None` before the first time.
    pub fn export(&self, run: RunId) -> Result<Option<ExportRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT next_idx, bytes, state FROM exports WHERE run = ?1")?
                .query_row([run.0], |row| {
                    Ok(ExportRow {
                        run,
                        next: unsigned(row.get(0)?),
                        bytes: unsigned(row.get(1)?),
                        state: row.get(2)?,
                    })
                })
                .optional()?)
        })
    }

    /// Items whose results came late, in order, at most `rows_max`.
    pub fn late_results(&self, run: RunId, rows_max: u32) -> Result<Vec<Index>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT idx FROM late_results WHERE run = ?1 ORDER BY idx LIMIT ?2",
            )?;
            let rows = statement.query_map(params![run.0, rows_max], |row| {
                row.get::<_, i64>(0).map(unsigned)
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
