//! Finished records that are done again: finding them, putting them into the queue, and the results
//! that they had before.
//!
//! Invariant: a record's result is current until the outcome of its redo is in the same commit that
//! moves it to the superseded ones. So there is never a record with two current results, and none
//! whose result is gone before there is another outcome.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Page, ResultRow, Store, StoreError,
    change::{signed, unsigned},
    results,
};
use crate::{
    ids::{Index, RunId},
    time::Timestamp,
};

/// Results that one read looks at: some 20 ms, so that a search through millions of them holds no
/// reader for long.
const SCAN_ROWS_MAX: u32 = 20_000;

/// No further result is looked at once a read holds this many bytes of them.
const SCAN_BYTES_MAX: usize = 8 << 20;

/// Which results are looked for; all where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultScope {
    /// Of this version of the plugin.
    pub version: Option<u32>,
    /// Answered at or after the first and before the second instant.
    pub between: Option<(Timestamp, Timestamp)>,
}

impl ResultScope {
    /// Whether a result is among them.
    #[must_use]
    pub fn has(&self, row: &ResultRow) -> bool {
        let Self { version, between } = self;
        version.is_none_or(|version| row.version == version)
            && between.is_none_or(|(from, to)| from <= row.at && row.at < to)
    }
}

/// One read of results that could be done again.
#[derive(Debug, Clone, PartialEq)]
pub struct RedoScan {
    /// Those that are in the scope, in dataset order, and whether each is being redone already.
    pub rows: Vec<(ResultRow, bool)>,
    /// Where to look on; `None` at the end.
    pub next: Option<Index>,
}

/// A finished record, read again, that is to be done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedoRow {
    /// Its place in the dataset.
    pub index: Index,
    /// How often it was redone before.
    pub redo: u32,
    /// The record, JSON.
    pub payload: String,
}

/// A result that another one has replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct SupersededRow {
    /// The result as it was.
    pub row: ResultRow,
    /// When it was replaced.
    pub superseded: Timestamp,
}

/// Puts finished records into the queue; their results stay. Refused as a whole where one of them has
/// no such result any more, or is in the queue already.
pub(super) fn put(
    db: &Connection,
    run: RunId,
    rows: &[RedoRow],
    at: Timestamp,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO children (run, idx, items, status, due_us, id, attempts, payload, changed_us,
                               redo)
         SELECT run, idx, 1, 'queued', ?4, id, 0, ?5, ?4, redo + 1 FROM result_rows
         WHERE run = ?1 AND idx = ?2 AND redo = ?3",
    )?;
    for row in rows {
        let values = params![run.0, signed(row.index), row.redo, at.0, row.payload];
        let put = statement.execute(values)?;
        if put != 1 {
            return Err(rusqlite::Error::StatementChangedRows(put));
        }
    }
    Ok(())
}

/// Moves a record's current result, where it has one, to the superseded ones.
pub(super) fn supersede(
    db: &Connection,
    run: RunId,
    index: Index,
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO superseded_rows
             (run, idx, redo, id, result, version, attempts, at_us, superseded_us)
         SELECT run, idx, redo, id, result, version, attempts, at_us, ?3 FROM result_rows
         WHERE run = ?1 AND idx = ?2",
    )?
    .execute(params![run.0, signed(index), at.0])?;
    db.prepare_cached("DELETE FROM result_rows WHERE run = ?1 AND idx = ?2")?
        .execute(params![run.0, signed(index)])?;
    Ok(())
}

fn read_superseded(row: &Row<'_>) -> rusqlite::Result<SupersededRow> {
    Ok(SupersededRow {
        row: results::read(row)?,
        superseded: Timestamp(row.get(7)?),
    })
}

/// Whether the record of the row has a child already: it is being redone.
const UNDER_WAY: &str = "EXISTS (SELECT 1 FROM children AS c WHERE c.run = result_rows.run AND c.idx = result_rows.idx)";

