//! The rows of a table, or of a query, in a SQLite file, in the order of a key.
//!
//! A page is `WHERE key > ? ORDER BY key LIMIT ?`, so any page costs the same where the key has an
//! index. Values become JSON by their storage class, blobs as base64. The file is opened read-only,
//! and no statement stays open between pages. Cursor: `1:`, the class of the last key (`i`, `r`,
//! `t`, `b`), `:`, the key. Invariant: a key that is NULL or stands twice is an error, never a row
//! left out.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Row, params,
    types::{Value, ValueRef},
};

use super::{
    Extent, Page, PageBounds, Pointer, RecordError, Source, SourceError, SourceSpec,
    identity::identity, page::Filling,
};
use crate::{
    ids::Cursor,
    integration::{
        json_text::{push_display, push_string},
        spec::{SpecError, Table as SpecTable, hint},
    },
};

/// How long a page waits for a writer that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of a SQL source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSpec {
    /// What the rows are taken from.
    pub relation: Relation,
    /// The column that orders the rows: unique, never NULL, and best one with an index.
    pub key: String,
}

/// What rows are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// A table or a view of this name.
    Table(String),
    /// A SELECT.
    Query(String),
}

impl SqlSpec {
    pub(super) fn take(table: &mut SpecTable) -> Result<Self, SpecError> {
        let name: Option<String> = table.take("table")?;
        let query: Option<String> = table.take("query")?;
        let relation = match (name, query) {
            (Some(name), None) => Relation::Table(name),
            (None, Some(query)) => Relation::Query(query),
            (Some(_), Some(query)) => {
                let problem = "either table or query, not both";
                return Err(table.refuse("query", &query.into(), problem));
            }
            (None, None) => {
                return Err(table.missing("table", "; or query = .., for rows that a SELECT gives"));
            }
        };
        Ok(Self {
            relation,
            key: table.require("key")?,
        })
    }

    /// What stands behind FROM.
    fn clause(&self) -> String {
        match &self.relation {
            Relation::Table(name) => quoted(name),
            // The line end keeps a comment at the query's end from swallowing the bracket.
            Relation::Query(query) => format!("({}\n)", query.trim().trim_end_matches(';')),
        }
    }
}

/// An identifier as SQL writes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table, or a query that is one.
pub(super) struct Table {
    path: PathBuf,
    connection: Connection,
    id: Option<Pointer>,
    /// The columns' names as they begin a member: `"name":`.
    keys: Vec<String>,
    key: String,
    first_page: String,
    next_page: String,
}

impl Table {
    pub(super) fn open(source: &SourceSpec, spec: &SqlSpec) -> Result<Self, SourceError> {
        let path = source.path.clone();
        let connection = connect(source)?;
        let from = spec.clause();
        let columns = columns(&connection, &from).map_err(|error| sql_error(source, error))?;
        check_columns(&columns, &spec.key)
            .map_err(|problem| SourceError::unsuitable(&path, problem))?;
        // Why: an over-long value is replaced, before SQLite reads it, by one that says so with its
        // own length. octet_length looks at a value's header alone.
        let bounded = |name: &str, bound: &str| {
            let name = quoted(name);
            format!(
                "CASE WHEN octet_length({name}) > {bound} THEN zeroblob({bound} + 1) ELSE {name} END"
            )
        };
        let values: Vec<_> = columns.iter().map(|name| bounded(name, "?2")).collect();
        // Why: BINARY on both sides, so that the order of keys is also the order in which equal
        // ones are told apart.
        let key = format!("{} COLLATE BINARY", quoted(&spec.key));
        let select = format!(
            "SELECT {}, {} FROM {from}",
            bounded(&spec.key, &KEY_BYTES_MAX.to_string()),
            values.join(", ")
        );
        Ok(Self {
            path,
            connection,
            id: source.id.clone(),
            keys: columns.iter().map(|name| json_key(name)).collect(),
            key: spec.key.clone(),
            first_page: format!("{select} WHERE ?3 IS NULL ORDER BY {key} LIMIT ?1"),
            next_page: format!("{select} WHERE {key} > ?3 ORDER BY {key} LIMIT ?1"),
        })
    }

