//! One record of a CSV text: where it ends, and its fields.
//!
//! Owns the grammar: RFC 4180, strictly. A quote inside an unquoted field, or anything but a
//! delimiter or a line end behind a closing quote, is a fault; guessing what was meant would turn
//! damage into data. With quoting off there is no grammar but delimiters and line ends.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};

use crate::integration::source::{place::Place, window::End};

/// How fields are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: bool,
}

/// Finds the end of a record, or what breaks it; fed piece by piece.
pub(super) struct Scanner {
    dialect: Dialect,
    state: State,
    /// Before the next piece.
    at: Place,
    /// The last byte of the piece before; the delimiter at first, since a field begins there.
    last: u8,
    /// Where the last quoted field began, or the fault is.
    mark: Place,
    /// Whether a quote was seen; until then line ends are all that matters.
    pub(super) has_quotes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    /// Behind a quote in a quoted field: it closed the field, or escapes a second one.
    Quote,
    /// Behind a closing quote and a carriage return.
    Return,
    End,
    Fault(&'static str),
}

impl Scanner {
    pub(super) fn new(dialect: Dialect, at: Place) -> Self {
        Self {
            dialect,
            state: State::FieldStart,
            at,
            last: dialect.delimiter,
            mark: at,
            has_quotes: false,
        }
    }

    /// How many bytes of this piece belong to the record, if it ends, or breaks, in it.
    pub(super) fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        let end = if self.has_quotes {
            self.scan_fields(piece, 0)
        } else if self.dialect.quote {
            match memchr2(b'\n', b'"', piece) {
                Some(at) if piece[at] == b'"' => {
                    self.has_quotes = true;
                    let before = if at == 0 { self.last } else { piece[at - 1] };
                    if before != self.dialect.delimiter {
                        self.state = State::Unquoted;
                    }
                    self.scan_fields(piece, at)
                }
                end => self.scan_line(end),
            }
        } else {
            self.scan_line(memchr(b'\n', piece))
        };
        self.at.offset += end.unwrap_or(piece.len()) as u64;
        self.last = piece.last().copied().unwrap_or(self.last);
        end
    }

    fn scan_line(&mut self, end: Option<usize>) -> Option<usize> {
        let end = end? + 1;
        self.at.line += 1;
        self.state = State::End;
        Some(end)
    }

    fn scan_fields(&mut self, piece: &[u8], mut from: usize) -> Option<usize> {
        while let Some(&byte) = piece.get(from) {
            if self.state == State::Quoted {
                let quote = memchr(b'"', &piece[from..]);
                let to = quote.map_or(piece.len(), |at| from + at);
                self.at.line += memchr_iter(b'\n', &piece[from..to]).count() as u64;
                quote?;
                self.state = State::Quote;
                from = to + 1;
                continue;
            }
            let next = self.state.after(byte, self.dialect.delimiter);
            if matches!(next, State::Fault(_))
                || (next, self.state) == (State::Quoted, State::FieldStart)
            {
                self.mark = self.at.plus(from as u64, 0);
            }
            self.state = next;
            from += 1;
            match next {
                State::End => {
                    self.at.line += 1;
                    return Some(from);
                }
                State::Fault(_) => return Some(from),
                State::FieldStart
                | State::Unquoted
                | State::Quoted
                | State::Quote
                | State::Return => {}
            }
        }
        None
    }

    /// Behind what was scanned.
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// What breaks the record, and where, given what ended the scanning.
    pub(super) fn fault(&self, end: End) -> Option<(&'static str, Place)> {
        match self.state {
            State::Fault(problem) => Some((problem, self.mark)),
            State::Quoted if end != End::Found => {
                Some(("the quote that opens here does not close", self.mark))
            }
            State::FieldStart
            | State::Unquoted
            | State::Quoted
            | State::Quote
            | State::Return
            | State::End => None,
        }
    }
}

impl State {
    /// The state behind one more byte, outside of quotes.
    fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::FieldStart | Self::Quote, b'"') => Self::Quoted,
            (Self::Unquoted, b'"') => Self::Fault("a quote within a field that has none around it"),
            (Self::FieldStart | Self::Unquoted | Self::Quote | Self::Return, b'\n') => Self::End,
            (Self::FieldStart | Self::Unquoted | Self::Quote, _) if byte == delimiter => {
                Self::FieldStart
            }
            (Self::Quote, b'\r') => Self::Return,
            (Self::Quote | Self::Return, _) => {
                Self::Fault("behind a closing quote stands neither a delimiter nor a line end")
            }
            (Self::FieldStart | Self::Unquoted, _) => Self::Unquoted,
            (Self::Quoted | Self::End | Self::Fault(_), _) => self,
        }
    }
}

