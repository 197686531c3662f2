//! Buckets: named places of objects, as S3 has them. A bucket is a folder.
//!
//! Owns how a bucket's name becomes a place and how a key becomes a file of it. Everything blocks.
//! Invariant: no key leads out of its bucket, neither by its text nor over a link in the folder.

mod listing;
mod name;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use futures::executor::block_on;
use object_store::{
    MultipartUpload, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path as Key,
};

pub use self::{
    listing::{LISTED_MAX, Listed},
    name::is_bucket_name,
};

/// Written to an object at a time; S3 wants at least 5 MiB for a part, and twice this much is held.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// Longest key: S3's bound.
const KEY_BYTES_MAX: usize = 1024;

/// Why a bucket or an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// There is no such bucket.
    #[error(
        "the specified bucket does not exist: {bucket} (make the folder {}, or name another in [buckets.{bucket}])",
        path.display()
    )]
    NoSuchBucket {
        /// Its name.
        bucket: String,
        /// The folder that it would be.
        path: PathBuf,
    },
    /// That is no name of a bucket.
    #[error("the specified bucket is not valid: {0:?}")]
    InvalidName(String),
    /// There is no such object.
    #[error("the specified key does not exist: {key} in the bucket {bucket}")]
    NoSuchKey {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// That key leads out of its bucket, or is none.
    #[error("access denied: {key:?} is no key of an object in the bucket {bucket}")]
    Denied {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// The system refused.
    #[error("cannot use {what} in the bucket {bucket}: {error}")]
    Io {
        /// The bucket.
        bucket: String,
        /// The object.
        what: String,
        /// Why.
        error: String,
    },
}

/// Where buckets are.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// Each folder in it is a bucket.
    pub root: PathBuf,
    /// Buckets elsewhere.
    pub named: BTreeMap<String, PathBuf>,
}

impl Buckets {
    /// A bucket by its name.
    pub fn bucket(&self, name: &str) -> Result<Bucket, BucketError> {
        if !is_bucket_name(name) {
            return Err(BucketError::InvalidName(name.to_owned()));
        }
        let path = self.named.get(name);
        Bucket::open(
            name,
            path.map_or_else(|| self.root.join(name), Clone::clone),
        )
    }
}

impl Buckets {
    /// The bucket that a file lies in, and its key there, going by the paths alone.
    #[must_use]
    pub fn place_of(&self, file: &Path) -> Option<(String, String)> {
        let named = self.named.iter().find_map(|(name, folder)| {
            let key = file.strip_prefix(folder).ok()?.to_str()?;
            Some((name.clone(), key.to_owned()))
        });
        named.or_else(|| {
            let within = file.strip_prefix(&self.root).ok()?.to_str()?;
            let (name, key) = within.split_once('/')?;
            is_bucket_name(name).then(|| (name.to_owned(), key.to_owned()))
        })
    }
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    name: String,
    /// Its folder, without links in it.
    root: PathBuf,
    store: LocalFileSystem,
}

