//! What a job's `[source]` table says.
//!
//! Owns the list of kinds and the keys that all kinds share; the keys of one kind are in its file.
//! Never touches the source itself: a spec can be right about a file that is not there yet.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{CsvSpec, DirectorySpec, JsonSpec, Pointer, QueueSpec, SqlSpec};
use crate::integration::spec::{SpecError, Table};

/// Where the items of a job come from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSpec {
    /// The file or directory; relative to the job's file until [`SourceSpec::resolve_paths`]. Of a
    /// queue: what messages call it.
    pub path: PathBuf,
    /// Which field of a record is its identity; none: its index.
    pub id: Option<Pointer>,
    /// What to do when the source changes while a run goes through it.
    pub on_change: OnChange,
    /// Whether the file is compressed; without a word about it, a name ending in `.gz` says so.
    pub gzip: bool,
    /// The kind, with its own keys.
    pub kind: SourceKind,
}

/// What to do when a source changes while a run goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Take in what was appended; any other change pauses. A record counts once it is terminated, or
    /// once nothing else is left and nobody writes any more. The default.
    #[default]
    Extend,
    /// Pause at any change, and let a person decide.
    Pause,
    /// Read whatever is there.
    Ignore,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// Rows of a text with delimiters.
    Csv(CsvSpec),
    /// The elements of an array, or the members of an object, in one JSON text.
    Json(JsonSpec),
    /// A JSON value in each line.
    Jsonl,
    /// The files in a directory.
    Directory(DirectorySpec),
    /// The rows of a table or a query in a SQLite file.
    Sql(SqlSpec),
    /// The messages of a queue.
    Queue(QueueSpec),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    Gzip,
    None,
}

type ReadKind = fn(&mut Table) -> Result<SourceKind, SpecError>;

/// The kinds by name, each with what takes its keys.
const KINDS: [(&str, ReadKind); 6] = [
    ("csv", |table| CsvSpec::take(table).map(SourceKind::Csv)),
    ("json", |table| JsonSpec::take(table).map(SourceKind::Json)),
    ("jsonl", |_| Ok(SourceKind::Jsonl)),
    ("directory", |table| {
        DirectorySpec::take(table).map(SourceKind::Directory)
    }),
    ("sql", |table| SqlSpec::take(table).map(SourceKind::Sql)),
    ("queue", |table| {
        QueueSpec::take(table).map(SourceKind::Queue)
    }),
];

impl SourceSpec {
    /// Reads the table; unknown keys are errors that name their nearest neighbour.
    pub fn from_json(table: Value) -> Result<Self, SpecError> {
        let mut table = Table::new("source", table)?;
        let take_kind = table.kind(&KINDS)?;
        let kind = take_kind(&mut table)?;
        let path: PathBuf = match &kind {
            SourceKind::Queue(queue) => format!("queue {}", queue.queue).into(),
            SourceKind::Csv(_)
            | SourceKind::Json(_)
            | SourceKind::Jsonl
            | SourceKind::Directory(_)
            | SourceKind::Sql(_) => table.require("path")?,
        };
        if path.as_os_str().is_empty() {
            return Err(table.refuse("path", &Value::from(""), "a path is not empty"));
        }
        let id = table.take::<String>("id")?;
        let id = id
            .map(|id| {
                Pointer::parse_field(&id)
                    .map_err(|problem| table.refuse("id", &Value::from(id), &problem))
            })
            .transpose()?;
        let on_change = match kind {
            // Why: what a run has taken does not change, and the queue itself is nothing but change.
            SourceKind::Queue(_) => OnChange::Ignore,
            SourceKind::Csv(_)
            | SourceKind::Json(_)
            | SourceKind::Jsonl
            | SourceKind::Directory(_)
            | SourceKind::Sql(_) => table.take("on_change")?.unwrap_or_default(),
        };
        let gzip = match kind {
            SourceKind::Csv(_) | SourceKind::Json(_) | SourceKind::Jsonl => {
                match table.take("compression")? {
                    Some(Compression::Gzip) => true,
                    Some(Compression::None) => false,
                    None => path
                        .extension()
                        .is_some_and(|ending| ending.eq_ignore_ascii_case("gz")),
                }
            }
            SourceKind::Directory(_) | SourceKind::Sql(_) | SourceKind::Queue(_) => false,
        };
        table.finish()?;
        Ok(Self {
            path,
            id,
            on_change,
            gzip,
            kind,
        })
    }

    /// Makes a relative path one below `base_dir`, the directory of the job's file.
    pub fn resolve_paths(&mut self, base_dir: &Path) {
        if self.queue().is_none() {
            self.path = base_dir.join(&self.path);
        }
    }

