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
        let source = engine.open_source(&row.job, &spec)?;
        let items = engine.config().items;
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
