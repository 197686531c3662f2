//! One pass through a source as a run would read it: for `check` and for a dry run.
//!
//! Owns what is counted on the way. Reads with the real reader, keeps a few records and one number for
//! each id, and calls nothing.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    exit::{FAILED, Failure, INVALID},
    session::Session,
    show::{count, plain},
};
use crate::{
    config::Config,
    ids::{Cursor, Index},
    integration::source::{
        self, Ends, Extent, Intake, Messages, OpenContext, PageBounds, Progress, QueueSpec, Record,
        Source, SourceSpec, Taken,
    },
    runtime::{missing_queue, queues_are_elsewhere},
    store::{InQueue, Store},
    time::{Clock as _, SystemClock},
};

/// Records that are shown.
const SAMPLE: usize = 3;

/// Damaged records, and ids that stand twice, that are shown: enough to see whether it is one mistake
/// or many.
const SHOWN_MAX: usize = 10;

/// Ids that are compared, each a number of eight bytes: some 80 MiB. What comes later is compared with
/// these alone.
const IDS_MAX: usize = 4 * 1024 * 1024;

/// A quick look ends behind so many bytes of records: a second's reading.
const QUICK_BYTES: u64 = 16 * 1024 * 1024;

/// Messages of a queue that are looked at; each page passes over those before it.
const QUEUE_MESSAGES_MAX: u64 = 20_000;

/// What a source holds.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Records that were read, damaged ones included.
    pub(super) read: u64,
    /// Records in all; of a quick look, by the share of the source that was read.
    pub(super) records: u64,
    /// Whether these are all that were read.
    pub(super) whole: bool,
    /// Of those read, what a run would fail for what they are.
    pub(super) malformed: u64,
    /// The first of them: place and cause.
    pub(super) first_malformed: Vec<(u64, String)>,
    /// Of those read, the text of all records and of all ids, in bytes.
    pub(super) item_bytes: u64,
    pub(super) id_bytes: u64,
    /// Ids that stood before.
    pub(super) duplicates: Duplicates,
    /// The first records.
    pub(super) sample: Vec<Value>,
    /// Where a last record begins that nothing terminates yet.
    pub(super) unfinished: Option<String>,
    /// Of a queue: what was read are the messages that it has now, and more may come. Its name, and
    /// whether it is elsewhere, where nothing is read.
    pub(super) queue: Option<(String, bool)>,
}

/// Ids that stand more than once.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    seen: HashSet<u64>,
    hasher: RandomState,
    /// Records whose id stood before.
    pub(super) records: u64,
    /// The first of them: place and id.
    pub(super) first: Vec<(u64, String)>,
    /// Whether there were more ids than are compared.
    pub(super) bounded: bool,
}

impl Duplicates {
    fn look(&mut self, index: u64, id: &str) {
        let id_hash = self.hasher.hash_one(id);
        if self.seen.contains(&id_hash) {
            self.records += 1;
            if self.first.len() < SHOWN_MAX {
                self.first.push((index, id.to_owned()));
            }
        } else if self.seen.len() < IDS_MAX {
            self.seen.insert(id_hash);
        } else {
            self.bounded = true;
        }
    }
}

impl Survey {
    fn take(&mut self, record: &Record) {
        let index = self.read;
        self.read += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(match &record.item {
                Ok(item) => json!({ "id": record.id.as_deref(), "item": item.value() }),
                Err(error) => json!({ "error": error.error, "cause": error.cause }),
            });
        }
        if let Some(id) = &record.id {
            self.id_bytes += id.len() as u64;
            self.duplicates.look(index, id);
        }
        match &record.item {
            Ok(item) => self.item_bytes += item.text().len() as u64,
            Err(error) => {
                self.malformed += 1;
                if self.first_malformed.len() < SHOWN_MAX {
                    self.first_malformed.push((index, error.cause.clone()));
                }
            }
        }
    }

    /// So many bytes for each record that was read.
    pub(super) fn average(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.read.max(1))
    }
}

/// Reads a source, all of it unless `quick`; `each` sees every record. Of a queue the first messages are
/// looked at, and stay where they are.
pub(super) fn survey(
    session: &Session,
    spec: &SourceSpec,
    config: &Config,
    quick: bool,
    each: &mut dyn FnMut(u64, &Record),
) -> Result<Survey, Failure> {
    let failed = |error: source::SourceError| Failure::new(INVALID, error.to_string());
    let scratch = Scratch::new()?;
    let bar = bar();
    let mut progress = |progress: Progress| {
        show(&bar, progress.extent, 0);
        ControlFlow::Continue(())
    };
    let mut context = OpenContext {
        spool_dir: scratch.path(),
        spool_bytes_max: u64::MAX,
        progress: &mut progress,
    };
    let (mut source, queue) = match spec.queue() {
        None => (source::open(spec, &mut context).map_err(failed)?, None),
        Some(queue) => of_queue(session, spec, queue, config)?,
    };
    let bounds = PageBounds {
        // A page of some 10 ms; it bounds what is held, and how rarely the bar moves.
        records_max: 10_000,
        bytes_max: 4 * 1024 * 1024,
        record_bytes_max: usize::try_from(config.items.record_bytes_max).unwrap_or(usize::MAX),
    };
    let mut found = Survey {
        queue,
        ..Survey::default()
    };
    let mut at = Cursor::start();
    loop {
        let page = source.read(&at, bounds).map_err(failed)?;
        for record in &page.records {
            each(found.read, record);
            found.take(record);
        }
        if let Some(last) = page.records.into_iter().last() {
            at = last.end;
        }
        let extent = source.extent(&at);
        show(&bar, extent, found.read);
        found.records = found.read;
        found.whole = page.end;
        if page.unfinished.is_some() && found.unfinished.is_none() {
            // Why read on: a run takes it in, too, once nobody writes to the source.
            found.unfinished = page.unfinished;
            source.set_ends(Ends::AS_THEY_ARE);
            continue;
        }
        if found.queue.is_some() && found.read >= QUEUE_MESSAGES_MAX {
            bar.finish_and_clear();
            return Ok(found);
        }
        let enough = quick && found.item_bytes >= QUICK_BYTES;
        if page.end || (enough && extrapolate(&mut found, source.as_ref(), &at)) {
            bar.finish_and_clear();
            return Ok(found);
        }
    }
}

