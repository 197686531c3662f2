//! What people decided on single items: who, when, why, and the record as it was before an edit.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::{
    ids::{Index, RunId},
    time::Timestamp,
};

/// What kind of thing somebody did to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervention {
    /// Ended it as failed without another try.
    Skipped,
    /// Said what became of it while it was in doubt.
    Resolved,
    /// Replaced its record.
    Edited,
}

impl Intervention {
    /// Every kind, for the schema's CHECK and for reading them back.
    pub const ALL: [Self; 3] = [Self::Skipped, Self::Resolved, Self::Edited];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Resolved => "resolved",
            Self::Edited => "edited",
        }
    }
}

/// The last thing of a kind that somebody did to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterventionRow {
    /// The item's place in the dataset.
    pub index: Index,
    /// What.
    pub kind: Intervention,
    /// Who.
    pub author: String,
    /// What was decided, or why; may be empty.
    pub note: String,
    /// The record before the first edit, JSON; only where that is what was done, and it could be read.
    pub original: Option<String>,
    /// When.
    pub at: Timestamp,
}

pub(super) fn put(db: &Connection, run: RunId, rows: &[InterventionRow]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO interventions (run, idx, kind, author, note, original, at_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (run, idx, kind) DO UPDATE SET
             author = excluded.author, note = excluded.note, at_us = excluded.at_us",
    )?;
    for row in rows {
        statement.execute(params![
            run.0,
            signed(row.index),
            row.kind.as_str(),
            row.author,
            row.note,
            row.original,
            row.at.0,
        ])?;
    }
    Ok(())
}

impl Store {
    /// What was decided on an item, the oldest first; at most one of each kind.
    pub fn interventions(
        &self,
        run: RunId,
        index: Index,
    ) -> Result<Vec<InterventionRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT kind, author, note, original, at_us FROM interventions
                 WHERE run = ?1 AND idx = ?2 ORDER BY at_us",
            )?;
            let rows = statement.query_map(params![run.0, signed(index)], |row| {
                let kind: String = row.get(0)?;
                Ok(InterventionRow {
                    index,
                    // Invariant: the schema's CHECK lets no other text in.
                    kind: Intervention::ALL
                        .into_iter()
                        .find(|one| one.as_str() == kind)
                        .unwrap_or(Intervention::Resolved),
                    author: row.get(1)?,
                    note: row.get(2)?,
                    original: row.get(3)?,
                    at: Timestamp(row.get(4)?),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Which of the items from `from` up to `to`, itself included, were edited.
    pub fn edited_items(
        &self,
        run: RunId,
        from: Index,
        to: Index,
    ) -> Result<BTreeSet<Index>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT idx FROM interventions
                 WHERE run = ?1 AND idx BETWEEN ?2 AND ?3 AND kind = 'edited'",
            )?;
            let rows = statement.query_map(params![run.0, signed(from), signed(to)], |row| {
                row.get(0).map(unsigned)
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
