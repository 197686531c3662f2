//! Taking in the body of an upload, a piece at a time, and looking whether it is what its sender sent.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt as _;
use s3s::{
    S3Error, S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::Checksum as _,
    dto::{Checksum, StreamingBlob},
    s3_error,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{body::Broken, dto};
use crate::{
    integration::bucket::{ObjectWriter, PartWriter},
    runtime::Disk,
};

/// Bodies that are taken in at a time; whoever sends another one waits. Each holds a piece here, and a part
/// in what it is written to.
const AT_ONCE_MAX: usize = 24;

/// How long a body waits for others to be taken in.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes that are gathered before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of an object that comes in one request, and of a part: S3's bound.
pub(super) const BODY_BYTES_MAX: u64 = 5 << 30;

/// Whether there is room for what comes in.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Knows how much is to be left.
    pub(super) disk: Disk,
    /// Where it is written: a bucket may have a disk of its own.
    pub(super) place: PathBuf,
}

impl Room {
    /// Refuses so many bytes where they would leave less than `store.disk_free_min`. Blocks.
    pub(super) fn check(&self, bytes: u64) -> S3Result<()> {
        if self.disk.has_room(&self.place, bytes) {
            return Ok(());
        }
        Err(s3_error!(
            ServiceUnavailable,
            "the disk of {} has, or would have, less than store.disk_free_min; make room, and try again",
            self.place.display()
        ))
    }
}

/// Refuses what is larger than a body may be, told of or received.
pub(super) fn check_size(bytes: u64) -> S3Result<()> {
    if bytes > BODY_BYTES_MAX {
        return Err(s3_error!(
            EntityTooLarge,
            "a request has at most {BODY_BYTES_MAX} bytes; send a larger object in parts"
        ));
    }
    Ok(())
}

/// What bytes are written to.
pub(super) trait Sink: Send + 'static {
    fn write(&mut self, bytes: &[u8]) -> S3Result<()>;
}

impl Sink for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> S3Result<()> {
        self.write(bytes).map_err(dto::refused)
    }
}

impl Sink for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> S3Result<()> {
        self.write(bytes).map_err(|error| dto::io(&error))
    }
}

/// Who may be taken in.
#[derive(Debug, Clone)]
pub(super) struct Leave(Arc<Semaphore>);

impl Leave {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }

    pub(super) async fn ask(&self) -> S3Result<OwnedSemaphorePermit> {
        let leave = Arc::clone(&self.0).acquire_owned();
        match tokio::time::timeout(LEAVE_TIME_MAX, leave).await {
            Ok(Ok(leave)) => Ok(leave),
            Ok(Err(_)) | Err(_) => Err(s3_error!(SlowDown, "too many uploads at a time")),
        }
    }
}

/// What a body is to add up to, as its sender says.
pub(super) struct Sums {
    /// In the headers.
    pub(super) told: Checksum,
    /// Behind the body.
    pub(super) trailing: Option<TrailingHeaders>,
    /// Which headers are to follow it, as `x-amz-trailer` says.
    pub(super) announced: String,
    /// `Content-MD5`.
    pub(super) md5: Option<String>,
}

/// What the body of a request is to add up to; its headers are fields of the two kinds of uploads.
macro_rules! sums {
    ($input:expr, $request:expr) => {{
        let announced = $request.headers.get("x-amz-trailer");
        let announced = announced.and_then(|names| names.to_str().ok());
        $crate::api::buckets::receive::Sums {
            told: s3s::dto::Checksum {
                checksum_crc32: $input.checksum_crc32.take(),
                checksum_crc32c: $input.checksum_crc32c.take(),
                checksum_crc64nvme: $input.checksum_crc64nvme.take(),
                checksum_sha1: $input.checksum_sha1.take(),
                checksum_sha256: $input.checksum_sha256.take(),
                ..s3s::dto::Checksum::default()
            },
            announced: announced.unwrap_or_default().to_ascii_lowercase(),
            trailing: $request.trailing_headers,
            md5: $input.content_md5.take(),
        }
    }};
}
pub(super) use sums;

/// Writes a body to where `open` opens, and finishes it there: what `finish` answers.
///
/// # Errors
/// Where the body breaks off, is too large for the disk or the protocol, or is not what was sent; then nothing
/// is there.
pub(super) async fn receive<S: Sink, T: Send + 'static>(
    body: Option<StreamingBlob>,
    sums: Sums,
    room: Room,
    open: impl FnOnce() -> S3Result<S> + Send + 'static,
    finish: impl FnOnce(S) -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    let mut hasher = hasher(&sums);
    let mut md5 = sums.md5.as_ref().map(|_| s3s::crypto::Md5::new());
    let mut piece = Vec::new();
    let mut sink = None;
    let mut open = Some(open);
    let mut received = 0;
    if let Some(mut body) = body {
        while let Some(bytes) = next(&mut body).await? {
            received += bytes.len() as u64;
            check_size(received)?;
            hasher.update(&bytes);
            if let Some(md5) = &mut md5 {
                md5.update(&bytes);
            }
            piece.extend_from_slice(&bytes);
            if piece.len() >= PIECE_BYTES {
                let (full, was, begin) = (std::mem::take(&mut piece), sink.take(), open.take());
                let room = room.clone();
                let written = blocking(move || {
                    room.check(full.len() as u64)?;
                    write(was, begin, &full)
                });
                sink = Some(written.await?);
            }
        }
    }
    check(hasher.finalize(), &sums)?;
    if let (Some(md5), Some(told)) = (md5, &sums.md5)
        && base64(&md5.finalize()) != *told
    {
        return Err(s3_error!(
            BadDigest,
            "the body is not what Content-MD5 says"
        ));
    }
    blocking(move || finish(write(sink, open, &piece)?)).await
}

