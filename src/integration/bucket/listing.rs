//! Which objects a bucket has, in the order of their keys.
//!
//! A folder tells its entries in no order, so that a page of keys is found by going through all of them.
//! What is kept of that is bounded, and large enough that going through again is rare.

use std::collections::BTreeMap;

use futures::{StreamExt as _, executor::block_on_stream};
use object_store::{ObjectMeta, ObjectStore as _, path::Path as Key};

use super::{Bucket, BucketError};
use crate::time::Timestamp;

/// Keys that are kept at a time: some 16 MiB.
pub const LISTED_MAX: usize = 65_536;

/// An object as a listing tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// What changes with its content.
    pub etag: String,
}

impl Bucket {
    /// The first objects whose keys begin with `prefix` and come after `after`, at most
    /// [`LISTED_MAX`]; fewer are all that follow.
    pub fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, BucketError> {
        // The folder that all of them are in; object_store knows no other prefixes.
        let folder = prefix.rsplit_once('/').map(|(folder, _)| folder);
        let folder = match folder {
            None => None,
            Some(folder) => match Key::parse(folder) {
                Ok(key) if key.as_ref() == folder => Some(key),
                // No key begins so.
                Ok(_) | Err(_) => return Ok(Vec::new()),
            },
        };
        let mut found: BTreeMap<String, ObjectMeta> = BTreeMap::new();
        for meta in block_on_stream(self.store.list(folder.as_ref()).fuse()) {
            let meta = meta.map_err(|error| self.io("the folder", &error))?;
            let key = meta.location.as_ref();
            let full = found.len() == LISTED_MAX;
            let beyond = || {
                found
                    .last_key_value()
                    .is_some_and(|(last, _)| key > last.as_str())
            };
            if !key.starts_with(prefix) || key <= after || (full && beyond()) {
                continue;
            }
            found.insert(key.to_owned(), meta);
            if found.len() > LISTED_MAX {
                found.pop_last();
            }
        }
        // Why: what a link leads to outside is no object of the bucket.
        let own = |meta: &ObjectMeta| self.file(meta.location.as_ref()).is_ok();
        let listed = found.into_values().filter(own).map(|meta| Listed {
            size: meta.size,
            modified: Timestamp(meta.last_modified.timestamp_micros()),
            etag: meta.e_tag.unwrap_or_default(),
            key: meta.location.into(),
        });
        Ok(listed.collect())
    }
}
