//! A file seen through a window that moves: where records of any length are found in bounded memory.
//!
//! Owns the reading of bytes and the record that is too large to hold. Knows no format: what ends a
//! record is said by a scanner, which is fed the bytes piece by piece and keeps its own state.
//! Invariant: at most `READ_BYTES` plus twice the largest record allowed are held.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::SourceError;

/// Read at once. Large beside the cost of a system call, small beside a processor's second cache;
/// four times as much measures no faster.
const READ_BYTES: usize = 256 * 1024;

/// Looked through in search of one record's end; 1 GiB takes about a second. A record that has not
/// ended by then never will: a quote or bracket does not close.
const RECORD_SCAN_MAX: u64 = 1 << 30;

/// A file and the part of it that is in memory.
pub(in crate::integration) struct Window {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    base: u64,
    /// The position, in the buffer.
    begin: usize,
    /// How much of the buffer holds bytes of the file.
    filled: usize,
}

/// A record between its first byte and its end.
pub(in crate::integration) struct Delimited {
    /// Where its bytes are in memory; `None` where they are more than was allowed.
    held: Option<Range<usize>>,
    /// How many bytes it has, as far as the scanner took them.
    pub(in crate::integration) len: u64,
    /// What ended it.
    pub(in crate::integration) end: End,
}

/// What ended a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::integration) enum End {
    /// The scanner found it.
    Found,
    /// The file ends first.
    File,
    /// Nothing, within as many bytes as are looked through.
    Nowhere,
}

impl Window {
    /// Opens a file; `path` is what messages call it, `file` where its (decompressed) bytes are.
    pub(in crate::integration) fn open(path: &Path, file: &Path) -> Result<Self, SourceError> {
        // Why: opening a FIFO blocks until somebody writes to it, and there is no way back in it.
        let metadata = fs::metadata(file).map_err(|error| SourceError::io(path, error))?;
        if !metadata.is_file() {
            let problem = "it is no regular file; iterd must be able to go back to a position";
            return Err(SourceError::unsuitable(path, problem));
        }
        Ok(Self {
            path: path.to_owned(),
            file: File::open(file).map_err(|error| SourceError::io(path, error))?,
            buffer: vec![0; READ_BYTES],
            base: 0,
            begin: 0,
            filled: 0,
        })
    }

