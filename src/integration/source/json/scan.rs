//! Where an element of a JSON text ends, found byte by byte without understanding the element.
//!
//! Knows strings, escapes and brackets, and nothing else: whether the element is JSON is for
//! `Payload` to say. Constant memory, whatever the depth.

use std::borrow::Cow;

use memchr::memchr2;

/// Follows a string through pieces.
#[derive(Debug, Default)]
pub(super) struct StringScan {
    inside: bool,
    escaped: bool,
}

impl StringScan {
    /// How many bytes of this piece belong to the string that begins at the first byte scanned, if
    /// it ends in it.
    pub(super) fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        let mut from = 0;
        if !self.inside && !piece.is_empty() {
            self.inside = true;
            from = 1;
        }
        while from < piece.len() {
            if self.escaped {
                self.escaped = false;
                from += 1;
                continue;
            }
            let at = from + memchr2(b'"', b'\\', &piece[from..])?;
            if piece[at] == b'"' {
                self.inside = false;
                return Some(at + 1);
            }
            self.escaped = true;
            from = at + 1;
        }
        None
    }
}

/// Follows an element through pieces, to the comma or the container's bracket behind it.
#[derive(Debug)]
pub(super) struct Segment {
    closer: u8,
    string: StringScan,
    open: Brackets,
    mismatch: Option<u8>,
}

impl Segment {
    /// In a container that is closed by this bracket.
    pub(super) fn new(closer: u8) -> Self {
        Self {
            closer,
            string: StringScan::default(),
            open: Brackets::default(),
            mismatch: None,
        }
    }

    /// The bracket that stopped the scan and has no partner.
    pub(super) fn mismatch(&self) -> Option<u8> {
        self.mismatch
    }

    /// How many bytes of this piece belong to the element, if it ends, or breaks, in it.
    pub(super) fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        if self.string.inside {
            at = self.string.scan(piece)?;
        }
        while let Some(&byte) = piece.get(at) {
            match byte {
                b'"' => {
                    at += self.string.scan(&piece[at..])?;
                    continue;
                }
                b'{' | b'[' => self.open.push(byte),
                b',' if self.open.depth == 0 => return Some(at),
                b'}' | b']' if self.open.depth == 0 => {
                    if byte != self.closer {
                        self.mismatch = Some(byte);
                    }
                    return Some(at);
                }
                b'}' | b']' if !self.open.close(byte) => {
                    self.mismatch = Some(byte);
                    return Some(at);
                }
                _ => {}
            }
            at += 1;
        }
        None
    }
}

/// The brackets that are open: their kinds as bits, as deep as a payload may nest; deeper ones are
/// counted.
#[derive(Debug, Default)]
struct Brackets {
    braces: u128,
    depth: u32,
}

impl Brackets {
    fn push(&mut self, opener: u8) {
        if self.depth < u128::BITS {
            self.braces = self.braces << 1 | u128::from(opener == b'{');
        }
        // Why: an element of 1 GiB, the most that is scanned, has fewer brackets than a u32 counts.
        self.depth = self.depth.saturating_add(1);
    }

    /// Closes the innermost bracket of this kind, and those within it, which damage left open;
    /// false where there is none.
    fn close(&mut self, closer: u8) -> bool {
        while self.depth > 0 {
            self.depth -= 1;
            if self.depth >= u128::BITS {
                return true;
            }
            let is_brace = self.braces & 1 == 1;
            self.braces >>= 1;
            if is_brace == (closer == b'}') {
                return true;
            }
        }
        false
    }
}

/// A member of an object, cut but not checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Member<'a> {
    /// Cuts `"name" : value`.
    pub(super) fn split(text: &'a str) -> Option<Self> {
        if !text.starts_with('"') {
            return None;
        }
        let end = StringScan::default().scan(text.as_bytes())?;
        let (name, rest) = text.split_at(end);
        let value = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii();
        Some(Self { name, value })
    }
}

/// What becomes a record.
pub(super) enum Text<'a> {
    Element(&'a str),
    Member(Member<'a>),
}

impl<'a> Text<'a> {
    /// The record's text.
    pub(super) fn json(&self) -> Cow<'a, str> {
        match self {
            Self::Element(text) => Cow::Borrowed(text),
            Self::Member(Member { name, value }) => {
                Cow::Owned(format!(r#"{{"key":{name},"value":{value}}}"#))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the element is, and the bracket that broke it; the same in pieces of any size.
    fn check(text: &str, len: Option<usize>, mismatch: Option<u8>) {
        for size in 1..=text.len() {
            let mut segment = Segment::new(b']');
            let mut scanned = 0;
            let mut found = None;
            for piece in text.as_bytes().chunks(size) {
                if let Some(end) = segment.scan(piece) {
                    found = Some(scanned + end);
                    break;
                }
                scanned += piece.len();
            }
            assert_eq!(
                (found, segment.mismatch()),
                (len, mismatch),
                "{text} in {size}"
            );
        }
    }

    #[test]
    fn an_element_ends_at_its_comma_or_the_containers_bracket() {
        check("1,2]", Some(1), None);
        check(r#"{"a": [1,2], "b": "],}"} , 3"#, Some(25), None);
        check(r#""a\\\",]" ]"#, Some(10), None);
        check("]", Some(0), None);
        check("{\"a\":1", None, None);
        check(
            &format!("{}{},", "[".repeat(300), "]".repeat(300)),
            Some(600),
            None,
        );
    }

    #[test]
    fn brackets_that_damage_left_open_close_with_the_one_around_them() {
        check(r#"{"a":[1,2},3]"#, Some(10), None);
        check(r#"{"a":1],3]"#, Some(6), Some(b']'));
        check("1}", Some(1), Some(b'}'));
    }

    #[test]
    fn a_member_is_cut_behind_its_name() {
        let member = |name, value| Some(Member { name, value });
        assert_eq!(Member::split(r#""a" : [1] "#), member("\"a\"", "[1]"));
        assert_eq!(Member::split(r#""a\":":1"#), member(r#""a\":""#, "1"));
        for text in ["", "a:1", r#""a"#, r#""a""#, r#""a" 1"#] {
            assert_eq!(Member::split(text), None, "{text}");
        }
    }
}
