//! A bucket that is a folder: how a key becomes a file of it.
//!
//! Invariant: no key leads out of the folder, neither by its text nor over a link in it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use object_store::path::Path as Key;

use super::{
    BucketError, KEY_BYTES_MAX, Object, listing,
    staged::{self, STAGING},
};

/// Bytes of a name in a folder: what every file system of Linux takes.
const NAME_BYTES_MAX: usize = 255;

#[derive(Debug, Clone)]
pub(super) struct Folder {
    name: Arc<str>,
    /// Without links in it.
    pub(super) root: Arc<Path>,
}

impl Folder {
    pub(super) fn open(name: &str, path: &Path) -> Result<Self, BucketError> {
        let root = fs::canonicalize(path).ok().filter(|root| root.is_dir());
        let Some(root) = root else {
            return Err(BucketError::NoSuchBucket {
                bucket: name.to_owned(),
                mend: format!(
                    " (make the folder {}, or name another in [buckets.{name}])",
                    path.display()
                ),
            });
        };
        Ok(Self {
            name: name.into(),
            root: root.into(),
        })
    }

    /// Where objects are while they are written.
    pub(super) fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Removes what objects left that were never whole.
    pub(super) fn sweep(&self) -> Result<(), BucketError> {
        staged::sweep(&self.staging()).map_err(|error| io_error(&self.name, STAGING, &error))
    }

    /// The file of an object that is there.
    pub(super) fn file(&self, key: &str) -> Result<PathBuf, BucketError> {
        let path = self.place(key)?;
        let real = fs::canonicalize(&path).map_err(|error| {
            if is_missing(&error) {
                self.no_such_key(key)
            } else {
                io_error(&self.name, key, &error)
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

    pub(super) fn object(&self, key: &str) -> Result<Object, BucketError> {
        let metadata = fs::metadata(self.file(key)?);
        let metadata = metadata.map_err(|error| io_error(&self.name, key, &error))?;
        Ok(listing::object(key.to_owned(), &metadata))
    }

    /// An object with its bytes: of one and the same file, also when another takes its place meanwhile.
    pub(super) fn open_object(&self, key: &str) -> Result<(Object, File), BucketError> {
        let io = |error: io::Error| io_error(&self.name, key, &error);
        let file = File::open(self.file(key)?).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        Ok((listing::object(key.to_owned(), &metadata), file))
    }

    /// Where an object may be written.
    pub(super) fn new_place(&self, key: &str) -> Result<PathBuf, BucketError> {
        let long = |name: &str| name.len() > NAME_BYTES_MAX;
        if key.len() > KEY_BYTES_MAX || key.split('/').any(long) {
            return Err(BucketError::KeyTooLong {
                bucket: self.name.to_string(),
                key: key.chars().take(KEY_BYTES_MAX).collect(),
            });
        }
        let path = self.place(key)?;
        let above = self.check_parents(key, &path)?;
        let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        // Why removed: a bucket has no folders, and what nothing is in takes no key.
        if !above.is_dir() || (is_folder(&path) && fs::remove_dir(&path).is_err()) {
            return Err(self.taken(key));
        }
        Ok(path)
    }

    pub(super) fn remove(&self, key: &str) -> Result<(), BucketError> {
        let path = self.place(key)?;
        self.check_parents(key, &path)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_missing(&error) || error.kind() == io::ErrorKind::IsADirectory => {
                return Ok(());
            }
            Err(error) => return Err(io_error(&self.name, key, &error)),
        }
        // A bucket has no folders: what nothing is in any more goes. Why no error: something may be in it.
        let above = path.ancestors().skip(1);
        for folder in above.take_while(|folder| *folder != &*self.root) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Where the file of a key would be.
    fn place(&self, key: &str) -> Result<PathBuf, BucketError> {
        let first = key.split('/').next();
        if parse(key).is_none() || first == Some(STAGING) {
            return Err(self.denied(key));
        }
        Ok(self.root.join(key))
    }

    /// What is there of the folders over a file, which are to be the bucket's own: the lowest one.
    fn check_parents(&self, key: &str, path: &Path) -> Result<PathBuf, BucketError> {
        for parent in path.ancestors().skip(1) {
            match fs::canonicalize(parent) {
                Ok(real) if real.starts_with(&self.root) => return Ok(real),
                Ok(_) => return Err(self.denied(key)),
                Err(error) if is_missing(&error) => {
                    // A link to nowhere would be followed by whoever makes the folder.
                    if parent.is_symlink() {
                        return Err(self.denied(key));
                    }
                }
                Err(error) => return Err(io_error(&self.name, key, &error)),
            }
        }
        Err(self.denied(key))
    }

    /// Why an object is not written.
    pub(super) fn not_written(&self, key: &str, error: &io::Error) -> BucketError {
        // Another object came between the look and the writing.
        let is_taken = matches!(
            error.kind(),
            io::ErrorKind::IsADirectory
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::DirectoryNotEmpty
        );
        if is_taken {
            return self.taken(key);
        }
        // Why not an error of ours: it stays so until somebody changes the folder.
        let is_unwritable = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::CrossesDevices
        );
        if is_unwritable {
            return BucketError::Unwritable {
                bucket: self.name.to_string(),
                key: key.to_owned(),
                folder: self.root.display().to_string(),
                error: error.to_string(),
            };
        }
        io_error(&self.name, key, error)
    }

    fn taken(&self, key: &str) -> BucketError {
        BucketError::Taken {
            bucket: self.name.to_string(),
            key: key.to_owned(),
        }
    }

    fn denied(&self, key: &str) -> BucketError {
        denied(&self.name, key)
    }

    fn no_such_key(&self, key: &str) -> BucketError {
        no_such_key(&self.name, key)
    }

    pub(super) fn unread(&self, error: &io::Error) -> BucketError {
        io_error(&self.name, "a folder", error)
    }
}

/// Whether nothing is there.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

/// The key, if it is one that is written in one way alone.
pub(super) fn parse(key: &str) -> Option<Key> {
    let parsed = Key::parse(key).ok()?;
    let whole = !key.is_empty() && key.len() <= KEY_BYTES_MAX && parsed.as_ref() == key;
    whole.then_some(parsed)
}

pub(super) fn denied(bucket: &str, key: &str) -> BucketError {
    BucketError::Denied {
        bucket: bucket.to_owned(),
        key: key.chars().take(KEY_BYTES_MAX).collect(),
    }
}

pub(super) fn no_such_key(bucket: &str, key: &str) -> BucketError {
    BucketError::NoSuchKey {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    }
}

pub(super) fn io_error(bucket: &str, what: &str, error: &dyn std::error::Error) -> BucketError {
    BucketError::Io {
        bucket: bucket.to_owned(),
        what: what.to_owned(),
        error: error.to_string(),
    }
}
