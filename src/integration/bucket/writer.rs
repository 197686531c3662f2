//! Writing an object: to a file that nobody sees before it is whole, or in parts to where its bucket is.

use std::{mem, path::PathBuf};

use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, path::Path as Key};

use super::{
    BucketError,
    elsewhere::{Far, store_error},
    folder::Folder,
    staged::Staged,
};

/// Written to an object elsewhere at a time; S3 wants at least 5 MiB for a part, and twice this much is held.
pub const PART_BYTES: usize = 5 * 1024 * 1024;

/// An object that is being written; it is there once [`ObjectWriter::finish`] has answered, and not at all
/// where this is dropped before.
#[derive(Debug)]
pub struct ObjectWriter {
    to: To,
    bytes: u64,
}

#[derive(Debug)]
enum To {
    Folder {
        folder: Folder,
        key: String,
        path: PathBuf,
        staged: Staged,
    },
    Elsewhere(Upload),
}

impl ObjectWriter {
    pub(super) fn in_folder(folder: &Folder, key: &str) -> Result<Self, BucketError> {
        let path = folder.new_place(key)?;
        let staged = Staged::create(&folder.staging());
        let staged = staged.map_err(|error| folder.not_written(key, &error))?;
        Ok(Self {
            to: To::Folder {
                folder: folder.clone(),
                key: key.to_owned(),
                path,
                staged,
            },
            bytes: 0,
        })
    }

    pub(super) fn elsewhere(far: &Far, key: &str) -> Result<Self, BucketError> {
        let upload = Upload {
            key: far.place(key)?,
            far: far.clone(),
            begun: None,
            part: Vec::new(),
        };
        let to = To::Elsewhere(upload);
        Ok(Self { to, bytes: 0 })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
        self.bytes += bytes.len() as u64;
        match &mut self.to {
            To::Elsewhere(upload) => upload.write(bytes),
            To::Folder {
                folder,
                key,
                staged,
                ..
            } => {
                let written = staged.write(bytes);
                written.map_err(|error| folder.not_written(key, &error))
            }
        }
    }

    /// How many bytes were written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the object be there, whole and on disk.
    pub fn finish(self) -> Result<u64, BucketError> {
        match self.to {
            To::Elsewhere(mut upload) => upload.finish()?,
            To::Folder {
                folder,
                key,
                path,
                staged,
            } => {
                let placed = staged.place_on_disk(&folder.root, &path);
                placed.map_err(|error| folder.not_written(&key, &error))?;
            }
        }
        Ok(self.bytes)
    }
}

/// An object on its way to a bucket elsewhere. What was begun and is not finished is aborted: who has the
/// bucket would keep its parts, for money.
#[derive(Debug)]
struct Upload {
    far: Far,
    key: Key,
    /// There is one once a part is full: what fits in one is written in one piece.
    begun: Option<Box<dyn MultipartUpload>>,
    part: Vec<u8>,
}

impl Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BucketError> {
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

    fn finish(&mut self) -> Result<(), BucketError> {
        let Self { far, key, .. } = self;
        let failed = |error| store_error(far.name(), key.as_ref(), &error);
        if self.begun.is_none() {
            let whole = PutPayload::from(mem::take(&mut self.part));
            far.wait(far.store().put(key, whole)).map_err(failed)?;
            return Ok(());
        }
        if !self.part.is_empty() {
            self.put_part()?;
        }
        let Self {
            far, key, begun, ..
        } = self;
        if let Some(upload) = begun {
            let done = far.wait(upload.complete());
            done.map_err(|error| store_error(far.name(), key.as_ref(), &error))?;
        }
        self.begun = None;
        Ok(())
    }

    fn put_part(&mut self) -> Result<(), BucketError> {
        let Self { far, key, .. } = self;
        let failed = |error| store_error(far.name(), key.as_ref(), &error);
        let upload = match &mut self.begun {
            Some(upload) => upload,
            none => {
                let begun = far.wait(far.store().put_multipart(key));
                none.insert(begun.map_err(failed)?)
            }
        };
        let part = PutPayload::from(mem::take(&mut self.part));
        far.wait(upload.put_part(part)).map_err(failed)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut upload) = self.begun.take() {
            let (bucket, key) = (self.far.name().to_owned(), self.key.to_string());
            // Why not waited for: whoever drops this has failed already, and may be no thread to block.
            self.far.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(bucket, key, %error, "an upload that broke off is not aborted");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use object_store::{PutResult, Result, UploadPart, aws::AmazonS3Builder};

    use super::*;

    #[derive(Debug)]
    struct Counted {
        aborted: Arc<AtomicUsize>,
        complete: bool,
    }

    #[async_trait::async_trait]
    impl MultipartUpload for Counted {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            Box::pin(async { Ok(()) })
        }

        async fn complete(&mut self) -> Result<PutResult> {
            if self.complete {
                return Ok(PutResult {
                    e_tag: None,
                    version: None,
                    extensions: hyper::http::Extensions::default(),
                });
            }
            Err(object_store::Error::NotImplemented {
                operation: String::new(),
                implementer: String::new(),
            })
        }

        async fn abort(&mut self) -> Result<()> {
            self.aborted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn an_upload_elsewhere_that_is_not_finished_is_aborted() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let store = AmazonS3Builder::new()
            .with_bucket_name("data")
            .with_region("us-east-1")
            .build()
            .unwrap();
        let far = Far::new("data", store, runtime.handle().clone());
        let aborted = Arc::new(AtomicUsize::new(0));
        let begun = |complete| {
            let aborted = Arc::clone(&aborted);
            Upload {
                far: far.clone(),
                key: Key::from("k"),
                begun: Some(Box::new(Counted { aborted, complete })),
                part: b"text".to_vec(),
            }
        };
        let count = || {
            runtime.block_on(tokio::task::yield_now());
            aborted.load(Ordering::Relaxed)
        };
        begun(true).finish().unwrap();
        assert_eq!(count(), 0);
        begun(false).finish().unwrap_err();
        assert_eq!(count(), 1);
        drop(begun(true));
        assert_eq!(count(), 2);
    }
}
