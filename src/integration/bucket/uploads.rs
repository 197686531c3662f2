//! Objects that clients send in parts, each in a request of its own, in any order.
//!
//! Owns the folder of parts that are no object yet: a folder for each upload, a file for each part. Crash:
//! a part bears its name only once it is whole; what nobody completes within [`KEPT_FOR`] is removed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    Bucket, BucketError,
    folder::io_error,
    listing,
    staged::{STAGING, Staged},
};
use crate::time::{Clock as _, SystemClock, Timestamp};

/// Uploads that are not complete, at a time.
const UPLOADS_MAX: usize = 1000;

/// For how long the parts of an upload are kept that nobody completes.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

/// For how long a folder may be no upload yet: what has none of the file for longer was completed.
const BEGUN_IN: Duration = Duration::from_mins(1);

/// Spec: parts of an upload.
pub const PARTS_MAX: u32 = 10_000;

/// Copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// The file that says what an upload is of.
const ABOUT: &str = "about.json";

/// Where uploads are.
#[derive(Debug, Clone)]
pub struct Uploads {
    /// An existing directory of iterd's own.
    pub root: PathBuf,
}

/// What an upload is of.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    bucket: String,
    key: String,
}

/// An upload that is not complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Begun {
    /// The key that the object will have.
    pub key: String,
    /// The upload's id.
    pub id: String,
    /// When it was begun.
    pub at: Timestamp,
}

