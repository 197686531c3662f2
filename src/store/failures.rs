//! Items that failed for good, and putting them back.

use rusqlite::{Connection, Row, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::{
    ids::{Index, RunId},
    time::Timestamp,
};

/// An item that failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRow {
    /// Its place in the dataset; of a batch: its first item's.
    pub index: Index,
    /// How many items failed together.
    pub items: u32,
    /// The record's own identity, where the job names one.
    pub id: Option<String>,
    /// The error's name.
    pub error: String,
    /// What happened.
    pub cause: String,
    /// Tries it took.
    pub attempts: u32,
    /// The plugin's version at the last try; 0 where no handler was called.
    pub version: u32,
    /// The record, JSON; `None` where it could not be read.
    pub payload: Option<String>,
    /// When it failed.
    pub at: Timestamp,
}

/// Failures with the same error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorGroup {
    /// The error's name.
    pub error: String,
    /// How many items.
    pub items: u64,
    /// The cause of one of them.
    pub cause: String,
}

const COLUMNS: &str = "idx, items, id, error, cause, attempts, version, payload, at_us";

fn read(row: &Row<'_>) -> rusqlite::Result<FailureRow> {
    Ok(FailureRow {
        index: unsigned(row.get(0)?),
        items: row.get(1)?,
        id: row.get(2)?,
        error: row.get(3)?,
        cause: row.get(4)?,
        attempts: row.get(5)?,
        version: row.get(6)?,
        payload: row.get(7)?,
        at: Timestamp(row.get(8)?),
    })
}

pub(super) fn put(db: &Connection, run: RunId, rows: &[FailureRow]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO failure_rows (run, idx, items, id, error, cause, attempts, version,
                                              payload, at_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for row in rows {
        statement.execute(params![
            run.0,
            signed(row.index),
            row.items,
            row.id,
            row.error,
            row.cause,
            row.attempts,
            row.version,
            row.payload,
            row.at.0,
        ])?;
    }
    Ok(())
}

/// What an operator may put back: not what could not even be read.
const REQUEUED: &str = "run = ?1 AND payload IS NOT NULL AND (?2 IS NULL OR error = ?2) \
                        AND (?3 IS NULL OR idx = ?3)";

pub(super) fn requeue(
    db: &Connection,
    run: RunId,
    error: Option<&str>,
    index: Option<Index>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let index = index.map(signed);
    db.prepare_cached(&format!(
        "INSERT OR REPLACE INTO children (run, idx, items, status, due_us, id, attempts, payload,
                                          state, error, cause, version, changed_us)
         SELECT run, idx, items, 'queued', ?4, id, attempts, payload, NULL, error, cause, version, ?4
         FROM failure_rows WHERE {REQUEUED}"
    ))?
    .execute(params![run.0, error, index, at.0])?;
    db.prepare_cached(&format!("DELETE FROM failure_rows WHERE {REQUEUED}"))?
        .execute(params![run.0, error, index])?;
    Ok(())
}

impl Store {
    /// How many children [`super::Change::RequeueFailures`] would put back, and how many items.
    pub fn count_requeued(
        &self,
        run: RunId,
        error: Option<&str>,
        index: Option<Index>,
    ) -> Result<(u64, u64), StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT count(*), coalesce(sum(items), 0) FROM failure_rows WHERE {REQUEUED}"
                ))?
                .query_row(params![run.0, error, index.map(signed)], |row| {
                    Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
                })?)
        })
    }

    /// Failures in dataset order after `after`, of one error where one is given, at most `rows_max`.
    pub fn failures(
        &self,
        run: RunId,
        error: Option<&str>,
        after: Option<Index>,
        rows_max: u32,
    ) -> Result<Vec<FailureRow>, StoreError> {
        let condition = if error.is_some() {
            "error = ?4"
        } else {
            "?4 IS NULL"
        };
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM failure_rows WHERE run = ?1 AND idx > ?2 AND {condition}
                 ORDER BY idx LIMIT ?3"
            ))?;
            let after = after.map_or(-1, signed);
            let rows = statement.query_map(params![run.0, after, rows_max, error], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Failures by error, the most frequent first, at most `groups_max`.
    pub fn failures_by_error(
        &self,
        run: RunId,
        groups_max: u32,
    ) -> Result<Vec<ErrorGroup>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT g.error, g.items, f.cause
                 FROM (SELECT error, sum(items) AS items, min(idx) AS first FROM failure_rows
                       WHERE run = ?1 GROUP BY error ORDER BY items DESC LIMIT ?2) AS g
                 JOIN failure_rows AS f ON f.run = ?1 AND f.idx = g.first",
            )?;
            let rows = statement.query_map(params![run.0, groups_max], |row| {
                Ok(ErrorGroup {
                    error: row.get(0)?,
                    items: unsigned(row.get(1)?),
                    cause: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
