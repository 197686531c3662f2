//! Reads pages of the source on threads that may block, one at a time, and keeps the records that
//! were read and not dispatched. Between the pages it has the source looked at.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use super::{
    child::Child,
    origin::{Found, Note, Origin, Position},
    tap::Reader,
};
use crate::{
    ids::{Cursor, Index, RunId},
    integration::source::{
        Extent, Fingerprint, OnChange, Page, PageBounds, RecordError, WhenEmpty,
    },
    iteration::{self, Input, PauseReason},
    store::{self, Change, POSITION_EVERY_ITEMS},
    time::{Clock, Timestamp},
};

/// When the source of a run that reads nothing for now is looked at first; each look without a page
/// between doubles the time to the next.
const LOOK_AFTER: Duration = Duration::from_secs(10);

/// The longest time between two looks: a thousand runs that wait for weeks cost next to nothing.
const LOOK_EVERY_MAX: Duration = Duration::from_mins(2);

/// The source of a run and what was read of it.
pub(super) struct Pages {
    bounds: PageBounds,
    origin: Option<Origin>,
    wanted: Option<Position>,
    /// What is wanted is not read before that instant.
    not_before: Option<Timestamp>,
    busy: Option<JoinHandle<Back>>,
    /// Behind the last record that was read.
    position: Position,
    /// Nothing followed when it was last read.
    at_end: bool,
    records: VecDeque<(Index, Result<Child, RecordError>)>,
    extent: Option<Extent>,
    /// Where some of what was read begins, to be stored with the next commit.
    positions: Vec<store::Position>,
    orders: Vec<SourceOrder>,
    look_at: Instant,
    look_after: Duration,
    /// Somebody asked for a page after the source was lost.
    lost: bool,
    /// Of a queue.
    reader: Option<Reader>,
    /// What its run waits for, where it has nothing; whether commits tell; and whether the run would
    /// have ended when it was looked at.
    waits: Option<(Arc<str>, bool)>,
    was_idle: bool,
}

/// What is to be done with the source once it is at hand.
enum SourceOrder {
    OnChange(OnChange),
    WhenEmpty(WhenEmpty),
    Accept(Box<Fingerprint>),
}

/// What came of the source.
#[derive(Default)]
pub(super) struct PageNews {
    pub(super) inputs: Vec<Input>,
    /// What has to be stored.
    pub(super) note: Option<Note>,
}

struct Back {
    origin: Origin,
    /// What was read for, and what came of it; a look gives no page.
    wanted: Option<Position>,
    found: Result<Option<Found>, String>,
}

impl Pages {
    pub(super) fn new(origin: Origin, bounds: PageBounds, position: Position) -> Self {
        Self {
            bounds,
            origin: Some(origin),
            wanted: None,
            not_before: None,
            busy: None,
            position,
            at_end: false,
            records: VecDeque::new(),
            extent: None,
            positions: Vec::new(),
            orders: Vec::new(),
            look_at: Instant::now() + LOOK_AFTER,
            look_after: LOOK_AFTER,
            lost: false,
            reader: None,
            waits: None,
            was_idle: false,
        }
    }

    /// The source is read for that run.
    pub(super) fn read_for(&mut self, run: RunId) {
        self.reader = self.origin.as_mut().and_then(|it| it.read_for(run));
    }

    /// What the run waits for in its queue, for people.
    pub(super) fn waits_for(&self) -> Option<&Arc<str>> {
        self.waits.as_ref().map(|(what, _)| what)
    }

    /// Reads from there as soon as may be; the core never asks twice at a time.
    pub(super) fn read(&mut self, from: Cursor, first: Index) {
        self.wanted = Some((from, first));
        self.not_before = None;
        self.lost = self.origin.is_none() && self.busy.is_none();
    }

    /// What is to be done about changes of the source from now on.
    pub(super) fn set_on_change(&mut self, on_change: OnChange) {
        self.orders.push(SourceOrder::OnChange(on_change));
    }

    /// What is to be done when the queue is empty from now on.
    pub(super) fn set_when_empty(&mut self, when_empty: WhenEmpty) {
        self.orders.push(SourceOrder::WhenEmpty(when_empty));
        if self.reader.is_some() {
            self.not_before = None;
        }
    }

    /// The source is taken as it is now.
    pub(super) fn accept(&mut self, known: Fingerprint) {
        self.orders.push(SourceOrder::Accept(Box::new(known)));
    }

    /// Whether nothing that was read waits to be dispatched.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What comes of the source next; waits for ever where nothing does. Cancelling loses nothing.
    /// `running` says whether the run takes in anything, `idle` that it would end if nothing follows.
    pub(super) async fn next(&mut self, running: bool, idle: bool, clock: &dyn Clock) -> PageNews {
        loop {
            if std::mem::take(&mut self.lost) {
                return failed(broken_off("it broke off before"));
            }
            let now = clock.now();
            let at_once = self.reader.is_some() && idle && !self.was_idle;
            let due = at_once || self.not_before.is_none_or(|at| at <= now);
            // Why: a run that is held takes nothing from others who take from its queue.
            let open = running || self.reader.is_none();
            if self.busy.is_none()
                && due
                && open
                && let Some(wanted) = self.wanted.clone()
            {
                self.begin(Some(wanted), idle, now);
            }
            if let Some(task) = &mut self.busy {
                let back = task.await;
                self.busy = None;
                if let Some(news) = self.take_back(back) {
                    return news;
                }
            } else if !open {
                return std::future::pending().await;
            } else if let (Some(at), Some(_)) = (self.not_before, &self.wanted) {
                self.wait(at, clock).await;
            } else if running && self.origin.as_ref().is_some_and(Origin::is_watched) {
                tokio::time::sleep_until(self.look_at).await;
                self.begin(None, idle, clock.now());
            } else {
                return std::future::pending().await;
            }
        }
    }

