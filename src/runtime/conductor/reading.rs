//! Reading a page of a Map Run's items, on a thread that may block.
//!
//! Owns what an `ItemReader` of a definition means, how what is read is put together into children, and that a
//! run waits for room as everything does.
//! Crash: reading changes nothing, and is done again from the run's cursor.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::watch;

use super::items::{PAGE_CHILDREN, ReadPage};
use crate::{
    asl::states::{CsvHeaders, InputType, ItemReader as Told, ManifestType, ReaderTransformation},
    ids::{Cursor, Index},
    integration::{
        reader::{CsvForm, Form, ItemReader, ReadItem, ReaderError, ReaderSpec, What},
        source::PageBounds,
    },
    machine::{RunRequest, Source},
    payload::Failure,
    runtime::{Disk, Engine},
};

/// How often we look whether there is room: as often as the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Bytes of items that one page has, but for the last one.
const PAGE_BYTES: usize = 1024 * 1024;

/// Largest item before `ItemSelector` takes something of it: AWS's bound.
const ITEM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most items of a run: AWS's bound.
const ITEMS_MAX: u64 = 100_000_000;

/// A batch of more bytes is closed, whatever it may have: 32 times what a child takes as its input.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is to be read.
pub(super) struct Ask {
    pub(super) from: Cursor,
    /// The index of the first item there.
    pub(super) first: Index,
    pub(super) reader: Option<ItemReader>,
    pub(super) request: Arc<RunRequest>,
    pub(super) engine: Engine,
}

/// Reads it, once there is room for what is read; `None` where the engine closes before.
pub(super) async fn read(mut ask: Ask) -> Option<ReadPage> {
    let (engine, first) = (ask.engine.clone(), ask.first);
    loop {
        let reading = tokio::task::spawn_blocking(move || (try_read(&mut ask), ask));
        let (read, asked) = reading.await.ok()?;
        ask = asked;
        let (reader, found) = match read {
            Ok((reader, found)) => (Some(reader), Ok(found)),
            Err(Refused::Reader(ReaderError::NoRoom { cause, bytes })) => {
                tracing::warn!(cause, "a Map Run waits for room before it reads on");
                let place = engine.paths().spool();
                if wait_for_room(engine.disk(), &place, bytes, engine.closing()).await {
                    continue;
                }
                return None;
            }
            Err(error) => {
                let failure = Failure::new("States.ItemReaderFailed", error.to_string());
                (None, Err(failure))
            }
        };
        return Some(ReadPage {
            first,
            reader,
            found,
        });
    }
}

/// Whether there is room before we close.
async fn wait_for_room(
    disk: &Disk,
    place: &Path,
    bytes: u64,
    mut closing: watch::Receiver<bool>,
) -> bool {
    let room = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if disk.has_room(place, bytes) {
                break;
            }
        }
    };
    tokio::select! {
        () = room => true,
        _ = closing.wait_for(|closing| *closing) => false,
    }
}

type Found = (Vec<Vec<ReadItem>>, bool);

fn try_read(ask: &mut Ask) -> Result<(ItemReader, Found), Refused> {
    let items_max = items_max(&ask.request)?;
    let mut reader = if let Some(reader) = ask.reader.take() {
        reader
    } else {
        let places = ask.engine.reader_places();
        let places = places.map_err(|error| Refused::Told(error.to_string()))?;
        ItemReader::open(&spec(&ask.request)?, places)?
    };
    let mut gathered = Gathered::of(&ask.request);
    let (mut from, mut index) = (ask.from.clone(), ask.first);
    let end = 'read: loop {
        if index >= items_max {
            break true;
        }
        let page = reader.read(&from, BOUNDS)?;
        for item in page.items {
            if index >= items_max {
                break 'read true;
            }
            if gathered.add(item) {
                break 'read false;
            }
            index += 1;
            if let Some(last) = gathered.last() {
                from = last.end.clone();
            }
        }
        if page.end {
            break true;
        }
    };
    Ok((reader, (gathered.finish(), end)))
}

const BOUNDS: PageBounds = PageBounds {
    records_max: PAGE_CHILDREN,
    bytes_max: PAGE_BYTES,
    record_bytes_max: ITEM_BYTES_MAX,
};

/// Why nothing is read; the text is the cause.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error("{0}")]
    Told(String),
}

/// Children while they are put together. Invariant: where one ends depends on its own items alone, so that
/// a restart, which reads from the end of another, finds the same.
struct Gathered {
    items_max: usize,
    bytes_max: usize,
    children: Vec<Vec<ReadItem>>,
    open: Vec<ReadItem>,
    open_bytes: usize,
    bytes: usize,
}

impl Gathered {
    fn of(request: &RunRequest) -> Self {
        let batch = request.batch.as_ref();
        let bound = |most: Option<u64>| {
            let most = most.and_then(|most| usize::try_from(most).ok());
            most.unwrap_or(usize::MAX)
        };
        Self {
            items_max: batch.map_or(1, |batch| bound(batch.max_items)),
            bytes_max: batch
                .map_or(usize::MAX, |batch| bound(batch.max_bytes))
                .min(BATCH_BYTES_MAX),
            children: Vec::new(),
            open: Vec::new(),
            open_bytes: 0,
            bytes: 0,
        }
    }

