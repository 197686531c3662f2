//! What a source was like at some time, small enough to store with a run, and what has become of it.
//!
//! A fingerprint tells appending from any other change without reading the whole: of a file it keeps
//! samples, which cover a small one and are spread over a large one. What it cannot see is an edit
//! in the middle of a large file that moves nothing and touches no sample. Its stored form carries
//! its format (`file/1`).

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    DirectorySpec, SourceError, SourceKind, SourceSpec, directory,
    samples::{self, Sample},
    sql::{columns_and_last, has_and_follows},
};
use crate::{ids::Cursor, integration::json_text::push_display};

/// Looked through for the bracket that closes a JSON text: more blanks than any program writes.
const CLOSER_BYTES_MAX: usize = 4096;

/// What a source was like at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Fingerprint {
    /// A file; a compressed one as it is.
    #[serde(rename = "file/1")]
    File {
        /// Bytes.
        size: u64,
        /// Bytes that stay as they are when records are appended: all of them, but for a JSON text
        /// without the bracket that closes it.
        content: u64,
        /// Seconds and nanoseconds of the last change, as the file system tells them.
        modified: (i64, i64),
        /// Inode number.
        inode: u64,
        /// Parts of the content, in order.
        samples: Vec<Sample>,
    },
    /// A directory: the set of its names.
    #[serde(rename = "directory/1")]
    Directory {
        /// How many files.
        files: u64,
        /// Sum of the names' SHA-256, 128 bits of each, in hex; it does not depend on their order.
        names: String,
        /// The cursor behind the last name.
        last: Cursor,
    },
    /// A table or a query.
    #[serde(rename = "table/1")]
    Table {
        /// The columns' names.
        columns: Vec<String>,
        /// The cursor behind the last row.
        last: Cursor,
    },
}

/// What has become of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing that shows.
    Same,
    /// Something follows what there was, which is as it was.
    Appended {
        /// What follows, for people.
        what: String,
    },
    /// What there was is not as it was.
    Changed {
        /// What differs, for people.
        what: String,
        /// Where the first difference lies, in bytes of a file that is not compressed.
        bytes: Option<Range<u64>>,
    },
}

impl Change {
    fn changed(what: impl Into<String>) -> Self {
        Self::Changed {
            what: what.into(),
            bytes: None,
        }
    }

    fn appended(appended: bool, what: impl FnOnce() -> String) -> Self {
        if appended {
            Self::Appended { what: what() }
        } else {
            Self::Same
        }
    }
}

impl Fingerprint {
    /// What the source is like now. Reads a bounded part of a file, all names of a directory.
    pub fn take(spec: &SourceSpec) -> Result<Self, SourceError> {
        match &spec.kind {
            SourceKind::Csv(_) | SourceKind::Json(_) | SourceKind::Jsonl => {
                file(spec).map_err(|error| SourceError::io(&spec.path, error))
            }
            SourceKind::Directory(directory) => {
                let names = Names::visit(&spec.path, directory, None)?;
                Ok(Self::Directory {
                    files: names.files,
                    names: format!("{:032x}", names.sum),
                    last: directory::cursor(&names.last),
                })
            }
            SourceKind::Sql(sql) => {
                let (columns, last) = columns_and_last(spec, sql)?;
                Ok(Self::Table { columns, last })
            }
            SourceKind::Queue(_) => {
                let problem = "a queue has nothing to be known again by".to_owned();
                Err(SourceError::queue(&spec.path, problem))
            }
        }
    }

    /// The text to store.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Invariant: strings and numbers alone, which always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads back what [`Fingerprint::to_json`] wrote; the error names what is wrong.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// What has become of the source since this was taken of it.
    pub fn change(&self, spec: &SourceSpec) -> Result<Change, SourceError> {
        match (self, &spec.kind) {
            (Self::File { .. }, SourceKind::Csv(_) | SourceKind::Json(_) | SourceKind::Jsonl) => {
                self.change_of_file(spec)
                    .map_err(|error| SourceError::io(&spec.path, error))
            }
            (Self::Directory { files, names, last }, SourceKind::Directory(directory)) => {
                let upto = directory::name_of(last)
                    .ok_or_else(|| SourceError::cursor(&spec.path, last))?;
                let now = Names::visit(&spec.path, directory, Some(&upto))?;
                Ok(if now.files != *files {
                    let now = now.files;
                    Change::changed(format!(
                        "of {files} files there are {now} in the same range of names (new files are taken in where their names sort behind the last one)"
                    ))
                } else if format!("{:032x}", now.sum) != *names {
                    Change::changed("files have other names")
                } else {
                    let behind = now.behind;
                    Change::appended(behind > 0, || format!("it has {behind} more files"))
                })
            }
            (Self::Table { columns, last }, SourceKind::Sql(sql)) => {
                let (now, _) = columns_and_last(spec, sql)?;
                if now != *columns {
                    let (columns, now) = (columns.join(", "), now.join(", "));
                    return Ok(Change::changed(format!(
                        "its columns were {columns} and are {now}"
                    )));
                }
                let (has, follows) = has_and_follows(spec, sql, last)?;
                Ok(if has {
                    Change::appended(follows, || "it has rows behind its last one".to_owned())
                } else {
                    Change::changed("what was its last row is gone")
                })
            }
            (Self::File { .. } | Self::Directory { .. } | Self::Table { .. }, _) => {
                Ok(Change::changed("it is another kind of source"))
            }
        }
    }