    /// What messages call the file.
    pub(in crate::integration) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's size now.
    pub(in crate::integration) fn size(&self) -> Result<u64, SourceError> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|error| SourceError::io(&self.path, error))?
            .len())
    }

    /// The position: bytes of the file before it.
    pub(in crate::integration) fn position(&self) -> u64 {
        self.base + self.begin as u64
    }

    /// Moves the position; costs nothing within what is in memory.
    pub(in crate::integration) fn seek(&mut self, offset: u64) {
        let within = offset
            .checked_sub(self.base)
            .and_then(|begin| usize::try_from(begin).ok())
            .filter(|begin| *begin <= self.filled);
        if let Some(begin) = within {
            self.begin = begin;
        } else {
            self.base = offset;
            self.begin = 0;
            self.filled = 0;
        }
    }

    /// The byte at the position, which stays; `None` at the end of the file.
    pub(in crate::integration) fn peek(&mut self) -> Result<Option<u8>, SourceError> {
        if self.begin == self.filled && self.fill()? == 0 {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.begin]))
    }

    /// Moves over the byte that was peeked at.
    pub(in crate::integration) fn step(&mut self) {
        self.begin = self.filled.min(self.begin + 1);
    }

    /// Moves over bytes as long as they are `skip`.
    pub(in crate::integration) fn skip_while(
        &mut self,
        skip: impl Fn(u8) -> bool,
    ) -> Result<(), SourceError> {
        while let Some(byte) = self.peek()?
            && skip(byte)
        {
            self.step();
        }
        Ok(())
    }

    /// Moves over the byte order mark that some programs write before UTF-8; answers how long it is.
    pub(in crate::integration) fn skip_byte_order_mark(&mut self) -> Result<u64, SourceError> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        while self.filled - self.begin < MARK.len() && self.fill()? > 0 {}
        if !self.buffer[self.begin..self.filled].starts_with(MARK) {
            return Ok(0);
        }
        self.begin += MARK.len();
        Ok(MARK.len() as u64)
    }

    /// Finds the end of the record at the position and moves behind it.
    ///
    /// `scan` is given the record's bytes piece by piece, and answers how many of a piece belong to
    /// the record once it has found the end. Bytes beyond `bytes_max` are looked at and dropped.
    pub(in crate::integration) fn delimit(
        &mut self,
        bytes_max: usize,
        mut scan: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Delimited, SourceError> {
        let mut dropped = 0_u64;
        let mut held = 0;
        let end = loop {
            if let Some(found) = scan(&self.buffer[self.begin + held..self.filled]) {
                held += found;
                break End::Found;
            }
            held = self.filled - self.begin;
            if dropped > 0 || held > bytes_max {
                dropped += held as u64;
                self.begin = self.filled;
                held = 0;
            }
            if dropped + held as u64 > RECORD_SCAN_MAX {
                break End::Nowhere;
            }
            if self.fill()? == 0 {
                break End::File;
            }
        };
        let len = dropped + held as u64;
        let begin = self.begin;
        self.begin += held;
        let whole = dropped == 0 && held <= bytes_max;
        Ok(Delimited {
            held: whole.then(|| begin..begin + held),
            len,
            end,
        })
    }

    /// The bytes of the record that was delimited last; `None` where they are too many.
    pub(in crate::integration) fn bytes(&self, record: &Delimited) -> Option<&[u8]> {
        self.buffer.get(record.held.clone()?)
    }

    /// Reads on behind what is in memory; what is before the position may go. Answers how many bytes
    /// came, 0 at the end of the file.
    fn fill(&mut self) -> Result<usize, SourceError> {
        if self.filled == self.buffer.len() {
            self.buffer.copy_within(self.begin..self.filled, 0);
            self.base += self.begin as u64;
            self.filled -= self.begin;
            self.begin = 0;
            if self.filled == self.buffer.len() {
                self.buffer.resize(2 * self.filled, 0);
            }
        }
        let room = &mut self.buffer[self.filled..];
        let at = self.base + self.filled as u64;
        let read = loop {
            match self.file.read_at(room, at) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result.map_err(|error| SourceError::io(&self.path, error))?,
            }
        };
        self.filled += read;
        let size = if read == 0 { self.size()? } else { at };
        if size < at {
            return Err(SourceError::Shrunk {
                path: self.path.display().to_string(),
                offset: at,
                size,
            });
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(bytes: &[u8]) -> (tempfile::TempDir, Window) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, bytes).unwrap();
        let window = Window::open(&path, &path).unwrap();
        (dir, window)
    }

    fn line(bytes: &[u8]) -> Option<usize> {
        memchr::memchr(b'\n', bytes).map(|at| at + 1)
    }

    #[test]
    fn an_oversized_record_is_skipped_in_constant_memory() {
        let mut text = vec![b'x'; 20 * READ_BYTES];
        text.extend(b"\nshort\nlast");
        let (_dir, mut window) = window(&text);
        let record = window.delimit(1000, line).unwrap();
        assert!(window.bytes(&record).is_none());
        assert_eq!(
            (record.len, record.end),
            (20 * READ_BYTES as u64 + 1, End::Found)
        );
        let record = window.delimit(1000, line).unwrap();
        assert_eq!(window.bytes(&record), Some(&b"short\n"[..]));
        let record = window.delimit(1000, line).unwrap();
        assert_eq!(window.bytes(&record), Some(&b"last"[..]));
        assert_eq!(record.end, End::File);
        assert_eq!(window.buffer.len(), READ_BYTES);
    }

    #[test]
    fn a_record_over_the_edge_of_the_buffer_is_whole() {
        for before in [
            READ_BYTES - 3,
            READ_BYTES - 1,
            READ_BYTES,
            3 * READ_BYTES - 2,
        ] {
            let mut text = vec![b'\n'; before];
            text.extend(b"abcdef\n");
            let (_dir, mut window) = window(&text);
            window.skip_while(|byte| byte == b'\n').unwrap();
            assert_eq!(window.position(), before as u64);
            let record = window.delimit(100, line).unwrap();
            assert_eq!(window.bytes(&record), Some(&b"abcdef\n"[..]));
        }
    }

    #[test]
    fn a_position_behind_the_end_is_an_error_that_names_both() {
        let (_dir, mut window) = window(b"abc\n");
        window.seek(4);
        assert_eq!(window.peek().unwrap(), None);
        window.seek(9);
        let error = window.peek().unwrap_err();
        assert!(matches!(
            error,
            SourceError::Shrunk {
                offset: 9,
                size: 4,
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Window::open(dir.path(), dir.path()).is_err());
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert!(Window::open(&fifo, &fifo).is_err());
    }
}
