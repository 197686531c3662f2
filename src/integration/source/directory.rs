//! The files in a directory, in the order of their names' bytes.
//!
//! An item is `{"path", "name", "size", "modified"}`: the whole path, the path below the directory,
//! bytes, ISO 8601 in UTC. A name is data and nothing else. Cursor: `1:` and the last name, its
//! bytes that are no UTF-8 as `%FF`. Files that come later with a name before the cursor are not
//! seen. Invariant: at most `NAMES_BYTES_MAX` of names are held, whatever the directory holds.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Extent, Page, PageBounds, Pointer, RecordError, Source, SourceError, SourceSpec,
    identity::identity, page::Filling,
};
use crate::{
    ids::Cursor,
    integration::{
        json_text::{push_display, push_string, snippet},
        spec::{SpecError, Table},
    },
    time::Timestamp,
};

/// Names kept from one pass over the directory, in bytes: some 200,000 names, so that a million
/// files are five passes of about a second.
const NAMES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a name costs beside its bytes (its allocation and its place in the set).
const NAME_COST_BYTES: usize = 48;

/// Longest path below the directory; a third of a cursor, since each byte may be written as three.
const NAME_BYTES_MAX: usize = Cursor::BYTES_MAX / 3 - 1;

/// How deep `recursive` goes; each level holds a file descriptor during a pass.
const DEPTH_MAX: usize = 64;

/// The keys of a directory source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySpec {
    /// Which files: `*` and `?` in a file's name. Default: all.
    pub pattern: Option<String>,
    /// Whether directories below count too. Default: no. Links to directories are not followed.
    pub recursive: bool,
}

impl DirectorySpec {
    pub(super) fn take(table: &mut Table) -> Result<Self, SpecError> {
        let pattern: Option<String> = table.take("pattern")?;
        if let Some(text) = &pattern
            && text.contains(['/', '[', '{'])
        {
            let problem = "a pattern is for a file's name; it knows * and ?, no /, [ or {";
            return Err(table.refuse("pattern", &Value::from(text.as_str()), problem));
        }
        Ok(Self {
            pattern,
            recursive: table.take("recursive")?.unwrap_or(false),
        })
    }
}

/// A directory.
pub(super) struct Directory {
    path: PathBuf,
    spec: DirectorySpec,
    id: Option<Pointer>,
    /// The names that follow `after`, of the last pass.
    names: BTreeSet<Vec<u8>>,
    after: Vec<u8>,
    /// Whether the last pass found more names than it kept.
    more: bool,
}

impl Directory {
    pub(super) fn open(source: &SourceSpec, spec: DirectorySpec) -> Result<Self, SourceError> {
        fs::read_dir(&source.path).map_err(|error| SourceError::io(&source.path, error))?;
        Ok(Self {
            path: source.path.clone(),
            spec,
            id: source.id.clone(),
            names: BTreeSet::new(),
            after: Vec::new(),
            more: true,
        })
    }

    /// Makes a pass over the directory for the names that follow.
    fn pass(&mut self, after: &[u8]) -> Result<(), SourceError> {
        let mut first = First {
            after,
            names: BTreeSet::new(),
            bytes: 0,
            dropped: None,
        };
        visit(&self.path, &self.spec, &mut first)?;
        self.more = first.dropped.is_some();
        self.names = first.names;
        self.after = after.to_vec();
        Ok(())
    }

