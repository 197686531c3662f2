//! Rows of a text with delimiters (RFC 4180, and its relatives without quotes).
//!
//! Values are strings, as in AWS's ItemReader: a short row is padded with `""`, fields beyond the
//! header are dropped. Cursor: `1:` byte offset `:` line. Invariant: damage in a record costs that
//! record alone; reading goes on at the line after the one that the record begins on.

mod record;
mod rows;

use std::collections::HashSet;

use compact_str::CompactString;
use serde_json::Value;

pub(in crate::integration) use self::record::Fields;
use self::{
    record::Dialect,
    rows::{Found, Rows},
};
use super::{
    Ends, Extent, OpenContext, Page, PageBounds, Pointer, Source, SourceError, SourceSpec,
    identity,
    page::Filling,
    place::{self, Place},
    spool,
};
use crate::{
    ids::Cursor,
    integration::{
        json_text::push_string,
        spec::{SpecError, Table, hint},
    },
};

/// The keys of a CSV source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvSpec {
    /// Between fields; one ASCII character. Default: a comma.
    pub delimiter: u8,
    /// Whether a field may stand in quotes. Default: yes.
    pub quote: bool,
    /// The columns' names; `None`: the first row has them.
    pub headers: Option<Vec<String>>,
}

impl CsvSpec {
    pub(super) fn take(table: &mut Table) -> Result<Self, SpecError> {
        let quote = table.take("quote")?.unwrap_or(true);
        let delimiter = table.take_delimiter(quote)?;
        let headers: Option<Vec<String>> = table.take("headers")?;
        if let Some(headers) = &headers
            && let Err(problem) = check_names(headers)
        {
            return Err(table.refuse("headers", &Value::from(headers.as_slice()), &problem));
        }
        Ok(Self {
            delimiter,
            quote,
            headers,
        })
    }
}

/// A file of rows.
pub(super) struct Csv {
    rows: Rows,
    /// As the spec gives them.
    headers: Option<Vec<String>>,
    id: Option<Pointer>,
    /// Known once the header row has been there.
    columns: Option<Columns>,
}

/// What the header says.
struct Columns {
    /// Each name as it begins a member: `"name":`.
    keys: Vec<String>,
    /// Which of them is the identity.
    id: Option<usize>,
    /// Where the first record begins.
    start: Place,
}

impl Csv {
    pub(super) fn open(
        spec: &SourceSpec,
        csv: &CsvSpec,
        context: &mut OpenContext<'_>,
    ) -> Result<Self, SourceError> {
        let dialect = Dialect {
            delimiter: csv.delimiter,
            quote: csv.quote,
        };
        let mut source = Self {
            rows: Rows {
                window: spool::open(spec, context)?,
                dialect,
                grows: spec.grows(),
                ends: Ends::default(),
            },
            headers: csv.headers.clone(),
            id: spec.id.clone(),
            columns: None,
        };
        source.columns = source.read_columns()?;
        Ok(source)
    }

    /// The columns; `None` where a header row is not there (yet).
    fn read_columns(&mut self) -> Result<Option<Columns>, SourceError> {
        self.rows.window.seek(0);
        let mark = self.rows.window.skip_byte_order_mark()?;
        let mut start = Place::START.plus(mark, 0);
        let names = if let Some(names) = &self.headers {
            names.clone()
        } else {
            let Some((names, behind)) = self.rows.read_names(start)? else {
                return Ok(None);
            };
            start = behind;
            names
        };
        let id = match &self.id {
            Some(id) => {
                Some(id_column(id, &names).map_err(|problem| self.rows.unsuitable(problem))?)
            }
            None => None,
        };
        let keys = names.iter().map(|name| {
            let mut key = String::with_capacity(name.len() + 3);
            push_string(&mut key, name);
            key.push(':');
            key
        });
        Ok(Some(Columns {
            keys: keys.collect(),
            id,
            start,
        }))
    }
}

/// The column that is the identity.
fn id_column(id: &Pointer, names: &[String]) -> Result<usize, String> {
    let column = match id.tokens() {
        [name] => names.iter().position(|other| other == name),
        _ => None,
    };
    column.ok_or_else(|| {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let hint = hint(&id.to_string(), &names);
        format!("no column is called {id}, which the job names as its id; {hint}")
    })
}

/// Whether every name names one column.
pub(in crate::integration) fn check_names(names: &[String]) -> Result<(), String> {
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(format!("the name {twice:?} stands twice")),
        None => Ok(()),
    }
}

impl Columns {
    /// A record as JSON, and its identity.
    fn item(&self, mut fields: Fields<'_>) -> (String, Option<CompactString>) {
        let mut text = String::with_capacity(256);
        let mut id = None;
        for (column, key) in self.keys.iter().enumerate() {
            text.push(if column == 0 { '{' } else { ',' });
            text.push_str(key);
            let field = fields.next().unwrap_or_default();
            push_string(&mut text, &field);
            if self.id == Some(column) {
                id = Some(CompactString::from(field));
            }
        }
        text.push('}');
        (text, id)
    }
}

impl Source for Csv {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let mut at = Place::of(from, self.rows.window.path())?;
        let mut page = Filling::new(bounds);
        if self.columns.is_none() {
            self.columns = self.read_columns()?;
        }
        let Some(columns) = &self.columns else {
            return Ok(page.finish(true));
        };
        if at == Place::START {
            at = columns.start;
        } else {
            at = place::go_on(&mut self.rows.window, at, self.rows.ends)?;
        }
        while !page.is_full() {
            let (found, next) = match self.rows.find(at, bounds.record_bytes_max) {
                Ok(found) => found,
                Err(error) => return page.finish_before(error),
            };
            match found {
                Found::Record(record) => match self.rows.fields(&record, at) {
                    Ok(fields) => {
                        let (text, id) = columns.item(fields);
                        page.push_text(&text, next.cursor(), at, |_| {
                            id.zip(self.id.as_ref())
                                .map(|(id, field)| identity::bounded(id, field))
                                .transpose()
                        });
                    }
                    Err(error) => page.push(Err(error), None, next.cursor()),
                },
                Found::Error(error) => page.push(Err(error), None, next.cursor()),
                Found::Blank => {}
                Found::Unfinished => return Ok(page.finish_at_unfinished(at)),
                Found::End => return Ok(page.finish(true)),
            }
            at = next;
        }
        Ok(page.finish(false))
    }

    fn extent(&self, at: &Cursor) -> Option<Extent> {
        Some(Extent {
            bytes: Place::of(at, self.rows.window.path()).ok()?.offset,
            bytes_total: self.rows.window.size().ok()?,
        })
    }

    fn set_ends(&mut self, ends: Ends) {
        self.rows.ends = ends;
    }
}
