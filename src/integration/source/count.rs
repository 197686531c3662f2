//! How many records a source holds, and how many of them are damaged.
//!
//! Reads everything, as a run would, so that a check finds beforehand what would fail in the third
//! week. Keeps no record.

use super::{OpenContext, PageBounds, Progress, RecordError, SourceError, SourceSpec, open};
use crate::ids::Cursor;

/// What a source holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    /// Items that a run would have, damaged ones included.
    pub records: u64,
    /// Of them, those that would fail for what they are.
    pub malformed: u64,
    /// The first of these, at most [`Count::SHOWN_MAX`].
    pub first_malformed: Vec<RecordError>,
    /// Where a last record begins that is not terminated, in a source that may grow.
    pub unfinished: Option<String>,
}

impl Count {
    /// Enough to see whether it is one mistake or many.
    pub const SHOWN_MAX: usize = 10;
}

/// Counts what a source holds; the callback of the context is told after each page.
pub fn count(
    spec: &SourceSpec,
    context: &mut OpenContext<'_>,
    record_bytes_max: usize,
) -> Result<Count, SourceError> {
    // A page of some 10 ms; it bounds what is held and how late the callback can give up.
    let bounds = PageBounds {
        records_max: 10_000,
        bytes_max: 4 * 1024 * 1024,
        record_bytes_max,
    };
    let mut source = open(spec, context)?;
    let mut count = Count::default();
    let mut at = Cursor::start();
    loop {
        let page = source.read(&at, bounds)?;
        for record in page.records {
            count.records += 1;
            if let Err(error) = record.item {
                count.malformed += 1;
                if count.first_malformed.len() < Count::SHOWN_MAX {
                    count.first_malformed.push(error);
                }
            }
            at = record.end;
        }
        let progress = Progress {
            records: count.records,
            extent: source.extent(&at),
        };
        if (context.progress)(progress).is_break() {
            return Err(SourceError::interrupted(&spec.path));
        }
        if page.end {
            count.unfinished = page.unfinished;
            return Ok(count);
        }
    }
}
