//! Where the items of a run come from; one file for each kind.
//!
//! A source turns a [`Cursor`] into a page of records, each with the cursor behind it. It holds no
//! position that matters: whatever it caches (an open file, a statement) it could do without.
//! Invariant: reading from the cursor behind record n gives record n + 1 at the same cost wherever n
//! lies, and the same records in the same order as long as the source is not changed.

use crate::{ids::Cursor, payload::Payload};
use compact_str::CompactString;

/// A source of records.
pub trait Source: Send {
    /// Reads records that follow `from`, within the bounds; blocks.
    ///
    /// A page is empty only at the end. Damage in one record is that record's
    /// [`RecordError`], never the page's error.
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError>;
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

/// What is wrong with one record; it fails as an item, and the run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The error's name: `Iterd.RecordMalformed` or `Iterd.RecordTooLarge`.
    pub error: &'static str,
    /// What and where: the line or byte offset, the key, and the beginning of the text.
    pub cause: String,
}

/// Why a source as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot read {path}: {error}")]
    Io {
        /// What was being read.
        path: String,
        /// Why it could not be.
        error: std::io::Error,
    },
}
