//! Rows of fields as AWS's item reader takes them: texts, short rows filled with `""`, what is beyond the
//! header dropped.
//!
//! Cursor: `1:` byte offset `:` line. Empty lines are passed over.

use std::collections::HashSet;

use super::{CsvForm, row};
use crate::{
    ids::Cursor,
    integration::{
        json_text::push_string,
        source::{
            Extent, Page, PageBounds, Record, RecordError, Source, SourceError,
            place::Place,
            window::{End, Window},
        },
    },
    payload::Payload,
};

/// Recorded: the cause where a column is named twice.
pub(super) const DUPLICATES: &str = "CSV headers cannot contain duplicates.";

/// Longest header row: AWS's bound.
const HEADER_BYTES_MAX: usize = 10 * 1024;

/// An object of rows.
pub(super) struct Csv {
    window: Window,
    delimiter: u8,
    /// The members of an item, each as its place in the row and its beginning: `"name":`.
    columns: Vec<(usize, String)>,
    /// Where the first row of data begins.
    start: Place,
}

/// A row in the window, until that is used again.
enum Row {
    Is(String),
    TooLarge(u64),
    End,
}

impl Csv {
    pub(super) fn open(window: Window, form: &CsvForm) -> Result<Self, SourceError> {
        let mut csv = Self {
            window,
            delimiter: form.delimiter,
            columns: Vec::new(),
            start: Place::START,
        };
        csv.window.seek(0);
        let mark = csv.window.skip_byte_order_mark()?;
        csv.start = Place::START.plus(mark, 0);
        let names = match &form.headers {
            Some(names) => names.clone(),
            None => csv.header()?,
        };
        let mut seen = HashSet::new();
        if !names.iter().all(|name| seen.insert(name)) {
            return Err(SourceError::unsuitable(csv.window.path(), DUPLICATES));
        }
        let keys = order(&names).into_iter().map(|column| {
            let mut key = String::new();
            push_string(&mut key, &names[column]);
            key.push(':');
            (column, key)
        });
        csv.columns = keys.collect();
        Ok(csv)
    }

    fn header(&mut self) -> Result<Vec<String>, SourceError> {
        let (row, next) = self.row(self.start, HEADER_BYTES_MAX)?;
        self.start = next;
        match row {
            Row::Is(row) => Ok(row::fields(&row, self.delimiter)),
            Row::End => Ok(Vec::new()),
            Row::TooLarge(bytes) => {
                let problem =
                    format!("its header row has {bytes} bytes, {HEADER_BYTES_MAX} are allowed");
                Err(SourceError::unsuitable(self.window.path(), problem))
            }
        }
    }

    /// The next row that is not empty, and the place behind it.
    fn row(&mut self, mut at: Place, bytes_max: usize) -> Result<(Row, Place), SourceError> {
        loop {
            self.window.seek(at.offset);
            let mut scan = row::Scan::new(self.delimiter);
            let found = self.window.delimit(bytes_max, |piece| scan.scan(piece))?;
            let damaged =
                |problem: &str| Err(SourceError::damaged(self.window.path(), at.offset, problem));
            match found.end {
                End::File if found.len == 0 => return Ok((Row::End, at)),
                End::File if scan.is_open() => {
                    return damaged("a quote in the row that begins here does not close");
                }
                End::Nowhere => return damaged("the row that begins here does not end"),
                End::Found | End::File => {}
            }
            let next = at.plus(found.len, scan.lines);
            let Some(bytes) = self.window.bytes(&found) else {
                return Ok((Row::TooLarge(found.len), next));
            };
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if bytes.is_empty() {
                at = next;
                continue;
            }
            return match std::str::from_utf8(bytes) {
                Ok(text) => Ok((Row::Is(text.to_owned()), next)),
                Err(_) => damaged("the row that begins here is no UTF-8"),
            };
        }
    }

    fn item(&self, row: &str) -> String {
        let fields = row::fields(row, self.delimiter);
        let mut text = String::with_capacity(2 * row.len());
        text.push('{');
        for (at, (column, key)) in self.columns.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(key);
            push_string(&mut text, fields.get(*column).map_or("", String::as_str));
        }
        text.push('}');
        text
    }
}

impl Source for Csv {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let mut at = if from.is_start() {
            self.start
        } else {
            Place::of(from, self.window.path())?
        };
        let (mut records, mut bytes) = (Vec::new(), 0);
        let end = loop {
            if records.len() >= bounds.records_max || bytes >= bounds.bytes_max {
                break false;
            }
            let (row, next) = self.row(at, bounds.record_bytes_max)?;
            let item = match row {
                Row::End => break true,
                Row::TooLarge(bytes) => {
                    Err(RecordError::too_large(at, bytes, bounds.record_bytes_max))
                }
                Row::Is(row) => {
                    let text = self.item(&row);
                    bytes += text.len();
                    Payload::parse(text)
                        .map_err(|error| RecordError::malformed(at, error, row.as_bytes()))
                }
            };
            records.push(Record {
                item,
                id: None,
                end: next.cursor(),
            });
            at = next;
        };
        Ok(Page {
            records,
            end,
            unfinished: None,
        })
    }

    fn extent(&self, at: &Cursor) -> Option<Extent> {
        Some(Extent {
            bytes: Place::of(at, self.window.path()).ok()?.offset,
            bytes_total: self.window.size().ok()?,
        })
    }
}

/// The order of an item's members. Recorded: it is that of the names' hashes, as Java has them.
fn order(names: &[String]) -> Vec<usize> {
    let mut places = 16_usize;
    while names.len() * 4 > places * 3 {
        places *= 2;
    }
    let hash = |name: &str| {
        let sum = name.encode_utf16().fold(0_u32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(unit.into())
        });
        (sum ^ (sum >> 16)) as usize & (places - 1)
    };
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|column| hash(&names[*column]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in their order.
    fn check(names: &[&str], ordered: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found: Vec<&str> = order(&names)
            .into_iter()
            .map(|at| names[at].as_str())
            .collect();
        assert_eq!(found, ordered);
    }

    #[test]
    fn members_stand_in_the_order_that_was_recorded() {
        check(&["Col1", "Col2", "Col3"], &["Col1", "Col2", "Col3"]);
        check(&["0", "True", "{}"], &["0", "{}", "True"]);
        check(&["H1", ""], &["", "H1"]);
    }
}
