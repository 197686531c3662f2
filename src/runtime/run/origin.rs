//! Where a run's records come from, and whether that is still what it was.
//!
//! Owns the open source, opens it when it is needed and again when it lies elsewhere, and looks at it
//! before it reads on. Blocks; holds no position that matters. Never changes the run: it says what
//! was found, in words that are stored with a pause.

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use tokio::sync::watch;

use super::tap::{Reader, Tap};
use crate::{
    ids::{Cursor, Index, RunId},
    integration::source::{
        self, Ends, Extent, Fingerprint, Look, OnChange, OpenContext, Page, PageBounds, Source,
        SourceError, SourceSpec, Watched, WhenEmpty,
    },
    time::Timestamp,
};

/// A source that decompresses to more than this is refused; a tebibyte outlasts any disk here.
pub(in crate::runtime) const SPOOL_BYTES_MAX: u64 = 1 << 40;

/// While pages are read, the source is looked at no more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long nobody has written to a file whose last record nothing terminates, before that is taken
/// for whole. Longer than a writer takes between two parts of a record, short enough to wait for.
const QUIET: Duration = Duration::from_secs(5);

/// More bytes than a record that is being written: what nothing terminates so far from the end is
/// damage, and is not waited for until the end of the run.
const UNFINISHED_BYTES_MAX: u64 = 64 * 1024;

/// Where a run's records come from.
pub(in crate::runtime) struct Origin {
    open: Option<Box<dyn Source>>,
    watch: Option<Watch>,
    note: Option<Note>,
    /// Of a queue: nothing else is opened or looked at then.
    tap: Option<Tap>,
}

/// What it takes to look at the source and to open it again.
struct Watch {
    job: String,
    watched: Watched,
    /// Since when it is known to be so.
    since: Timestamp,
    looked: Option<Timestamp>,
    /// Somebody said to go on with a source that was another one.
    accepted: bool,
    /// When it was first seen as it is now.
    rests: Option<(Fingerprint, Timestamp)>,
    spool_dir: PathBuf,
    closing: watch::Receiver<bool>,
}

/// What an origin is made with.
pub(in crate::runtime) struct OriginSetup {
    pub(in crate::runtime) job: String,
    pub(in crate::runtime) spec: SourceSpec,
    /// What is known of it, since when, and whether that was accepted by somebody.
    pub(in crate::runtime) known: Option<(Fingerprint, Timestamp, bool)>,
    pub(in crate::runtime) spool_dir: PathBuf,
    /// Something long is given up once this says so.
    pub(in crate::runtime) closing: watch::Receiver<bool>,
}

/// Something new about the source that has to be stored.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) fingerprint: Fingerprint,
    pub(super) accepted: bool,
    /// What follows what there was, if it has grown.
    pub(super) grown: Option<String>,
}

/// What came of reading.
pub(super) enum Found {
    Page(Page, Option<Extent>),
    /// The last record is being written, or the process ends: not before that instant.
    NotBefore(Timestamp),
    /// Its queue has nothing for now.
    Waits(Waits),
}

/// What a run waits for whose queue has nothing for it.
pub(super) struct Waits {
    /// Not before that instant, unless something is told.
    pub(super) until: Timestamp,
    /// What for, for people.
    pub(super) what: String,
    /// The commit that puts messages into queues tells it.
    pub(super) told: bool,
}

/// A place in the source: the position of a record and its index.
pub(super) type Position = (Cursor, Index);

impl Origin {
    /// A source that is read when a run wants it.
    pub(in crate::runtime) fn new(setup: OriginSetup) -> Self {
        let (known, since, accepted) = setup
            .known
            .map_or((None, Timestamp(0), false), |(known, since, accepted)| {
                (Some(known), since, accepted)
            });
        Self {
            open: None,
            watch: Some(Watch {
                job: setup.job,
                watched: Watched::new(setup.spec, known),
                since,
                looked: None,
                accepted,
                rests: None,
                spool_dir: setup.spool_dir,
                closing: setup.closing,
            }),
            note: None,
            tap: None,
        }
    }

    /// The same, whose messages come out of this.
    pub(in crate::runtime) fn tapping(mut self, tap: Option<Tap>) -> Self {
        self.tap = tap;
        self
    }

    /// It is read for that run from now on; `None` where it is no queue.
    pub(super) fn read_for(&mut self, run: RunId) -> Option<Reader> {
        self.tap.as_mut().map(|tap| tap.draw_for(run))
    }

