//! A page while it is being filled.
//!
//! Owns when a page is full, what is too large, and what a record's identity is, so that all kinds
//! of sources agree.

use std::fmt::Display;

use compact_str::CompactString;

use super::{Page, PageBounds, Record, RecordError, SourceError};
use crate::{ids::Cursor, payload::Payload};

/// A page while it is being filled.
pub(super) struct Filling {
    bounds: PageBounds,
    bytes: usize,
    records: Vec<Record>,
}

impl Filling {
    pub(super) fn new(bounds: PageBounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            records: Vec::new(),
        }
    }

    /// Whether no further record may be begun. Never before the first: a page makes progress.
    pub(super) fn is_full(&self) -> bool {
        !self.records.is_empty()
            && (self.records.len() >= self.bounds.records_max
                || self.bytes >= self.bounds.bytes_max)
    }

    /// Adds a record.
    pub(super) fn push(
        &mut self,
        item: Result<Payload, RecordError>,
        id: Option<CompactString>,
        end: Cursor,
    ) {
        self.bytes += match &item {
            Ok(payload) => payload.text().len(),
            Err(error) => error.cause.len(),
        };
        self.records.push(Record { item, id, end });
    }

    /// Adds a record of this text, which is checked, measured, and then asked for its identity;
    /// `place` is written only into messages.
    pub(super) fn push_text(
        &mut self,
        text: &str,
        end: Cursor,
        place: impl Display,
        identify: impl FnOnce(&str) -> Result<Option<CompactString>, String>,
    ) {
        let bytes_max = self.bounds.record_bytes_max;
        if text.len() > bytes_max {
            return self.push_too_large(text.len() as u64, place, end);
        }
        let payload = match Payload::parse(text) {
            Ok(payload) => payload,
            Err(error) => {
                let error = RecordError::no_json(place, &error, text.as_bytes());
                return self.push(Err(error), None, end);
            }
        };
        match identify(text) {
            Ok(id) => self.push(Ok(payload), id, end),
            Err(problem) => {
                let error = RecordError::malformed(place, problem, text.as_bytes());
                self.push(Err(error), None, end);
            }
        }
    }

    /// Adds a record of so many bytes, which were not held.
    pub(super) fn push_too_large(&mut self, bytes: u64, place: impl Display, end: Cursor) {
        let error = RecordError::too_large(place, bytes, self.bounds.record_bytes_max);
        self.push(Err(error), None, end);
    }

    /// The page, with more behind it or not.
    pub(super) fn finish(self, end: bool) -> Page {
        Page {
            records: self.records,
            end,
            unfinished: None,
        }
    }

    /// The page before a record that its writer has not terminated yet.
    pub(super) fn finish_at_unfinished(self, place: impl Display) -> Page {
        Page {
            unfinished: Some(place.to_string()),
            ..self.finish(true)
        }
    }

    /// The page before something that the source cannot be read beyond. The error comes with the
    /// next page, so that nothing before it is lost.
    pub(super) fn finish_before(self, error: SourceError) -> Result<Page, SourceError> {
        if self.records.is_empty() {
            Err(error)
        } else {
            Ok(self.finish(false))
        }
    }
}
