//! Who has an outcome or a row, without results and records: for audits, which read all of them.

use rusqlite::{Connection, Row, params};

use super::{
    Page, Store, StoreError,
    change::{signed, unsigned},
};
use crate::ids::{Index, RunId};

/// A child that has an outcome, or a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its first item.
    pub index: Index,
    /// How many items it has.
    pub items: u32,
    /// The record's own identity, where the job names one.
    pub id: Option<String>,
}

/// Where a child may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// It has a result.
    Done,
    /// It failed for good.
    Failed,
    /// It has a row: it waits, is in flight, or was put back.
    Open,
}

impl PlaceKind {
    const fn table(self) -> &'static str {
        match self {
            Self::Done => "result_rows",
            Self::Failed => "failure_rows",
            Self::Open => "children",
        }
    }

    const fn columns(self) -> &'static str {
        match self {
            Self::Done => "idx, 1, id",
            Self::Failed | Self::Open => "idx, items, id",
        }
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        index: unsigned(row.get(0)?),
        items: row.get(1)?,
        id: row.get(2)?,
    })
}

fn page(
    db: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    rows_max: u32,
) -> Result<Page<Place>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, read)?;
    Ok(Page::read(rows, rows_max, |_| 0)?)
}

impl Store {
    /// Children of a kind in dataset order, from that index on and below `to`, at most `rows_max`.
    pub fn places(
        &self,
        run: RunId,
        kind: PlaceKind,
        (from, to): (Index, Index),
        rows_max: u32,
    ) -> Result<Page<Place>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {} WHERE run = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx LIMIT ?4",
            kind.columns(),
            kind.table()
        );
        let parameters = params![run.0, signed(from), signed(to), rows_max];
        self.readers.with(|db| page(db, &sql, parameters, rows_max))
    }

    /// Children of a kind in the order of their records' identities, behind that one, at most `rows_max`.
    pub fn places_by_id(
        &self,
        run: RunId,
        kind: PlaceKind,
        (id, index): (&str, Option<Index>),
        rows_max: u32,
    ) -> Result<Page<Place>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {} WHERE run = ?1 AND id IS NOT NULL AND (id, idx) > (?2, ?3)
             ORDER BY id, idx LIMIT ?4",
            kind.columns(),
            kind.table()
        );
        let parameters = params![run.0, id, index.map_or(-1, signed), rows_max];
        self.readers.with(|db| page(db, &sql, parameters, rows_max))
    }
}