/// The record without the line end behind it.
pub(super) fn trim_line_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// The fields of a record in which the scanner found no fault, without its line end.
pub(in crate::integration) struct Fields<'a> {
    rest: Option<&'a str>,
    delimiter: u8,
    has_quotes: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(record: &'a str, dialect: Dialect, has_quotes: bool) -> Self {
        Self {
            rest: Some(record),
            delimiter: dialect.delimiter,
            has_quotes,
        }
    }

    /// The fields of a whole line that iterd wrote.
    pub(in crate::integration) fn of_line(line: &'a str, delimiter: u8) -> Self {
        let quote = true;
        Self::new(line, Dialect { delimiter, quote }, quote)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        let rest = self.rest?;
        if let Some(quoted) = rest.strip_prefix('"').filter(|_| self.has_quotes) {
            let (field, behind) = split_quoted(quoted);
            // Behind the closing quote stands a delimiter, or nothing.
            self.rest = behind.get(1..);
            return Some(field);
        }
        let field = match memchr(self.delimiter, rest.as_bytes()) {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                &rest[..at]
            }
            None => self.rest.take()?,
        };
        Some(Cow::Borrowed(field))
    }
}

/// A field behind its opening quote, and what stands behind the closing one.
fn split_quoted(text: &str) -> (Cow<'_, str>, &str) {
    let mut escapes = false;
    let mut from = 0;
    while let Some(at) = memchr(b'"', &text.as_bytes()[from..]) {
        let quote = from + at;
        if !text[quote + 1..].starts_with('"') {
            let field = &text[..quote];
            let field = if escapes {
                Cow::Owned(field.replace("\"\"", "\""))
            } else {
                Cow::Borrowed(field)
            };
            return (field, &text[quote + 1..]);
        }
        escapes = true;
        from = quote + 2;
    }
    (Cow::Borrowed(text), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Dialect = Dialect {
        delimiter: b',',
        quote: true,
    };

    /// How long the first record is, what breaks it, and its fields; the same in pieces of any size.
    fn check(text: &str, len: usize, fields: Result<&[&str], (&str, u64)>) {
        for piece in 1..=text.len() {
            let mut scanner = Scanner::new(COMMA, Place::START);
            let mut taken = 0;
            let mut end = End::File;
            for piece in text.as_bytes().chunks(piece) {
                if let Some(found) = scanner.scan(piece) {
                    taken += found;
                    end = End::Found;
                    break;
                }
                taken += piece.len();
            }
            let fault = scanner.fault(end);
            assert_eq!(
                fault.map(|(problem, at)| (problem, at.offset)),
                fields.err(),
                "{text:?} in {piece}"
            );
            let Ok(fields) = fields else { continue };
            assert_eq!(taken, len, "{text:?} in {piece}");
            let record = std::str::from_utf8(trim_line_end(&text.as_bytes()[..taken])).unwrap();
            let read: Vec<_> = Fields::new(record, COMMA, scanner.has_quotes).collect();
            assert_eq!(read, fields, "{text:?} in {piece}");
            let lines = text[..len].matches('\n').count() as u64;
            assert_eq!(scanner.at(), Place::START.plus(len as u64, lines));
        }
    }

    #[test]
    fn records_end_where_rfc_4180_says() {
        check("a,b\nc", 4, Ok(&["a", "b"]));
        check("a,b\r\nc", 5, Ok(&["a", "b"]));
        check("a,,b,", 5, Ok(&["a", "", "b", ""]));
        check("\"a\nb\",c\nd", 8, Ok(&["a\nb", "c"]));
        check("\"\"\r\nd", 4, Ok(&[""]));
        check("x,\"a \"\"b\"\" , c\"\r\nd", 17, Ok(&["x", "a \"b\" , c"]));
        check("\"\"\"\",\"é\"", 9, Ok(&["\"", "é"]));
        check("a\rb,c\n", 6, Ok(&["a\rb", "c"]));
    }

    #[test]
    fn a_stray_quote_is_a_fault_at_its_place() {
        let stray = "a quote within a field that has none around it";
        let behind = "behind a closing quote stands neither a delimiter nor a line end";
        let open = "the quote that opens here does not close";
        check("a,b\"c\",d\n", 0, Err((stray, 3)));
        check("a \"b\"\n", 0, Err((stray, 2)));
        check("\"a\"b,c\n", 0, Err((behind, 3)));
        check("\"a\" ,c\n", 0, Err((behind, 3)));
        check("\"a\"\rc\n", 0, Err((behind, 4)));
        check("x,\"a\nb,c\n", 0, Err((open, 2)));
    }
}