/// What a queue has now, and its name and whether it is elsewhere.
type OfQueue = (Box<dyn Source>, Option<(String, bool)>);

fn of_queue(
    session: &Session,
    spec: &SourceSpec,
    queue: &QueueSpec,
    config: &Config,
) -> Result<OfQueue, Failure> {
    let (name, elsewhere) = (queue.name(), queues_are_elsewhere(config));
    let there = Some((queue.queue.clone(), elsewhere));
    if elsewhere {
        return Ok((Box::new(Messages::new(spec, Box::new(Unseen))), there));
    }
    let paths = session.paths()?;
    let missing = || {
        let error = source::SourceError::queue(&spec.path, missing_queue(name));
        Failure::new(INVALID, error.to_string())
    };
    // Why: a queue may be asked for before anybody served here.
    if !paths.root().join(Store::FILE).exists() {
        return Err(missing());
    }
    let store = Store::open_read_only(paths.root())?;
    if store.in_queue(name)? == InQueue::Missing {
        return Err(missing());
    }
    let queued = store.queued(name, SystemClock.now());
    Ok((Box::new(Messages::new(spec, queued)), there))
}

/// A queue elsewhere: whoever looks at a message hides it from others.
struct Unseen;

impl Intake for Unseen {
    fn visit(
        &self,
        _: Index,
        _: usize,
        _: &mut dyn FnMut(Taken) -> ControlFlow<()>,
    ) -> Result<(), String> {
        Ok(())
    }
}

/// Takes what is unread to be like what was read; whether the source says how long it is.
fn extrapolate(found: &mut Survey, source: &dyn Source, at: &Cursor) -> bool {
    let Some(extent) = source.extent(at).filter(|extent| extent.bytes > 0) else {
        return false;
    };
    let records =
        u128::from(found.read) * u128::from(extent.bytes_total) / u128::from(extent.bytes);
    found.records = u64::try_from(records).unwrap_or(u64::MAX).max(found.read);
    true
}

/// The queue that was looked at, where it was one, for programs.
pub(super) fn queue_of(survey: &Survey) -> Value {
    match &survey.queue {
        None => Value::Null,
        Some((name, elsewhere)) => json!({
            "name": name,
            "messages": (!elsewhere).then_some(survey.read),
            "more": !survey.whole,
        }),
    }
}

/// The same for people.
pub(super) fn show_queue(queue: &Value) -> Option<String> {
    let name = plain(queue["name"].as_str()?);
    Some(match queue["messages"].as_u64() {
        None => format!("  the queue {name} is elsewhere, and was not looked at"),
        Some(messages) => {
            let more = if queue["more"] == true {
                " or more"
            } else {
                ""
            };
            let messages = count(messages);
            format!(
                "  the queue {name} has {messages}{more} messages now; what comes later is taken too"
            )
        }
    })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// On a terminal; elsewhere nothing is shown.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.set_style(style("reading the source  {wide_msg}"));
    bar
}

fn show(bar: &ProgressBar, extent: Option<Extent>, records: u64) {
    if let Some(extent) = extent {
        if bar.length() != Some(extent.bytes_total) {
            bar.set_style(style(
                "reading the source  {bar:24} {percent:>3}%  {wide_msg}",
            ));
            bar.set_length(extent.bytes_total);
        }
        bar.set_position(extent.bytes);
    }
    if records > 0 {
        bar.set_message(format!("{} records", count(records)));
    }
    bar.tick();
}

/// A directory for what is decompressed on the way; gone when the command ends.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("iterd-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)
            .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Why ok: the system clears its own place for temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_duplicate_from_its_second_time_on() {
        let mut ids = Duplicates::default();
        for (index, id) in ["a", "b", "a", "c", "a"].into_iter().enumerate() {
            ids.look(index as u64, id);
        }
        assert_eq!(ids.records, 2);
        assert_eq!(ids.first, [(2, "a".to_owned()), (4, "a".to_owned())]);
        assert!(!ids.bounded);
    }
}
