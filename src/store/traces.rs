//! Where a single item stands, whichever table says so.
//!
//! Invariant: an item has a row, a result or a failure, or none of them, and a result beside its row
//! only while it is being redone; then the row tells where it stands. So each look is one read
//! transaction: an item that moves meanwhile is seen before or after.

use rusqlite::{OptionalExtension as _, params};

use super::{
    ChildRow, FailureRow, ResultRow, Store, StoreError,
    change::{signed, unsigned},
    children, failures, results,
};
use crate::ids::{Index, RunId};

/// What the file knows of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Trace {
    /// It has a row: something about it had to survive.
    Child(Box<ChildRow>),
    /// It has a result.
    Done(Box<ResultRow>),
    /// It failed for good.
    Failed(Box<FailureRow>),
    /// Nothing.
    Nothing,
}

impl Store {
    /// What the file knows of an item.
    pub fn trace(&self, run: RunId, index: Index) -> Result<Trace, StoreError> {
        self.readers.with(|db| {
            let db = db.unchecked_transaction()?;
            let place = params![run.0, signed(index)];
            let sql = |columns: &str, table: &str| {
                format!("SELECT {columns} FROM {table} WHERE run = ?1 AND idx = ?2")
            };
            let child = db
                .prepare_cached(&sql(children::COLUMNS, "children"))?
                .query_row(place, children::read)
                .optional()?;
            if let Some(row) = child {
                return Ok(Trace::Child(Box::new(row)));
            }
            let failure = db
                .prepare_cached(&sql(failures::COLUMNS, "failure_rows"))?
                .query_row(place, failures::read)
                .optional()?;
            if let Some(row) = failure {
                return Ok(Trace::Failed(Box::new(row)));
            }
            let result = db
                .prepare_cached(&sql(results::COLUMNS, "result_rows"))?
                .query_row(place, results::read)
                .optional()?;
            Ok(result.map_or(Trace::Nothing, |row| Trace::Done(Box::new(row))))
        })
    }

    /// The places of the items with that id of which the file knows something, in order, at most
    /// `rows_max` from each table.
    pub fn places_of(&self, run: RunId, id: &str, rows_max: u32) -> Result<Vec<Index>, StoreError> {
        self.readers.with(|db| {
            let db = db.unchecked_transaction()?;
            let mut places = Vec::new();
            for table in ["children", "failure_rows", "result_rows"] {
                let mut statement = db.prepare_cached(&format!(
                    "SELECT idx FROM {table} WHERE run = ?1 AND id = ?2 LIMIT ?3"
                ))?;
                let found = statement
                    .query_map(params![run.0, id, rows_max], |row| row.get(0).map(unsigned))?;
                places.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            places.sort_unstable();
            Ok(places)
        })
    }

    /// The children from `from` on of which the file knows something, at most `rows_max` from each
    /// table: first items and numbers of items. From the high mark on these are the ones that were
    /// decided on before their turn.
    pub fn traces_from(
        &self,
        run: RunId,
        from: Index,
        rows_max: u32,
    ) -> Result<Vec<(Index, u32)>, StoreError> {
        self.readers.with(|db| {
            let db = db.unchecked_transaction()?;
            let mut traces = Vec::new();
            for (items, table) in [
                ("items", "children"),
                ("items", "failure_rows"),
                ("1", "result_rows"),
            ] {
                let mut statement = db.prepare_cached(&format!(
                    "SELECT idx, {items} FROM {table} WHERE run = ?1 AND idx >= ?2
                     ORDER BY idx LIMIT ?3"
                ))?;
                let found = statement.query_map(params![run.0, signed(from), rows_max], |row| {
                    Ok((unsigned(row.get(0)?), row.get(1)?))
                })?;
                traces.extend(found.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            traces.sort_unstable();
            Ok(traces)
        })
    }
}
