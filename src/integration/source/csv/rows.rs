//! The rows of a CSV file, found one after the other.
//!
//! Owns what is done about damage. Invariant: whatever stands in a record, the next one is looked
//! for behind its proper end or, where it has none, on the line after the one it begins on; so no
//! record is lost to another's damage (at the price that the later lines of a damaged record of
//! several are looked at as records, and mostly fail too).

use std::borrow::Cow;

use memchr::memchr;

use super::{
    check_names,
    record::{Dialect, Fields, Scanner, trim_line_end},
};
use crate::integration::source::{
    Ends, RecordError, SourceError,
    place::Place,
    window::{Delimited, End, Window},
};

/// Longest header row; wide tables of the statistics offices have 10,000 columns.
const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Held of a damaged line: more than a message shows of it.
const DAMAGED_BYTES_MAX: usize = 4096;

/// A file and how its rows are written.
pub(super) struct Rows {
    pub(super) window: Window,
    pub(super) dialect: Dialect,
    /// Whether what is not terminated may yet be.
    pub(super) grows: bool,
    pub(super) ends: Ends,
}

/// What stands at a place.
pub(super) enum Found {
    Record(Row),
    Error(RecordError),
    /// An empty line.
    Blank,
    /// Something that its writer has not terminated yet.
    Unfinished,
    End,
}

/// A whole record, in the window until that is used again.
pub(super) struct Row {
    delimited: Delimited,
    has_quotes: bool,
}

impl Rows {
    /// Whether what nothing terminates may yet be completed by its writer.
    fn may_go_on(&self) -> bool {
        self.grows && !self.ends.last_is_whole
    }

    /// Finds what stands at a place, and the place behind it.
    pub(super) fn find(
        &mut self,
        at: Place,
        bytes_max: usize,
    ) -> Result<(Found, Place), SourceError> {
        self.window.seek(at.offset);
        let mut scanner = Scanner::new(self.dialect, at);
        let delimited = self
            .window
            .delimit(bytes_max, |piece| scanner.scan(piece))?;
        if delimited.end == End::File {
            if delimited.len == 0 {
                return Ok((Found::End, at));
            }
            if self.may_go_on() {
                return Ok((Found::Unfinished, at));
            }
        }
        if let Some((problem, place)) = scanner.fault(delimited.end) {
            return self.skip_line(at, place, problem);
        }
        if delimited.end == End::Nowhere {
            let problem = "a line does not end; is it CSV?";
            return Err(SourceError::damaged(self.window.path(), at.offset, problem));
        }
        let found = match self.window.bytes(&delimited).map(trim_line_end) {
            None => Found::Error(RecordError::too_large(at, delimited.len, bytes_max)),
            Some([]) => Found::Blank,
            Some(_) => Found::Record(Row {
                delimited,
                has_quotes: scanner.has_quotes,
            }),
        };
        Ok((found, scanner.at()))
    }

    /// The error of a damaged record, and the line after the one that it begins on.
    fn skip_line(
        &mut self,
        at: Place,
        place: Place,
        problem: &str,
    ) -> Result<(Found, Place), SourceError> {
        self.window.seek(at.offset);
        let line = self.window.delimit(DAMAGED_BYTES_MAX, |piece| {
            memchr(b'\n', piece).map(|end| end + 1)
        })?;
        if line.end == End::File && self.may_go_on() {
            return Ok((Found::Unfinished, at));
        }
        let bytes = self.window.bytes(&line).unwrap_or_default();
        let error = RecordError::malformed(place, problem, trim_line_end(bytes));
        let next = at.plus(line.len, u64::from(line.end == End::Found));
        Ok((Found::Error(error), next))
    }

    /// The fields of the record that was found last.
    pub(super) fn fields(&self, row: &Row, at: Place) -> Result<Fields<'_>, RecordError> {
        let bytes = self.window.bytes(&row.delimited).unwrap_or_default();
        let bytes = trim_line_end(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let place = Place {
                offset: at.offset + error.valid_up_to() as u64,
                ..at
            };
            RecordError::malformed(place, "no valid UTF-8", bytes)
        })?;
        Ok(Fields::new(text, self.dialect, row.has_quotes))
    }

    /// The names in the header row, and the place behind it; `None` where there is none (yet).
    pub(super) fn read_names(
        &mut self,
        mut at: Place,
    ) -> Result<Option<(Vec<String>, Place)>, SourceError> {
        loop {
            let (found, next) = self.find(at, HEADER_BYTES_MAX)?;
            let names = match found {
                Found::Blank => {
                    at = next;
                    continue;
                }
                Found::End | Found::Unfinished => return Ok(None),
                Found::Error(error) => Err(error.cause),
                Found::Record(row) => match self.fields(&row, at) {
                    Err(error) => Err(error.cause),
                    Ok(fields) => {
                        let names: Vec<_> = fields.map(Cow::into_owned).collect();
                        check_names(&names).map(|()| names)
                    }
                },
            };
            return match names {
                Ok(names) => Ok(Some((names, next))),
                Err(problem) => Err(self.unsuitable(format!(
                    "its header row cannot be used ({problem}); mend it, or name the columns in headers = [..]"
                ))),
            };
        }
    }

    pub(super) fn unsuitable(&self, problem: String) -> SourceError {
        SourceError::unsuitable(self.window.path(), problem)
    }
}