    fn push(&self, page: &mut Filling, name: &[u8]) {
        let end = cursor(name);
        let path = self.path.join(OsStr::from_bytes(name));
        let place = format!("file {}", snippet(path.as_os_str().as_bytes()));
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Whoever moved it away since the pass has made it no part of the dataset.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                return page.push(Err(RecordError::malformed(place, error, b"")), None, end);
            }
        };
        let (Some(path), Ok(name)) = (path.to_str(), std::str::from_utf8(name)) else {
            let problem = "its name is no valid UTF-8, so no JSON can carry it; rename it";
            return page.push(Err(RecordError::malformed(place, problem, b"")), None, end);
        };
        let micros = metadata.mtime().saturating_mul(1_000_000);
        let modified = Timestamp(micros.saturating_add(metadata.mtime_nsec() / 1000));
        let mut text = String::with_capacity(128);
        text.push_str("{\"path\":");
        push_string(&mut text, path);
        text.push_str(",\"name\":");
        push_string(&mut text, name);
        push_display(
            &mut text,
            format_args!(r#","size":{},"modified":"{modified}"}}"#, metadata.len()),
        );
        page.push_text(&text, end, place, |text| identity(text, self.id.as_ref()));
    }
}

impl Source for Directory {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let mut after = name_of(from).ok_or_else(|| SourceError::cursor(&self.path, from))?;
        let mut page = Filling::new(bounds);
        // Why: at the end a source is asked again for what has come, so that is always a new pass.
        if after != self.after || self.names.is_empty() {
            self.pass(&after)?;
        }
        while !page.is_full() {
            let Some(name) = self.names.pop_first() else {
                if !self.more {
                    return Ok(page.finish(true));
                }
                self.pass(&after)?;
                continue;
            };
            self.push(&mut page, &name);
            after = name;
            self.after.clone_from(&after);
        }
        Ok(page.finish(false))
    }

    fn extent(&self, _at: &Cursor) -> Option<Extent> {
        None
    }
}

/// The first names behind another that fit in memory.
struct First<'a> {
    after: &'a [u8],
    names: BTreeSet<Vec<u8>>,
    bytes: usize,
    /// The first name that did not fit; none behind it may be kept, or it would be left out.
    dropped: Option<Vec<u8>>,
}

/// Takes what a pass finds.
pub(super) trait Visit {
    /// A file that belongs to the source, by its path below it.
    fn file(&mut self, name: Vec<u8>);

    /// Whether any name that begins so can matter.
    fn wants(&self, _prefix: &[u8]) -> bool {
        true
    }
}

impl Visit for First<'_> {
    fn file(&mut self, name: Vec<u8>) {
        let too_late = self
            .dropped
            .as_ref()
            .is_some_and(|dropped| name >= *dropped);
        if too_late || name.as_slice() <= self.after {
            return;
        }
        self.bytes += name.len() + NAME_COST_BYTES;
        self.names.insert(name);
        while self.bytes > NAMES_BYTES_MAX
            && let Some(last) = self.names.pop_last()
        {
            self.bytes -= last.len() + NAME_COST_BYTES;
            self.dropped = Some(last);
        }
    }

    fn wants(&self, prefix: &[u8]) -> bool {
        let all_before = self.after > prefix && !self.after.starts_with(prefix);
        let all_behind = self
            .dropped
            .as_ref()
            .is_some_and(|dropped| prefix >= dropped.as_slice());
        !all_before && !all_behind
    }
}

/// Shows every file of a directory source, in no order.
pub(super) fn visit(
    path: &Path,
    spec: &DirectorySpec,
    visitor: &mut impl Visit,
) -> Result<(), SourceError> {
    visit_below(path, &[], 0, spec, visitor)
}

fn visit_below(
    path: &Path,
    prefix: &[u8],
    depth: usize,
    spec: &DirectorySpec,
    visitor: &mut impl Visit,
) -> Result<(), SourceError> {
    let unread = |error| SourceError::io(path, error);
    if depth > DEPTH_MAX {
        let problem = format!("it is more than {DEPTH_MAX} directories deep");
        return Err(SourceError::unsuitable(path, problem));
    }
    for entry in fs::read_dir(path).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = [prefix, entry.file_name().as_bytes()].concat();
        let kind = entry.file_type().map_err(unread)?;
        if kind.is_dir() {
            let prefix = [&name, &b"/"[..]].concat();
            if spec.recursive && visitor.wants(&prefix) {
                visit_below(&entry.path(), &prefix, depth + 1, spec, visitor)?;
            }
            continue;
        }
        let matching = spec
            .pattern
            .as_ref()
            .is_none_or(|pattern| matches(pattern.as_bytes(), entry.file_name().as_bytes()));
        let is_file = kind.is_file()
            || (kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|to| to.is_file()));
        if !matching || !is_file {
            continue;
        }
        if name.len() > NAME_BYTES_MAX {
            let problem = format!("a path below it is longer than {NAME_BYTES_MAX} bytes");
            return Err(SourceError::unsuitable(path, problem));
        }
        visitor.file(name);
    }
    Ok(())
}

