//! Buckets: named places of objects, as S3 has them. A bucket is a folder, or it is elsewhere: where the
//! settings lead away from here, on AWS or a server that speaks S3's protocol.
//!
//! Owns how a bucket's name becomes a place, and what is done with its objects. Everything blocks.
//! Invariant: no key leads out of its bucket, neither by its text nor over a link in the folder.

mod elsewhere;
mod folder;
mod listing;
mod name;
mod page;
mod staged;
mod uploads;
mod writer;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::{
    elsewhere::Elsewhere,
    listing::LISTED_MAX,
    name::is_bucket_name,
    page::{PAGE_MAX, Page, Wanted},
    uploads::{Begun, PARTS_MAX, PartWriter, UploadError, Uploads},
    writer::{ObjectWriter, PART_BYTES},
};
use self::{elsewhere::Far, folder::Folder};
use crate::time::Timestamp;

/// Longest key: S3's bound.
const KEY_BYTES_MAX: usize = 1024;

/// Buckets that are told of at a time: S3's bound of one account.
const BUCKETS_MAX: usize = 10_000;

/// Why a bucket or an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// There is no such bucket.
    #[error("the specified bucket does not exist: {bucket}{mend}")]
    NoSuchBucket {
        /// Its name.
        bucket: String,
        /// How there would be one.
        mend: String,
    },
    /// It has objects.
    #[error("the bucket {0} is not empty")]
    BucketNotEmpty(String),
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
    /// That key is longer than a folder keeps.
    #[error(
        "the key {key:?} of the bucket {bucket} is too long: a key has at most {KEY_BYTES_MAX} bytes, and 255 between two slashes"
    )]
    KeyTooLong {
        /// The bucket.
        bucket: String,
        /// The key, as far as there are keys.
        key: String,
    },
    /// Its file would be a folder, or lie in a file.
    #[error(
        "access denied: {key:?} cannot be written in the bucket {bucket}, which is a folder: another object's key begins with this one and a slash, or this one with another's"
    )]
    Taken {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// Its folder does not take it.
    #[error(
        "access denied: {key:?} cannot be written in the bucket {bucket}: {error}; the bucket's folder {folder} is to be one file system that iterd may write to, without other mounts in it: change that, or name another folder in [buckets.{bucket}]"
    )]
    Unwritable {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The bucket's folder.
        folder: String,
        /// What the system says.
        error: String,
    },
    /// The range is beyond the object's end.
    #[error(
        "the requested range is not satisfiable: {key} in the bucket {bucket} has {size} bytes"
    )]
    Range {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Bytes of the object.
        size: u64,
    },
    /// It is too large to be kept here while it is read.
    #[error(
        "{key} in the bucket {bucket} has {size} bytes, and no object of more than {bytes_max} is fetched; divide it"
    )]
    TooLarge {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Bytes of the object.
        size: u64,
        /// Most that are fetched.
        bytes_max: u64,
    },
    /// The disk has no room for it while it is read.
    #[error(
        "no room for {key} of the bucket {bucket}: its {size} bytes would leave less than store.disk_free_min; make room, or divide it"
    )]
    NoRoom {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Bytes of the object.
        size: u64,
    },
    /// The system refused, or the service that has the bucket.
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

/// An object as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// What changes with its content, without quotes.
    pub etag: String,
}

/// Where objects from elsewhere are kept while they are read.
#[derive(Debug, Clone, Copy)]
pub struct Spool<'a> {
    /// An existing directory of iterd's own.
    pub directory: &'a Path,
    /// No larger object is fetched.
    pub bytes_max: u64,
    /// Bytes that stay free on its disk.
    pub free_min: u64,
}

/// Where buckets are.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// Each folder in it is a bucket, unless the others are elsewhere.
    pub root: PathBuf,
    /// Buckets in other folders.
    pub named: BTreeMap<String, PathBuf>,
    /// Where all are that have no folder of their own, where the settings lead away.
    pub elsewhere: Option<Elsewhere>,
}

impl Buckets {
    /// A bucket by its name.
    pub fn bucket(&self, name: &str) -> Result<Bucket, BucketError> {
        if !is_bucket_name(name) {
            return Err(BucketError::InvalidName(name.to_owned()));
        }
        let at = match (self.named.get(name), &self.elsewhere) {
            (Some(path), _) => At::Folder(Folder::open(name, path)?),
            (None, Some(elsewhere)) => At::Elsewhere(elsewhere.bucket(name)?),
            (None, None) => At::Folder(Folder::open(name, &self.root.join(name))?),
        };
        let name = name.into();
        Ok(Bucket { name, at })
    }

    /// Whether a bucket is a folder of this machine, or would be.
    #[must_use]
    pub fn is_here(&self, name: &str) -> bool {
        self.elsewhere.is_none() || self.named.contains_key(name)
    }

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

    /// The buckets that are folders, by their names, each with when it was made.
    pub fn folders(&self) -> Result<BTreeMap<String, Timestamp>, BucketError> {
        let unread = |error: &std::io::Error| BucketError::Io {
            bucket: String::new(),
            what: self.root.display().to_string(),
            error: error.to_string(),
        };
        let mut found = BTreeMap::new();
        let mut add = |name: String, path: &Path| {
            if is_bucket_name(&name)
                && let Ok(metadata) = fs::metadata(path)
                && metadata.is_dir()
            {
                found.insert(name, listing::made(&metadata));
            }
        };
        if self.elsewhere.is_none() {
            let entries = fs::read_dir(&self.root).map_err(|error| unread(&error))?;
            for entry in entries.take(BUCKETS_MAX) {
                let entry = entry.map_err(|error| unread(&error))?;
                if let Ok(name) = entry.file_name().into_string() {
                    add(name, &entry.path());
                }
            }
        }
        for (name, path) in &self.named {
            add(name.clone(), path);
        }
        Ok(found)
    }

