//! Holds a run against its source: every record has exactly one outcome, or it is named.
//!
//! Goes through the records, results, failures and rows side by side in dataset order, and through
//! identities in theirs, a page of each at a time: memory stays the same whatever the run is. Reads
//! alone, also beside an actor at work; what looks wrong there is looked at once more before it is told.

use std::{cmp::Ordering, collections::VecDeque};

use crate::{
    ids::{Cursor, Index, RunId},
    integration::source::{
        self, Messages, OpenContext, PageBounds, Progress, Source, SourceError, SourceSpec,
    },
    store::{Page, Place, PlaceKind, RunRow, Store, StoreError},
};

/// Rows of a page: some milliseconds of reading each.
const PAGE_ROWS: u32 = 5000;

/// Records of a page of the source, and its bytes: some 10 ms, so that giving up is quick.
const PAGE_RECORDS: usize = 10_000;
const PAGE_BYTES: usize = 4 << 20;

/// Examples that are named of each kind of trouble.
const EXAMPLES_MAX: usize = 10;

/// Records of one kind: how many, and which were the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How many.
    pub records: u64,
    /// The places of the first of them, at most ten.
    pub first: Vec<Index>,
}

impl Found {
    fn add(&mut self, index: Index) {
        self.records += 1;
        if self.first.len() < EXAMPLES_MAX {
            self.first.push(index);
        }
    }
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Records of the source; where it was trusted, as many as the run counted.
    pub records: u64,
    /// Of them, those before the place at which the run began: no part of it.
    pub left_out: u64,
    /// Records with a result and nothing else.
    pub done: u64,
    /// Records that failed for good, and nothing else.
    pub failed: u64,
    /// Records that wait, are in flight, or were put back; also those whose old result is current still.
    pub open: Found,
    /// Records that have nothing: not come to, in flight from memory, or lost.
    pub missing: Found,
    /// Records that have more than one of these.
    pub double: Found,
    /// Outcomes of records that the source does not have (any more).
    pub stray: Found,
    /// Records whose outcome is stored under another identity: the source is another one.
    pub renamed: Found,
    /// Identities that several outcomes have.
    pub duplicate_ids: u64,
    /// How many outcomes those are.
    pub duplicate_records: u64,
    /// The first of these identities, at most ten.
    pub first_duplicates: Vec<String>,
}

impl Audit {
    /// Whether every record has exactly one outcome, and nothing else has one.
    #[must_use]
    pub fn balances(&self) -> bool {
        let troubles = [
            &self.open,
            &self.missing,
            &self.double,
            &self.stray,
            &self.renamed,
        ];
        troubles.iter().all(|found| found.records == 0)
    }
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Holds a run against its source, which is read once more.
pub fn audit(
    store: &Store,
    run: &RunRow,
    spec: &SourceSpec,
    context: &mut OpenContext<'_>,
    record_bytes_max: usize,
) -> Result<Audit, AuditError> {
    let bounds = PageBounds {
        records_max: PAGE_RECORDS,
        bytes_max: PAGE_BYTES,
        record_bytes_max,
    };
    let mut source: Box<dyn Source> = match spec.queue() {
        Some(_) => Box::new(Messages::new(spec, store.intake(run.id))),
        None => source::open(spec, context)?,
    };
    let mut auditor = Auditor::new(store, run);
    let mut at = Cursor::start();
    loop {
        let page = source.read(&at, bounds)?;
        for record in page.records {
            auditor.take(record.id.as_deref(), record.item.is_ok())?;
            at = record.end;
        }
        let progress = Progress {
            records: auditor.audit.records,
            extent: source.extent(&at),
        };
        if (context.progress)(progress).is_break() {
            return Err(SourceError::interrupted(&spec.path).into());
        }
        if page.end {
            return auditor.finish();
        }
    }
}

/// Holds a run against what it counted itself; the source is not read.
pub fn audit_trusting(store: &Store, run: &RunRow) -> Result<Audit, AuditError> {
    let checkpoint = &run.checkpoint;
    let mut auditor = Auditor::new(store, run);
    let total = checkpoint.total.map(|total| total + checkpoint.left_out);
    for _ in 0..total.unwrap_or(checkpoint.high_mark) {
        auditor.take(None, false)?;
    }
    auditor.finish()
}

struct Auditor<'a> {
    store: &'a Store,
    run: RunId,
    /// Below it everything had an outcome or a row when the audit began.
    watermark: Index,
    /// The run began there.
    left_out: Index,
    done: Places<'a>,
    failed: Places<'a>,
    open: Places<'a>,
    audit: Audit,
}

