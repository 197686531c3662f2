//! Bodies as they come in, before the protocol is read from them.
//!
//! Owns how long a sender may be silent, and how large a chunk of a body is that comes in chunks: the protocol
//! holds such a chunk whole. One that is signed may not be larger; one that is not is made several. Never holds
//! more of a body itself than what came in at once.

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

/// Bytes of a chunk that is signed: a multiple of what SDKs send, which is between 64 KiB and a mebibyte.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a chunk that a larger one is cut into.
const CUT_BYTES: u64 = 1 << 20;

/// Digits of the size of a chunk that is signed: what the protocol's reader takes.
const SIZE_DIGITS_MAX: usize = 8;

/// The same of one that is cut: more than any body has, and no overflow.
const CUT_DIGITS_MAX: usize = 15;

/// Bytes of the line with a chunk's size: ten times what a signature makes of it.
const LINE_BYTES_MAX: usize = 1024;

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
    /// What should be a chunk's size is none.
    #[error("the body is not in chunks, each behind a line with its size in hexadecimal digits")]
    Line,
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
    /// `chunks`: where it is in chunks of S3's, each with its size.
    pub(super) fn new(body: Body, chunks: Option<Chunks>) -> Self {
        Self {
            body,
            left: SILENT_MAX,
            waiting: None,
            chunks,
        }
    }

    /// What comes next, as it came.
    fn poll_came(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let left = self.left;
            let (_, end) = self
                .waiting
                .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
            ready!(end.as_mut().poll(context));
            return Poll::Ready(Some(Err(Broken::Late)));
        };
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let frame = frame.transpose()?;
        if let Some(bytes) = frame.as_ref().and_then(Frame::data_ref) {
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let back = Duration::from_secs(1) * count / BYTES_PER_SECOND_MIN;
            self.left = (self.left + back).min(SILENT_MAX);
        }
        Poll::Ready(frame.map(Ok))
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let Some(frame) = ready!(self.poll_came(context)?) else {
                return Poll::Ready(None);
            };
            let (Some(bytes), Some(chunks)) = (frame.data_ref(), &mut self.chunks) else {
                return Poll::Ready(Some(Ok(frame)));
            };
            chunks.follow(bytes)?;
            match chunks.take_cut() {
                None => return Poll::Ready(Some(Ok(frame))),
                // Why passed over: it is a piece of a line, which is written once it is whole.
                Some(cut) if cut.is_empty() => {}
                Some(cut) => return Poll::Ready(Some(Ok(Frame::data(cut.into())))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.chunks {
            // Why none: lines are added.
            Some(Chunks { cut: Some(_), .. }) => SizeHint::default(),
            Some(_) | None => self.body.size_hint(),
        }
    }
}

/// The chunks of a body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// What is to be read instead of what came, where large ones are cut.
    cut: Option<Vec<u8>>,
}

/// Where in its chunks a body is. Spec: a line with the size in hexadecimal digits, then so many bytes and an
/// end of a line; what follows a chunk of no bytes is none.
#[derive(Debug)]
enum At {
    Line {
        size: u64,
        digits: usize,
        /// Bytes of the line that are behind us.
        length: usize,
    },
    Bytes {
        /// To the end of the chunk that is read, with the end of the line behind it.
        left: u64,
        /// Bytes of the chunk that came which are to be chunks of their own.
        later: u64,
    },
    Behind,
}

impl Default for At {
    fn default() -> Self {
        Self::Line {
            size: 0,
            digits: 0,
            length: 0,
        }
    }
}

impl Chunks {
    /// Those of a body without signatures between them, of which large ones are cut.
    pub(super) fn unsigned() -> Self {
        Self {
            cut: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// What is to be read instead of what was followed since; `None`: just that.
    fn take_cut(&mut self) -> Option<Vec<u8>> {
        self.cut.as_mut().map(std::mem::take)
    }

    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let passed = match &mut self.at {
                At::Behind => bytes.len(),
                At::Line { .. } => {
                    let Some((byte, rest)) = bytes.split_first() else {
                        break;
                    };
                    self.follow_line(*byte)?;
                    bytes = rest;
                    continue;
                }
                At::Bytes { left, .. } => {
                    let passed = usize::try_from(*left).unwrap_or(usize::MAX);
                    let passed = passed.min(bytes.len());
                    *left -= passed as u64;
                    passed
                }
            };
            let (passed, rest) = bytes.split_at(passed);
            bytes = rest;
            if let Some(cut) = &mut self.cut {
                cut.extend_from_slice(passed);
            }
            match self.at {
                At::Bytes { left: 0, later: 0 } => self.at = At::default(),
                At::Bytes { left: 0, later } => {
                    if let Some(cut) = &mut self.cut {
                        cut.extend_from_slice(b"\r\n");
                    }
                    self.begin(later);
                }
                At::Bytes { .. } | At::Line { .. } | At::Behind => {}
            }
        }
        Ok(())
    }