/// Writes a piece to what is open, or is opened for it.
fn write<S: Sink>(
    sink: Option<S>,
    open: Option<impl FnOnce() -> S3Result<S>>,
    piece: &[u8],
) -> S3Result<S> {
    let mut sink = match (sink, open) {
        (Some(sink), _) => sink,
        (None, Some(open)) => open()?,
        (None, None) => return Err(s3_error!(InternalError, "the upload broke off")),
    };
    if !piece.is_empty() {
        sink.write(piece)?;
    }
    Ok(sink)
}

async fn next(body: &mut StreamingBlob) -> S3Result<Option<hyper::body::Bytes>> {
    match body.next().await {
        None => Ok(None),
        Some(Ok(bytes)) => Ok(Some(bytes)),
        Some(Err(error)) => {
            let words = error.to_string();
            if words.ends_with(Broken::LATE) {
                return Err(s3_error!(RequestTimeout, "{}", Broken::LATE));
            }
            Err(s3_error!(IncompleteBody, "the body broke off: {words}"))
        }
    }
}

/// Sums up what the sender told sums of.
fn hasher(sums: &Sums) -> ChecksumHasher {
    let trailing = |name: &str| {
        let mut names = sums.announced.split(',');
        names.any(|known| known.trim().strip_prefix("x-amz-checksum-") == Some(name))
    };
    let told = &sums.told;
    let mut hasher = ChecksumHasher::default();
    if told.checksum_crc32.is_some() || trailing("crc32") {
        hasher.crc32 = Some(s3s::crypto::Crc32::new());
    }
    if told.checksum_crc32c.is_some() || trailing("crc32c") {
        hasher.crc32c = Some(s3s::crypto::Crc32c::new());
    }
    if told.checksum_crc64nvme.is_some() || trailing("crc64nvme") {
        hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::new());
    }
    if told.checksum_sha1.is_some() || trailing("sha1") {
        hasher.sha1 = Some(s3s::crypto::Sha1::new());
    }
    if told.checksum_sha256.is_some() || trailing("sha256") {
        hasher.sha256 = Some(s3s::crypto::Sha256::new());
    }
    hasher
}

fn check(found: Checksum, sums: &Sums) -> S3Result<()> {
    let behind = |name: &str| {
        let trailing = sums.trailing.as_ref()?;
        trailing.read(|headers| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        })?
    };
    let told = &sums.told;
    for (name, found, told) in [
        (
            "x-amz-checksum-crc32",
            found.checksum_crc32,
            &told.checksum_crc32,
        ),
        (
            "x-amz-checksum-crc32c",
            found.checksum_crc32c,
            &told.checksum_crc32c,
        ),
        (
            "x-amz-checksum-crc64nvme",
            found.checksum_crc64nvme,
            &told.checksum_crc64nvme,
        ),
        (
            "x-amz-checksum-sha1",
            found.checksum_sha1,
            &told.checksum_sha1,
        ),
        (
            "x-amz-checksum-sha256",
            found.checksum_sha256,
            &told.checksum_sha256,
        ),
    ] {
        let told = told.clone().or_else(|| behind(name));
        if let (Some(found), Some(told)) = (found, told)
            && found != told
        {
            return Err(bad_digest(name));
        }
    }
    Ok(())
}

fn bad_digest(header: &str) -> S3Error {
    s3_error!(BadDigest, "the body is not what {header} says")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Does what may block where that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|error| {
        let error = io::Error::other(error);
        Err::<T, S3Error>(dto::io(&error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_behind_a_body_is_summed_up_and_nothing_else() {
        let of = |announced: &str| {
            let hasher = hasher(&Sums {
                told: Checksum::default(),
                trailing: None,
                announced: announced.to_owned(),
                md5: None,
            });
            [
                hasher.crc32.is_some(),
                hasher.crc32c.is_some(),
                hasher.crc64nvme.is_some(),
                hasher.sha1.is_some(),
                hasher.sha256.is_some(),
            ]
        };
        assert_eq!(of(""), [false; 5]);
        assert_eq!(
            of("x-amz-checksum-sha256"),
            [false, false, false, false, true]
        );
        assert_eq!(
            of("x-amz-meta, x-amz-checksum-crc32"),
            [true, false, false, false, false]
        );
    }
}
