//! What a source was like at some time, small enough to store with a run, and what has become of it.
//!
//! A fingerprint tells appending from any other change without reading the whole. What it cannot
//! see is an edit in the middle of a file that leaves the first and the last 64 KiB of what there
//! was as they were. Its stored form carries its format (`file/1`).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    DirectorySpec, SourceError, SourceKind, SourceSpec, directory,
    sql::{columns_and_last, has_and_follows},
};
use crate::{ids::Cursor, integration::json_text::push_display};

/// Looked at from either end of a file: enough to tell any two exports apart, read in a millisecond.
const END_BYTES: u64 = 64 * 1024;

/// What a source was like at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Fingerprint {
    /// A file; a compressed one as it is.
    #[serde(rename = "file/1")]
    File {
        /// Bytes.
        size: u64,
        /// Seconds and nanoseconds of the last change, as the file system tells them.
        modified: (i64, i64),
        /// Inode number.
        inode: u64,
        /// SHA-256 (hex) of the first 64 KiB.
        head: String,
        /// SHA-256 (hex) of the last 64 KiB.
        tail: String,
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
    Appended,
    /// What there was is not as it was.
    Changed {
        /// What differs, for people.
        what: String,
    },
}

impl Change {
    fn changed(what: impl Into<String>) -> Self {
        Self::Changed { what: what.into() }
    }

    fn appended(appended: bool) -> Self {
        if appended { Self::Appended } else { Self::Same }
    }
}

impl Fingerprint {
    /// What the source is like now.
    pub fn take(spec: &SourceSpec) -> Result<Self, SourceError> {
        match &spec.kind {
            SourceKind::Csv(_) | SourceKind::Json(_) | SourceKind::Jsonl => {
                file(&spec.path).map_err(|error| SourceError::io(&spec.path, error))
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
        }
    }

    /// What has become of the source since this was taken of it.
    pub fn change(&self, spec: &SourceSpec) -> Result<Change, SourceError> {
        match (self, &spec.kind) {
            (Self::File { .. }, SourceKind::Csv(_) | SourceKind::Json(_) | SourceKind::Jsonl) => {
                self.change_of_file(&spec.path)
                    .map_err(|error| SourceError::io(&spec.path, error))
            }
            (Self::Directory { files, names, last }, SourceKind::Directory(directory)) => {
                let upto = directory::name_of(last)
                    .ok_or_else(|| SourceError::cursor(&spec.path, last))?;
                let now = Names::visit(&spec.path, directory, Some(&upto))?;
                Ok(if now.files != *files {
                    let now = now.files;
                    Change::changed(format!(
                        "of {files} files there are {now} in the same range of names"
                    ))
                } else if format!("{:032x}", now.sum) != *names {
                    Change::changed("files have other names")
                } else {
                    Change::appended(now.behind > 0)
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
                    Change::appended(follows)
                } else {
                    Change::changed("what was its last row is gone")
                })
            }
            (Self::File { .. } | Self::Directory { .. } | Self::Table { .. }, _) => {
                Ok(Change::changed("it is another kind of source"))
            }
        }
    }

    fn change_of_file(&self, path: &Path) -> io::Result<Change> {
        let Self::File {
            size,
            modified,
            inode,
            head,
            tail,
        } = self
        else {
            return Ok(Change::Same);
        };
        let file = File::open(path)?;
        let now = file.metadata()?;
        if (now.len(), changed_at(&now), now.ino()) == (*size, *modified, *inode) {
            return Ok(Change::Same);
        }
        if now.len() < *size {
            let now = now.len();
            return Ok(Change::changed(format!(
                "it had {size} bytes and has {now}"
            )));
        }
        let (head_now, tail_now) = ends(&file, *size)?;
        Ok(if head_now != *head {
            Change::changed("its beginning is another")
        } else if tail_now != *tail {
            Change::changed(format!(
                "what stood before byte {size}, its end, is another"
            ))
        } else {
            Change::appended(now.len() > *size)
        })
    }
}

fn file(path: &Path) -> io::Result<Fingerprint> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let (head, tail) = ends(&file, metadata.len())?;
    Ok(Fingerprint::File {
        size: metadata.len(),
        modified: changed_at(&metadata),
        inode: metadata.ino(),
        head,
        tail,
    })
}

fn changed_at(metadata: &fs::Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// The hashes of the two ends of a file's first `size` bytes.
fn ends(file: &File, size: u64) -> io::Result<(String, String)> {
    let len = size.min(END_BYTES);
    let hash = |from| {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from)?;
        let digest = Sha256::digest(&bytes);
        io::Result::Ok(hex(&digest))
    };
    Ok((hash(0)?, hash(size - len)?))
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
            Change::Appended => "appended".to_owned(),
            Change::Changed { what } => what,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_file_is_the_same_appended_to_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let spec = SourceSpec::from_json(json!({"kind": "jsonl", "path": path})).unwrap();
        let text = "1234567\n".repeat(50_000);
        for text in [text.as_str(), "12\n", ""] {
            let write = |bytes: &str| fs::write(&path, bytes).unwrap();
            write(text);
            check(&spec, || {}, "same");
            check(&spec, || write(text), "same");
            check(&spec, || write(&format!("{text}more\n")), "appended");
            let size = text.len() + 5;
            let shorter = format!("it had {size} bytes and has {}", size - 5);
            check(&spec, || write(text), &shorter);
        }
        let write = |bytes: &str| fs::write(&path, bytes).unwrap();
        write(&text);
        check(
            &spec,
            || write(&format!("x{text}")),
            "its beginning is another",
        );
        write(&text);
        let end = format!("what stood before byte {}, its end, is another", text.len());
        check(
            &spec,
            || write(&format!("{}\n12345\n", &text[..text.len() - 3])),
            &end,
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
            "of 2 files there are 3 in the same range of names",
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