    /// Makes a bucket: a folder among the others. Spec: in us-east-1 one that is its owner's already may be
    /// made again.
    pub fn create(&self, name: &str) -> Result<(), BucketError> {
        if !is_bucket_name(name) {
            return Err(BucketError::InvalidName(name.to_owned()));
        }
        let path = self.named.get(name).cloned();
        let path = path.unwrap_or_else(|| self.root.join(name));
        if path.is_dir() {
            return Ok(());
        }
        fs::create_dir(&path).map_err(|error| folder::io_error(name, "the folder", &error))
    }

    /// Removes what a process left that ended while it wrote objects to folders. What others write stays, and
    /// what is not removed is told. Why those with settings last: they may be on disks that do not answer.
    pub fn sweep(&self) {
        let own = Self {
            named: BTreeMap::new(),
            ..self.clone()
        };
        let unnamed = own.folders().unwrap_or_else(|error| {
            tracing::warn!(%error, "what was left in buckets is not removed");
            BTreeMap::new()
        });
        for name in unnamed.keys().chain(self.named.keys()) {
            let swept = self.bucket(name).and_then(|bucket| match bucket.at {
                At::Folder(folder) => folder.sweep(),
                At::Elsewhere(_) => Ok(()),
            });
            // Why not of one without a folder: nothing was left there.
            if let Err(error) = swept
                && !matches!(error, BucketError::NoSuchBucket { .. })
            {
                tracing::warn!(%error, bucket = name, "what was left in a bucket is not removed");
            }
        }
    }

    /// Removes a bucket that is empty and that no setting names.
    pub fn remove(&self, name: &str) -> Result<(), BucketError> {
        let bucket = self.bucket(name)?;
        if self.named.contains_key(name) {
            let error = std::io::Error::other(format!("[buckets.{name}] in iterd.toml names it"));
            return Err(folder::io_error(name, "the folder", &error));
        }
        if let At::Folder(folder) = &bucket.at {
            folder.sweep()?;
        }
        fs::remove_dir(self.root.join(name)).map_err(|error| {
            if error.kind() == std::io::ErrorKind::DirectoryNotEmpty {
                BucketError::BucketNotEmpty(name.to_owned())
            } else {
                folder::io_error(name, "the folder", &error)
            }
        })
    }
}

/// A bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    name: Arc<str>,
    at: At,
}

#[derive(Debug, Clone)]
enum At {
    Folder(Folder),
    Elsewhere(Far),
}

impl Bucket {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is to be known of an object.
    pub fn object(&self, key: &str) -> Result<Object, BucketError> {
        match &self.at {
            At::Folder(folder) => folder.object(key),
            At::Elsewhere(far) => far.object(key),
        }
    }

    /// An object and its file: its own, or what it was fetched to.
    pub fn fetch(&self, key: &str, spool: Spool<'_>) -> Result<(Object, PathBuf), BucketError> {
        match &self.at {
            At::Folder(folder) => Ok((folder.object(key)?, folder.file(key)?)),
            At::Elsewhere(far) => far.fetch(key, spool),
        }
    }

    /// A part of an object in a folder, and the object: what its bytes are read from, at the first of them.
    pub fn open(&self, key: &str) -> Result<(Object, File), BucketError> {
        self.folder(key)?.open_object(key)
    }

    /// The folder that it is, unless it is elsewhere.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        match &self.at {
            At::Folder(folder) => Some(&folder.root),
            At::Elsewhere(_) => None,
        }
    }

    fn folder(&self, what: &str) -> Result<&Folder, BucketError> {
        match &self.at {
            At::Folder(folder) => Ok(folder),
            At::Elsewhere(_) => Err(self.is_elsewhere(what)),
        }
    }

    fn is_elsewhere(&self, what: &str) -> BucketError {
        let error = std::io::Error::other("it is elsewhere");
        folder::io_error(&self.name, what, &error)
    }

    /// The first objects whose keys begin with `prefix` and come after `after`, at most
    /// [`LISTED_MAX`]; fewer are all that follow.
    pub fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, BucketError> {
        match &self.at {
            At::Folder(folder) => folder.list(prefix, after),
            At::Elsewhere(far) => far.list(prefix, after),
        }
    }

    /// Begins an object; what was there under its key stays until the new one is whole.
    pub fn create(&self, key: &str) -> Result<ObjectWriter, BucketError> {
        match &self.at {
            At::Folder(folder) => ObjectWriter::in_folder(folder, key),
            At::Elsewhere(far) => ObjectWriter::elsewhere(far, key),
        }
    }

    /// Removes an object; one that is not there is removed.
    pub fn remove(&self, key: &str) -> Result<(), BucketError> {
        match &self.at {
            At::Folder(folder) => folder.remove(key),
            At::Elsewhere(far) => far.remove(key),
        }
    }
}

/// Reads so many bytes of a file from a position, fewer where it ends.
pub fn read_part(file: &mut File, part: Range<u64>) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(part.start))?;
    let length = part.end.saturating_sub(part.start);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
