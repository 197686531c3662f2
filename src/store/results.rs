//! One current result for each finished item.

use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Type};

use super::{
    Page, Store, StoreError,
    change::{signed, unsigned},
    redo,
};
use crate::{
    ids::{Index, RunId},
    payload::Payload,
    time::Timestamp,
};

/// The result of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRow {
    /// The item's place in the dataset.
    pub index: Index,
    /// The record's own identity, where the job names one.
    pub id: Option<compact_str::CompactString>,
    /// What the handler answered.
    pub result: Payload,
    /// The plugin's version that answered.
    pub version: u32,
    /// Tries it took.
    pub attempts: u32,
    /// When it was answered.
    pub at: Timestamp,
    /// How often the record had been put back by a redo; 0: it is the first result.
    pub redo: u32,
}

pub(super) fn put(db: &Connection, run: RunId, rows: &[ResultRow]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO result_rows (run, idx, id, result, version, attempts, at_us, redo)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in rows {
        if row.redo > 0 {
            redo::supersede(db, run, row.index, row.at)?;
        }
        statement.execute(params![
            run.0,
            signed(row.index),
            row.id.as_deref(),
            row.result.text(),
            row.version,
            row.attempts,
            row.at.0,
            row.redo,
        ])?;
    }
    Ok(())
}

/// A result as it lies in the file: its text is handed out as it was stored.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<ResultRow> {
    let text: String = row.get(2)?;
    let damaged = |error| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error));
    Ok(ResultRow {
        index: unsigned(row.get(0)?),
        id: row.get::<_, Option<String>>(1)?.map(Into::into),
        result: Payload::parse(text).map_err(damaged)?,
        version: row.get(3)?,
        attempts: row.get(4)?,
        at: Timestamp(row.get(5)?),
        redo: row.get(6)?,
    })
}

/// In the order of [`read`]; `superseded_rows` has them too.
pub(super) const COLUMNS: &str = "idx, id, result, version, attempts, at_us, redo";

pub(super) fn page(
    db: &Connection,
    run: RunId,
    from: i64,
    to: i64,
    rows_max: u32,
) -> rusqlite::Result<Page<ResultRow>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM result_rows WHERE run = ?1 AND idx >= ?2 AND idx < ?3
         ORDER BY idx LIMIT ?4"
    ))?;
    let rows = statement.query_map(params![run.0, from, to, rows_max], read)?;
    Page::read(rows, rows_max, |row| row.result.text().len())
}

impl Store {
    /// A page of results in dataset order from `from` on and below `to`, at most `rows_max`.
    pub fn results(
        &self,
        run: RunId,
        from: Index,
        to: Index,
        rows_max: u32,
    ) -> Result<Page<ResultRow>, StoreError> {
        self.readers
            .with(|db| Ok(page(db, run, signed(from), signed(to), rows_max)?))
    }

    /// The result of one item.
    pub fn result(&self, run: RunId, index: Index) -> Result<Option<ResultRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM result_rows WHERE run = ?1 AND idx = ?2"
                ))?
                .query_row(params![run.0, signed(index)], read)
                .optional()?)
        })
    }
}