impl<'a> Auditor<'a> {
    fn new(store: &'a Store, run: &RunRow) -> Self {
        let places = |kind| Places {
            store,
            run: run.id,
            kind,
            page: VecDeque::new(),
            from: Some(0),
        };
        Self {
            store,
            run: run.id,
            watermark: run.checkpoint.watermark,
            left_out: run.checkpoint.left_out,
            done: places(PlaceKind::Done),
            failed: places(PlaceKind::Failed),
            open: places(PlaceKind::Open),
            audit: Audit::default(),
        }
    }

    /// The next record; `identified`: its identity could be read, so that it can be compared.
    fn take(&mut self, id: Option<&str>, identified: bool) -> Result<(), StoreError> {
        let index = self.audit.records;
        self.audit.records += 1;
        if index < self.left_out {
            self.audit.left_out += 1;
            return Ok(());
        }
        let mut found = [
            self.done.at(index)?,
            self.failed.at(index)?,
            self.open.at(index)?,
        ];
        let several = found.iter().flatten().count();
        if several > 1 || (several == 0 && index < self.watermark) {
            // Why again: pages of the three were read at different times, and a record may have moved.
            found = self.look_again(index)?;
        }
        match &found {
            [Some(_), None, None] => self.audit.done += 1,
            [None, Some(_), None] => self.audit.failed += 1,
            // A result beside a row is current until its redo is there.
            [_, None, Some(_)] => self.audit.open.add(index),
            [None, None, None] => self.audit.missing.add(index),
            _ => self.audit.double.add(index),
        }
        let known = found.iter().flatten().next();
        if let Some(known) = known
            && identified
            && known.items == 1
            && known.id.is_some()
            && known.id.as_deref() != id
        {
            self.audit.renamed.add(index);
        }
        Ok(())
    }

    fn look_again(&self, index: Index) -> Result<[Option<Place>; 3], StoreError> {
        let look = |kind| -> Result<Option<Place>, StoreError> {
            let page = self.store.places(self.run, kind, (index, index + 1), 1)?;
            Ok(page.rows.into_iter().next())
        };
        Ok([
            look(PlaceKind::Done)?,
            look(PlaceKind::Failed)?,
            look(PlaceKind::Open)?,
        ])
    }

    fn finish(mut self) -> Result<Audit, AuditError> {
        for places in [&mut self.done, &mut self.failed, &mut self.open] {
            while let Some(place) = places.next()? {
                self.audit.stray.add(place.index);
            }
        }
        self.count_duplicates()?;
        Ok(self.audit)
    }

    fn count_duplicates(&mut self) -> Result<(), StoreError> {
        let (store, run) = (self.store, self.run);
        let ids = |kind| Ids {
            store,
            run,
            kind,
            page: VecDeque::new(),
            behind: Some((String::new(), None)),
        };
        let (mut done, mut failed) = (ids(PlaceKind::Done), ids(PlaceKind::Failed));
        let (mut last, mut times) = (String::new(), 0_u64);
        loop {
            let next = match (done.peek()?, failed.peek()?) {
                (None, None) => None,
                (Some(_), None) => done.take(),
                (None, Some(_)) => failed.take(),
                (Some(one), Some(other)) => match one.cmp(other) {
                    Ordering::Less | Ordering::Equal => done.take(),
                    Ordering::Greater => failed.take(),
                },
            };
            if next.as_ref() == Some(&last) {
                times += 1;
                continue;
            }
            if times > 1 {
                self.audit.duplicate_ids += 1;
                self.audit.duplicate_records += times;
                if self.audit.first_duplicates.len() < EXAMPLES_MAX {
                    self.audit.first_duplicates.push(last);
                }
            }
            match next {
                Some(id) => (last, times) = (id, 1),
                None => return Ok(()),
            }
        }
    }
}

