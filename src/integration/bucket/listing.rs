//! Which objects a bucket has, in the order of their keys.
//!
//! A folder tells its entries in no order, so that a page of keys is found by going through all of them.
//! What is kept of that is bounded, and large enough that going through again is rare. Links are not
//! followed and not listed: one to `/` would list the machine.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use super::{BucketError, Object, folder::Folder};
use crate::time::Timestamp;

/// Keys that are kept at a time: some 16 MiB.
pub const LISTED_MAX: usize = 65_536;

impl Folder {
    /// As a bucket's listing.
    pub(super) fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, BucketError> {
        let mut found: BTreeMap<String, Object> = BTreeMap::new();
        // Folders to be looked through, each with what the keys in it begin with.
        let mut folders: Vec<(PathBuf, String)> = vec![(self.root.to_path_buf(), String::new())];
        while let Some((folder, begin)) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| self.unread(&error))? {
                let entry = entry.map_err(|error| self.unread(&error))?;
                let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string())
                else {
                    continue;
                };
                let key = format!("{begin}{name}");
                if kind.is_dir() {
                    let begin = format!("{key}/");
                    let within = begin.starts_with(prefix) || prefix.starts_with(&begin);
                    let before = *begin < *after && !after.starts_with(&begin);
                    if within && !before {
                        folders.push((entry.path(), begin));
                    }
                    continue;
                }
                let full = found.len() == LISTED_MAX;
                let beyond = |(last, _): (&String, _)| key > *last;
                if !kind.is_file()
                    || is_unfinished(&name)
                    || !key.starts_with(prefix)
                    || *key <= *after
                    || (full && found.last_key_value().is_some_and(beyond))
                    || self.place(&key).is_err()
                {
                    continue;
                }
                // Why: what was removed since is no object any more.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                found.insert(key.clone(), object(key, &metadata));
                if found.len() > LISTED_MAX {
                    found.pop_last();
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

pub(super) fn object(key: String, metadata: &fs::Metadata) -> Object {
    let (size, seconds, nanos) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Object {
        key,
        size,
        modified: Timestamp(
            seconds
                .saturating_mul(1_000_000)
                .saturating_add(nanos / 1000),
        ),
        etag: format!("{:x}-{seconds:x}{nanos:08x}-{size:x}", metadata.ino()),
    }
}

/// When a folder was made, as far as anybody knows.
pub(super) fn made(metadata: &fs::Metadata) -> Timestamp {
    Timestamp(metadata.ctime().saturating_mul(1_000_000))
}

/// Whether that is an object while it is written: object_store calls those by the key and `#1`.
fn is_unfinished(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
