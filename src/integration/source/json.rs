//! The elements of an array, or the members of an object, in one JSON text of any size.
//!
//! An element is kept verbatim; a member becomes `{"key":..,"value":..}`. Nothing but the element at
//! hand is held. Cursor: `1:[:` or `1:{:` and the byte offset behind an element, so what precedes it
//! is never read again. Invariant: an element that can be told from its neighbours fails as an item;
//! where brackets do not match, nobody knows where the next one begins, and the source is damaged.

mod scan;

use compact_str::format_compact;

use self::scan::{Member, Segment, StringScan, Text};
use super::{
    Extent, OpenContext, Page, PageBounds, Pointer, RecordError, Source, SourceError, SourceSpec,
    identity::identity,
    page::Filling,
    pointer::array_index,
    spool,
    window::{Delimited, End, Window},
};
use crate::{
    ids::Cursor,
    integration::spec::{SpecError, Table},
};

/// Longest member name that a pointer is compared with; a longer one is some other name.
const NAME_BYTES_MAX: usize = 64 * 1024;

/// The keys of a JSON source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonSpec {
    /// To the array or object. Default: the whole text.
    pub pointer: Pointer,
}

impl JsonSpec {
    pub(super) fn take(table: &mut Table) -> Result<Self, SpecError> {
        let text: String = table.take("pointer")?.unwrap_or_default();
        let pointer = Pointer::parse(&text)
            .map_err(|problem| table.refuse("pointer", &text.as_str().into(), &problem))?;
        Ok(Self { pointer })
    }
}

/// A file with one JSON text in it.
pub(super) struct Json {
    window: Window,
    pointer: Pointer,
    id: Option<Pointer>,
}

/// What the items stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

impl Container {
    fn opener(self) -> u8 {
        match self {
            Self::Array => b'[',
            Self::Object => b'{',
        }
    }

    fn closer(self) -> u8 {
        match self {
            Self::Array => b']',
            Self::Object => b'}',
        }
    }

    fn opened_by(byte: u8) -> Option<Self> {
        [Self::Array, Self::Object]
            .into_iter()
            .find(|container| container.opener() == byte)
    }
}

