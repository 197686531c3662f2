//! A place in a text of lines, and the cursor that stands for it: `1:` byte offset `:` line.
//!
//! The offset alone decides where reading goes on; the line is carried for messages.

use std::{fmt, path::Path};

use compact_str::format_compact;

use super::SourceError;
use crate::ids::Cursor;

/// Before a record in a text of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before the place.
    pub(super) offset: u64,
    /// The line the place is on, from 1.
    pub(super) line: u64,
}

impl Place {
    /// The place before everything.
    pub(super) const START: Self = Self { offset: 0, line: 1 };

    /// The place of a cursor.
    pub(super) fn of(cursor: &Cursor, path: &Path) -> Result<Self, SourceError> {
        if cursor.is_start() {
            return Ok(Self::START);
        }
        let read = || {
            let (offset, line) = cursor.as_str().strip_prefix("1:")?.split_once(':')?;
            Some(Self {
                offset: offset.parse().ok()?,
                line: line.parse().ok()?,
            })
        };
        read().ok_or_else(|| SourceError::cursor(path, cursor))
    }

    /// The cursor for this place; 24 bytes or fewer (kept without an allocation) up to terabytes.
    pub(super) fn cursor(self) -> Cursor {
        Cursor::new(format_compact!("1:{}:{}", self.offset, self.line))
    }

    /// The place so many bytes and lines on.
    pub(super) const fn plus(self, bytes: u64, lines: u64) -> Self {
        Self {
            offset: self.offset + bytes,
            line: self.line + lines,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} (byte {})", self.line, self.offset)
    }
}
