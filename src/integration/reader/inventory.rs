//! Manifests: objects that say which other objects have the items.

use std::{fs::File, io::Read as _, sync::Arc};

use serde::Deserialize;

use super::{CsvForm, FILES_MAX, Form, ItemFile, Places, ReaderError, listing::too_many};

/// Largest manifest: 100,000 objects with keys of 300 characters.
const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// `manifest.json` of an S3 inventory; it says more that is of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inventory {
    destination_bucket: Option<String>,
    file_format: String,
    file_schema: String,
    files: Vec<InventoryFile>,
}

#[derive(Deserialize)]
struct InventoryFile {
    key: String,
}

/// The objects of an S3 inventory, whose columns the manifest names.
pub(super) fn s3_inventory(
    places: &Places,
    bucket: &str,
    key: &str,
) -> Result<Vec<ItemFile>, ReaderError> {
    let text = read(places, bucket, key)?;
    let inventory: Inventory = serde_json::from_str(&text).map_err(|error| {
        ReaderError::new(format!(
            "S3://{bucket}/{key} is no manifest of an S3 inventory: {error}"
        ))
    })?;
    if inventory.file_format != "CSV" {
        return Err(ReaderError::new(format!(
            "the inventory of S3://{bucket}/{key} is {}; only CSV is read",
            inventory.file_format
        )));
    }
    let headers = inventory.file_schema.split(',');
    let headers = headers.map(|header| header.trim().to_owned()).collect();
    let form = Arc::new(Form::Csv(CsvForm {
        delimiter: b',',
        headers: Some(headers),
    }));
    let destination = inventory.destination_bucket.as_deref();
    let destination = destination.map(|arn| arn.rsplit(':').next().unwrap_or(arn));
    let bucket: Arc<str> = destination.unwrap_or(bucket).into();
    let files = inventory.files.into_iter().map(|file| ItemFile {
        bucket: Arc::clone(&bucket),
        key: file.key,
        form: Arc::clone(&form),
    });
    bounded(files.collect())
}

/// The objects that Athena's UNLOAD has written: a line with the URI of each.
pub(super) fn athena(
    places: &Places,
    bucket: &str,
    key: &str,
    form: &Form,
) -> Result<Vec<ItemFile>, ReaderError> {
    let text = read(places, bucket, key)?;
    let form = Arc::new(form.clone());
    let mut files = Vec::new();
    for line in text.lines().map(|line| line.trim().trim_matches('"')) {
        if line.is_empty() {
            continue;
        }
        let named = line
            .strip_prefix("s3://")
            .or_else(|| line.strip_prefix("S3://"))
            .and_then(|rest| rest.split_once('/'));
        let Some((bucket, key)) = named else {
            let start: String = line.chars().take(80).collect();
            return Err(ReaderError::new(format!(
                "S3://{bucket}/{key} is no manifest of Athena's: {start:?} is no s3://bucket/key"
            )));
        };
        files.push(ItemFile {
            bucket: bucket.into(),
            key: key.to_owned(),
            form: Arc::clone(&form),
        });
        if files.len() > FILES_MAX {
            return Err(too_many());
        }
    }
    Ok(files)
}

fn bounded(files: Vec<ItemFile>) -> Result<Vec<ItemFile>, ReaderError> {
    if files.len() > FILES_MAX {
        return Err(too_many());
    }
    Ok(files)
}

fn read(places: &Places, bucket: &str, key: &str) -> Result<String, ReaderError> {
    let (_, path) = places.fetch(bucket, key)?;
    let uri = format!("S3://{bucket}/{key}");
    let unread = |error: std::io::Error| ReaderError::new(format!("cannot read {uri}: {error}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(MANIFEST_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(ReaderError::new(format!(
            "{uri} is a manifest of more than {MANIFEST_BYTES_MAX} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|error| ReaderError::new(format!("{uri} is no text: {error}")))
}