    /// The keys of a queue, where it is one.
    #[must_use]
    pub const fn queue(&self) -> Option<&QueueSpec> {
        match &self.kind {
            SourceKind::Queue(queue) => Some(queue),
            SourceKind::Csv(_)
            | SourceKind::Json(_)
            | SourceKind::Jsonl
            | SourceKind::Directory(_)
            | SourceKind::Sql(_) => None,
        }
    }

    /// Whether an unterminated record at the end may yet be completed by its writer.
    pub(super) fn grows(&self) -> bool {
        self.on_change == OnChange::Extend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_takes_its_own_keys() {
        for table in [
            json!({"kind": "csv", "path": "a.csv", "id": "customer_id", "on_change": "extend",
                   "delimiter": ";", "headers": ["a", "b"], "quote": false, "compression": "gzip"}),
            json!({"kind": "json", "path": "a.json", "pointer": "/data/items", "compression": "none"}),
            json!({"kind": "jsonl", "path": "a.jsonl", "id": "/a/b", "on_change": "ignore"}),
            json!({"kind": "directory", "path": "in", "pattern": "*.png", "recursive": true}),
            json!({"kind": "sql", "path": "a.db", "table": "t", "key": "id"}),
            json!({"kind": "sql", "path": "a.db", "query": "SELECT 1 AS id", "key": "id"}),
            json!({"kind": "queue", "queue": "orders", "when_empty": "end", "id": "order"}),
            json!({"kind": "queue", "queue": "https://sqs.eu-west-1.amazonaws.com/1/orders"}),
        ] {
            SourceSpec::from_json(table).unwrap();
        }
    }

    #[test]
    fn what_is_left_out_has_a_default_that_loses_nothing() {
        let mut spec =
            SourceSpec::from_json(json!({"kind": "jsonl", "path": "a.jsonl.gz"})).unwrap();
        assert_eq!((spec.on_change, spec.gzip), (OnChange::Extend, true));
        spec.resolve_paths(Path::new("/jobs"));
        assert_eq!(spec.path, Path::new("/jobs/a.jsonl.gz"));
        spec.resolve_paths(Path::new("/elsewhere"));
        assert_eq!(spec.path, Path::new("/jobs/a.jsonl.gz"));
    }

    #[test]
    fn wrong_tables_are_refused_with_the_mend() {
        for (table, message) in [
            (
                json!({"kind": "jsonl", "path": "a", "delimiter": ","}),
                r#"[source] has no key "delimiter" for kind = "jsonl"; there are compression, id, kind, on_change, path"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "delimeter": ","}),
                r#"[source] has no key "delimeter" for kind = "csv"; did you mean "delimiter"?"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "delimiter": "::"}),
                r#"[source] delimiter = "::": a delimiter is one ASCII character, as "," or "\t""#,
            ),
            (
                json!({"kind": "csv", "path": "a", "delimiter": "\""}),
                r#"[source] delimiter = "\"": a quote or a line end cannot delimit"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "headers": ["a", "a"]}),
                r#"[source] headers = ["a","a"]: the name "a" stands twice"#,
            ),
            (
                json!({"kind": "csv", "path": ""}),
                r#"[source] path = "": a path is not empty"#,
            ),
            (
                json!({"kind": "jsonl", "path": "a", "on_change": "stop"}),
                r#"[source] on_change = "stop": unknown variant `stop`, expected one of `extend`, `pause`, `ignore`"#,
            ),
            (
                json!({"kind": "json", "path": "a", "pointer": "data"}),
                r#"[source] pointer = "data": a JSON pointer begins with "/"; write "/data""#,
            ),
            (
                json!({"kind": "directory", "path": "a", "pattern": "a/*.png"}),
                r#"[source] pattern = "a/*.png": a pattern is for a file's name; it knows * and ?, no /, [ or {"#,
            ),
            (
                json!({"kind": "sql", "path": "a", "key": "id"}),
                "[source] lacks table = ..; or query = .., for rows that a SELECT gives",
            ),
            (
                json!({"kind": "sql", "path": "a", "key": "id", "table": "t", "query": "q"}),
                r#"[source] query = "q": either table or query, not both"#,
            ),
            (json!({"kind": "queue"}), "[source] lacks queue = .."),
            (
                json!({"kind": "queue", "queue": "a/"}),
                r#"[source] queue = "a/": a queue has a name, or a URL that ends with it"#,
            ),
            (
                json!({"kind": "queue", "queue": "a", "when_empty": "stop"}),
                r#"[source] when_empty = "stop": unknown variant `stop`, expected `wait` or `end`"#,
            ),
            (
                json!({"kind": "queue", "queue": "a", "on_change": "pause"}),
                r#"[source] has no key "on_change" for kind = "queue"; there are id, kind, queue, when_empty"#,
            ),
        ] {
            assert_eq!(
                SourceSpec::from_json(table).unwrap_err().to_string(),
                message
            );
        }
    }
}
