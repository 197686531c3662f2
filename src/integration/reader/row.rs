//! A row of CSV as AWS reads it: where it ends, and its fields.
//!
//! Quotes are optional, `""` in quotes is a quote, a backslash stands before a backslash, a quote or the
//! delimiter and goes without a word before anything else. Nothing is a fault but a quote that never closes.

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before its first character.
    Start,
    Plain,
    /// Between its quotes.
    Quoted,
    /// Behind a quote in quotes: it closed, or escapes a second one.
    Closed,
}

/// Finds the end of a row; fed piece by piece.
pub(super) struct Scan {
    delimiter: u8,
    state: State,
    escaped: bool,
    /// Line ends within quotes, and the one that ended the row.
    pub(super) lines: u64,
}

impl Scan {
    pub(super) const fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            state: State::Start,
            escaped: false,
            lines: 0,
        }
    }

    /// How many bytes of this piece belong to the row, if it ends in it.
    pub(super) fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        for (at, byte) in piece.iter().enumerate() {
            let line_end = *byte == b'\n';
            self.lines += u64::from(line_end);
            if line_end && self.state != State::Quoted {
                return Some(at + 1);
            }
            if std::mem::take(&mut self.escaped) {
                if self.state != State::Quoted {
                    self.state = State::Plain;
                }
            } else if *byte == b'\\' {
                self.escaped = true;
            } else {
                self.state = self.state.after(*byte, self.delimiter);
            }
        }
        None
    }

    /// Whether a quote is open.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Quoted
    }
}

impl State {
    const fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Start | Self::Closed, b'"') | (Self::Quoted, _) => Self::Quoted,
            (Self::Start | Self::Plain | Self::Closed, _) if byte == delimiter => Self::Start,
            (Self::Start | Self::Plain | Self::Closed, _) => Self::Plain,
        }
    }
}

/// The fields of a row without its line end. The delimiter is ASCII, so that texts are cut between
/// characters.
pub(super) fn fields(row: &str, delimiter: u8) -> Vec<String> {
    let mut fields = vec![String::new()];
    let (mut state, mut escaped) = (State::Start, false);
    for c in row.chars() {
        let byte = u8::try_from(c).unwrap_or(0);
        if std::mem::take(&mut escaped) {
            if state != State::Quoted {
                state = State::Plain;
            }
        } else if c == '\\' {
            escaped = true;
            continue;
        } else {
            let before = state;
            // Why 0: whatever is not ASCII is a character like any other; a NUL is one, too.
            let byte = if c.is_ascii() { byte } else { 0 };
            state = state.after(byte, delimiter);
            match (before, state) {
                (_, State::Start) => {
                    fields.push(String::new());
                    continue;
                }
                // A quote that opens or closes; the second of two stands for one.
                (State::Start, State::Quoted) | (State::Quoted, State::Closed) => continue,
                (State::Start | State::Plain | State::Quoted | State::Closed, _) => {}
            }
        }
        if let Some(field) = fields.last_mut() {
            field.push(c);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, rows: &[&[&str]]) {
        for size in 1..=text.len() {
            let mut found = Vec::new();
            let mut row = Vec::new();
            let mut scan = Scan::new(b',');
            for piece in text.as_bytes().chunks(size) {
                let mut rest = piece;
                while let Some(end) = scan.scan(rest) {
                    row.extend(&rest[..end]);
                    found.push(std::mem::take(&mut row));
                    (rest, scan) = (&rest[end..], Scan::new(b','));
                }
                row.extend(rest);
            }
            found.extend((!row.is_empty()).then_some(row));
            let found: Vec<Vec<String>> = found
                .into_iter()
                .map(|row| fields(String::from_utf8(row).unwrap().trim_end_matches('\n'), b','))
                .collect();
            assert_eq!(found, rows, "{text:?} in {size}");
        }
    }

    #[test]
    fn rows_end_and_are_cut_as_aws_does() {
        check("a,b\nc", &[&["a", "b"], &["c"]]);
        check("a,,\n", &[&["a", "", ""]]);
        check("\"a,1\",\"b\nc\"\nd", &[&["a,1", "b\nc"], &["d"]]);
        check("\"say \"\"hi\"\"\",'x'\n", &[&["say \"hi\"", "'x'"]]);
        check(r"a\,b,c\\,\d,\é", &[&["a,b", "c\\", "d", "é"]]);
        check(r#""a\"b",\"c"#, &[&["a\"b", "\"c"]]);
        check("a\"b\",\"c\" d,é\n", &[&["a\"b\"", "c d", "é"]]);
        check("\"\",\"\"\"\"\n", &[&["", "\""]]);
        check(
            "ends with a backslash\\\nb\n",
            &[&["ends with a backslash"], &["b"]],
        );
    }
}
