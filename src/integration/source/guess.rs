//! What a file is, by its name and what stands in it: for somebody who begins.
//!
//! Owns the guesses and nothing else: what comes of it is a `[source]` that the user reads and
//! changes, and whose first records have been read by the source itself. Looks at the beginning only,
//! whatever the size; never says that a field is unique, only that it was so far.

mod csv;
mod fields;
mod json;
mod sqlite;

use std::{
    fs::{self, File},
    io::{BufReader, Read as _, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use serde_json::{Map, Value};

use super::{OpenContext, PageBounds, SourceError, SourceSpec, open};
use crate::{ids::Cursor, payload::Payload};

/// Read of a text to see what it is, in bytes: some thousand records, within milliseconds.
const HEAD_BYTES: usize = 1024 * 1024;

/// Records that are looked at for an identity, at most; they hold a megabyte or so.
const RECORDS_MAX: usize = 10_000;

/// Text of the records that are looked at, in bytes.
const RECORDS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a source seems to be.
#[derive(Debug)]
pub struct Guess {
    /// The kind, and the keys that this file needs beside its path, as `[source]` has them.
    pub keys: Map<String, Value>,
    /// How it was told, for people.
    pub because: String,
    /// The field that seems to be the records' identity, if any.
    pub id: Option<String>,
    /// Other fields that have been unique so far.
    pub other_ids: Vec<String>,
    /// The first records as they would be handed over, at most [`Guess::SAMPLE`].
    pub sample: Vec<Payload>,
    /// Records that were looked at.
    pub looked_at: usize,
    /// Of them, those that would fail for what they are.
    pub malformed: usize,
    /// Whether these were all.
    pub whole: bool,
}

impl Guess {
    /// Records that are shown.
    pub const SAMPLE: usize = 5;
}

/// What the kinds find: keys of `[source]`, and how they were told.
struct Found {
    keys: Map<String, Value>,
    because: String,
}

impl Found {
    fn new(kind: &str, because: impl Into<String>) -> Self {
        let keys = [("kind".to_owned(), Value::from(kind))];
        Self {
            keys: keys.into_iter().collect(),
            because: because.into(),
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.insert(key.to_owned(), value.into());
        self
    }
}

/// The beginning of a file, decompressed.
struct Head {
    bytes: Vec<u8>,
    /// Whether this is the whole file.
    whole: bool,
    gzip: bool,
}

/// Looks at a file or directory; `scratch` is a directory for what has to be decompressed.
pub fn guess(path: &Path, scratch: &Path) -> Result<Guess, SourceError> {
    let about = fs::metadata(path).map_err(|error| SourceError::io(path, error))?;
    if about.is_dir() {
        return sampled(Found::new("directory", "a directory"), path, scratch, false);
    }
    let head = Head::read(path)?;
    if head.bytes.starts_with(b"SQLite format 3\0") {
        let found = sqlite::look(path)?;
        return sampled(found, path, scratch, false);
    }
    let found = text(path, &head)?;
    if !head.gzip {
        return sampled(found, path, scratch, false);
    }
    // Why: a compressed source is decompressed as a whole when it is opened; its beginning will do.
    let plain = scratch.join("head");
    let written = File::create(&plain).and_then(|mut file| file.write_all(&head.bytes));
    written.map_err(|error| SourceError::io(&plain, error))?;
    let mut guess = sampled(found, &plain, scratch, !head.whole)?;
    guess.whole &= head.whole;
    guess.because.push_str(", compressed");
    if path
        .extension()
        .is_none_or(|ending| !ending.eq_ignore_ascii_case("gz"))
    {
        guess.keys.insert("compression".to_owned(), "gzip".into());
    }
    Ok(guess)
}

impl Head {
    fn read(path: &Path) -> Result<Self, SourceError> {
        let unreadable = |error| SourceError::io(path, error);
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut magic = Vec::new();
        let mut first = (&mut file).take(2);
        first.read_to_end(&mut magic).map_err(unreadable)?;
        let gzip = magic == [0x1f, 0x8b];
        let file = magic.as_slice().chain(file);
        let mut bytes = Vec::new();
        let limit = HEAD_BYTES as u64 + 1;
        let read = if gzip {
            let text = MultiGzDecoder::new(BufReader::new(file));
            text.take(limit).read_to_end(&mut bytes)
        } else {
            file.take(limit).read_to_end(&mut bytes)
        };
        read.map_err(unreadable)?;
        let whole = bytes.len() <= HEAD_BYTES;
        bytes.truncate(HEAD_BYTES);
        Ok(Self { bytes, whole, gzip })
    }
}

/// What a text is.
fn text(path: &Path, head: &Head) -> Result<Found, SourceError> {
    let unsuitable = |problem: &str| Err(SourceError::unsuitable(path, problem));
    let bytes = head.bytes.as_slice();
    if bytes.starts_with(b"PAR1") {
        return unsuitable(
            "it is Parquet, which is not read here; write it as CSV or JSON Lines, for example with duckdb",
        );
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return unsuitable("it is UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8");
    }
    if bytes.contains(&0) {
        return unsuitable("it is no text, and no SQLite file; write its [source] by hand");
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return unsuitable(
            "it is empty, so nothing says what it will be; write its [source] by hand",
        );
    }
    // Why lossy: Latin-1 in a value does not change what the text is; its records tell.
    let text = String::from_utf8_lossy(bytes);
    let named = |ending: &str| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        name.trim_end_matches(".gz").ends_with(ending)
    };
    if let Some(found) = json::look(&text, named(".jsonl") || named(".ndjson")) {
        return Ok(found);
    }
    if named(".json") || named(".jsonl") || named(".ndjson") {
        return unsuitable(
            "its name says JSON, but it holds no array or object of records; write its [source] by hand",
        );
    }
    Ok(csv::look(&text, head.whole, named(".tsv")))
}

/// Reads the first records with the source itself; `cut`: the text may end within a record.
fn sampled(found: Found, path: &Path, scratch: &Path, cut: bool) -> Result<Guess, SourceError> {
    let mut keys = found.keys.clone();
    keys.insert("path".to_owned(), path.display().to_string().into());
    // Why "extend": what is not terminated at the end of a beginning is no record.
    let on_change = if cut { "extend" } else { "ignore" };
    keys.insert("on_change".to_owned(), on_change.into());
    let spec = SourceSpec::from_json(Value::Object(keys))
        .map_err(|error| SourceError::unsuitable(path, error.to_string()))?;
    let spec = SourceSpec {
        path: PathBuf::from(path),
        ..spec
    };
    let mut context = OpenContext {
        spool_dir: scratch,
        spool_bytes_max: u64::MAX,
        progress: &mut |_| ControlFlow::Continue(()),
    };
    let mut source = open(&spec, &mut context)?;
    let bounds = PageBounds {
        records_max: RECORDS_MAX,
        bytes_max: RECORDS_BYTES_MAX,
        record_bytes_max: RECORDS_BYTES_MAX,
    };
    let page = source.read(&Cursor::start(), bounds)?;
    let looked_at = page.records.len();
    let records: Vec<Payload> = page
        .records
        .into_iter()
        .filter_map(|record| record.item.ok())
        .collect();
    let mut ids = fields::unique(&records);
    // Why: a row's number is the table's own business; VACUUM may give out others.
    ids.unique.retain(|name| name != sqlite::ROW_NUMBER);
    Ok(Guess {
        keys: found.keys,
        because: found.because,
        id: ids.take_proposed(),
        other_ids: ids.unique,
        malformed: looked_at - records.len(),
        sample: records.into_iter().take(Guess::SAMPLE).collect(),
        looked_at,
        whole: page.end && page.unfinished.is_none(),
    })
}

#[cfg(test)]
mod tests;