    fn change_of_file(&self, spec: &SourceSpec) -> io::Result<Change> {
        let Self::File {
            size,
            content,
            modified,
            inode,
            samples,
        } = self
        else {
            return Ok(Change::Same);
        };
        let file = File::open(&spec.path)?;
        let now = file.metadata()?;
        let size_now = now.len();
        if (size_now, changed_at(&now), now.ino()) == (*size, *modified, *inode) {
            return Ok(Change::Same);
        }
        let sizes = if size_now == *size {
            format!("it has {size} bytes as before")
        } else {
            format!("it had {size} bytes and has {size_now}")
        };
        if let Some(region) = samples::first_difference(samples, &file, size_now, *content)? {
            let Range { start, end } = region;
            return Ok(Change::Changed {
                what: format!("{sizes}; the first difference lies between byte {start} and {end}"),
                bytes: (!spec.gzip).then_some(region),
            });
        }
        let grown = if closer(spec) {
            !is_closed(&file, *content)?
        } else {
            size_now > *size
        };
        Ok(Change::appended(grown, || sizes))
    }
}

fn file(spec: &SourceSpec) -> io::Result<Fingerprint> {
    let file = File::open(&spec.path)?;
    let metadata = file.metadata()?;
    let size = metadata.len();
    let content = if closer(spec) {
        content_of_json(&file, size)?
    } else {
        size
    };
    Ok(Fingerprint::File {
        size,
        content,
        modified: changed_at(&metadata),
        inode: metadata.ino(),
        samples: samples::take(&file, content)?,
    })
}

fn changed_at(metadata: &fs::Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Whether a bracket at the very end closes what records are appended to.
fn closer(spec: &SourceSpec) -> bool {
    match &spec.kind {
        SourceKind::Json(json) => !spec.gzip && json.pointer.tokens().is_empty(),
        SourceKind::Csv(_)
        | SourceKind::Jsonl
        | SourceKind::Directory(_)
        | SourceKind::Sql(_)
        | SourceKind::Queue(_) => false,
    }
}

/// How much of a JSON text stands before its closing bracket and the blanks around that.
fn content_of_json(file: &File, size: u64) -> io::Result<u64> {
    let len = size.min(CLOSER_BYTES_MAX as u64);
    let tail = samples::read(file, size - len, len)?;
    let text = tail.trim_ascii_end();
    let text = match text {
        [before @ .., b']' | b'}'] => before.trim_ascii_end(),
        other => other,
    };
    Ok(size - len + text.len() as u64)
}

/// Whether the bracket that closes a JSON text still follows its content.
fn is_closed(file: &File, content: u64) -> io::Result<bool> {
    let mut next = [0; CLOSER_BYTES_MAX];
    let read = file.read_at(&mut next, content)?;
    let next = next[..read].trim_ascii_start();
    Ok(matches!(next.first(), Some(b']' | b'}')))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        push_display(&mut hex, format_args!("{byte:02x}"));
        hex
    })
}

/// The set of names in a directory, as far as it was known, in constant memory.
struct Names<'a> {
    /// Names behind this one are only counted.
    upto: Option<&'a [u8]>,
    files: u64,
    sum: u128,
    last: Vec<u8>,
    behind: u64,
}

impl<'a> Names<'a> {
    fn visit(
        path: &Path,
        spec: &DirectorySpec,
        upto: Option<&'a [u8]>,
    ) -> Result<Self, SourceError> {
        let mut names = Self {
            upto,
            files: 0,
            sum: 0,
            last: Vec::new(),
            behind: 0,
        };
        directory::visit(path, spec, &mut names)?;
        Ok(names)
    }
}