    /// Adds an item, unless the page is full: true then.
    fn add(&mut self, item: ReadItem) -> bool {
        let bytes = item.value.text().len() + 1;
        if !self.open.is_empty() && self.open_bytes + bytes > self.bytes_max {
            self.close();
        }
        if self.open.is_empty()
            && (self.children.len() >= PAGE_CHILDREN || self.bytes >= PAGE_BYTES)
        {
            return true;
        }
        self.open.push(item);
        self.open_bytes += bytes;
        if self.open.len() >= self.items_max {
            self.close();
        }
        false
    }

    fn close(&mut self) {
        self.bytes += std::mem::take(&mut self.open_bytes);
        self.children.push(std::mem::take(&mut self.open));
    }

    fn last(&self) -> Option<&ReadItem> {
        self.open.last().or_else(|| self.children.last()?.last())
    }

    /// All of them; what is open ends here, too: the page is full before a child, or nothing follows.
    fn finish(mut self) -> Vec<Vec<ReadItem>> {
        if !self.open.is_empty() {
            self.close();
        }
        self.children
    }
}

/// The number beyond the last item.
fn items_max(request: &RunRequest) -> Result<u64, Refused> {
    let Source::Reader { max_items, .. } = &request.source else {
        return Ok(ITEMS_MAX);
    };
    match max_items {
        // Recorded: 0 is no bound.
        None | Some(0) => Ok(ITEMS_MAX),
        Some(most) => u64::try_from(*most)
            .map(|most| most.min(ITEMS_MAX))
            .map_err(|_| Refused::Told("field MaxItems must be positive".to_owned())),
    }
}

/// What the definition and the parameters say.
fn spec(request: &RunRequest) -> Result<ReaderSpec, Refused> {
    let reader = request.distributed().and_then(|map| map.reader.as_ref());
    let (Some(reader), Source::Reader { parameters, .. }) = (reader, &request.source) else {
        return Err(Refused::Told(
            "the definition has no item reader".to_owned(),
        ));
    };
    let told = parameters
        .as_ref()
        .map_or(&Value::Null, |told| told.value());
    let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::to_owned);
    let required = |name: &str| {
        text(name).ok_or_else(|| {
            Refused::Told(format!(
                "The field '{name}' of the ItemReader is required and is a text"
            ))
        })
    };
    if text("VersionId").is_some() {
        return Err(Refused::Told(
            "Buckets have no versions; leave out the field 'VersionId'".to_owned(),
        ));
    }
    let bucket = required("Bucket")?;
    let config = &reader.config;
    let what = if reader.resource.ends_with(":s3:listObjectsV2") {
        let prefix = text("Prefix").unwrap_or_default();
        match config.transformation {
            Some(ReaderTransformation::LoadAndFlatten) => What::Listed {
                prefix,
                form: form(reader)?,
            },
            Some(ReaderTransformation::None) | None => What::List { prefix },
        }
    } else if reader.resource.ends_with(":s3:getObject") {
        let key = required("Key")?;
        match (config.manifest_type, config.input_type) {
            (Some(ManifestType::AthenaData), _) => What::Athena {
                key,
                form: form(reader)?,
            },
            (Some(ManifestType::S3Inventory), _) | (None, Some(InputType::Manifest)) => {
                What::Inventory { key }
            }
            (None, _) => What::Object {
                key,
                form: form(reader)?,
            },
        }
    } else {
        let resource = &reader.resource;
        return Err(Refused::Told(format!(
            "No item reader of this daemon is called {resource}"
        )));
    };
    Ok(ReaderSpec { bucket, what })
}

/// How an object is taken apart.
fn form(reader: &Told) -> Result<Form, Refused> {
    let config = &reader.config;
    Ok(match config.input_type {
        Some(InputType::Csv) => Form::Csv(CsvForm {
            // Every delimiter that a definition can name is ASCII.
            delimiter: config
                .csv_delimiter
                .and_then(|delimiter| u8::try_from(delimiter).ok())
                .unwrap_or(b','),
            headers: match &config.csv_headers {
                Some(CsvHeaders::Given(names)) => {
                    Some(names.iter().map(ToString::to_string).collect())
                }
                Some(CsvHeaders::FirstRow) | None => None,
            },
        }),
        Some(InputType::Json) => Form::Json {
            pointer: config
                .items_pointer
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
        },
        Some(InputType::Jsonl) => Form::Jsonl,
        Some(InputType::Parquet) => Form::Parquet,
        Some(InputType::Manifest) | None => {
            return Err(Refused::Told("The field 'InputType' of the ReaderConfig says how objects are read: CSV, JSON or JSONL".to_owned()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_waits_for_room_until_there_is_some_or_the_engine_closes() {
        let dir = tempfile::tempdir().unwrap();
        let (open, closing) = (watch::Sender::new(false), watch::Sender::new(true));
        let waited = |free_min, closes: &watch::Sender<bool>| {
            let disk = Disk::new(dir.path().to_owned(), free_min);
            let (place, closes) = (dir.path().to_owned(), closes.subscribe());
            async move {
                let waiting = wait_for_room(&disk, &place, 1, closes);
                tokio::time::timeout(2 * LOOK_EVERY, waiting).await.ok()
            }
        };
        let (room, none, closed) = tokio::join!(
            waited(0, &open),
            waited(u64::MAX, &open),
            waited(u64::MAX, &closing)
        );
        assert_eq!((room, none, closed), (Some(true), None, Some(false)));
    }
}
