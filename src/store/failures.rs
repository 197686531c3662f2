//! Items that failed for good, and putting them back.

use rusqlite::{Connection, Row, params};

use super::{
    Page, Store, StoreError,
    change::{signed, unsigned},
    redo,
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
    /// How often the record had been put back by a redo.
    pub redo: u32,
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

pub(super) const COLUMNS: &str =
    "idx, items, id, error, cause, attempts, version, payload, at_us, redo";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<FailureRow> {
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
        redo: row.get(9)?,
    })
}

pub(super) fn put(db: &Connection, run: RunId, rows: &[FailureRow]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO failure_rows (run, idx, items, id, error, cause, attempts, version,
                                              payload, at_us, redo)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for row in rows {
        if row.redo > 0 {
            redo::supersede(db, run, row.index, row.at)?;
        }
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
            row.redo,
        ])?;
    }
    Ok(())
}

pub(super) fn remove(db: &Connection, run: RunId, index: Index) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM failure_rows WHERE run = ?1 AND idx = ?2")?
        .execute(params![run.0, signed(index)])?;
    Ok(())
}

/// A page in dataset order: by the table itself, or by the index of errors; never more rows than it has.
fn page_sql(of_error: bool) -> String {
    let condition = if of_error { "error = ?4" } else { "?4 IS NULL" };
    format!(
        "SELECT {COLUMNS} FROM failure_rows WHERE run = ?1 AND idx > ?2 AND {condition}
         ORDER BY idx LIMIT ?3"
    )
}

/// Which failed items are to be put back: in a range of indexes, of one error or of any. What could
/// not even be read is never put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// Only those with this error.
    pub error: Option<String>,
    /// From this index on.
    pub from: Index,
    /// Up to this index, itself included.
    pub to: Index,
}

impl Requeue {
    /// All, those of one error, or one item.
    #[must_use]
    pub fn new(error: Option<String>, index: Option<Index>) -> Self {
        Self {
            error,
            from: index.unwrap_or(0),
            to: index.unwrap_or(Index::MAX),
        }
    }

    /// Why two conditions: each is answered by an index of its own.
    fn condition(&self) -> &'static str {
        match self.error {
            Some(_) => "run = ?1 AND error = ?4 AND idx BETWEEN ?2 AND ?3 AND payload IS NOT NULL",
            None => "run = ?1 AND ?4 IS NULL AND idx BETWEEN ?2 AND ?3 AND payload IS NOT NULL",
        }
    }
}

/// The first of the failed items to be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequeuePage {
    /// How many children they are.
    pub children: u64,
    /// How many items those have.
    pub items: u64,
    /// The last one's index.
    pub last: Index,
}

pub(super) fn requeue(
    db: &Connection,
    run: RunId,
    what: &Requeue,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let condition = what.condition();
    let (from, to) = (signed(what.from), signed(what.to));
    db.prepare_cached(&format!(
        "INSERT OR REPLACE INTO children (run, idx, items, status, due_us, id, attempts, payload,
                                          state, error, cause, version, changed_us, redo)
         SELECT run, idx, items, 'queued', ?5, id, attempts, payload, NULL, error, cause, version,
                ?5, redo
         FROM failure_rows WHERE {condition}"
    ))?
    .execute(params![run.0, from, to, what.error, at.0])?;
    db.prepare_cached(&format!("DELETE FROM failure_rows WHERE {condition}"))?
        .execute(params![run.0, from, to, what.error])?;
    Ok(())
}

impl Store {
    /// The first of the failed items that [`super::Change::RequeueFailures`] would put back, at most
    /// `rows_max` children; `None` where there is none.
    pub fn requeue_page(
        &self,
        run: RunId,
        what: &Requeue,
        rows_max: u32,
    ) -> Result<Option<RequeuePage>, StoreError> {
        self.readers.with(|db| {
            let (children, items, last) = db
                .prepare_cached(&format!(
                    "SELECT count(*), coalesce(sum(items), 0), max(idx) FROM
                     (SELECT idx, items FROM failure_rows WHERE {} ORDER BY idx LIMIT ?5)",
                    what.condition()
                ))?
                .query_row(
                    params![
                        run.0,
                        signed(what.from),
                        signed(what.to),
                        what.error,
                        rows_max
                    ],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?)),
                )?;
            Ok(last.map(|last| RequeuePage {
                children: unsigned(children),
                items: unsigned(items),
                last: unsigned(last),
            }))
        })
    }

    /// A page of failures in dataset order after `after`, of one error where one is given, at most
    /// `rows_max`.
    pub fn failures(
        &self,
        run: RunId,
        error: Option<&str>,
        after: Option<Index>,
        rows_max: u32,
    ) -> Result<Page<FailureRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&page_sql(error.is_some()))?;
            let after = after.map_or(-1, signed);
            let rows = statement.query_map(params![run.0, after, rows_max, error], read)?;
            let bytes =
                |row: &FailureRow| row.cause.len() + row.payload.as_ref().map_or(0, String::len);
            Ok(Page::read(rows, rows_max, bytes)?)
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

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::{Change, StoreSettings};

    /// What SQLite does for a page of 100 after that index, in its own steps.
    fn cost(db: &Connection, error: Option<&str>, after: i64) -> i32 {
        let mut statement = db.prepare(&page_sql(error.is_some())).unwrap();
        let mut rows = statement.query(params![1, after, 100, error]).unwrap();
        let mut count = 0;
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        drop(rows);
        assert_eq!(count, 100);
        assert_eq!(statement.get_status(StatementStatus::FullscanStep), 0);
        assert_eq!(statement.get_status(StatementStatus::Sort), 0);
        statement.get_status(StatementStatus::VmStep)
    }

    #[test]
    fn every_page_of_100_000_failures_costs_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let row = |index: u64| FailureRow {
            index,
            items: 1,
            id: None,
            error: if index.is_multiple_of(3) {
                "Rare"
            } else {
                "Often"
            }
            .to_owned(),
            cause: "because".to_owned(),
            attempts: 1,
            version: 1,
            payload: Some("{}".to_owned()),
            at: Timestamp(0),
            redo: 0,
        };
        let (run, rows) = (RunId(1), (0..100_000).map(row).collect());
        store
            .commit_blocking(vec![Change::Failures { run, rows }])
            .unwrap();
        let db = Connection::open(store.path()).unwrap();
        for error in [None, Some("Rare"), Some("Often")] {
            let (first, last) = (cost(&db, error, -1), cost(&db, error, 99_000));
            assert!(last <= first + 10, "{error:?}: {first} steps, then {last}");
        }
    }
}
