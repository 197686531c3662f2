//! Item readers of distributed Maps: the items that are in objects of buckets, or that are such objects.
//!
//! Owns which objects are read in which order, and what a position in them is. How one object is taken
//! apart is a source's; CSV has rules of AWS's own. Spec: `ItemReader`, with `getObject` and `listObjectsV2`.
//! Invariant: what is held is a page of items and a list of at most [`FILES_MAX`] objects.

mod csv;
mod error;
mod inventory;
mod listing;
mod position;
mod row;
mod spec;
#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use compact_str::format_compact;
use serde_json::Value;

pub use self::{
    error::ReaderError,
    spec::{CsvForm, FILES_MAX, Form, ReaderSpec, What},
};
use self::{listing::Listing, position::Position};
use super::{
    bucket::{BucketError, Buckets, Object, Spool},
    json_text::compact,
    source::{
        self, JsonSpec, OnChange, OpenContext, PageBounds, Pointer, Source, SourceError,
        SourceKind, SourceSpec, ends_member,
    },
};
use crate::{ids::Cursor, payload::Payload};

/// Where a reader finds things.
#[derive(Debug, Clone)]
pub struct Places {
    /// The buckets.
    pub buckets: Buckets,
    /// Where objects from elsewhere are kept, and compressed ones decompressed; an existing directory of iterd's own.
    pub spool_dir: PathBuf,
    /// An object of more bytes from elsewhere, or that decompresses to more, is refused.
    pub spool_bytes_max: u64,
    /// Bytes that stay free on the disk of the copies: `store.disk_free_min`.
    pub free_min: u64,
}

impl Places {
    /// An object, and the file that it is read from.
    fn fetch(&self, bucket: &str, key: &str) -> Result<(Object, PathBuf), BucketError> {
        let spool = Spool {
            directory: &self.spool_dir,
            bytes_max: self.spool_bytes_max,
            free_min: self.free_min,
        };
        self.buckets.bucket(bucket)?.fetch(key, spool)
    }
}

/// An item as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadItem {
    /// The item.
    pub value: Payload,
    /// Its key, where it was a member of an object.
    pub key: Option<String>,
    /// Where it was read: `S3://bucket/key`.
    pub source: Arc<str>,
    /// The position behind it.
    pub end: Cursor,
}

/// Items that follow a position.
#[derive(Debug)]
pub struct ItemPage {
    /// In order; empty only at the end.
    pub items: Vec<ReadItem>,
    /// Whether nothing follows.
    pub end: bool,
}

/// One object that items are read from.
#[derive(Debug, Clone, PartialEq)]
struct ItemFile {
    bucket: Arc<str>,
    key: String,
    form: Arc<Form>,
}

impl ItemFile {
    fn uri(&self) -> Arc<str> {
        format!("S3://{}/{}", self.bucket, self.key).into()
    }
}

/// Reads the items of a Map Run. Holds no position: what is open is kept for speed alone.
pub struct ItemReader {
    places: Places,
    items: Items,
    open: Option<Open>,
}

enum Items {
    /// What is in these, one after the other; whether a position says in which.
    Files { files: Vec<ItemFile>, many: bool },
    /// The objects themselves.
    Listing(Listing),
}

struct Open {
    file: usize,
    uri: Arc<str>,
    /// What changes with its content.
    etag: String,
    /// What messages of the source call the object.
    path: String,
    source: Box<dyn Source>,
}

/// Where to read on.
struct At {
    file: usize,
    from: Cursor,
    /// What the object has to be, where some of its items were read.
    etag: Option<String>,
}

impl At {
    fn begin(file: usize, from: Cursor) -> Self {
        let etag = None;
        Self { file, from, etag }
    }
}

impl ItemReader {
    /// Finds out which objects there are to read. Blocks.
    pub fn open(spec: &ReaderSpec, places: Places) -> Result<Self, ReaderError> {
        let one = |key: &str, form: &Form| ItemFile {
            bucket: spec.bucket.as_str().into(),
            key: key.to_owned(),
            form: Arc::new(form.clone()),
        };
        let many = |files| Items::Files { files, many: true };
        let items = match &spec.what {
            What::Object { key, form } => Items::Files {
                files: vec![one(key, form)],
                many: false,
            },
            What::List { prefix } => {
                let bucket = places.buckets.bucket(&spec.bucket)?;
                Items::Listing(Listing::new(bucket, prefix.clone()))
            }
            What::Listed { prefix, form } => {
                many(listing::files(&places.buckets, &spec.bucket, prefix, form)?)
            }
            What::Inventory { key } => many(inventory::s3_inventory(&places, &spec.bucket, key)?),
            What::Athena { key, form } => {
                many(inventory::athena(&places, &spec.bucket, key, form)?)
            }
        };
        Ok(Self {
            places,
            items,
            open: None,
        })
    }

    /// Reads items that follow a position; a record that is damaged or too large is the reader's failure.
    /// Blocks.
    pub fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<ItemPage, ReaderError> {
        let (files, many) = match &mut self.items {
            Items::Listing(listing) => return listing.read(from, bounds),
            Items::Files { files, many } => (files.len(), *many),
        };
        let mut at = if many {
            self.find(from)?
        } else {
            At::begin(0, from.clone())
        };
        while at.file < files {
            let mut page = self.read_file(&at, bounds)?;
            let last = at.file + 1 == files;
            if many {
                self.mark(at.file, &mut page.items);
            }
            page.end &= last;
            if !page.items.is_empty() || page.end {
                return Ok(page);
            }
            at = At::begin(at.file + 1, Cursor::start());
        }
        Ok(ItemPage {
            items: Vec::new(),
            end: true,
        })
    }