    /// A source that is open, and that nobody looks at.
    #[cfg(test)]
    pub(in crate::runtime) fn given(source: Box<dyn Source>) -> Self {
        Self {
            open: Some(source),
            watch: None,
            note: None,
            tap: None,
        }
    }

    /// Takes note of what the source is like and opens it, before a run begins.
    pub(in crate::runtime) fn begin(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<Fingerprint>, SourceError> {
        if let Some(tap) = &mut self.tap {
            return tap.begin().map(|()| None);
        }
        if let Some(watch) = &mut self.watch {
            watch.watched.look()?;
            (watch.looked, watch.since) = (Some(now), now);
            self.open = Some(watch.open()?);
        }
        let watch = self.watch.as_ref();
        Ok(watch.and_then(|watch| watch.watched.known().cloned()))
    }

    /// Whether it is looked at from time to time.
    pub(super) fn is_watched(&self) -> bool {
        self.watch
            .as_ref()
            .is_some_and(|watch| watch.watched.spec().on_change != OnChange::Ignore)
    }

    /// What is to be done about changes from now on.
    pub(super) fn set_on_change(&mut self, on_change: OnChange) {
        if let Some(watch) = &mut self.watch {
            watch.watched.set_on_change(on_change);
            self.open = None;
        }
    }

    /// What is to be done when its queue is empty from now on.
    pub(super) const fn set_when_empty(&mut self, when_empty: WhenEmpty) {
        if let Some(tap) = &mut self.tap {
            tap.set_when_empty(when_empty);
        }
    }

    /// Go on with what is there now.
    pub(super) fn accept(&mut self, known: Fingerprint, now: Timestamp) {
        if let Some(watch) = &mut self.watch {
            watch.watched.accept(known);
            (watch.accepted, watch.looked, watch.since) = (true, None, now);
            self.open = None;
        }
    }

    /// What has to be stored since the last time.
    pub(super) fn take_note(&mut self) -> Option<Note> {
        self.note.take()
    }

    /// Whether the source is what it was; the error is what a pause says.
    pub(super) fn look(&mut self, at: &Position, now: Timestamp) -> Result<(), String> {
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        let grown = match watch.watched.look() {
            Err(error) => return Err(watch.unreadable(&error)),
            Ok(Look::Changed { what, bytes }) => {
                let records = bytes.and_then(|bytes| {
                    let source = match self.open.take() {
                        Some(source) => source,
                        None => watch.open().ok()?,
                    };
                    let extent = source.extent(&at.0)?;
                    Some(records_of(&bytes, extent.bytes, at.1))
                });
                return Err(watch.changed(&what, records.as_deref(), now));
            }
            Ok(Look::Same) => {
                watch.looked = Some(now);
                return Ok(());
            }
            Ok(Look::Known) => None,
            Ok(Look::Appended { what }) => Some(what),
        };
        (watch.looked, watch.since) = (Some(now), now);
        // Why: it may be another file under the same name, and a compressed one is unpacked anew.
        self.open = None;
        if let Some(known) = watch.watched.known() {
            self.note = Some(Note {
                fingerprint: known.clone(),
                accepted: watch.accepted,
                grown,
            });
        }
        Ok(())
    }

    /// Reads on from there. `at_end` says that nothing followed when it was last read, `idle` that
    /// the run would end if nothing does.
    pub(super) fn read(
        &mut self,
        at: &Position,
        bounds: PageBounds,
        now: Timestamp,
        (at_end, idle): (bool, bool),
    ) -> Result<Found, String> {
        let due = self.watch.as_ref().is_some_and(|watch| {
            let looked = watch.looked.filter(|looked| *looked <= now);
            at_end || looked.is_none_or(|looked| now.since(looked) >= LOOK_EVERY)
        });
        if due {
            self.look(at, now)?;
        }
        let read = match &mut self.tap {
            Some(tap) => tap.read(at, bounds, now, idle),
            None => self.page(&at.0, bounds, now, idle),
        };
        match read {
            Ok(found) => Ok(found),
            Err(SourceError::Interrupted { .. }) => Ok(Found::NotBefore(Timestamp::MAX)),
            Err(error) => {
                self.open = None;
                Err(match &self.watch {
                    Some(watch) => watch.unreadable(&error),
                    None => error.to_string(),
                })
            }
        }
    }

    fn page(
        &mut self,
        from: &Cursor,
        bounds: PageBounds,
        now: Timestamp,
        idle: bool,
    ) -> Result<Found, SourceError> {
        let mut ends = Ends {
            last_is_whole: false,
            pass_over_rest: self.watch.as_ref().is_some_and(Watch::is_lenient),
        };
        let source = match (&mut self.open, &self.watch) {
            (Some(source), _) => source,
            (open, Some(watch)) => open.insert(watch.open()?),
            (None, None) => return Ok(Found::NotBefore(Timestamp::MAX)),
        };
        source.set_ends(ends);
        let mut page = source.read(from, bounds)?;
        let mut extent = source.extent(end_of(&page).unwrap_or(from));
        if page.unfinished.is_some() {
            let left = extent.map_or(0, |extent| extent.bytes_total.saturating_sub(extent.bytes));
            let last = page.records.is_empty() && idle;
            match self.watch.as_mut().and_then(|watch| watch.rests_at(now)) {
                Some(at) if at > now => {
                    if last {
                        return Ok(Found::NotBefore(at));
                    }
                }
                Some(_) | None if last || left > UNFINISHED_BYTES_MAX => {
                    ends.last_is_whole = true;
                    source.set_ends(ends);
                    page = source.read(from, bounds)?;
                    extent = source.extent(end_of(&page).unwrap_or(from));
                }
                Some(_) | None => {}
            }
        }
        Ok(Found::Page(page, extent))
    }
}

fn end_of(page: &Page) -> Option<&Cursor> {
    page.records.last().map(|record| &record.end)
}

impl Watch {
    fn is_lenient(&self) -> bool {
        self.accepted || self.watched.spec().on_change == OnChange::Ignore
    }