    /// The record of a row.
    fn push(
        &self,
        page: &mut Filling,
        row: &Row<'_>,
        key: &Value,
        bounds: PageBounds,
    ) -> rusqlite::Result<()> {
        let end = cursor(key);
        let place = format!("row with {} = {}", self.key, shown(key));
        let mut text = String::with_capacity(256);
        let mut problem = None;
        for (column, name) in self.keys.iter().enumerate() {
            let value = row.get_ref(column + 1)?;
            if value
                .as_bytes()
                .is_ok_and(|bytes| bytes.len() > bounds.record_bytes_max)
            {
                // More than allowed, by how much only the file knows.
                page.push_too_large(bounds.record_bytes_max as u64 + 1, place, end);
                return Ok(());
            }
            text.push(if column == 0 { '{' } else { ',' });
            text.push_str(name);
            if let Err(what) = push_value(&mut text, value) {
                problem = Some(format!("column {} {what}", name.trim_end_matches(':')));
                break;
            }
        }
        text.push('}');
        match problem {
            None => page.push_text(&text, end, place, |text| identity(text, self.id.as_ref())),
            Some(problem) => {
                let error = RecordError::malformed(place, problem, text.as_bytes());
                page.push(Err(error), None, end);
            }
        }
        Ok(())
    }

    fn fill(
        &self,
        page: &mut Filling,
        after: &Value,
        bounds: PageBounds,
    ) -> Result<bool, SourceError> {
        let refused = |error| SourceError::Sql {
            path: self.path.display().to_string(),
            error,
        };
        let statement = if *after == Value::Null {
            &self.first_page
        } else {
            &self.next_page
        };
        let mut statement = self.connection.prepare_cached(statement).map_err(refused)?;
        let bytes_max = i64::try_from(bounds.record_bytes_max).unwrap_or(VALUE_BYTES_MAX);
        // One row more than the page holds: its key shows whether the last one stands twice.
        let limit = i64::try_from(bounds.records_max).unwrap_or(ROWS_MAX);
        let limit = limit.clamp(1, ROWS_MAX) + 1;
        let mut rows = statement
            .query(params![limit, bytes_max.min(VALUE_BYTES_MAX), after])
            .map_err(refused)?;
        let mut last = after.clone();
        while let Some(row) = rows.next().map_err(refused)? {
            let key = row.get_ref(0).map_err(refused)?;
            let key = self.key(key, &last)?;
            if page.is_full() {
                return Ok(false);
            }
            self.push(page, row, &key, bounds).map_err(refused)?;
            last = key;
        }
        Ok(true)
    }

    /// The key of a row; the rows' order is what makes a cursor a position.
    fn key(&self, key: ValueRef<'_>, last: &Value) -> Result<Value, SourceError> {
        let unsuitable = |problem| Err(SourceError::unsuitable(&self.path, problem));
        let name = &self.key;
        let bytes = key.as_bytes().map_or(0, <[u8]>::len);
        if bytes > KEY_BYTES_MAX {
            return unsuitable(format!(
                "a value of its key {name} has {bytes} bytes, {KEY_BYTES_MAX} are allowed"
            ));
        }
        let Ok(key) = Value::try_from(key) else {
            return unsuitable(format!("a value of its key {name} is no valid UTF-8"));
        };
        if key == Value::Null {
            return unsuitable(format!(
                "its key {name} is NULL in some row; leave such rows out with query = \"SELECT .. WHERE {name} IS NOT NULL\""
            ));
        }
        if key == *last {
            let key = shown(&key);
            return unsuitable(format!(
                "its key {name} has the value {key} twice; rows would be left out, so choose a unique key"
            ));
        }
        Ok(key)
    }
}

/// Longest value that SQLite can be asked for, as it is built here.
const VALUE_BYTES_MAX: i64 = 500_000_000;

/// Most rows in a page; more would sort for seconds where the key has no index.
const ROWS_MAX: i64 = 1_000_000;

/// Longest key: written as base64 it still fits into a cursor.
const KEY_BYTES_MAX: usize = Cursor::BYTES_MAX / 4 * 3 - 16;

impl Source for Table {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let after = key_of(from).ok_or_else(|| SourceError::cursor(&self.path, from))?;
        let mut page = Filling::new(bounds);
        match self.fill(&mut page, &after, bounds) {
            Ok(end) => Ok(page.finish(end)),
            Err(error) => page.finish_before(error),
        }
    }

    fn extent(&self, _at: &Cursor) -> Option<Extent> {
        None
    }
}