    /// Where a position is. Objects may have come or gone since it was taken: its key says which one it is in.
    fn find(&self, cursor: &Cursor) -> Result<At, ReaderError> {
        if cursor.is_start() {
            return Ok(At::begin(0, Cursor::start()));
        }
        let lost = |what: &str| ReaderError::new(format!("{cursor:?} is no position {what}"));
        let position = Position::parse(cursor.as_str());
        let position = position.ok_or_else(|| lost("in these objects"))?;
        let (mut file, from) = (position.file, Cursor::new(position.inner));
        let Some((key, etag)) = position.of else {
            return Ok(At::begin(file, from));
        };
        let Items::Files { files, .. } = &self.items else {
            return Err(lost("in a listing"));
        };
        if files.get(file).is_none_or(|known| known.key != key) {
            let found = files.iter().position(|known| known.key == key);
            file = found.ok_or_else(|| {
                ReaderError::new(format!(
                    "the object {key:?} is gone, and its items were read in part; put it back, or start anew"
                ))
            })?;
        }
        let etag = Some(etag.to_owned());
        Ok(At { file, from, etag })
    }

    /// Makes positions in an object positions in all of them.
    fn mark(&self, file: usize, items: &mut [ReadItem]) {
        let (Items::Files { files, .. }, Some(open)) = (&self.items, &self.open) else {
            return;
        };
        let key = files.get(file).map_or("", |file| &file.key);
        for item in items {
            let position = Position {
                file,
                of: Some((key, &open.etag)),
                inner: item.end.as_str(),
            };
            item.end = Cursor::new(format_compact!("{position}"));
        }
    }

    fn read_file(&mut self, at: &At, bounds: PageBounds) -> Result<ItemPage, ReaderError> {
        if self.open.as_ref().is_none_or(|open| open.file != at.file) {
            self.open = None;
            self.open = Some(self.open_file(at.file)?);
        }
        let Some(open) = &mut self.open else {
            return Err(ReaderError::new("the object is gone"));
        };
        if at.etag.as_ref().is_some_and(|etag| *etag != open.etag) {
            return Err(ReaderError::new(format!(
                "{} was written again after items of it were read; put the first one back, or start anew",
                open.uri
            )));
        }
        let told = |error: SourceError| ReaderError::of_source(&error, &open.path, &open.uri);
        let page = open.source.read(&at.from, bounds).map_err(told)?;
        let mut items = Vec::with_capacity(page.records.len());
        for record in page.records {
            let value = record
                .item
                .map_err(|error| ReaderError::new(format!("{}: {}", open.uri, error.cause)))?;
            // Recorded: what stood between the parts of an item is not kept.
            let value = match compact(value.text()) {
                Some(text) => {
                    let parsed = Payload::parse(text);
                    parsed.map_err(|error| ReaderError::new(format!("{}: {error}", open.uri)))?
                }
                None => value,
            };
            let member = ends_member(&record.end).then(|| value.value().get("key"));
            let key = member.flatten().and_then(Value::as_str);
            let key = key.map(str::to_owned);
            items.push(ReadItem {
                value,
                key,
                source: Arc::clone(&open.uri),
                end: record.end,
            });
        }
        Ok(ItemPage {
            items,
            end: page.end,
        })
    }

    fn open_file(&self, file: usize) -> Result<Open, ReaderError> {
        let Items::Files { files, .. } = &self.items else {
            return Err(ReaderError::new("the object is gone"));
        };
        let Some(of) = files.get(file) else {
            return Err(ReaderError::new("the object is gone"));
        };
        let uri = of.uri();
        let (object, path) = self.places.fetch(&of.bucket, &of.key)?;
        let shown = path.display().to_string();
        let source = self
            .source(path, &of.form, &uri)
            .map_err(|error| match error {
                Refused::Source(error) => ReaderError::of_source(&error, &shown, &uri),
                Refused::Form(cause) => ReaderError::new(cause),
            })?;
        Ok(Open {
            file,
            uri,
            etag: object.etag,
            path: shown,
            source,
        })
    }

    fn source(&self, path: PathBuf, form: &Form, uri: &str) -> Result<Box<dyn Source>, Refused> {
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        if ["zst", "zstd"]
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
        {
            return Err(Refused::Form(format!(
                "{uri} is compressed with Zstandard, which iterd does not read; compress it with gzip"
            )));
        }
        let gzip = ["gz", "gzip"]
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known));
        let kind = match form {
            Form::Jsonl | Form::Csv(_) => SourceKind::Jsonl,
            Form::Json { pointer } => SourceKind::Json(JsonSpec {
                pointer: Pointer::parse(pointer).map_err(|problem| {
                    Refused::Form(format!("ItemsPointer {pointer:?} is none: {problem}"))
                })?,
            }),
            Form::Parquet => {
                return Err(Refused::Form(format!(
                    "{uri} is to be read as Parquet, which iterd does not read; give it as CSV, JSON or JSONL"
                )));
            }
        };
        let spec = SourceSpec {
            path,
            id: None,
            // Why: what nothing terminates at the end of an object is whole.
            on_change: OnChange::Ignore,
            gzip,
            kind,
        };
        let mut context = OpenContext {
            spool_dir: &self.places.spool_dir,
            spool_bytes_max: self.places.spool_bytes_max,
            progress: &mut |_| ControlFlow::Continue(()),
        };
        match form {
            Form::Csv(form) => {
                let window = source::spool::open(&spec, &mut context)?;
                Ok(Box::new(csv::Csv::open(window, form)?))
            }
            Form::Json { .. } | Form::Jsonl | Form::Parquet => {
                Ok(source::open(&spec, &mut context)?)
            }
        }
    }
}

/// Why an object cannot be read.
enum Refused {
    Source(SourceError),
    Form(String),
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}
