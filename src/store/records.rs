//! A record of which a row is kept: it waits, is in doubt, or has failed.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::ids::{Index, RunId};

/// A record as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its place in the dataset; of a batch: of its first item.
    pub index: Index,
    /// Its own identity, where the job names one.
    pub id: Option<String>,
    /// Where it stands: `failed`, or the status of its row.
    pub status: String,
    /// Tries that ended.
    pub attempts: u32,
    /// The record, JSON; `None`: it could not be read.
    pub payload: Option<String>,
}

/// Where a record is looked for. Each is answered by an index of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought<'a> {
    /// By its identity.
    Id(&'a str),
    /// By its place.
    Index(Index),
}

impl Store {
    /// The record of a run of which a row is kept; a result keeps none.
    pub fn kept_record(
        &self,
        run: RunId,
        sought: Sought<'_>,
    ) -> Result<Option<KeptRecord>, StoreError> {
        self.readers.with(|db| {
            let children = "SELECT idx, id, status, attempts, payload FROM children";
            let failures = "SELECT idx, id, 'failed', attempts, payload FROM failure_rows";
            match find(db, children, run, sought)? {
                Some(found) => Ok(Some(found)),
                None => Ok(find(db, failures, run, sought)?),
            }
        })
    }
}

fn find(
    db: &Connection,
    select: &str,
    run: RunId,
    sought: Sought<'_>,
) -> rusqlite::Result<Option<KeptRecord>> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(KeptRecord {
            index: unsigned(row.get(0)?),
            id: row.get(1)?,
            status: row.get(2)?,
            attempts: row.get(3)?,
            payload: row.get(4)?,
        })
    };
    match sought {
        Sought::Id(id) => db
            .prepare_cached(&format!("{select} WHERE run = ?1 AND id = ?2 LIMIT 1"))?
            .query_row(params![run.0, id], read)
            .optional(),
        Sought::Index(index) => db
            .prepare_cached(&format!("{select} WHERE run = ?1 AND idx = ?2"))?
            .query_row(params![run.0, signed(index)], read)
            .optional(),
    }
}
