//! Writing an object, a part at a time.

use std::mem;

use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, path::Path as Key};

use super::{Bucket, BucketError};

/// Written to an object at a time; S3 wants at least 5 MiB for a part, and twice this much is held.
pub const PART_BYTES: usize = 5 * 1024 * 1024;

/// An object that is being written; it is there once [`ObjectWriter::finish`] has answered, and not at all
/// where this is dropped before.
#[derive(Debug)]
pub struct ObjectWriter {
    bucket: Bucket,
    key: Key,
    /// There is one once a part is full: what fits in one is written in one piece.
    upload: Option<Box<dyn MultipartUpload>>,
    part: Vec<u8>,
    bytes: u64,
}

impl ObjectWriter {
    pub(super) fn new(bucket: Bucket, key: Key) -> Self {
        Self {
            bucket,
            key,
            upload: None,
            part: Vec::new(),
            bytes: 0,
        }
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
        self.bytes += bytes.len() as u64;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            if self.part.len() == PART_BYTES {
                self.put_part()?;
            }
            let more = bytes.len().min(PART_BYTES - self.part.len());
            if self.part.len() + more > self.part.capacity() {
                // Why so: a vector that grows by itself may hold twice as much as a part has.
                let wanted = (2 * (self.part.len() + more)).min(PART_BYTES);
                self.part.reserve_exact(wanted - self.part.len());
            }
            let (now, later) = bytes.split_at(more);
            self.part.extend_from_slice(now);
            bytes = later;
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
        if self.upload.is_none() {
            let whole = PutPayload::from(mem::take(&mut self.part));
            let (bucket, key) = (&self.bucket, &self.key);
            let put = bucket.wait(bucket.store().put(key, whole));
            put.map_err(|error| bucket.store_error(key.as_ref(), &error))?;
            return Ok(self.bytes);
        }
        if !self.part.is_empty() {
            self.put_part()?;
        }
        if let Some(mut upload) = self.upload {
            let done = self.bucket.wait(upload.complete());
            done.map_err(|error| self.bucket.store_error(self.key.as_ref(), &error))?;
        }
        Ok(self.bytes)
    }

    fn put_part(&mut self) -> Result<(), BucketError> {
        let Self { bucket, key, .. } = self;
        let failed = |error| bucket.store_error(key.as_ref(), &error);
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let begun = bucket.wait(bucket.store().put_multipart(key));
                none.insert(begun.map_err(failed)?)
            }
        };
        let part = PutPayload::from(mem::take(&mut self.part));
        bucket.wait(upload.put_part(part)).map_err(failed)
    }
}