/// What a fingerprint of a source says: its columns, and the cursor of its last key.
pub(super) fn columns_and_last(
    source: &SourceSpec,
    spec: &SqlSpec,
) -> Result<(Vec<String>, Cursor), SourceError> {
    let read = |connection: &Connection| {
        let from = spec.clause();
        let columns = columns(connection, &from)?;
        let key = quoted(&spec.key);
        let last = connection
            .query_row(
                &format!("SELECT {key} FROM {from} ORDER BY {key} COLLATE BINARY DESC LIMIT 1"),
                [],
                |row| row.get(0),
            )
            .optional()?;
        Ok((columns, cursor(&last.unwrap_or(Value::Null))))
    };
    read(&connect(source)?).map_err(|error| sql_error(source, error))
}

/// Whether the row of a cursor is still there, and whether any follows it.
pub(super) fn has_and_follows(
    source: &SourceSpec,
    spec: &SqlSpec,
    last: &Cursor,
) -> Result<(bool, bool), SourceError> {
    let last = key_of(last).ok_or_else(|| SourceError::cursor(&source.path, last))?;
    let from = spec.clause();
    let key = format!("{} COLLATE BINARY", quoted(&spec.key));
    let sql = format!(
        "SELECT ?1 IS NULL OR EXISTS (SELECT 1 FROM {from} WHERE {key} = ?1),
                EXISTS (SELECT 1 FROM {from} WHERE ?1 IS NULL OR {key} > ?1)"
    );
    connect(source)?
        .query_row(&sql, [last], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| sql_error(source, error))
}

/// The file, opened to be read.
fn connect(source: &SourceSpec) -> Result<Connection, SourceError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&source.path, flags);
    let connection = connection.and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    });
    connection.map_err(|error| sql_error(source, error))
}

fn sql_error(source: &SourceSpec, error: rusqlite::Error) -> SourceError {
    SourceError::Sql {
        path: source.path.display().to_string(),
        error,
    }
}

fn columns(connection: &Connection, from: &str) -> rusqlite::Result<Vec<String>> {
    let statement = connection.prepare(&format!("SELECT * FROM {from} LIMIT 0"))?;
    Ok(statement.column_names().map(str::to_owned).collect())
}

fn check_columns(columns: &[String], key: &str) -> Result<(), String> {
    super::csv::check_names(columns).map_err(|problem| format!("{problem}; rename it with AS"))?;
    if columns.iter().any(|name| name == key) {
        return Ok(());
    }
    let columns: Vec<_> = columns.iter().map(String::as_str).collect();
    Err(format!(
        "no column is called {key}, which is named as its key; {}",
        hint(key, &columns)
    ))
}

fn json_key(name: &str) -> String {
    let mut key = String::new();
    push_string(&mut key, name);
    key.push(':');
    key
}

/// Appends a value as JSON; the error goes on after the column's name.
fn push_value(out: &mut String, value: ValueRef<'_>) -> Result<(), &'static str> {
    match value {
        ValueRef::Null => out.push_str("null"),
        ValueRef::Integer(number) => push_display(out, number),
        ValueRef::Real(number) => {
            let number =
                serde_json::Number::from_f64(number).ok_or("is infinite, which JSON cannot say")?;
            push_display(out, number);
        }
        ValueRef::Text(text) => {
            push_string(
                out,
                std::str::from_utf8(text).map_err(|_| "is no valid UTF-8")?,
            );
        }
        ValueRef::Blob(bytes) => push_string(out, &STANDARD.encode(bytes)),
    }
    Ok(())
}

/// A key for messages.
fn shown(key: &Value) -> String {
    match key {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => crate::integration::json_text::snippet(text.as_bytes()),
        Value::Blob(bytes) => crate::integration::json_text::snippet(bytes),
    }
}

fn cursor(key: &Value) -> Cursor {
    Cursor::new(match key {
        Value::Null => String::new(),
        Value::Integer(number) => format!("1:i:{number}"),
        // The shortest text that reads back as the same number.
        Value::Real(number) => format!("1:r:{number:?}"),
        Value::Text(text) => format!("1:t:{text}"),
        Value::Blob(bytes) => format!("1:b:{}", STANDARD.encode(bytes)),
    })
}

/// The key of a cursor; NULL, which sorts before everything, at the start.
fn key_of(cursor: &Cursor) -> Option<Value> {
    if cursor.is_start() {
        return Some(Value::Null);
    }
    let (class, key) = cursor.as_str().strip_prefix("1:")?.split_once(':')?;
    Some(match class {
        "i" => Value::Integer(key.parse().ok()?),
        "r" => Value::Real(key.parse().ok()?),
        "t" => Value::Text(key.to_owned()),
        "b" => Value::Blob(STANDARD.decode(key).ok()?),
        _ => return None,
    })
}