/// Why an upload cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is none of that id for that key.
    #[error(
        "there is no upload of that id for this key; it was completed, aborted, or is older than a week"
    )]
    Unknown,
    /// A part is not there, or is another than was told.
    #[error("part {0} was not sent, or is another one by now")]
    Part(u32),
    /// The parts are not in the order of their numbers.
    #[error("the parts are not in the order of their numbers")]
    Order,
    /// Another request is completing it.
    #[error("another request completes this upload already")]
    Busy,
    /// There are too many.
    #[error("{UPLOADS_MAX} uploads are not complete; complete or abort some")]
    TooMany,
    /// That is no number of a part.
    #[error("{0} is no number of a part; between 1 and {PARTS_MAX}")]
    Number(u32),
    /// The object cannot be written.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl Uploads {
    /// Begins an upload; its id.
    pub fn begin(&self, bucket: &Bucket, key: &str) -> Result<String, UploadError> {
        // Why: a key that is none is told now, and not after the last part.
        bucket.folder(key)?.new_place(key)?;
        let io = |error: io::Error| io_error(bucket.name(), key, &error);
        if self.sweep().map_err(io)? >= UPLOADS_MAX {
            return Err(UploadError::TooMany);
        }
        let id = format!("{:032x}", rand::random::<u128>());
        let folder = self.root.join(&id);
        let about = About {
            bucket: bucket.name().to_owned(),
            key: key.to_owned(),
        };
        let about = serde_json::to_vec(&about)
            .map_err(io::Error::from)
            .map_err(io)?;
        fs::create_dir(&folder)
            .and_then(|()| fs::write(folder.join(ABOUT), about))
            .map_err(io)?;
        Ok(id)
    }

    /// The uploads to a bucket that are not complete, by key and id.
    pub fn begun(&self, bucket: &str) -> Result<Vec<Begun>, UploadError> {
        let io = |error: io::Error| io_error(bucket, "an upload", &error);
        let mut begun = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(io)? {
            let entry = entry.map_err(io)?;
            // What is gone, or was never whole, is none.
            let of = about(&entry.path()).filter(|about| about.bucket == bucket);
            let made = fs::metadata(entry.path().join(ABOUT));
            if let (Some(of), Ok(made), Ok(id)) = (of, made, entry.file_name().into_string()) {
                begun.push(Begun {
                    key: of.key,
                    id,
                    at: listing::object(String::new(), &made).modified,
                });
            }
        }
        begun.sort_unstable();
        Ok(begun)
    }

    /// Begins a part, which takes the place of one of its number.
    pub fn part(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        number: u32,
    ) -> Result<PartWriter, UploadError> {
        let folder = self.folder(bucket, key, id)?;
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(UploadError::Number(number));
        }
        let io = |error: io::Error| io_error(bucket, key, &error);
        let whole = folder.join(number.to_string());
        let staged = Staged::create(&folder.join(STAGING)).map_err(io)?;
        Ok(PartWriter { staged, whole })
    }

    /// The parts that were sent: their numbers, sizes and tags.
    pub fn parts(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
    ) -> Result<BTreeMap<u32, (u64, String)>, UploadError> {
        let folder = self.folder(bucket, key, id)?;
        let io = |error: io::Error| io_error(bucket, key, &error);
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            if let Some(number) = name.to_str().and_then(|name| name.parse().ok()) {
                let object = listing::object(String::new(), &entry.metadata().map_err(io)?);
                found.insert(number, (object.size, object.etag));
            }
        }
        Ok(found)
    }

    /// Holds that the object can be made of the parts; how many bytes it will have.
    pub fn check(
        &self,
        bucket: &Bucket,
        key: &str,
        id: &str,
        parts: &[(u32, String)],
    ) -> Result<u64, UploadError> {
        let sent = self.parts(bucket.name(), key, id)?;
        let ordered = parts.windows(2).all(|two| match two {
            [(one, _), (next, _)] => one < next,
            _ => true,
        });
        if !ordered {
            return Err(UploadError::Order);
        }
        let mut bytes = 0;
        for (number, tag) in parts {
            match sent.get(number) {
                Some((size, known)) if known == tag => bytes += size,
                Some(_) | None => return Err(UploadError::Part(*number)),
            }
        }
        bucket.folder(key)?.new_place(key)?;
        Ok(bytes)
    }

    /// Makes the object of the parts, in that order, each with the tag that it was told with. Only one request
    /// does at a time; a part that comes meanwhile is in the object or is not.
    pub fn complete(
        &self,
        bucket: &Bucket,
        key: &str,
        id: &str,
        parts: &[(u32, String)],
    ) -> Result<(), UploadError> {
        let folder = self.folder(bucket.name(), key, id)?;
        let io = |error: io::Error| io_error(bucket.name(), key, &error);
        let alone = File::open(folder.join(ABOUT)).map_err(|_| UploadError::Unknown)?;
        alone.try_lock().map_err(|_| UploadError::Busy)?;
        self.check(bucket, key, id, parts)?;
        let mut writer = bucket.create(key)?;
        let mut buffer = vec![0; COPY_BYTES];
        for (number, _) in parts {
            let mut part = File::open(folder.join(number.to_string())).map_err(io)?;
            loop {
                let read = part.read(&mut buffer).map_err(io)?;
                if read == 0 {
                    break;
                }
                writer.write(buffer.get(..read).unwrap_or_default())?;
            }
        }
        writer.finish()?;
        // Why no error: the object is there, and a part that came meanwhile goes with what is old.
        drop(fs::remove_file(folder.join(ABOUT)));
        drop(fs::remove_dir_all(folder));
        Ok(())
    }

    /// Forgets an upload and its parts.
    pub fn abort(&self, bucket: &str, key: &str, id: &str) -> Result<(), UploadError> {
        let folder = self.folder(bucket, key, id)?;
        fs::remove_dir_all(folder).map_err(|error| io_error(bucket, key, &error))?;
        Ok(())
    }

    fn folder(&self, bucket: &str, key: &str, id: &str) -> Result<PathBuf, UploadError> {
        // Why looked at: it becomes a part of a path.
        let plain = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let folder = self.root.join(id);
        let about = plain.then(|| about(&folder)).flatten();
        let known = about.is_some_and(|about| about.bucket == bucket && about.key == key);
        known.then_some(folder).ok_or(UploadError::Unknown)
    }

    /// Removes what nobody completed for long; how many are left. Others may remove some meanwhile.
    pub fn sweep(&self) -> io::Result<usize> {
        let now = Duration::from_micros(u64::try_from(SystemClock.now().0).unwrap_or(0));
        let mut left = 0;
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let touched = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let swept = touched.and_then(|touched| {
                let touched = touched.duration_since(UNIX_EPOCH).unwrap_or_default();
                let is_old = now.saturating_sub(touched) > KEPT_FOR;
                if is_old || !path.join(ABOUT).exists() && now.saturating_sub(touched) > BEGUN_IN {
                    fs::remove_dir_all(&path)?;
                    return Ok(0);
                }
                Ok(1)
            });
            match swept {
                Ok(count) => left += count,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }
}

fn about(folder: &Path) -> Option<About> {
    serde_json::from_slice(&fs::read(folder.join(ABOUT)).ok()?).ok()
}

/// A part that is being received; it is there once [`PartWriter::finish`] has answered.
#[derive(Debug)]
pub struct PartWriter {
    staged: Staged,
    whole: PathBuf,
}

impl PartWriter {
    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.staged.write(bytes)
    }

    /// Makes the part be there; its tag. Why not on disk: the object is, once it is complete.
    pub fn finish(self) -> io::Result<String> {
        let metadata = self.staged.place(&self.whole)?;
        Ok(listing::object(String::new(), &metadata).etag)
    }
}
