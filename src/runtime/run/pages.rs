//! Reads pages of the source on threads that may block, one at a time, and keeps the records that
//! were read and not dispatched.

use std::collections::VecDeque;

use tokio::task::JoinHandle;

use super::child::Child;
use crate::{
    ids::{Cursor, Index, RunId},
    integration::source::{Extent, Page, PageBounds, RecordError, Source, SourceError},
    iteration,
    store::{Change, POSITION_EVERY_ITEMS, Position},
};

/// The source of a run and what was read of it.
pub(super) struct Pages {
    bounds: PageBounds,
    source: Option<Box<dyn Source>>,
    reading: Option<(Index, JoinHandle<ReadBack>)>,
    records: VecDeque<(Index, Result<Child, RecordError>)>,
    extent: Option<Extent>,
    /// Where some of what was read begins, to be stored with the next commit.
    positions: Vec<Position>,
    /// Somebody asked for a page after the source was lost.
    lost: bool,
}

struct ReadBack {
    source: Box<dyn Source>,
    page: Result<Page, SourceError>,
    extent: Option<Extent>,
}

impl Pages {
    pub(super) fn new(source: Box<dyn Source>, bounds: PageBounds) -> Self {
        Self {
            bounds,
            source: Some(source),
            reading: None,
            records: VecDeque::new(),
            extent: None,
            positions: Vec::new(),
            lost: false,
        }
    }

    /// Begins to read from there; the core never asks twice at a time.
    pub(super) fn read(&mut self, from: Cursor, first: Index) {
        let Some(mut source) = self.source.take() else {
            self.lost = true;
            return;
        };
        let bounds = self.bounds;
        let task = tokio::task::spawn_blocking(move || {
            let page = source.read(&from, bounds);
            let end = page
                .as_ref()
                .ok()
                .and_then(|page| page.records.last())
                .map_or(from, |record| record.end.clone());
            ReadBack {
                extent: source.extent(&end),
                source,
                page,
            }
        });
        self.reading = Some((first, task));
    }

    /// The page that was being read; waits for ever where none is. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<iteration::Input, SourceError> {
        if std::mem::take(&mut self.lost) {
            return Err(broken_off(
                "it broke off before; stop the job and start it again",
            ));
        }
        let Some((first, task)) = &mut self.reading else {
            return std::future::pending().await;
        };
        let first = *first;
        let back = task.await;
        self.reading = None;
        let back = back.map_err(broken_off)?;
        self.source = Some(back.source);
        self.extent = back.extent.or(self.extent);
        Ok(self.take_in(first, back.page?))
    }

    fn take_in(&mut self, first: Index, page: Page) -> iteration::Input {
        let mut children = Vec::with_capacity(page.records.len());
        for (index, record) in (first..).zip(page.records) {
            if (index + 1).is_multiple_of(POSITION_EVERY_ITEMS) {
                self.positions.push(Position {
                    index: index + 1,
                    cursor: record.end.clone(),
                });
            }
            children.push(iteration::Child {
                items: 1,
                end: record.end,
                faulty: record.item.is_err(),
            });
            let child = record.item.map(|item| Child::new(1, record.id, item));
            self.records.push_back((index, child));
        }
        iteration::Input::Page {
            first,
            children,
            end: page.end,
        }
    }

    /// What the next commit has to store of where records begin. Crash: what is read again gives it
    /// again, since no watermark passes a place before the commit that this is for.
    pub(super) fn positions(&mut self, run: RunId) -> Option<Change> {
        let rows = std::mem::take(&mut self.positions);
        (!rows.is_empty()).then_some(Change::Positions { run, rows })
    }

    /// The record at that index, which the core has just decided on; what lies before it was settled
    /// by a former process and is dropped.
    pub(super) fn take(&mut self, index: Index) -> Option<Result<Child, RecordError>> {
        while let Some((at, record)) = self.records.pop_front() {
            if at == index {
                return Some(record);
            }
        }
        None
    }

    /// The record at that index, where it was read and not dispatched.
    pub(super) fn record(&self, index: Index) -> Option<&Result<Child, RecordError>> {
        let at = self.records.partition_point(|(one, _)| *one < index);
        let (one, record) = self.records.get(at)?;
        (*one == index).then_some(record)
    }

    /// Where a record with that id stands among those that were read and not dispatched.
    pub(super) fn place_of(&self, id: &str) -> Option<Index> {
        let mut records = self.records.iter();
        records
            .find(|(_, record)| {
                record
                    .as_ref()
                    .is_ok_and(|child| child.id.as_deref() == Some(id))
            })
            .map(|(index, _)| *index)
    }

    /// How much of the source lies before the last record that was read, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    pub(super) fn share(&self) -> Option<f64> {
        let extent = self.extent?;
        (extent.bytes_total > 0).then(|| extent.bytes as f64 / extent.bytes_total as f64)
    }
}

/// The source is lost with the thread that read it.
fn broken_off(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
    SourceError::Io {
        path: "the source".to_owned(),
        error: std::io::Error::other(error),
    }
}
