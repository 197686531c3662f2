//! What the sources of runs were like.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::{ids::RunId, time::Timestamp};

/// What is known of a run's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// The run.
    pub run: RunId,
    /// What it was like, JSON.
    pub fingerprint: String,
    /// Whether somebody said to go on with a source that was another one; once said, it stays.
    pub accepted: bool,
    /// When it was found so.
    pub at: Timestamp,
}

pub(super) fn put(db: &Connection, row: &SourceRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO sources (run, fingerprint, accepted, at_us) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (run) DO UPDATE SET fingerprint = excluded.fingerprint,
             accepted = max(accepted, excluded.accepted), at_us = excluded.at_us",
    )?
    .execute(params![row.run.0, row.fingerprint, row.accepted, row.at.0])?;
    Ok(())
}

impl Store {
    /// What is known of a run's source.
    pub fn source(&self, run: RunId) -> Result<Option<SourceRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT fingerprint, accepted, at_us FROM sources WHERE run = ?1")?
                .query_row([run.0], |row| {
                    Ok(SourceRow {
                        run,
                        fingerprint: row.get(0)?,
                        accepted: row.get(1)?,
                        at: Timestamp(row.get(2)?),
                    })
                })
                .optional()?)
        })
    }
}
