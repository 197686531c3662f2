//! JSON Lines: a JSON value in each line, kept verbatim.
//!
//! Blank lines are skipped; a line that is no JSON fails as an item. Cursor: `1:` byte offset `:`
//! line. Invariant: a line end is a record's end whatever stands in the line, so damage never
//! spreads beyond its own line.

use memchr::memchr;

use super::{
    Ends, Extent, OpenContext, Page, PageBounds, Pointer, RecordError, Source, SourceError,
    SourceSpec,
    identity::identity,
    page::Filling,
    place::{self, Place},
    spool,
    window::{End, Window},
};
use crate::{ids::Cursor, payload::Payload};

/// A file of lines.
pub(super) struct JsonLines {
    window: Window,
    id: Option<Pointer>,
    grows: bool,
    ends: Ends,
}

impl JsonLines {
    pub(super) fn open(
        spec: &SourceSpec,
        context: &mut OpenContext<'_>,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            window: spool::open(spec, context)?,
            id: spec.id.clone(),
            grows: spec.grows(),
            ends: Ends::default(),
        })
    }
}

impl Source for JsonLines {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let mut at = Place::of(from, self.window.path())?;
        self.window.seek(at.offset);
        if at == Place::START {
            at.offset = self.window.skip_byte_order_mark()?;
        } else {
            at = place::go_on(&mut self.window, at, self.ends)?;
        }
        let mut page = Filling::new(bounds);
        while !page.is_full() {
            let line = self.window.delimit(bounds.record_bytes_max, |bytes| {
                memchr(b'\n', bytes).map(|end| end + 1)
            })?;
            let next = at.plus(line.len, u64::from(line.end == End::Found));
            let bytes = self.window.bytes(&line);
            match line.end {
                End::File if line.len == 0 => return Ok(page.finish(true)),
                End::File
                    if self.grows
                        && !self.ends.last_is_whole
                        && !bytes.is_some_and(is_complete) =>
                {
                    return Ok(page.finish_at_unfinished(at));
                }
                End::Nowhere => {
                    let problem = "a line does not end; is it JSON Lines?";
                    let error = SourceError::damaged(self.window.path(), at.offset, problem);
                    return page.finish_before(error);
                }
                End::Found | End::File => {}
            }
            match bytes {
                None => page.push_too_large(line.len, at, next.cursor()),
                Some(bytes) => push(&mut page, bytes, self.id.as_ref(), at, next),
            }
            at = next;
        }
        Ok(page.finish(false))
    }

    fn extent(&self, at: &Cursor) -> Option<Extent> {
        Some(Extent {
            bytes: Place::of(at, self.window.path()).ok()?.offset,
            bytes_total: self.window.size().ok()?,
        })
    }

    fn set_ends(&mut self, ends: Ends) {
        self.ends = ends;
    }
}

/// Adds the record of a line, if there is one in it.
fn push(page: &mut Filling, bytes: &[u8], id: Option<&Pointer>, at: Place, next: Place) {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => page.push_text(text, next.cursor(), at, |text| identity(text, id)),
        Err(error) => {
            let problem = format!("no valid UTF-8 after {} bytes", error.valid_up_to());
            let error = RecordError::malformed(at, problem, bytes);
            page.push(Err(error), None, next.cursor());
        }
    }
}

/// Whether a line without an end is whole all the same. An object, an array or a string closes;
/// of a number more digits may follow.
fn is_complete(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.last().is_none_or(|last| b"}]\"".contains(last))
        && (line.is_empty()
            || std::str::from_utf8(line).is_ok_and(|text| Payload::parse(text).is_ok()))
}
