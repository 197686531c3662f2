//! Bodies as they come in, before the protocol is read from them.
//!
//! Owns how long a sender may be silent, and how large a chunk of a body is that is signed in chunks: the
//! protocol holds such a chunk whole. Never holds anything of a body itself.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// How long we wait for a body, altogether; what comes in gives some of it back.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Bytes that give back a second. Why so few: a slow line is no reason to be cut off.
const BYTES_PER_SECOND_MIN: u32 = 4096;

/// Bytes of a chunk: a multiple of what SDKs send, which is between 64 KiB and a mebibyte.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Digits of a chunk's size: what the protocol's reader takes.
const SIZE_DIGITS_MAX: usize = 8;

/// Why a body ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Its sender is silent, or slower than any line.
    #[error("{}", Self::LATE)]
    Late,
    /// A chunk is too large.
    #[error(
        "a chunk of the body has more than {CHUNK_BYTES_MAX} bytes; send it in smaller ones, or unsigned"
    )]
    Chunk,
    /// The connection broke off.
    #[error(transparent)]
    Connection(#[from] axum::Error),
}

impl Broken {
    /// What is said of a body that does not come: errors reach us as words.
    pub(super) const LATE: &str = "the body did not come in time";
}

/// A body that is looked at as it comes in.
pub(super) struct Watched {
    body: Body,
    /// How long we wait yet.
    left: Duration,
    /// Since when, and until when, where we wait.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    chunks: Option<Chunks>,
}

impl Watched {
    /// `chunked`: whether it is in chunks of S3's, each with its size and signature.
    pub(super) fn new(body: Body, chunked: bool) -> Self {
        Self {
            body,
            left: SILENT_MAX,
            waiting: None,
            chunks: chunked.then(Chunks::default),
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            let left = this.left;
            let (_, end) = this
                .waiting
                .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
            ready!(end.as_mut().poll(context));
            return Poll::Ready(Some(Err(Broken::Late)));
        };
        if let Some((since, _)) = this.waiting.take() {
            this.left = this.left.saturating_sub(since.elapsed());
        }
        let frame = frame.transpose()?;
        if let Some(bytes) = frame.as_ref().and_then(Frame::data_ref) {
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let back = Duration::from_secs(1) * count / BYTES_PER_SECOND_MIN;
            this.left = (this.left + back).min(SILENT_MAX);
            if let Some(chunks) = &mut this.chunks {
                chunks.follow(bytes)?;
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in its chunks a body is. Spec: a line with the size in hexadecimal digits, then so many bytes and an
/// end of a line; what follows a chunk of no bytes is none.
#[derive(Debug)]
enum Chunks {
    Line {
        size: u64,
        digits: usize,
        /// Whether the size is behind us.
        told: bool,
    },
    Bytes(u64),
    Behind,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Line {
            size: 0,
            digits: 0,
            told: false,
        }
    }
}

impl Chunks {
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while let Some((first, rest)) = bytes.split_first() {
            match self {
                Self::Behind => return Ok(()),
                Self::Bytes(left) => {
                    let passed = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    bytes = bytes.get(passed..).unwrap_or_default();
                    *left -= passed as u64;
                    if *left == 0 {
                        *self = Self::default();
                    }
                }
                Self::Line { size, digits, told } => {
                    bytes = rest;
                    let digit = char::from(*first).to_digit(16).filter(|_| !*told);
                    if let Some(digit) = digit {
                        (*size, *digits) = (*size * 16 + u64::from(digit), *digits + 1);
                        if *digits > SIZE_DIGITS_MAX || *size > CHUNK_BYTES_MAX {
                            return Err(Broken::Chunk);
                        }
                    } else if *first == b'\n' {
                        // Why two more: the end of the line behind the bytes.
                        *self = match size {
                            0 => Self::Behind,
                            size => Self::Bytes(*size + 2),
                        };
                    } else {
                        *told = true;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn chunks_are_bounded_wherever_they_are_torn() {
        let signed = |size: &str, bytes: usize| {
            let mut chunk = format!("{size};chunk-signature={}\r\n", "f".repeat(64)).into_bytes();
            chunk.extend(std::iter::repeat_n(b'9', bytes));
            chunk.extend(b"\r\n");
            chunk
        };
        let mut fine = [signed("10", 16), signed("1A", 26), signed("0", 0)].concat();
        fine.extend(b"x-amz-checksum-crc32:ffffffffffff\r\n");
        let large = [signed("10", 16), signed("1000001", 0)].concat();
        let long = b"000000010\r\n".to_vec();
        for (body, taken) in [(fine, true), (large, false), (long, false)] {
            for size in [1, 3, 17, 1000] {
                let mut chunks = Chunks::default();
                let followed = body.chunks(size).try_for_each(|piece| chunks.follow(piece));
                assert_eq!(followed.is_ok(), taken, "{size}");
            }
        }
    }

    #[tokio::test]
    async fn a_silent_sender_is_cut_off_and_one_that_drips_too() {
        let sent = |first: usize, left: Duration| {
            let first = Ok::<_, std::io::Error>(Bytes::from(vec![0; first]));
            let pieces = stream::iter([first]).chain(stream::pending());
            let mut watched = Watched::new(Body::from_stream(pieces), false);
            watched.left = left;
            watched
        };
        let mut silent = sent(1, Duration::ZERO);
        assert!(silent.frame().await.unwrap().is_ok());
        let late = silent.frame().await.unwrap();
        assert!(matches!(late, Err(Broken::Late)));
        // What comes in gives back its time, and no more.
        for (bytes, left) in [(1, 0), (8192, 2), (1 << 20, SILENT_MAX.as_secs())] {
            let mut sender = sent(bytes, Duration::ZERO);
            sender.frame().await.unwrap().unwrap();
            assert_eq!(sender.left.as_secs(), left, "{bytes}");
        }
    }
}