/// Children of one kind in dataset order, a page at a time.
struct Places<'a> {
    store: &'a Store,
    run: RunId,
    kind: PlaceKind,
    page: VecDeque<Place>,
    /// Where the next page begins; `None`: there is none.
    from: Option<Index>,
}

impl Places<'_> {
    /// The child that the item of that index belongs to; asked in order.
    fn at(&mut self, index: Index) -> Result<Option<Place>, StoreError> {
        self.fill()?;
        while let Some(first) = self.page.front() {
            let end = first.index + u64::from(first.items);
            if index < first.index {
                return Ok(None);
            }
            let found = (index < end).then(|| first.clone());
            if index + 1 >= end {
                self.page.pop_front();
            }
            if found.is_some() {
                return Ok(found);
            }
            self.fill()?;
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<Place>, StoreError> {
        self.fill()?;
        Ok(self.page.pop_front())
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        let Some(from) = self.from.filter(|_| self.page.is_empty()) else {
            return Ok(());
        };
        let range = (from, Index::MAX);
        let Page { rows, more } = self.store.places(self.run, self.kind, range, PAGE_ROWS)?;
        self.from = rows
            .last()
            .filter(|_| more)
            .map(|last| last.index.saturating_add(1));
        self.page = rows.into();
        Ok(())
    }
}

/// The identities of one kind in their order, a page at a time.
struct Ids<'a> {
    store: &'a Store,
    run: RunId,
    kind: PlaceKind,
    page: VecDeque<String>,
    /// Behind what the next page begins; `None`: there is none.
    behind: Option<(String, Option<Index>)>,
}