/// Whether a name matches a pattern in which `*` is any bytes and `?` is one character.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: the `*` takes one byte more.
    let mut retry = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                retry = Some((p, n + 1));
                p += 1;
            }
            (Some(b'?'), Some(_)) => {
                p += 1;
                n += 1;
                while name.get(n).is_some_and(|byte| byte & 0xC0 == 0x80) {
                    n += 1;
                }
            }
            (Some(wanted), Some(byte)) if wanted == byte => {
                p += 1;
                n += 1;
            }
            (None, None) => return true,
            _ => match retry {
                Some((star, next)) if next <= name.len() => {
                    (p, n) = (star, next);
                }
                _ => return false,
            },
        }
    }
}

/// The cursor behind a name.
pub(super) fn cursor(name: &[u8]) -> Cursor {
    if name.is_empty() {
        return Cursor::start();
    }
    Cursor::new(format!("1:{}", encode(name)))
}

/// The name before a cursor; the empty one, which no file has, at the start.
pub(super) fn name_of(cursor: &Cursor) -> Option<Vec<u8>> {
    if cursor.is_start() {
        return Some(Vec::new());
    }
    decode(cursor.as_str().strip_prefix("1:")?)
}

/// A name as text from which it can be read back.
fn encode(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '%' => out.push_str("%25"),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            push_display(&mut out, format_args!("%{byte:02X}"));
        }
    }
    out
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(hex, 16).ok()?);
        name.extend(rest.bytes());
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn open(path: &Path, more: &Value) -> Directory {
        let mut table = json!({"kind": "directory", "path": path, "id": "name"});
        for (key, value) in more.as_object().unwrap() {
            table[key] = value.clone();
        }
        let source = SourceSpec::from_json(table).unwrap();
        let super::super::SourceKind::Directory(spec) = source.kind.clone() else {
            panic!("a directory");
        };
        Directory::open(&source, spec).unwrap()
    }

    /// All ids (or errors), read in pages of that many records.
    fn names(source: &mut Directory, records_max: usize) -> Vec<String> {
        let bounds = PageBounds {
            records_max,
            bytes_max: 1 << 20,
            record_bytes_max: 1 << 16,
        };
        let mut names = Vec::new();
        let mut at = Cursor::start();
        loop {
            let page = source.read(&at, bounds).unwrap();
            for record in page.records {
                names.push(match record.item {
                    Ok(_) => record.id.unwrap().to_string(),
                    Err(error) => error.cause,
                });
                at = record.end;
            }
            if page.end {
                return names;
            }
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names_with_their_metadata() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png", "c.txt", "B.png"] {
            fs::write(dir.path().join(name), "123").unwrap();
        }
        fs::create_dir_all(dir.path().join("sub/deep")).unwrap();
        fs::write(dir.path().join("sub/deep/d.png"), "").unwrap();
        fs::write(dir.path().join("sub.png"), "").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        std::os::unix::fs::symlink("a.png", dir.path().join("link.png")).unwrap();
        for records_max in [1, 2, 100] {
            assert_eq!(
                names(
                    &mut open(dir.path(), &json!({"pattern": "*.png"})),
                    records_max
                ),
                ["B.png", "a.png", "b.png", "link.png", "sub.png"]
            );
            let recursive = json!({"recursive": true});
            assert_eq!(
                names(&mut open(dir.path(), &recursive), records_max),
                [
                    "B.png",
                    "a.png",
                    "b.png",
                    "c.txt",
                    "link.png",
                    "sub.png",
                    "sub/deep/d.png"
                ]
            );
        }
        let mut source = open(dir.path(), &json!({"pattern": "a*"}));
        let bounds = PageBounds {
            records_max: 1,
            bytes_max: 1,
            record_bytes_max: 1000,
        };
        let page = source.read(&Cursor::start(), bounds).unwrap();
        let item = page.records[0].item.as_ref().unwrap().value().clone();
        assert_eq!(item["path"], json!(dir.path().join("a.png")));
        assert_eq!((&item["name"], &item["size"]), (&json!("a.png"), &json!(3)));
        assert!(item["modified"].as_str().unwrap().ends_with('Z'));
    }

    /// Pitfall 21: a file name reaches nothing but the item, whatever it looks like.
    #[test]
    fn hostile_names_are_data() {
        let dir = tempfile::tempdir().unwrap();
        let hostile: [&[u8]; 7] = [
            b"$(touch pwned)",
            b"%41",
            b"--help",
            b"; rm -rf",
            b"a\nb\"c\\",
            b"bad\xFFname",
            "é\u{202e}".as_bytes(),
        ];
        for name in hostile {
            fs::write(dir.path().join(OsStr::from_bytes(name)), "").unwrap();
        }
        let names = names(&mut open(dir.path(), &json!({})), 1);
        for (name, expected) in names.iter().zip(hostile) {
            match std::str::from_utf8(expected) {
                Ok(expected) => assert_eq!(name, expected),
                Err(_) => assert!(name.contains("no valid UTF-8"), "{name}"),
            }
        }
        assert_eq!(names.len(), hostile.len());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), hostile.len());
    }

    #[test]
    fn files_that_come_later_are_given_and_files_that_went_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut source = open(dir.path(), &json!({}));
        let one = PageBounds {
            records_max: 1,
            bytes_max: 1,
            record_bytes_max: 1000,
        };
        let first = source.read(&Cursor::start(), one).unwrap();
        fs::remove_file(dir.path().join("b")).unwrap();
        let second = source.read(&first.records[0].end, one).unwrap();
        assert_eq!(second.records[0].id.as_deref(), Some("c"));
        let end = source.read(&second.records[0].end, one).unwrap();
        assert!(end.end && end.records.is_empty());
        fs::write(dir.path().join("d"), "").unwrap();
        let later = source.read(&second.records[0].end, one).unwrap();
        assert_eq!(later.records[0].id.as_deref(), Some("d"));
    }

    #[test]
    fn a_pass_keeps_the_first_names_and_no_more_than_fit() {
        let mut first = First {
            after: b"00000100",
            names: BTreeSet::new(),
            bytes: 0,
            dropped: None,
        };
        for n in (0..400_000).rev() {
            first.file(format!("{n:08}").into_bytes());
        }
        let kept = NAMES_BYTES_MAX / (8 + NAME_COST_BYTES);
        assert_eq!(first.names.len(), kept);
        assert_eq!(first.names.first().unwrap(), b"00000101");
        let dropped = format!("{:08}", 101 + kept).into_bytes();
        assert_eq!(first.dropped, Some(dropped));
        first.names.pop_last();
        first.bytes -= 8 + NAME_COST_BYTES;
        first.file(b"9".to_vec());
        assert_eq!(
            first.names.len(),
            kept - 1,
            "a name behind a dropped one is not kept"
        );
        assert!(first.wants(b"000002/") && !first.wants(b"00000000/") && !first.wants(b"1/"));
    }

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, name, expected) in [
            ("*.png", "a.png", true),
            ("*.png", "a.pn", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
            (&"*a".repeat(30), &"a".repeat(29), false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_name_of_any_bytes_reads_back_from_its_cursor(name in any::<Vec<u8>>()) {
            prop_assert_eq!(decode(&encode(&name)), Some(name));
        }
    }
}