    /// Reads the next byte of a line.
    fn follow_line(&mut self, byte: u8) -> Result<(), Broken> {
        let At::Line {
            size,
            digits,
            length,
        } = &mut self.at
        else {
            return Ok(());
        };
        let is_told = *length > *digits;
        *length += 1;
        match char::from(byte).to_digit(16).filter(|_| !is_told) {
            Some(digit) => {
                (*size, *digits) = (*size * 16 + u64::from(digit), *digits + 1);
                let fits = match self.cut {
                    Some(_) => *digits <= CUT_DIGITS_MAX,
                    None => *digits <= SIZE_DIGITS_MAX && *size <= CHUNK_BYTES_MAX,
                };
                fits.then_some(()).ok_or(Broken::Chunk)
            }
            None if is_told && byte == b'\n' => {
                let size = *size;
                self.begin(size);
                Ok(())
            }
            // Why refused: a line that says nothing must not be written as one that says an end.
            None if !is_told && (*digits == 0 || !matches!(byte, b';' | b'\r')) => {
                Err(Broken::Line)
            }
            None if *length > LINE_BYTES_MAX => Err(Broken::Line),
            None => Ok(()),
        }
    }

    /// Behind the line of a chunk of so many bytes, or where one of them is to begin.
    fn begin(&mut self, size: u64) {
        let now = if self.cut.is_some() {
            size.min(CUT_BYTES)
        } else {
            size
        };
        if let Some(cut) = &mut self.cut {
            cut.extend_from_slice(format!("{now:x}\r\n").as_bytes());
        }
        self.at = match (now, size - now) {
            (0, _) => At::Behind,
            // Why two more: the end of the line behind the bytes.
            (now, 0) => At::Bytes {
                left: now + 2,
                later: 0,
            },
            (left, later) => At::Bytes { left, later },
        };
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
    async fn a_large_chunk_that_is_not_signed_is_cut_wherever_it_is_torn() {
        let large = usize::try_from(2 * CUT_BYTES + 5).unwrap();
        let trailer = "x-amz-checksum-crc32:AAAAAA==\r\n";
        let written = |sizes: &[usize]| {
            let mut body = Vec::new();
            for size in sizes {
                body.extend(format!("{size:x}\r\n").into_bytes());
                body.extend(std::iter::repeat_n(b'9', *size));
                body.extend(b"\r\n");
            }
            body.extend(format!("0\r\n{trailer}\r\n").into_bytes());
            body
        };
        let cut = usize::try_from(CUT_BYTES).unwrap();
        let wanted = written(&[3, cut, cut, 5, cut]);
        for torn in [17, 1021, cut, usize::MAX] {
            let sent = written(&[3, large, cut]);
            let pieces: Vec<_> = sent
                .chunks(torn.min(sent.len()))
                .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
                .collect();
            let body = Body::from_stream(stream::iter(pieces));
            let mut watched = Watched::new(body, Some(Chunks::unsigned()));
            let mut read = Vec::new();
            while let Some(frame) = watched.frame().await {
                let bytes = frame.unwrap().into_data().unwrap();
                assert!(!bytes.is_empty());
                read.extend_from_slice(&bytes);
            }
            assert!(read == wanted, "{torn}");
        }
        for none in ["\r\n", "g\r\n", "1\n", "-1\r\n", "1 \r\n"] {
            let mut chunks = Chunks::unsigned();
            let followed = chunks.follow(none.as_bytes());
            assert!(matches!(followed, Err(Broken::Line)), "{none:?}");
        }
        let long = format!("1;{}", "x".repeat(LINE_BYTES_MAX));
        assert!(Chunks::unsigned().follow(long.as_bytes()).is_err());
        let most = "f".repeat(CUT_DIGITS_MAX + 1);
        assert!(Chunks::unsigned().follow(most.as_bytes()).is_err());
    }

    #[tokio::test]
    async fn a_silent_sender_is_cut_off_and_one_that_drips_too() {
        let sent = |first: usize, left: Duration| {
            let first = Ok::<_, std::io::Error>(Bytes::from(vec![0; first]));
            let pieces = stream::iter([first]).chain(stream::pending());
            let mut watched = Watched::new(Body::from_stream(pieces), None);
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