impl Bucket {
    fn open(name: &str, path: PathBuf) -> Result<Self, BucketError> {
        let root = fs::canonicalize(&path).ok().filter(|root| root.is_dir());
        let Some(root) = root else {
            let bucket = name.to_owned();
            return Err(BucketError::NoSuchBucket { bucket, path });
        };
        let store = LocalFileSystem::new_with_prefix(&root).map_err(|error| BucketError::Io {
            bucket: name.to_owned(),
            what: "the folder".to_owned(),
            error: error.to_string(),
        })?;
        Ok(Self {
            name: name.to_owned(),
            root,
            // Why: what a run has written is told as written.
            store: store.with_fsync(true),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of an object that is there.
    pub fn file(&self, key: &str) -> Result<PathBuf, BucketError> {
        let (_, path) = self.place(key)?;
        let real = fs::canonicalize(&path).map_err(|error| {
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) {
                self.no_such_key(key)
            } else {
                self.io(key, &error)
            }
        })?;
        if !real.starts_with(&self.root) {
            return Err(self.denied(key));
        }
        if !real.is_file() {
            return Err(self.no_such_key(key));
        }
        Ok(path)
    }

    /// Begins an object; what was there under its key stays until the new one is whole.
    pub fn create(&self, key: &str) -> Result<ObjectWriter<'_>, BucketError> {
        let (location, path) = self.place(key)?;
        self.check_parents(key, &path)?;
        let upload = block_on(self.store.put_multipart(&location));
        Ok(ObjectWriter {
            bucket: self,
            key: key.to_owned(),
            upload: upload.map_err(|error| self.io(key, &error))?,
            part: Vec::new(),
            bytes: 0,
        })
    }

    /// The key as it is asked for, and where its file would be.
    fn place(&self, key: &str) -> Result<(Key, PathBuf), BucketError> {
        let parsed = Key::parse(key).ok().filter(|parsed| {
            !key.is_empty() && key.len() <= KEY_BYTES_MAX && parsed.as_ref() == key
        });
        let parsed = parsed.ok_or_else(|| self.denied(key))?;
        let path = self.store.path_to_filesystem(&parsed);
        let path = path.map_err(|_| self.denied(key))?;
        if path.starts_with(&self.root) {
            Ok((parsed, path))
        } else {
            Err(self.denied(key))
        }
    }

    /// Whether the folders over a file, as far as they are there, are the bucket's own.
    fn check_parents(&self, key: &str, path: &Path) -> Result<(), BucketError> {
        for parent in path.ancestors().skip(1) {
            match fs::canonicalize(parent) {
                Ok(real) if real.starts_with(&self.root) => return Ok(()),
                Ok(_) => return Err(self.denied(key)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // A link to nowhere would be followed by whoever makes the folder.
                    if parent.is_symlink() {
                        return Err(self.denied(key));
                    }
                }
                Err(error) => return Err(self.io(key, &error)),
            }
        }
        Err(self.denied(key))
    }

    fn denied(&self, key: &str) -> BucketError {
        BucketError::Denied {
            bucket: self.name.clone(),
            key: key.chars().take(KEY_BYTES_MAX).collect(),
        }
    }

    fn no_such_key(&self, key: &str) -> BucketError {
        BucketError::NoSuchKey {
            bucket: self.name.clone(),
            key: key.to_owned(),
        }
    }

    fn io(&self, what: &str, error: &dyn std::error::Error) -> BucketError {
        BucketError::Io {
            bucket: self.name.clone(),
            what: what.to_owned(),
            error: error.to_string(),
        }
    }
}

/// An object that is being written; it is there once [`ObjectWriter::finish`] has answered, and not at all
/// where this is dropped before.
#[derive(Debug)]
pub struct ObjectWriter<'b> {
    bucket: &'b Bucket,
    key: String,
    upload: Box<dyn MultipartUpload>,
    part: Vec<u8>,
    bytes: u64,
}

impl ObjectWriter<'_> {
    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
        self.bytes += bytes.len() as u64;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            // Why so: a vector that grows by itself would hold twice as much.
            self.part.reserve_exact(PART_BYTES - self.part.len());
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = later;
            if self.part.len() == PART_BYTES {
                self.put_part()?;
            }
        }
        Ok(())
    }

    /// How many bytes were written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the object be there, whole and on disk.
    pub fn finish(mut self) -> Result<u64, BucketError> {
        if !self.part.is_empty() {
            self.put_part()?;
        }
        let done = block_on(self.upload.complete());
        done.map_err(|error| self.bucket.io(&self.key, &error))?;
        Ok(self.bytes)
    }

    fn put_part(&mut self) -> Result<(), BucketError> {
        let part = PutPayload::from(std::mem::take(&mut self.part));
        let put = block_on(self.upload.put_part(part));
        put.map_err(|error| self.bucket.io(&self.key, &error))
    }
}

#[cfg(test)]
mod tests;
