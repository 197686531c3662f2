//! Buckets elsewhere: of AWS, or of a server that speaks S3's protocol.
//!
//! Owns how their objects are read, which is from a copy: a run goes on from a position in a file, and one
//! object is asked for once. A copy is named after what it is of, so that a restart finds it; what it
//! supersedes is removed. Crash: a copy bears its name only once it is whole and on disk.

use std::{
    fs::{self, File},
    future::Future,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt as _, executor::block_on};
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt as _,
    aws::AmazonS3,
    list::{PaginatedListOptions, PaginatedListStore as _},
    path::Path as Key,
};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use super::{
    BucketError, LISTED_MAX, Object, Spool,
    folder::{denied, io_error, no_such_key, parse},
};
use crate::{integration::service::remote::Services, time::Timestamp};

/// Objects without bytes that are asked for in a listing, whether they are objects; others are taken for some.
const FOLDERS_MAX: usize = 1000;

/// The way to buckets elsewhere.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Who asks.
    pub services: Services,
    /// Where connections are kept; whoever waits for an answer blocks a thread of another.
    pub runtime: Handle,
}

impl Elsewhere {
    pub(super) fn bucket(&self, name: &str) -> Result<Far, BucketError> {
        let store = self.services.objects(name);
        let store = store.map_err(|error| io_error(name, "the service", &*error))?;
        Ok(Far::new(name, store, self.runtime.clone()))
    }
}

/// A bucket elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Far {
    name: Arc<str>,
    store: Arc<AmazonS3>,
    runtime: Handle,
}

impl Far {
    pub(super) fn new(name: &str, store: AmazonS3, runtime: Handle) -> Self {
        Self {
            name: name.into(),
            store: Arc::new(store),
            runtime,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// Does something that nobody waits for.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }

    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let _context = self.runtime.enter();
        block_on(future)
    }

    pub(super) fn place(&self, key: &str) -> Result<Key, BucketError> {
        parse(key).ok_or_else(|| denied(&self.name, key))
    }

    pub(super) fn object(&self, key: &str) -> Result<Object, BucketError> {
        let location = self.place(key)?;
        let meta = self.wait(self.store.head(&location));
        meta.map(object)
            .map_err(|error| store_error(&self.name, key, &error))
    }

    pub(super) fn remove(&self, key: &str) -> Result<(), BucketError> {
        let location = self.place(key)?;
        match self.wait(self.store.delete(&location)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error(&self.name, key, &error)),
        }
    }

    pub(super) fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, BucketError> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (mut found, mut page_token) = (Vec::new(), None);
        let mut asked_max = FOLDERS_MAX;
        loop {
            let options = PaginatedListOptions {
                offset: some(after),
                page_token,
                ..PaginatedListOptions::default()
            };
            let page = self.wait(self.store.list_paginated(some(prefix).as_deref(), options));
            let page = page.map_err(|error| store_error(&self.name, "a listing", &error))?;
            let objects = page.result.objects.into_iter().map(object).collect();
            found.extend(self.without_folders(prefix, objects, &mut asked_max)?);
            page_token = page.page_token;
            if found.len() >= LISTED_MAX || page_token.is_none() {
                break;
            }
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.truncate(LISTED_MAX);
        Ok(found)
    }