impl Ids<'_> {
    fn peek(&mut self) -> Result<Option<&String>, StoreError> {
        if self.page.is_empty()
            && let Some((id, index)) = self.behind.take()
        {
            let behind = (id.as_str(), index);
            let page = self
                .store
                .places_by_id(self.run, self.kind, behind, PAGE_ROWS)?;
            self.behind = page
                .rows
                .last()
                .filter(|_| page.more)
                .map(|last| (last.id.clone().unwrap_or_default(), Some(last.index)));
            self.page = page.rows.into_iter().filter_map(|row| row.id).collect();
        }
        Ok(self.page.front())
    }

    fn take(&mut self) -> Option<String> {
        self.page.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{ExecutionId, FrameId},
        iteration::{Checkpoint, RowStatus},
        payload::Payload,
        store::{Change, ChildRow, FailureRow, ResultRow, StoreSettings},
        time::Timestamp,
    };

    fn result(index: Index, id: &str) -> ResultRow {
        ResultRow {
            index,
            id: Some(id.into()),
            result: Payload::parse("1").unwrap(),
            version: 1,
            attempts: 1,
            at: Timestamp(0),
            redo: 0,
        }
    }

    fn failure(index: Index, id: &str) -> FailureRow {
        FailureRow {
            index,
            items: 1,
            id: Some(id.to_owned()),
            error: "Broken".to_owned(),
            cause: String::new(),
            attempts: 1,
            version: 1,
            payload: None,
            at: Timestamp(0),
            redo: 0,
        }
    }

    /// Audits a run of these outcomes against a source of these identities.
    fn check(ids: &[&str], results: Vec<ResultRow>, failures: Vec<FailureRow>) -> Audit {
        check_from(0, ids, results, failures, Vec::new())
    }

    /// The same of a run that began at that record, with rows.
    fn check_from(
        left_out: Index,
        ids: &[&str],
        results: Vec<ResultRow>,
        failures: Vec<FailureRow>,
        rows: Vec<ChildRow>,
    ) -> Audit {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreSettings::default()).unwrap();
        let row = RunRow {
            id: store.next_run_id(),
            execution: ExecutionId(1),
            frame: FrameId(0),
            job: "job".to_owned(),
            plan: "{}".to_owned(),
            checkpoint: Checkpoint {
                total: Some(ids.len() as u64 - left_out),
                left_out,
                ..Checkpoint::default()
            },
            started: Timestamp(0),
            changed: Timestamp(0),
            ended: None,
        };
        let run = row.id;
        let mut changes = vec![
            Change::NewRun(row.clone()),
            Change::Results { run, rows: results },
            Change::Failures {
                run,
                rows: failures,
            },
        ];
        let put = |row| Change::PutChild(Box::new(ChildRow { run, ..row }));
        changes.extend(rows.into_iter().map(put));
        store.commit_blocking(changes).unwrap();
        let path = folder.path().join("in.jsonl");
        let lines: Vec<String> = ids
            .iter()
            .map(|id| format!("{{\"id\":\"{id}\"}}\n"))
            .collect();
        std::fs::write(&path, lines.concat()).unwrap();
        let table = serde_json::json!({ "kind": "jsonl", "path": path, "id": "id" });
        let spec = SourceSpec::from_json(table).unwrap();
        let mut progress = |_| std::ops::ControlFlow::Continue(());
        let mut context = OpenContext {
            spool_dir: folder.path(),
            spool_bytes_max: 0,
            progress: &mut progress,
        };
        let audit = audit(&store, &row, &spec, &mut context, 1 << 20).unwrap();
        let trusting = audit_trusting(&store, &row).unwrap();
        assert_eq!(
            (
                trusting.done,
                trusting.missing.clone(),
                trusting.double.clone()
            ),
            (audit.done, audit.missing.clone(), audit.double.clone())
        );
        audit
    }

    #[test]
    fn a_run_balances_where_every_record_has_one_outcome() {
        let results = vec![result(0, "a"), result(2, "c")];
        let audit = check(&["a", "b", "c"], results, vec![failure(1, "b")]);
        assert_eq!((audit.records, audit.done, audit.failed), (3, 2, 1));
        assert!(audit.balances());
    }

    #[test]
    fn what_lacks_is_double_stray_or_another_record_is_named() {
        let results = vec![
            result(0, "a"),
            result(1, "b"),
            result(3, "x"),
            result(9, "a"),
        ];
        let audit = check(&["a", "b", "c", "d"], results, vec![failure(1, "b")]);
        assert_eq!(audit.double.first, [1]);
        assert_eq!(audit.missing.first, [2]);
        assert_eq!(audit.renamed.first, [3]);
        assert_eq!(audit.stray.first, [9]);
        assert_eq!(audit.first_duplicates, ["a", "b"]);
        assert_eq!((audit.duplicate_ids, audit.duplicate_records), (2, 4));
        assert!(!audit.balances());
    }

    #[test]
    fn pages_meet_without_losing_a_record_or_an_identity() {
        let many = u64::from(PAGE_ROWS) * 2 + 7;
        let ids: Vec<String> = (0..many).map(|n| format!("{:06}", n / 2)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let results = (0..many)
            .zip(&ids)
            .map(|(index, id)| result(index, id))
            .collect();
        let audit = check(&ids, results, Vec::new());
        assert!(audit.balances(), "{audit:?}");
        assert_eq!((audit.done, audit.duplicate_ids), (many, many / 2));
    }

    #[test]
    fn a_record_that_is_redone_is_open_and_one_before_the_first_is_no_part_of_the_run() {
        let row = ChildRow {
            run: RunId(0),
            index: 1,
            items: 1,
            status: RowStatus::Queued,
            due: Timestamp(0),
            id: Some("b".to_owned()),
            attempts: 0,
            payload: "1".to_owned(),
            state: None,
            error: None,
            cause: None,
            version: None,
            changed: Timestamp(0),
            redo: 1,
            cursor: None,
        };
        let results = vec![result(1, "b"), result(2, "c")];
        let audit = check_from(1, &["a", "b", "c"], results, Vec::new(), vec![row]);
        assert_eq!((audit.left_out, audit.done), (1, 1));
        assert_eq!((audit.open.first, audit.double.records), (vec![1], 0));
    }
}