    /// Waits until then, or until messages have come into queues.
    async fn wait(&mut self, at: Timestamp, clock: &dyn Clock) {
        let told = self.waits.as_ref().is_some_and(|(_, told)| *told);
        match &mut self.reader {
            Some(reader) if told => tokio::select! {
                () = clock.wait_until(at) => {}
                Ok(()) = reader.messages.changed() => self.not_before = None,
            },
            Some(_) | None => clock.wait_until(at).await,
        }
    }

    /// Looks at the source now, before the run goes on. What is being read is looked at by itself.
    pub(super) async fn check(&mut self, now: Timestamp) -> PageNews {
        if self.busy.is_some() {
            return PageNews::default();
        }
        self.begin(None, false, now);
        let Some(task) = &mut self.busy else {
            return PageNews::default();
        };
        let back = task.await;
        self.busy = None;
        self.take_back(back).unwrap_or_default()
    }

    /// Sets out to read, or else to look.
    fn begin(&mut self, wanted: Option<Position>, idle: bool, now: Timestamp) {
        let Some(mut origin) = self.origin.take() else {
            return;
        };
        for order in self.orders.drain(..) {
            match order {
                SourceOrder::OnChange(on_change) => origin.set_on_change(on_change),
                SourceOrder::WhenEmpty(when_empty) => origin.set_when_empty(when_empty),
                SourceOrder::Accept(known) => origin.accept(*known, now),
            }
        }
        self.look_after = match wanted {
            Some(_) => LOOK_AFTER,
            None => (self.look_after * 2).min(LOOK_EVERY_MAX),
        };
        self.look_at = Instant::now() + self.look_after;
        self.not_before = None;
        self.was_idle = idle;
        if let Some(reader) = &mut self.reader {
            // Why before: what comes while it is looked at is looked at again.
            reader.messages.borrow_and_update();
        }
        let (bounds, position) = (self.bounds, self.position.clone());
        let standing = (self.at_end, idle);
        self.busy = Some(tokio::task::spawn_blocking(move || {
            let found = match &wanted {
                Some(at) => origin.read(at, bounds, now, standing).map(Some),
                None => origin.look(&position, now).map(|()| None),
            };
            Back {
                origin,
                wanted,
                found,
            }
        }));
    }

    fn take_back(&mut self, back: Result<Back, tokio::task::JoinError>) -> Option<PageNews> {
        let mut back = match back {
            Ok(back) => back,
            Err(error) => {
                self.wanted = None;
                return Some(failed(broken_off(error)));
            }
        };
        let note = back.origin.take_note();
        self.origin = Some(back.origin);
        let mut news = PageNews {
            note,
            ..PageNews::default()
        };
        match (back.found, back.wanted) {
            (Err(cause), _) => {
                // Why: the core takes a pause for the answer and asks again once it is resumed.
                self.wanted = None;
                news.inputs
                    .push(Input::Pause(PauseReason::Source { cause }));
            }
            (Ok(Some(Found::Page(page, extent))), Some((_, first))) => {
                self.wanted = None;
                self.extent = extent.or(self.extent);
                self.waits = None;
                news.inputs.push(self.take_in(first, page));
            }
            (Ok(Some(Found::NotBefore(at))), _) => self.not_before = Some(at),
            (Ok(Some(Found::Waits(waits))), _) => {
                self.not_before = Some(waits.until);
                if self.waits_for().is_none_or(|what| **what != *waits.what) {
                    // Why: whoever looks at the run is to see it.
                    news.inputs.push(Input::Tick);
                }
                self.waits = Some((waits.what.into(), waits.told));
            }
            (Ok(Some(Found::Page(..)) | None), _) => {}
        }
        let grown = news.note.as_ref().is_some_and(|note| note.grown.is_some());
        // Why no more beside a page: what has been read is what there is now.
        if grown && news.inputs.is_empty() {
            news.inputs.push(Input::Grown);
        }
        (news.note.is_some() || !news.inputs.is_empty()).then_some(news)
    }

    fn take_in(&mut self, first: Index, page: Page) -> Input {
        let mut children = Vec::with_capacity(page.records.len());
        for (index, record) in (first..).zip(page.records) {
            if (index + 1).is_multiple_of(POSITION_EVERY_ITEMS) {
                self.positions.push(store::Position {
                    index: index + 1,
                    cursor: record.end.clone(),
                });
            }
            self.position = (record.end.clone(), index + 1);
            children.push(iteration::Child {
                items: 1,
                end: record.end,
                faulty: record.item.is_err(),
            });
            let child = record.item.map(|item| Child::new(1, record.id, item));
            self.records.push_back((index, child));
        }
        self.at_end = page.end;
        Input::Page {
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
fn broken_off(error: impl std::fmt::Display) -> String {
    format!("reading broke off: {error}; stop the job and start it again")
}

fn failed(cause: String) -> PageNews {
    PageNews {
        inputs: vec![Input::Pause(PauseReason::Source { cause })],
        note: None,
    }
}