    fn open(&self) -> Result<Box<dyn Source>, SourceError> {
        let mut progress = |_| {
            if *self.closing.borrow() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        source::open(
            self.watched.spec(),
            &mut OpenContext {
                spool_dir: &self.spool_dir,
                spool_bytes_max: SPOOL_BYTES_MAX,
                progress: &mut progress,
            },
        )
    }

    /// From when on nobody has written to the file for a while; `None` where it is no file.
    fn rests_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let known = self.watched.known()?;
        let Fingerprint::File { modified, .. } = known else {
            return None;
        };
        let (seconds, nanos) = *modified;
        let written = Timestamp(
            seconds
                .saturating_mul(1_000_000)
                .saturating_add(nanos / 1000),
        );
        let first_seen = match &self.rests {
            Some((as_seen, at)) if as_seen == known => *at,
            Some(_) | None => {
                self.rests = Some((known.clone(), now));
                now
            }
        };
        // Why the earlier: the clock of a file server may be ahead of ours.
        Some(written.min(first_seen).after(QUIET))
    }

    fn unreadable(&self, error: &SourceError) -> String {
        let job = &self.job;
        let mend = match error {
            SourceError::Io { .. } | SourceError::Sql { .. } | SourceError::Queue { .. } => {
                format!("once it can be read: iterd resume {job}")
            }
            SourceError::Shrunk { .. } => {
                format!(
                    "put back what it had and: iterd resume {job}; or take what was done as all there is: iterd stop {job}"
                )
            }
            SourceError::GoesOn { .. } => format!(
                "put a line end there and: iterd resume {job}; or pass over the rest of that line: iterd resume {job} --accept-source"
            ),
            SourceError::Unsuitable { .. }
            | SourceError::Damaged { .. }
            | SourceError::Cursor { .. }
            | SourceError::SpoolTooLarge { .. }
            | SourceError::Interrupted { .. } => {
                format!("once it is mended: iterd resume {job}")
            }
        };
        format!("{error}; {mend}")
    }

    fn changed(&self, what: &str, records: Option<&str>, now: Timestamp) -> String {
        let (job, path, since) = (&self.job, self.watched.spec().path.display(), self.since);
        let records = records.map_or_else(String::new, |records| format!(", {records}"));
        format!(
            "{path} is not what it was at {since}: {what}{records}; noticed at {now}; put it back and: iterd resume {job}; or go on with what is there now: iterd resume {job} --accept-source"
        )
    }
}

/// Which records stand about there, if `records` of them take `bytes` bytes.
fn records_of(region: &std::ops::Range<u64>, bytes: u64, records: Index) -> String {
    if bytes == 0 || records == 0 || region.start >= bytes {
        return format!("behind the {records} records read so far");
    }
    let about = |at: u64| {
        let record = u128::from(at.min(bytes)) * u128::from(records) / u128::from(bytes);
        u64::try_from(record).unwrap_or(u64::MAX)
    };
    let (first, last) = (about(region.start), about(region.end));
    format!("which is about record {first} to {last} of the {records} read so far")
}
