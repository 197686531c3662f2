//! Objects as items, and objects that items are in: what `listObjectsV2` finds.

use std::sync::Arc;

use compact_str::format_compact;

use super::{FILES_MAX, Form, ItemFile, ItemPage, ReadItem, ReaderError};
use crate::{
    ids::Cursor,
    integration::{
        bucket::{Bucket, Buckets, LISTED_MAX, Object},
        json_text::{push_display, push_string},
        source::PageBounds,
    },
    payload::Payload,
};

/// The objects of a bucket. Cursor: `1:` and the key of the last one.
pub(super) struct Listing {
    bucket: Bucket,
    prefix: String,
    uri: Arc<str>,
    /// Some that follow one another, and whether more follow.
    known: Vec<Object>,
    more: bool,
}

impl Listing {
    pub(super) fn new(bucket: Bucket, prefix: String) -> Self {
        Self {
            uri: format!("S3://{}", bucket.name()).into(),
            bucket,
            prefix,
            known: Vec::new(),
            more: true,
        }
    }

    pub(super) fn read(
        &mut self,
        from: &Cursor,
        bounds: PageBounds,
    ) -> Result<ItemPage, ReaderError> {
        let after = match from.as_str().strip_prefix("1:") {
            Some(key) => key,
            None if from.is_start() => "",
            None => {
                return Err(ReaderError::new(format!(
                    "{from:?} is no position in a listing"
                )));
            }
        };
        let mut next = self
            .known
            .partition_point(|listed| listed.key.as_str() <= after);
        let follows = next > 0
            && self
                .known
                .get(next - 1)
                .is_some_and(|last| last.key == after);
        if !follows || (next == self.known.len() && self.more) {
            self.known = self.bucket.list(&self.prefix, after)?;
            self.more = self.known.len() == LISTED_MAX;
            next = 0;
        }
        let page = self.known.iter().skip(next).take(bounds.records_max);
        let items: Vec<ReadItem> = page
            .map(|listed| {
                Ok(ReadItem {
                    value: Payload::parse(text(listed))
                        .map_err(|error| ReaderError::new(error.to_string()))?,
                    key: None,
                    source: Arc::clone(&self.uri),
                    end: Cursor::new(format_compact!("1:{}", listed.key)),
                })
            })
            .collect::<Result<_, ReaderError>>()?;
        Ok(ItemPage {
            end: !self.more && next + items.len() == self.known.len(),
            items,
        })
    }
}

/// An object as an item. Recorded: the members in this order.
fn text(listed: &Object) -> String {
    let mut text = String::with_capacity(160 + listed.key.len());
    text.push_str("{\"Etag\":");
    push_string(&mut text, &format!("\"{}\"", listed.etag.trim_matches('"')));
    push_display(
        &mut text,
        format_args!(
            ",\"LastModified\":{}",
            listed.modified.0.div_euclid(1_000_000)
        ),
    );
    text.push_str(",\"Key\":");
    push_string(&mut text, &listed.key);
    push_display(&mut text, format_args!(",\"Size\":{}", listed.size));
    text.push_str(",\"StorageClass\":\"STANDARD\"}");
    text
}

/// The objects whose keys begin so.
pub(super) fn files(
    buckets: &Buckets,
    bucket: &str,
    prefix: &str,
    form: &Form,
) -> Result<Vec<ItemFile>, ReaderError> {
    let of = buckets.bucket(bucket)?;
    let (name, form): (Arc<str>, _) = (bucket.into(), Arc::new(form.clone()));
    let mut files: Vec<ItemFile> = Vec::new();
    loop {
        let after = files.last().map_or("", |file| file.key.as_str());
        let listed = of.list(prefix, after)?;
        let more = listed.len() == LISTED_MAX;
        files.extend(listed.into_iter().map(|listed| ItemFile {
            bucket: Arc::clone(&name),
            key: listed.key,
            form: Arc::clone(&form),
        }));
        if files.len() > FILES_MAX {
            return Err(too_many());
        }
        if !more {
            return Ok(files);
        }
    }
}

pub(super) fn too_many() -> ReaderError {
    ReaderError::new(format!(
        "more than {FILES_MAX} objects are to be read by one run; give each run a prefix of its own"
    ))
}
