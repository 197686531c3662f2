//! A place in a text of lines, and the cursor that stands for it: `1:` byte offset `:` line.
//!
//! The offset alone decides where reading goes on; the line is carried for messages.

use std::{fmt, path::Path};

use compact_str::format_compact;

use memchr::memchr;

use super::{
    Ends, SourceError,
    window::{End, Window},
};
use crate::ids::Cursor;

/// Before a record in a text of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::integration) struct Place {
    /// Bytes before the place.
    pub(in crate::integration) offset: u64,
    /// The line the place is on, from 1.
    pub(in crate::integration) line: u64,
}

impl Place {
    /// The place before everything.
    pub(in crate::integration) const START: Self = Self { offset: 0, line: 1 };

    /// The place of a cursor.
    pub(in crate::integration) fn of(cursor: &Cursor, path: &Path) -> Result<Self, SourceError> {
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
    pub(in crate::integration) fn cursor(self) -> Cursor {
        Cursor::new(format_compact!("1:{}:{}", self.offset, self.line))
    }

    /// The place so many bytes and lines on.
    pub(in crate::integration) const fn plus(self, bytes: u64, lines: u64) -> Self {
        Self {
            offset: self.offset + bytes,
            line: self.line + lines,
        }
    }
}

/// Held of what is passed over, beyond which its bytes are only counted.
const REST_BYTES_MAX: usize = 4096;

/// Where reading goes on from a position behind a record. That is the position itself, unless the
/// record was the last one, without a line end, and its writer has gone on with it since.
pub(in crate::integration) fn go_on(
    window: &mut Window,
    at: Place,
    ends: Ends,
) -> Result<Place, SourceError> {
    window.seek(at.offset);
    let next = window.peek()?;
    if matches!(next, None | Some(b'\n' | b'\r')) {
        return Ok(at);
    }
    window.seek(at.offset.saturating_sub(1));
    let before = window.peek()?;
    window.seek(at.offset);
    if at.offset == 0 || matches!(before, Some(b'\n' | b'\r')) {
        return Ok(at);
    }
    let rest = window.delimit(REST_BYTES_MAX, |bytes| {
        memchr(b'\n', bytes).map(|end| end + 1)
    })?;
    let blank = window
        .bytes(&rest)
        .is_some_and(|bytes| bytes.trim_ascii().is_empty());
    if !blank && !ends.pass_over_rest {
        return Err(SourceError::goes_on(window.path(), at.offset));
    }
    Ok(at.plus(rest.len, u64::from(rest.end == End::Found)))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} (byte {})", self.line, self.offset)
    }
}