impl directory::Visit for Names<'_> {
    fn file(&mut self, name: Vec<u8>) {
        if self.upto.is_some_and(|upto| name.as_slice() > upto) {
            self.behind += 1;
            return;
        }
        let digest = Sha256::digest(&name);
        let half = digest.iter().take(16);
        let number = half.fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        self.files += 1;
        self.sum = self.sum.wrapping_add(number);
        if name > self.last {
            self.last = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use serde_json::json;

    /// Takes a fingerprint, stores it, lets something happen, and looks again.
    fn check(spec: &SourceSpec, act: impl FnOnce(), expected: &str) {
        let stored = serde_json::to_string(&Fingerprint::take(spec).unwrap()).unwrap();
        act();
        let change = serde_json::from_str::<Fingerprint>(&stored)
            .unwrap()
            .change(spec)
            .unwrap();
        let shown = match change {
            Change::Same => "same".to_owned(),
            Change::Appended { .. } => "appended".to_owned(),
            Change::Changed { what, .. } => what,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_file_is_the_same_appended_to_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let spec = SourceSpec::from_json(json!({"kind": "jsonl", "path": path})).unwrap();
        let text = "1234567\n".repeat(500_000);
        for text in [text.as_str(), &text[..80_000], "12\n", ""] {
            let write = |bytes: &str| fs::write(&path, bytes).unwrap();
            write(text);
            check(&spec, || {}, "same");
            check(&spec, || write(text), "same");
            let replace = || {
                let beside = dir.path().join("new");
                fs::write(&beside, format!("{text}more\n")).unwrap();
                fs::rename(&beside, &path).unwrap();
            };
            check(&spec, replace, "appended");
            let size = text.len() + 5;
            let now = size - 5;
            let shorter = format!(
                "it had {size} bytes and has {now}; the first difference lies between byte {now} and {size}"
            );
            check(&spec, || write(text), &shorter);
        }
    }

    #[test]
    fn a_change_says_where_the_first_difference_lies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let spec = SourceSpec::from_json(json!({"kind": "jsonl", "path": path})).unwrap();
        let text = "1234567\n".repeat(500_000);
        let edited = |at: usize, with: &str| {
            let mut edited = text.clone();
            edited.insert_str(at, with);
            edited
        };
        for at in [0, 70_000, 1_000_000, 3_999_990] {
            fs::write(&path, &text).unwrap();
            let known = Fingerprint::take(&spec).unwrap();
            fs::write(&path, edited(at, "x")).unwrap();
            let Change::Changed { what, bytes } = known.change(&spec).unwrap() else {
                panic!("not seen at {at}");
            };
            let bytes = bytes.unwrap();
            assert!(
                what.starts_with("it had 4000000 bytes and has 4000001;"),
                "{what}"
            );
            assert!(bytes.contains(&(at as u64)), "{at}: {bytes:?}");
            assert!(bytes.end - bytes.start < 300_000, "{at}: {bytes:?}");
        }
        let small = "1\n2\n3\n".repeat(1000);
        fs::write(&path, &small).unwrap();
        let known = Fingerprint::take(&spec).unwrap();
        fs::write(&path, small.replacen("2\n3\n1", "2\n4\n1", 1)).unwrap();
        assert!(matches!(
            known.change(&spec).unwrap(),
            Change::Changed { .. }
        ));
    }

    #[test]
    fn a_json_array_is_appended_to_before_its_closing_bracket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let spec = SourceSpec::from_json(json!({"kind": "json", "path": path})).unwrap();
        let write = |text: &str| fs::write(&path, text).unwrap();
        write("[1, {\"a\": 2}\n]\n");
        check(&spec, || write("[1, {\"a\": 2}, 3]"), "appended");
        check(&spec, || write("[1, {\"a\": 2}, 3 ]\n\n"), "same");
        let cut = "it had 19 bytes and has 10; the first difference lies between byte 10 and 15";
        check(&spec, || write("[1, {\"a\":]"), cut);
        write("[]");
        check(&spec, || write("[1]"), "appended");
        write("[{\"a\":1}]");
        check(
            &spec,
            || write("[{\"a\":1,\"b\":2}]"),
            "it had 9 bytes and has 15; the first difference lies between byte 0 and 8",
        );
    }

    #[test]
    fn a_directory_is_the_same_appended_to_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = SourceSpec::from_json(json!({"kind": "directory", "path": dir.path()})).unwrap();
        let write = |name: &str| fs::write(dir.path().join(name), "").unwrap();
        check(&spec, || {}, "same");
        check(&spec, || write("b"), "appended");
        check(&spec, || write("c"), "appended");
        check(&spec, || write("b"), "same");
        check(
            &spec,
            || write("a"),
            "of 2 files there are 3 in the same range of names (new files are taken in where their names sort behind the last one)",
        );
        let rename = || fs::rename(dir.path().join("a"), dir.path().join("a2")).unwrap();
        check(&spec, rename, "files have other names");
    }

    #[test]
    fn a_table_is_the_same_appended_to_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = Connection::open(&path).unwrap();
        let run = |sql: &str| db.execute_batch(sql).unwrap();
        run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)");
        let table = json!({"kind": "sql", "path": path, "table": "t", "key": "id"});
        let spec = SourceSpec::from_json(table).unwrap();
        check(&spec, || {}, "same");
        check(&spec, || run("INSERT INTO t VALUES (5, 'x')"), "appended");
        check(&spec, || run("INSERT INTO t VALUES (6, 'x')"), "appended");
        check(&spec, || run("UPDATE t SET a = 'y'"), "same");
        check(
            &spec,
            || run("DELETE FROM t WHERE id = 6"),
            "what was its last row is gone",
        );
        check(
            &spec,
            || run("ALTER TABLE t ADD COLUMN b"),
            "its columns were id, a and are id, a, b",
        );
    }
}
