//! Reads single records of a run's source once more, by their index.
//!
//! Owns where it stands between two of them: ascending indexes are read in one pass, and any other
//! begins at the nearest stored position. Never writes anything, and knows nothing of what was done.

use std::collections::VecDeque;

use super::{Engine, RuntimeError, plan::StoredPlan};
use crate::{
    ids::{Cursor, Index, RunId},
    integration::source::{PageBounds, Record, Source},
    store::{RunRow, Store},
};

/// Records read at a time: few are read for nothing behind the last one that is wanted.
const PAGE_RECORDS_MAX: usize = 256;

/// A run's source, opened to read some of its records.
pub(super) struct Records {
    job: String,
    run: RunId,
    store: Store,
    source: Box<dyn Source>,
    bounds: PageBounds,
    /// What was read and not asked for; the first one has the index `first`.
    page: VecDeque<Record>,
    first: Index,
    /// Behind the last one in `page`.
    cursor: Cursor,
}

impl Records {
    /// Opens the source of a run as it was when the run began; blocks.
    pub(super) fn open(engine: &Engine, row: &RunRow) -> Result<Self, RuntimeError> {
        let spec = StoredPlan::from_json(&row.plan)?.source_spec()?;
        let source = engine.open_source(&row.job, row.id, &spec)?;
        let items = engine.config().items.clone();
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let bounds = PageBounds {
            records_max: PAGE_RECORDS_MAX,
            bytes_max: bytes(items.page_bytes_max),
            record_bytes_max: bytes(items.record_bytes_max),
        };
        let store = engine.store().clone();
        Ok(Self::over(source, bounds, store, row))
    }

    /// As [`Records::open`], over a source that is open.
    pub(super) fn over(
        source: Box<dyn Source>,
        bounds: PageBounds,
        store: Store,
        row: &RunRow,
    ) -> Self {
        Self {
            job: row.job.clone(),
            run: row.id,
            store,
            source,
            bounds,
            page: VecDeque::new(),
            first: 0,
            cursor: Cursor::start(),
        }
    }

    /// The record at an index, as the source has it now; `None` where it ends before. Blocks.
    pub(super) fn read(&mut self, index: Index) -> Result<Option<Record>, RuntimeError> {
        let behind = self.first + self.page.len() as u64;
        if index < self.first || index > behind {
            let position = self.store.position_before(self.run, index)?;
            if index < self.first || position.index > behind {
                self.first = position.index;
                self.cursor = position.cursor;
                self.page.clear();
            }
        }
        loop {
            let before = usize::try_from(index - self.first).unwrap_or(usize::MAX);
            let before = before.min(self.page.len());
            self.page.drain(..before);
            self.first += before as u64;
            if let Some(record) = self.page.pop_front() {
                self.first += 1;
                return Ok(Some(record));
            }
            let page = self.source.read(&self.cursor, self.bounds);
            let page =
                page.map_err(|error| RuntimeError::Job(format!("job {:?}: {error}", self.job)))?;
            let Some(last) = page.records.last() else {
                return Ok(None);
            };
            self.cursor = last.end.clone();
            self.page = page.records.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::{
        ids::{ExecutionId, FrameId},
        integration::source::{Extent, Page, SourceError},
        iteration::Checkpoint,
        payload::Payload,
        store::{Change, POSITION_EVERY_ITEMS, Position, StoreSettings},
        time::Timestamp,
    };

    /// So many records, each its own index; counts those that were read.
    struct Counting {
        records: u64,
        read: Arc<AtomicU64>,
    }

    fn cursor(index: Index) -> Cursor {
        Cursor::new(format!("1:{index}"))
    }

    impl Source for Counting {
        fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
            let from = from
                .as_str()
                .strip_prefix("1:")
                .map_or(0, |at| at.parse().unwrap());
            let to = self.records.min(from + bounds.records_max as u64);
            self.read.fetch_add(to - from, Ordering::Relaxed);
            let record = |at: u64| Record {
                item: Ok(Payload::parse(at.to_string()).unwrap()),
                id: None,
                end: cursor(at + 1),
            };
            Ok(Page {
                records: (from..to).map(record).collect(),
                end: to == self.records,
                unfinished: None,
            })
        }

        fn extent(&self, _: &Cursor) -> Option<Extent> {
            None
        }
    }

    /// Reads these records one after the other; answers how many were read for it.
    fn check(positions: bool, wanted: impl IntoIterator<Item = Index>) -> u64 {
        const RECORDS: u64 = 10_000;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let row = RunRow {
            id: RunId(1),
            execution: ExecutionId(1),
            frame: FrameId(0),
            job: "job".to_owned(),
            plan: "{}".to_owned(),
            checkpoint: Checkpoint::default(),
            started: Timestamp(0),
            changed: Timestamp(0),
            ended: None,
        };
        let places = (1..)
            .map(|n| n * POSITION_EVERY_ITEMS)
            .take_while(|at| *at < RECORDS);
        let rows = places.map(|index| Position {
            index,
            cursor: cursor(index),
        });
        if positions {
            let (run, rows) = (row.id, rows.collect());
            store
                .commit_blocking(vec![Change::Positions { run, rows }])
                .unwrap();
        }
        let read = Arc::default();
        let source = Counting {
            records: RECORDS,
            read: Arc::clone(&read),
        };
        let bounds = PageBounds {
            records_max: PAGE_RECORDS_MAX,
            bytes_max: 1 << 20,
            record_bytes_max: 1 << 20,
        };
        let mut records = Records::over(Box::new(source), bounds, store, &row);
        for index in wanted {
            let record = records.read(index).unwrap();
            let found = record.map(|record| record.item.unwrap().text().to_owned());
            let there = (index < RECORDS).then(|| index.to_string());
            assert_eq!(found, there, "record {index}");
        }
        read.load(Ordering::Relaxed)
    }

    #[test]
    fn any_record_is_read_at_the_cost_of_a_position_and_a_page() {
        let page = PAGE_RECORDS_MAX as u64;
        assert!(check(true, [9_999]) <= POSITION_EVERY_ITEMS + page);
        assert!(check(true, [9_215, 3, 5_000, 5_000]) <= 4 * (POSITION_EVERY_ITEMS + page));
        assert!(check(true, [10_000, 123_456, 0]) <= 4 * POSITION_EVERY_ITEMS);
        assert!(
            check(false, [9_999]) <= 10_000,
            "without positions from the beginning"
        );
    }

    #[test]
    fn ascending_records_are_read_in_one_pass() {
        assert_eq!(check(true, 0..10_000), 10_000);
        assert_eq!(check(true, (0..10_000).step_by(7)), 10_000);
        let page = PAGE_RECORDS_MAX as u64;
        assert!(
            check(true, [0, 9_000]) <= 2 * page + POSITION_EVERY_ITEMS,
            "and nothing between"
        );
    }
}
