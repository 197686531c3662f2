//! What a source holds: how many records, which of them are damaged, which identities stand twice.
//!
//! Reads everything, as a run would, so that a check finds beforehand what would fail in the third
//! week. Keeps no record. Memory is bounded whatever the source: what it takes to find duplicates goes
//! to the context's directory where it is much.

use super::{
    Duplicate, Ends, OpenContext, Page, PageBounds, Progress, RecordError, Source, SourceError,
    SourceSpec,
    duplicates::{Duplicates, Found},
    open,
};
use crate::ids::{Cursor, Index};

/// What a source holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    /// Items that a run would have, damaged ones included.
    pub records: u64,
    /// Of them, those that would fail for what they are.
    pub malformed: u64,
    /// The first of these, at most [`Count::SHOWN_MAX`].
    pub first_malformed: Vec<RecordError>,
    /// Where a last record begins that is not terminated, in a source that may grow; it is counted.
    pub unfinished: Option<String>,
    /// Records whose identity an earlier record has; 0 where the job names no `id`.
    pub duplicates: u64,
    /// The first of these, at most [`Count::SHOWN_MAX`].
    pub first_duplicates: Vec<Duplicate>,
    /// Bytes read, decompressed; `None` where the source does not tell.
    pub bytes: Option<u64>,
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
    let mut source = open(spec, context)?;
    let mut count = Count::default();
    let mut duplicates = Duplicates::new();
    let spool_dir = context.spool_dir;
    let io = |error| SourceError::io(spool_dir, error);
    walk(source.as_mut(), record_bytes_max, &mut |page, source| {
        for record in &page.records {
            if let Some(id) = &record.id {
                duplicates.add(id, count.records, spool_dir).map_err(io)?;
            }
            count.records += 1;
            if let Err(error) = &record.item {
                count.malformed += 1;
                if count.first_malformed.len() < Count::SHOWN_MAX {
                    count.first_malformed.push(error.clone());
                }
            }
        }
        let extent = page
            .records
            .last()
            .and_then(|record| source.extent(&record.end));
        count.bytes = extent.map(|extent| extent.bytes).or(count.bytes);
        if page.unfinished.is_some() {
            count.unfinished.clone_from(&page.unfinished);
        }
        let progress = Progress {
            records: count.records,
            extent,
        };
        if (context.progress)(progress).is_break() {
            return Err(SourceError::interrupted(&spec.path));
        }
        Ok(true)
    })?;
    let found = duplicates.find(Count::SHOWN_MAX).map_err(io)?;
    count.duplicates = found.records;
    count.first_duplicates = name(source.as_mut(), record_bytes_max, &found)?;
    Ok(count)
}

/// Goes through a source page by page until `visit` has seen enough. A last record that nothing
/// terminates is one: nobody waits for its writer here.
fn walk(
    source: &mut dyn Source,
    record_bytes_max: usize,
    visit: &mut dyn FnMut(&Page, &dyn Source) -> Result<bool, SourceError>,
) -> Result<(), SourceError> {
    // A page of some 10 ms; it bounds what is held and how late the callback can give up.
    let bounds = PageBounds {
        records_max: 10_000,
        bytes_max: 4 * 1024 * 1024,
        record_bytes_max,
    };
    let mut at = Cursor::start();
    let mut ends = Ends {
        last_is_whole: false,
        pass_over_rest: true,
    };
    loop {
        source.set_ends(ends);
        let page = source.read(&at, bounds)?;
        if let Some(last) = page.records.last() {
            at = last.end.clone();
        }
        let more = visit(&page, source)?;
        let again = page.unfinished.is_some() && !ends.last_is_whole;
        if !more || (page.end && !again) {
            return Ok(());
        }
        ends.last_is_whole |= again;
    }
}

/// Reads the identities of examples, which the hashes do not tell.
fn name(
    source: &mut dyn Source,
    record_bytes_max: usize,
    found: &Found,
) -> Result<Vec<Duplicate>, SourceError> {
    let mut named = Vec::new();
    let Some(last) = found.examples.iter().map(|(first, _)| *first).max() else {
        return Ok(named);
    };
    let mut index: Index = 0;
    walk(source, record_bytes_max, &mut |page, _| {
        for record in &page.records {
            let here = found.examples.iter().filter(|(first, _)| *first == index);
            for (first, again) in here {
                named.push(Duplicate {
                    id: record.id.as_deref().unwrap_or_default().to_owned(),
                    first: *first,
                    again: *again,
                });
            }
            index += 1;
        }
        Ok(index <= last)
    })?;
    named.sort_by_key(|duplicate| duplicate.again);
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{fs, ops::ControlFlow};

    fn check(kind: &str, text: &str) -> Count {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("in");
        fs::write(&path, text).unwrap();
        let spec = json!({"kind": kind, "path": path, "id": "id"});
        let spec = SourceSpec::from_json(spec).unwrap();
        let mut progress = |_| ControlFlow::Continue(());
        let mut context = OpenContext {
            spool_dir: directory.path(),
            spool_bytes_max: u64::MAX,
            progress: &mut progress,
        };
        count(&spec, &mut context, 1 << 20).unwrap()
    }

    #[test]
    fn duplicates_are_counted_and_named_with_both_places() {
        let ids = [7, 1, 2, 7, 3, 1, 7];
        let rows: String = ids.map(|id| format!("{id},x\n")).concat();
        let counted = check("csv", &format!("id,text\n{rows}"));
        assert_eq!(
            (counted.records, counted.malformed, counted.duplicates),
            (7, 0, 3)
        );
        let places = counted.first_duplicates.iter();
        let places: Vec<_> = places.map(|d| (d.id.as_str(), d.first, d.again)).collect();
        assert_eq!(places, [("7", 0, 3), ("1", 1, 5), ("7", 0, 6)]);
        assert_eq!(counted.bytes, Some(8 + 7 * 4));
        assert_eq!(counted.unfinished, None);
    }

    #[test]
    fn a_last_record_without_an_end_counts_and_is_told() {
        let counted = check("csv", "id\n1\n2\n2");
        assert_eq!((counted.records, counted.duplicates), (3, 1));
        assert_eq!(counted.unfinished.as_deref(), Some("line 4 (byte 7)"));
    }

    #[test]
    fn what_is_damaged_has_no_identity_and_hides_nothing_behind_it() {
        let counted = check("csv", "id,text\n1,one\n2,\"two\n3,three\n1,again\n");
        assert_eq!(
            (counted.records, counted.malformed, counted.duplicates),
            (4, 1, 1)
        );
    }
}
