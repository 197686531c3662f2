//! Rows of children: what waits, what is in doubt, what an operator put back.

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::{
    Page, Store, StoreError,
    change::{signed, unsigned},
};
use crate::{
    ids::{Index, RunId},
    iteration::{Row, RowStatus},
    time::Timestamp,
};

/// A child of which something must survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRow {
    /// The run it belongs to.
    pub run: RunId,
    /// Its first item.
    pub index: Index,
    /// How many items it has.
    pub items: u32,
    /// Where it stands.
    pub status: RowStatus,
    /// When it is due; [`Timestamp::MAX`] where only an answer wakes it.
    pub due: Timestamp,
    /// The record's own identity, where the job names one.
    pub id: Option<String>,
    /// Tries that ended.
    pub attempts: u32,
    /// The record, JSON.
    pub payload: String,
    /// The child's frame as the interpreter stored it; `None` before its first step.
    pub state: Option<String>,
    /// The error of the last try that failed.
    pub error: Option<String>,
    /// Its cause.
    pub cause: Option<String>,
    /// The plugin's version at the last try.
    pub version: Option<u32>,
    /// When it last changed.
    pub changed: Timestamp,
    /// How often its record was put back by a redo; its idempotency key tells it.
    pub redo: u32,
    /// Where its handler was within the record, JSON, as the handler said last.
    pub cursor: Option<String>,
}

pub(super) const COLUMNS: &str = "run, idx, items, status, due_us, id, attempts, payload, state, error, \
                       cause, version, changed_us, redo, cursor";

pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<ChildRow> {
    Ok(ChildRow {
        run: RunId(row.get(0)?),
        index: unsigned(row.get(1)?),
        items: row.get(2)?,
        status: status(row, 3)?,
        due: Timestamp(row.get(4)?),
        id: row.get(5)?,
        attempts: row.get(6)?,
        payload: row.get(7)?,
        state: row.get(8)?,
        error: row.get(9)?,
        cause: row.get(10)?,
        version: row.get(11)?,
        changed: Timestamp(row.get(12)?),
        redo: row.get(13)?,
        cursor: row.get(14)?,
    })
}

fn status(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<RowStatus> {
    let text: String = row.get(column)?;
    // Invariant: the schema's CHECK lets no other text in.
    Ok(RowStatus::parse(&text).unwrap_or(RowStatus::Held))
}

pub(super) fn put(db: &Connection, row: &ChildRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO children (run, idx, items, status, due_us, id, attempts, payload,
                                          state, error, cause, version, changed_us, redo, cursor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        row.run.0,
        signed(row.index),
        row.items,
        row.status.as_str(),
        row.due.0,
        row.id,
        row.attempts,
        row.payload,
        row.state,
        row.error,
        row.cause,
        row.version,
        row.changed.0,
        row.redo,
        row.cursor,
    ])?;
    Ok(())
}

pub(super) fn set_status(
    db: &Connection,
    run: RunId,
    index: Index,
    status: RowStatus,
    due: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE children SET status = ?3, due_us = ?4 WHERE run = ?1 AND idx = ?2")?
        .execute(params![run.0, signed(index), status.as_str(), due.0])?;
    Ok(())
}

pub(super) fn hurry(
    db: &Connection,
    run: RunId,
    only: Option<Index>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let Some(index) = only else {
        // Why with an attempt: what was put off has not failed, and waits for whoever put it off.
        // Why bounded: no more back off than `parked_items_max` and the slots allow.
        db.prepare_cached(
            "UPDATE children SET due_us = ?2
             WHERE run = ?1 AND status = 'retrying' AND attempts > 0 AND due_us > ?2",
        )?
        .execute(params![run.0, at.0])?;
        return Ok(());
    };
    db.prepare_cached(
        "UPDATE children SET due_us = ?3
         WHERE run = ?1 AND idx = ?2 AND status = 'retrying' AND due_us > ?3",
    )?
    .execute(params![run.0, signed(index), at.0])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, run: RunId, index: Index) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM children WHERE run = ?1 AND idx = ?2")?
        .execute(params![run.0, signed(index)])?;
    Ok(())
}

impl Store {
    /// A child by its index.
    pub fn child(&self, run: RunId, index: Index) -> Result<Option<ChildRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM children WHERE run = ?1 AND idx = ?2"
                ))?
                .query_row(params![run.0, signed(index)], read)
                .optional()?)
        })
    }

    /// Where the children stand that a run has to know of to go on: in flight, backing off, waiting.
    /// Their number is bounded by the run's slots and bounds.
    pub fn live_children(&self, run: RunId) -> Result<Vec<Row>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT idx, items, status, due_us, attempts FROM children
                 WHERE run = ?1 AND status IN ('in_flight', 'retrying', 'waiting') ORDER BY idx",
            )?;
            let rows = statement.query_map([run.0], |row| {
                Ok(Row {
                    index: unsigned(row.get(0)?),
                    items: row.get(1)?,
                    status: status(row, 2)?,
                    at: Timestamp(row.get(3)?),
                    tried: row.get::<_, u32>(4)? > 0,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How many children have that status, and how many items they are.
    pub fn count_children(&self, run: RunId, status: RowStatus) -> Result<(u64, u64), StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(items), 0) FROM children
                     WHERE run = ?1 AND status = ?2",
                )?
                .query_row(params![run.0, status.as_str()], |row| {
                    Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
                })?)
        })
    }

    /// A page of children of a status in order of their index, after `after`, at most `rows_max`.
    pub fn children(
        &self,
        run: RunId,
        status: RowStatus,
        after: Option<Index>,
        rows_max: u32,
    ) -> Result<Page<ChildRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM children WHERE run = ?1 AND status = ?2 AND idx > ?3
                 ORDER BY idx LIMIT ?4"
            ))?;
            let after = after.map_or(-1, signed);
            let rows =
                statement.query_map(params![run.0, status.as_str(), after, rows_max], read)?;
            let bytes =
                |row: &ChildRow| row.payload.len() + row.state.as_ref().map_or(0, String::len);
            Ok(Page::read(rows, rows_max, bytes)?)
        })
    }

    /// How many children are queued.
    pub fn queued_count(&self, run: RunId) -> Result<u64, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT count(*) FROM children WHERE run = ?1 AND status = 'queued'",
                )?
                .query_row([run.0], |row| row.get(0).map(unsigned))?)
        })
    }

    /// Whether that one is queued.
    pub fn is_queued(&self, run: RunId, index: Index) -> Result<bool, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT 1 FROM children WHERE run = ?1 AND idx = ?2 AND status = 'queued'",
                )?
                .exists(params![run.0, signed(index)])?)
        })
    }

    /// Who is queued, without their records: first item and number of items, in order of their
    /// index, after `after`, at most `rows_max`.
    pub fn queued_children(
        &self,
        run: RunId,
        after: Option<Index>,
        rows_max: u32,
    ) -> Result<Vec<(Index, u32)>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT idx, items FROM children WHERE run = ?1 AND status = 'queued' AND idx > ?2
                 ORDER BY idx LIMIT ?3",
            )?;
            let after = after.map_or(-1, signed);
            let rows = statement.query_map(params![run.0, after, rows_max], |row| {
                Ok((unsigned(row.get(0)?), row.get(1)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