impl Store {
    /// Looks at results from `from` on for those in the scope, until `rows_max` are found that are not
    /// being redone already. A read may find none and yet not be at the end.
    pub fn scan_results(
        &self,
        run: RunId,
        from: Index,
        scope: &ResultScope,
        rows_max: usize,
    ) -> Result<RedoScan, StoreError> {
        let columns = results::COLUMNS;
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {columns}, {UNDER_WAY} FROM result_rows WHERE run = ?1 AND idx >= ?2
                 ORDER BY idx LIMIT ?3"
            ))?;
            let mut found = statement.query(params![run.0, signed(from), SCAN_ROWS_MAX])?;
            let mut scan = RedoScan {
                rows: Vec::new(),
                next: None,
            };
            let (mut looked_at, mut bytes, mut free) = (0, 0, 0);
            while let Some(row) = found.next()? {
                looked_at += 1;
                let result = results::read(row)?;
                let index = result.index;
                bytes += result.result.text().len();
                if scope.has(&result) {
                    let under_way: bool = row.get(7)?;
                    free += usize::from(!under_way);
                    scan.rows.push((result, under_way));
                }
                if looked_at >= SCAN_ROWS_MAX || bytes >= SCAN_BYTES_MAX || free >= rows_max {
                    scan.next = Some(index + 1);
                    break;
                }
            }
            Ok(scan)
        })
    }

    /// The result of one record, and whether it is being redone.
    pub fn result_to_redo(
        &self,
        run: RunId,
        index: Index,
    ) -> Result<Option<(ResultRow, bool)>, StoreError> {
        let columns = results::COLUMNS;
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {columns}, {UNDER_WAY} FROM result_rows WHERE run = ?1 AND idx = ?2"
                ))?
                .query_row(params![run.0, signed(index)], |row| {
                    Ok((results::read(row)?, row.get(7)?))
                })
                .optional()?)
        })
    }

    /// The places of the results that have this identity; where ids are unique, at most one.
    pub fn results_of_id(&self, run: RunId, id: &str) -> Result<Vec<Index>, StoreError> {
        self.readers.with(|db| {
            db.prepare_cached("SELECT idx FROM result_rows WHERE run = ?1 AND id = ?2")?
                .query_map(params![run.0, id], |row| row.get::<_, i64>(0).map(unsigned))?
                .collect::<rusqlite::Result<_>>()
                .map_err(StoreError::from)
        })
    }

    /// The places from `from` to `to`, itself included, whose results are being redone, in order.
    pub fn redone_between(
        &self,
        run: RunId,
        from: Index,
        to: Index,
    ) -> Result<Vec<Index>, StoreError> {
        self.readers.with(|db| {
            db.prepare_cached(
                "SELECT c.idx FROM children AS c WHERE c.run = ?1 AND c.idx BETWEEN ?2 AND ?3
                 AND EXISTS (SELECT 1 FROM result_rows AS r WHERE r.run = c.run AND r.idx = c.idx)
                 ORDER BY c.idx",
            )?
            .query_map(params![run.0, signed(from), signed(to)], |row| {
                row.get::<_, i64>(0).map(unsigned)
            })?
            .collect::<rusqlite::Result<_>>()
            .map_err(StoreError::from)
        })
    }

    /// A page of superseded results in dataset order, those of one record from the oldest on; it
    /// begins with the record `from.0` and its result `from.1`, at most `rows_max`.
    pub fn superseded(
        &self,
        run: RunId,
        from: (Index, u32),
        rows_max: u32,
    ) -> Result<Page<SupersededRow>, StoreError> {
        let columns = results::COLUMNS;
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {columns}, superseded_us FROM superseded_rows
                 WHERE run = ?1 AND (idx, redo) >= (?2, ?3) ORDER BY idx, redo LIMIT ?4"
            ))?;
            let values = params![run.0, signed(from.0), from.1, rows_max];
            let rows = statement.query_map(values, read_superseded)?;
            Ok(Page::read(rows, rows_max, |row| {
                row.row.result.text().len()
            })?)
        })
    }
}
