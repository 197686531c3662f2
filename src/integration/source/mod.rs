//! Where the items of a run come from; one file for each kind.
//!
//! A source turns a [`Cursor`] into a page of records, each with the cursor behind it. It holds no
//! position that matters: whatever it caches (an open file, a statement) it could do without.
//! Invariant: reading from the cursor behind record n gives record n + 1 at the same cost wherever n
//! lies, and the same records in the same order as long as the source is not changed.

mod count;
mod csv;
mod directory;
mod duplicates;
mod error;
mod fingerprint;
mod guess;
mod identity;
mod json;
mod jsonl;
mod page;
pub(in crate::integration) mod place;
mod pointer;
mod queue;
mod samples;
mod spec;
pub(in crate::integration) mod spool;
mod sql;
#[cfg(test)]
mod tests;
mod watched;
pub(in crate::integration) mod window;

use std::{ops::ControlFlow, path::Path};

use crate::{ids::Cursor, payload::Payload};
use compact_str::CompactString;

pub(crate) use self::directory::matches as name_matches;
pub use self::{
    count::{Count, count},
    csv::CsvSpec,
    directory::DirectorySpec,
    duplicates::Duplicate,
    error::{RecordError, SourceError},
    fingerprint::{Change, Fingerprint},
    guess::{Guess, guess},
    identity::ID_BYTES_MAX,
    json::JsonSpec,
    pointer::Pointer,
    queue::{Intake, Messages, QueueSpec, Taken, WhenEmpty},
    spec::{OnChange, SourceKind, SourceSpec},
    sql::{Relation, SqlSpec},
    watched::{Look, Watched},
};
pub(super) use self::{
    csv::{Fields as CsvFields, check_names},
    json::ends_member,
};

/// A source of records.
pub trait Source: Send {
    /// Reads records that follow `from`, within the bounds; blocks.
    ///
    /// A page is empty only at the end. Damage in one record is that record's
    /// [`RecordError`], never the page's error.
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError>;

    /// How far into the source a cursor stands, and how long the source is now, in bytes; `None`
    /// where a source does not know without reading.
    fn extent(&self, at: &Cursor) -> Option<Extent>;

    /// How ends are taken from now on that are none by themselves; nothing to most kinds.
    fn set_ends(&mut self, _ends: Ends) {}
}

impl Ends {
    /// As they are there, for whoever only looks: nobody waits for a writer.
    pub const AS_THEY_ARE: Self = Self {
        last_is_whole: true,
        pass_over_rest: true,
    };
}

/// How a source of lines takes ends that are none by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// A last record that nothing terminates is whole, also in a source that may grow.
    pub last_is_whole: bool,
    /// A line whose beginning was taken in before is passed over to its end; else it is
    /// [`SourceError::GoesOn`].
    pub pass_over_rest: bool,
}

/// A place in a source by bytes; for progress, never for resuming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes before the place.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// How much a page may hold.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    /// At most so many records; at least one.
    pub records_max: usize,
    /// No further record is begun once the page holds this many bytes of text.
    pub bytes_max: usize,
    /// A record of more bytes is a [`RecordError`] and is skipped without being held in memory.
    pub record_bytes_max: usize,
}

/// One read from a source.
#[derive(Debug)]
pub struct Page {
    /// The records in the order of the source.
    pub records: Vec<Record>,
    /// Whether nothing follows for now; a source that grows may give more later from the last cursor.
    pub end: bool,
    /// In a source that may grow (`on_change = "extend"`): where a record begins that nothing
    /// terminates yet. It is given once its end is written.
    pub unfinished: Option<String>,
}

/// One record.
#[derive(Debug)]
pub struct Record {
    /// The record as JSON, or what is wrong with it.
    pub item: Result<Payload, RecordError>,
    /// The record's own identity where the job names one (`id = ".."`); bounded in length.
    pub id: Option<CompactString>,
    /// The position behind this record.
    pub end: Cursor,
}

/// What a source is opened with beside its spec.
pub struct OpenContext<'a> {
    /// Where compressed sources are kept decompressed; an existing directory of iterd's own.
    pub spool_dir: &'a Path,
    /// A source that decompresses to more bytes is refused.
    pub spool_bytes_max: u64,
    /// Told from time to time how far something long has come.
    pub progress: &'a mut ProgressFn<'a>,
}

/// Is told how far something long has come; `Break` gives it up as [`SourceError::Interrupted`].
pub type ProgressFn<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// How far something long has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Records read; 0 while a source is being decompressed.
    pub records: u64,
    /// Place in what is being read, where it is known.
    pub extent: Option<Extent>,
}

/// Opens a source, of whichever kind but a queue (see [`Messages`]); decompresses it first where that has not been done.
pub fn open(
    spec: &SourceSpec,
    context: &mut OpenContext<'_>,
) -> Result<Box<dyn Source>, SourceError> {
    Ok(match &spec.kind {
        SourceKind::Csv(csv) => Box::new(csv::Csv::open(spec, csv, context)?),
        SourceKind::Json(json) => Box::new(json::Json::open(spec, json, context)?),
        SourceKind::Jsonl => Box::new(jsonl::JsonLines::open(spec, context)?),
        SourceKind::Directory(directory) => {
            Box::new(directory::Directory::open(spec, directory.clone())?)
        }
        SourceKind::Sql(sql) => Box::new(sql::Table::open(spec, sql)?),
        SourceKind::Queue(_) => {
            let problem = "its messages are read where a run has taken them".to_owned();
            return Err(SourceError::queue(&spec.path, problem));
        }
    })
}