impl Json {
    pub(super) fn open(
        spec: &SourceSpec,
        json: &JsonSpec,
        context: &mut OpenContext<'_>,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            window: spool::open(spec, context)?,
            pointer: json.pointer.clone(),
            id: spec.id.clone(),
        })
    }

    /// The container and the offset of a cursor.
    fn resume(&self, cursor: &Cursor) -> Result<(Container, u64), SourceError> {
        let read = || {
            let (opener, offset) = cursor.as_str().strip_prefix("1:")?.split_once(':')?;
            let &[opener] = opener.as_bytes() else {
                return None;
            };
            Some((Container::opened_by(opener)?, offset.parse().ok()?))
        };
        read().ok_or_else(|| SourceError::cursor(self.window.path(), cursor))
    }

    fn cursor(&self, container: Container) -> Cursor {
        let opener = char::from(container.opener());
        Cursor::new(format_compact!("1:{opener}:{}", self.window.position()))
    }

    /// Moves behind the opening bracket of the container that the pointer leads to.
    fn locate(&mut self) -> Result<Container, SourceError> {
        self.window.seek(0);
        self.window.skip_byte_order_mark()?;
        let pointer = self.pointer.clone();
        for (level, token) in pointer.tokens().iter().enumerate() {
            let inside = match self.next_byte()?.and_then(Container::opened_by) {
                Some(Container::Object) => self.enter_member(token)?,
                Some(Container::Array) => self.enter_element(token)?,
                None => false,
            };
            if !inside {
                let steps = pointer.tokens()[..=level].join("/");
                let problem = format!(
                    "pointer = {:?} leads nowhere: there is no /{steps}",
                    pointer.to_string()
                );
                return Err(SourceError::unsuitable(self.window.path(), problem));
            }
        }
        if let Some(container) = self.next_byte()?.and_then(Container::opened_by) {
            self.window.step();
            return Ok(container);
        }
        let problem = format!(
            "at pointer = {:?} stands neither an array nor an object; say where the records are",
            pointer.to_string()
        );
        Err(SourceError::unsuitable(self.window.path(), problem))
    }

    /// From an object's bracket to the value of its member of that name.
    fn enter_member(&mut self, name: &str) -> Result<bool, SourceError> {
        loop {
            self.window.step();
            if self.next_byte()? != Some(b'"') {
                return Ok(false);
            }
            let mut scan = StringScan::default();
            let key = self
                .window
                .delimit(NAME_BYTES_MAX, |piece| scan.scan(piece))?;
            let key = self.window.bytes(&key);
            let is_it = key.is_some_and(|key| {
                serde_json::from_slice::<String>(key).is_ok_and(|key| key == name)
            });
            if self.next_byte()? != Some(b':') {
                return Ok(false);
            }
            if is_it {
                self.window.step();
                return Ok(true);
            }
            self.segment(Container::Object, 0)?;
            if self.next_byte()? != Some(b',') {
                return Ok(false);
            }
        }
    }

    /// From an array's bracket to its element of that index.
    fn enter_element(&mut self, token: &str) -> Result<bool, SourceError> {
        let Some(index) = array_index(token) else {
            return Ok(false);
        };
        self.window.step();
        for _ in 0..index {
            self.segment(Container::Array, 0)?;
            if self.next_byte()? != Some(b',') {
                return Ok(false);
            }
            self.window.step();
        }
        Ok(self.next_byte()? != Some(b']'))
    }

    /// The next byte that is no space; it stays.
    fn next_byte(&mut self) -> Result<Option<u8>, SourceError> {
        self.window
            .skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))?;
        self.window.peek()
    }

    /// Moves to the comma or the closing bracket that ends what stands here.
    fn segment(
        &mut self,
        container: Container,
        bytes_max: usize,
    ) -> Result<Delimited, SourceError> {
        let begin = self.window.position();
        let mut segment = Segment::new(container.closer());
        let found = self
            .window
            .delimit(bytes_max, |piece| segment.scan(piece))?;
        let problem = match (found.end, segment.mismatch()) {
            (End::Found, None) => return Ok(found),
            (End::Found, Some(bracket)) => format!(
                "the element that begins here meets a {:?} without a partner at byte {}",
                char::from(bracket),
                begin + found.len
            ),
            (End::File, _) => "the file ends within the element that begins here".to_owned(),
            (End::Nowhere, _) => "the element that begins here does not end".to_owned(),
        };
        Err(SourceError::damaged(self.window.path(), begin, problem))
    }

    /// Whether what stands behind the container may stand there.
    fn check_end(&mut self) -> Result<(), SourceError> {
        self.window.step();
        let at = self.window.position();
        let next = self.next_byte()?;
        let within = !self.pointer.tokens().is_empty();
        match next {
            None if !within => Ok(()),
            Some(b',' | b']' | b'}') if within => Ok(()),
            _ => Err(SourceError::damaged(
                self.window.path(),
                at,
                "a closing bracket ends the records here, but text follows that does not belong behind it",
            )),
        }
    }

    /// Reads the element at the position into the page.
    fn take(
        &mut self,
        container: Container,
        page: &mut Filling,
        bounds: PageBounds,
    ) -> Result<(), SourceError> {
        let begin = self.window.position();
        let found = self.segment(container, bounds.record_bytes_max)?;
        let end = self.cursor(container);
        let place = format_args!("byte {begin}");
        let Some(bytes) = self.window.bytes(&found) else {
            page.push_too_large(found.len, place, end);
            return Ok(());
        };
        let bytes = bytes.trim_ascii();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if container == Container::Array => Ok(Text::Element(text)),
            Ok(text) => Member::split(text)
                .map(Text::Member)
                .ok_or("no member, which is \"name\": value".to_owned()),
            Err(error) => Err(format!(
                "no valid UTF-8 after {} bytes",
                error.valid_up_to()
            )),
        };
        match text {
            Ok(text) => page.push_text(&text.json(), end, place, |text| {
                identity(text, self.id.as_ref())
            }),
            Err(problem) => {
                let error = RecordError::malformed(place, problem, bytes);
                page.push(Err(error), None, end);
            }
        }
        Ok(())
    }
}

impl Source for Json {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let mut page = Filling::new(bounds);
        let mut first = from.is_start();
        let container = if first {
            self.locate()?
        } else {
            let (container, offset) = self.resume(from)?;
            self.window.seek(offset);
            container
        };
        while !page.is_full() {
            let at = self.window.position();
            let step = match self.next_byte()? {
                Some(byte) if byte == container.closer() => {
                    return match self.check_end() {
                        Ok(()) => Ok(page.finish(true)),
                        Err(error) => page.finish_before(error),
                    };
                }
                Some(b',') if !first => {
                    self.window.step();
                    self.next_byte()
                        .and_then(|_| self.take(container, &mut page, bounds))
                }
                Some(_) if first => self.take(container, &mut page, bounds),
                next => {
                    let found = next.map_or("the file ends".to_owned(), |byte| {
                        format!("{:?} stands", char::from(byte))
                    });
                    let problem = format!("{found} where a comma or the closing bracket belongs");
                    Err(SourceError::damaged(self.window.path(), at, problem))
                }
            };
            if let Err(error) = step {
                return page.finish_before(error);
            }
            first = false;
        }
        Ok(page.finish(false))
    }

    fn extent(&self, at: &Cursor) -> Option<Extent> {
        let bytes = if at.is_start() {
            0
        } else {
            self.resume(at).ok()?.1
        };
        Some(Extent {
            bytes,
            bytes_total: self.window.size().ok()?,
        })
    }
}

/// Whether the record that ends at this cursor of a JSON source was a member of an object, which has a name.
pub(in crate::integration) fn ends_member(cursor: &Cursor) -> bool {
    cursor.as_str().starts_with("1:{:")
}
