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

/// Names that one read looks up: some 20 ms.
pub const NAMES_MAX: usize = 2000;

/// How a person names one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordName {
    /// By its own identity.
    Id(String),
    /// By its place in the dataset.
    Index(Index),
}

impl RecordName {
    /// Reads a name: `#17` is a place, everything else an identity.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let index = text
            .strip_prefix('#')
            .and_then(|digits| digits.parse().ok());
        index.map_or_else(|| Self::Id(text.to_owned()), Self::Index)
    }
}

impl std::fmt::Display for RecordName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Index(index) => write!(f, "#{index}"),
        }
    }
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

    /// The results of these records, at most [`NAMES_MAX`], each with whether it is being redone.
    pub fn results_to_redo(
        &self,
        run: RunId,
        indexes: &[Index],
    ) -> Result<Vec<(ResultRow, bool)>, StoreError> {
        let columns = results::COLUMNS;
        self.readers.with(|db| {
            // Why: a read for each would cost a snapshot each.
            let snapshot = db.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(&format!(
                "SELECT {columns}, {UNDER_WAY} FROM result_rows WHERE run = ?1 AND idx = ?2"
            ))?;
            let mut rows = Vec::with_capacity(indexes.len());
            for index in indexes {
                let row = statement.query_row(params![run.0, signed(*index)], |row| {
                    Ok((results::read(row)?, row.get(7)?))
                });
                rows.extend(row.optional()?);
            }
            Ok(rows)
        })
    }

    /// The places of the results that these names mean, at most [`NAMES_MAX`] names; where ids are
    /// unique, at most one for each.
    pub fn results_named(
        &self,
        run: RunId,
        names: &[RecordName],
    ) -> Result<Vec<Vec<Index>>, StoreError> {
        self.readers.with(|db| {
            let snapshot = db.unchecked_transaction()?;
            let mut of_id = snapshot
                .prepare_cached("SELECT idx FROM result_rows WHERE run = ?1 AND id = ?2")?;
            let mut of_index = snapshot
                .prepare_cached("SELECT idx FROM result_rows WHERE run = ?1 AND idx = ?2")?;
            let place = |row: &Row<'_>| row.get::<_, i64>(0).map(unsigned);
            let found = names.iter().map(|name| match name {
                RecordName::Id(id) => of_id.query_map(params![run.0, id], place)?.collect(),
                RecordName::Index(index) => {
                    let index = params![run.0, signed(*index)];
                    of_index.query_map(index, place)?.collect()
                }
            });
            Ok(found.collect::<rusqlite::Result<_>>()?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{ExecutionId, FrameId},
        iteration::{Checkpoint, RowStatus},
        payload::Payload,
        store::{Change, FailureRow, Requeue, RunRow, StoreSettings},
    };

    const RUN: RunId = RunId(1);

    fn result(index: Index, redo: u32, at: i64) -> ResultRow {
        ResultRow {
            index,
            id: Some(format!("C-{index}").into()),
            result: Payload::parse(format!("{{\"redo\":{redo}}}")).unwrap(),
            version: redo + 1,
            attempts: 1,
            at: Timestamp(at),
            redo,
        }
    }

    fn commit(store: &Store, changes: Vec<Change>) -> Result<(), StoreError> {
        store.commit_blocking(changes)
    }

    /// A store with a run that has so many results, answered at one instant after the other.
    fn with_results(results: u64) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let row = RunRow {
            id: RUN,
            execution: ExecutionId(1),
            frame: FrameId(0),
            job: "job".to_owned(),
            plan: "{}".to_owned(),
            checkpoint: Checkpoint::default(),
            started: Timestamp(0),
            changed: Timestamp(0),
            ended: None,
        };
        let rows = (0..results).map(|n| result(n, 0, i64::try_from(n).unwrap()));
        let rows = rows.collect();
        commit(
            &store,
            vec![Change::NewRun(row), Change::Results { run: RUN, rows }],
        )
        .unwrap();
        (directory, store)
    }

    fn redo(store: &Store, rows: &[(Index, u32)]) -> Result<(), StoreError> {
        let row = |(index, redo): &(Index, u32)| RedoRow {
            index: *index,
            redo: *redo,
            payload: "{}".to_owned(),
        };
        let rows = rows.iter().map(row).collect();
        let (run, at) = (RUN, Timestamp(100));
        commit(store, vec![Change::Redo { run, rows, at }])
    }

    fn current(store: &Store) -> Vec<(Index, u32)> {
        let page = store.results(RUN, 0, Index::MAX, 99).unwrap();
        page.rows.iter().map(|row| (row.index, row.redo)).collect()
    }

    fn old(store: &Store) -> Vec<(Index, u32)> {
        let page = store.superseded(RUN, (0, 0), 99).unwrap();
        page.rows
            .iter()
            .map(|it| (it.row.index, it.row.redo))
            .collect()
    }

    fn counted(store: &Store, sql: &str) -> i64 {
        let db = Connection::open(store.path()).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_result_is_current_until_its_redo_has_given_another_and_is_kept_then() {
        let (_directory, store) = with_results(3);
        redo(&store, &[(1, 0)]).unwrap();
        assert_eq!(current(&store), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(store.redone_between(RUN, 0, 9).unwrap(), [1]);
        let child = store.child(RUN, 1).unwrap().unwrap();
        assert_eq!(
            (child.status, child.attempts, child.redo),
            (RowStatus::Queued, 0, 1)
        );
        assert_eq!(child.id.as_deref(), Some("C-1"));
        assert_eq!(
            counted(&store, "SELECT count(*) FROM items"),
            3,
            "each item once"
        );
        assert_eq!(counted(&store, "SELECT sum(redoing) FROM results"), 1);
        let rows = vec![result(1, 1, 200)];
        let (run, index) = (RUN, 1);
        commit(
            &store,
            vec![
                Change::RemoveChild { run, index },
                Change::Results { run, rows },
            ],
        )
        .unwrap();
        assert_eq!(current(&store), [(0, 0), (1, 1), (2, 0)]);
        assert_eq!(old(&store), [(1, 0)]);
        let first = store.superseded(RUN, (0, 0), 1).unwrap().rows.remove(0);
        assert_eq!(
            (first.row, first.superseded),
            (result(1, 0, 1), Timestamp(200))
        );
        redo(&store, &[(1, 1)]).unwrap();
        let rows = vec![result(1, 2, 300)];
        commit(
            &store,
            vec![
                Change::RemoveChild { run, index },
                Change::Results { run, rows },
            ],
        )
        .unwrap();
        assert_eq!(
            (current(&store)[1], old(&store)),
            ((1, 2), vec![(1, 0), (1, 1)])
        );
        assert_eq!(store.superseded(RUN, (1, 1), 9).unwrap().rows.len(), 1);
    }

    #[test]
    fn a_redo_that_fails_for_good_leaves_the_old_result_as_superseded_and_a_retry_of_it_is_the_same_redo()
     {
        let (_directory, store) = with_results(1);
        redo(&store, &[(0, 0)]).unwrap();
        let (run, index) = (RUN, 0);
        let rows = vec![FailureRow {
            index,
            items: 1,
            id: None,
            error: "Bad".to_owned(),
            cause: String::new(),
            attempts: 3,
            version: 2,
            payload: Some("{}".to_owned()),
            at: Timestamp(200),
            redo: 1,
        }];
        commit(
            &store,
            vec![
                Change::RemoveChild { run, index },
                Change::Failures { run, rows },
            ],
        )
        .unwrap();
        assert_eq!((current(&store), old(&store)), (vec![], vec![(0, 0)]));
        let (what, at) = (Requeue::new(None, None), Timestamp(300));
        commit(&store, vec![Change::RequeueFailures { run, what, at }]).unwrap();
        assert_eq!(store.child(RUN, 0).unwrap().unwrap().redo, 1);
    }

    #[test]
    fn a_page_is_refused_whole_where_one_of_it_is_queued_or_has_another_result() {
        let (_directory, store) = with_results(3);
        redo(&store, &[(1, 0)]).unwrap();
        for page in [[(0, 0), (1, 0)], [(0, 0), (7, 0)], [(0, 0), (2, 1)]] {
            assert!(redo(&store, &page).is_err(), "{page:?}");
            assert_eq!(store.child(RUN, 0).unwrap(), None, "{page:?}");
        }
    }

    #[test]
    fn a_scan_finds_what_is_in_scope_and_is_bounded_by_what_it_looks_at() {
        let results = u64::from(SCAN_ROWS_MAX) + 10;
        let (_directory, store) = with_results(results);
        redo(&store, &[(2, 0)]).unwrap();
        let scope = |between| ResultScope {
            version: Some(1),
            between,
        };
        let early = scope(Some((Timestamp(1), Timestamp(4))));
        let scan = store.scan_results(RUN, 0, &early, 9).unwrap();
        let found: Vec<(Index, bool)> = scan
            .rows
            .iter()
            .map(|(row, under_way)| (row.index, *under_way))
            .collect();
        assert_eq!(
            found,
            [(1, false), (2, true), (3, false)],
            "from the first on, before the second"
        );
        assert_eq!(
            scan.next,
            Some(u64::from(SCAN_ROWS_MAX)),
            "it looks no further at once"
        );
        let scan = store
            .scan_results(RUN, scan.next.unwrap(), &early, 9)
            .unwrap();
        assert_eq!((scan.rows.len(), scan.next), (0, None));
        let scan = store.scan_results(RUN, 0, &scope(None), 2).unwrap();
        assert_eq!((scan.rows.len(), scan.next), (2, Some(2)));
        let other = ResultScope {
            version: Some(9),
            between: None,
        };
        assert!(
            store
                .scan_results(RUN, 0, &other, 9)
                .unwrap()
                .rows
                .is_empty()
        );
    }
}