    /// Drops what consoles call a folder: an object without bytes whose key ends with a slash. The slash is
    /// lost on the way to us, so that there is no object of the key that is told.
    fn without_folders(
        &self,
        prefix: &str,
        objects: Vec<Object>,
        asked_max: &mut usize,
    ) -> Result<Vec<Object>, BucketError> {
        let mut kept = Vec::with_capacity(objects.len());
        for object in objects {
            if !object.key.starts_with(prefix) {
                continue;
            }
            if object.size == 0 && *asked_max > 0 {
                *asked_max -= 1;
                match self.object(&object.key) {
                    Ok(_) => {}
                    Err(BucketError::NoSuchKey { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            kept.push(object);
        }
        Ok(kept)
    }

    /// The copy of an object; made where there is none of what it is now.
    pub(super) fn fetch(
        &self,
        key: &str,
        spool: Spool<'_>,
    ) -> Result<(Object, PathBuf), BucketError> {
        let object = self.object(key)?;
        if object.size > spool.bytes_max {
            return Err(BucketError::TooLarge {
                bucket: self.name.to_string(),
                key: key.to_owned(),
                size: object.size,
                bytes_max: spool.bytes_max,
            });
        }
        let io = |error: std::io::Error| io_error(&self.name, key, &error);
        let prefix = short_hash(&format!("{}/{key}", self.name));
        let version = short_hash(&format!(
            "{} {} {}",
            object.etag, object.size, object.modified.0
        ));
        // Why the ending: it says how the object is compressed.
        let ending = Path::new(key).extension().unwrap_or_default();
        let name = format!("{prefix}-{version}.{}", ending.to_string_lossy());
        let copy = spool.directory.join(&name);
        if !copy.exists() {
            if !spool.has_room(object.size) {
                return Err(BucketError::NoRoom {
                    bucket: self.name.to_string(),
                    key: key.to_owned(),
                    size: object.size,
                });
            }
            // Why a name of its own: two runs may fetch one object at a time, and either copy will do.
            let partial = spool
                .directory
                .join(format!("{prefix}-{:016x}.partial", rand::random::<u64>()));
            let copied = self
                .copy(key, &object, &partial)
                .and_then(|()| fs::rename(&partial, &copy).map_err(io))
                .and_then(|()| sync(spool.directory).map_err(io));
            if copied.is_err() {
                // Why dropped: the first error is the one that matters.
                drop(fs::remove_file(&partial));
            }
            copied?;
            remove_superseded(spool.directory, &prefix, &name).map_err(io)?;
        }
        Ok((object, copy))
    }

    fn copy(&self, key: &str, object: &Object, to: &Path) -> Result<(), BucketError> {
        let io = |error: std::io::Error| io_error(&self.name, key, &error);
        let failed = |error: object_store::Error| store_error(&self.name, key, &error);
        let location = self.place(key)?;
        let mut file = File::create_new(to).map_err(io)?;
        let mut written = 0;
        self.wait(async {
            let mut chunks = self
                .store
                .get(&location)
                .await
                .map_err(failed)?
                .into_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(failed)?;
                written += chunk.len() as u64;
                if written > object.size {
                    break;
                }
                file.write_all(&chunk).map_err(io)?;
            }
            Ok(())
        })?;
        if written != object.size {
            let changed = std::io::Error::other("it changed while it was fetched");
            return Err(io(changed));
        }
        file.sync_all().map_err(io)
    }
}

impl Spool<'_> {
    /// Whether so many bytes more leave enough of the disk; where the system does not tell, they do.
    fn has_room(&self, bytes: u64) -> bool {
        let Ok(stat) = rustix::fs::statvfs(self.directory) else {
            return true;
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        free >= self.free_min.saturating_add(bytes)
    }
}

/// What the store says, as the bucket says it.
pub(super) fn store_error(bucket: &str, key: &str, error: &object_store::Error) -> BucketError {
    let words = error.to_string();
    let missing = matches!(error, object_store::Error::NotFound { .. });
    if missing && words.contains("NoSuchBucket") {
        return BucketError::NoSuchBucket {
            bucket: bucket.to_owned(),
            mend: String::new(),
        };
    }
    if missing {
        return no_such_key(bucket, key);
    }
    io_error(bucket, key, error)
}

fn object(meta: ObjectMeta) -> Object {
    Object {
        key: meta.location.into(),
        size: meta.size,
        modified: Timestamp(meta.last_modified.timestamp_micros()),
        etag: meta
            .e_tag
            .map_or_else(String::new, |etag| etag.trim_matches('"').to_owned()),
    }
}

/// 128 bits of SHA-256: names that nobody can make collide by accident.
fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes what other states of the object were copied to. Whoever still reads one goes on reading it.
fn remove_superseded(directory: &Path, prefix: &str, kept: &str) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && *name != *kept && !name.ends_with(".partial") {
            fs::remove_file(directory.join(&*name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_only_where_the_disk_keeps_its_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let has_room = |free_min: u64, bytes: u64| {
            let spool = Spool {
                directory: dir.path(),
                bytes_max: u64::MAX,
                free_min,
            };
            spool.has_room(bytes)
        };
        assert!(has_room(0, 1));
        assert!(!has_room(0, u64::MAX) && !has_room(u64::MAX, 1));
    }
}
