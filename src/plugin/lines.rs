//! Lines out of a worker's pipes, and how many of them are passed on.
//!
//! Owns the splitting of a byte stream into lines with a bound, the last words of a worker (what
//! explains its death), and the budget that keeps a worker that prints without end from filling
//! anything.

use std::{
    io,
    time::{Duration, Instant},
};

/// Longest log line, in bytes: longer ones are passed on in pieces.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 8 << 10;

/// What one worker's log may carry in a second. A handler that prints at every item of a run at
/// full speed goes beyond it; a person reading along does not.
const LOG_LINES_PER_SECOND: u64 = 500;
/// As [`LOG_LINES_PER_SECOND`], in bytes.
const LOG_BYTES_PER_SECOND: usize = 256 << 10;

/// Last words kept of a worker, in bytes: a Python traceback of some depth.
const TAIL_BYTES: usize = 4 << 10;

/// Read at once; as much as a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// What [`Lines::read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was read.
    Some,
    /// Nothing is there now.
    Nothing,
    /// The other end is closed, or broken.
    End,
}

/// Bytes read and not yet taken as lines.
#[derive(Default)]
pub(crate) struct Lines {
    /// Read up to `end`; beyond it is room, which is not cleared for every read.
    bytes: Vec<u8>,
    end: usize,
    /// Where the first line that was not taken begins.
    start: usize,
    /// Up to where no newline was found.
    scanned: usize,
}

impl Lines {
    /// Takes in what one read gives.
    pub(crate) fn read(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> Progress {
        self.make_room();
        match read(&mut self.bytes[self.end..]) {
            Ok(0) => Progress::End,
            Ok(count) => {
                self.end += count;
                Progress::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Nothing,
            Err(_) => Progress::End,
        }
    }

    /// The next whole line, without its newline.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let unseen = &self.bytes[self.scanned..self.end];
        let Some(length) = unseen.iter().position(|b| *b == b'\n') else {
            self.scanned = self.end;
            return None;
        };
        let line = self.start..self.scanned + length;
        self.start = line.end + 1;
        self.scanned = self.start;
        Some(&self.bytes[line])
    }

    /// The beginning of a line whose end has not come yet.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes the beginning of an unfinished line as if it were one.
    pub(crate) fn take_unfinished(&mut self) -> &[u8] {
        let line = self.start..self.end;
        self.start = line.end;
        self.scanned = line.end;
        &self.bytes[line]
    }

    /// Forgets what was taken, makes room for a read, and gives memory back that one long line had
    /// needed.
    fn make_room(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.scanned -= self.start;
        self.start = 0;
        let wanted = self.end + READ_BYTES;
        if self.bytes.len() < wanted || self.bytes.len() > 4 * wanted {
            self.bytes.resize(wanted, 0);
            self.bytes.shrink_to(2 * wanted);
        }
    }
}

/// The last lines that a worker printed.
#[derive(Default)]
pub(crate) struct Tail {
    text: String,
}

impl Tail {
    pub(crate) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > 2 * TAIL_BYTES {
            self.text = last_bytes(&self.text, TAIL_BYTES).to_owned();
        }
    }

    /// As [`Tail::push`], of a piece that need not end a line.
    pub(crate) fn push_part(&mut self, part: &str) {
        self.text.push_str(part);
        if self.text.len() > 2 * TAIL_BYTES {
            self.text = last_bytes(&self.text, TAIL_BYTES).to_owned();
        }
    }

    /// At most [`TAIL_BYTES`], without the last newline.
    pub(crate) fn text(&self) -> &str {
        last_bytes(&self.text, TAIL_BYTES).trim_end()
    }
}

/// The end of a text, from a character's beginning on.
pub(crate) fn last_bytes(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The beginning of a text, up to a character's end.
pub(crate) fn first_bytes(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// How much of a worker's log is passed on: so many lines and bytes in each second.
pub(crate) struct LogBudget {
    second: Instant,
    lines: u64,
    bytes: usize,
    dropped: u64,
}

impl LogBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            second: now,
            lines: 0,
            bytes: 0,
            dropped: 0,
        }
    }

    /// Whether a line is passed on. `Err` tells how many were dropped before it, once.
    pub(crate) fn admit(&mut self, now: Instant, bytes: usize) -> (bool, Option<u64>) {
        let mut told = None;
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            told = Some(self.dropped).filter(|dropped| *dropped > 0);
            *self = Self::new(now);
        }
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let admitted = self.lines <= LOG_LINES_PER_SECOND && self.bytes <= LOG_BYTES_PER_SECOND;
        if !admitted {
            self.dropped += 1;
        }
        (admitted, told)
    }

    /// How many lines were dropped and not told yet.
    pub(crate) fn dropped(&self) -> Option<u64> {
        Some(self.dropped).filter(|dropped| *dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&str]) -> (Vec<String>, String) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            let progress = lines.read(|room| {
                room[..chunk.len()].copy_from_slice(chunk.as_bytes());
                Ok(chunk.len())
            });
            assert_eq!(progress, Progress::Some);
            while let Some(line) = lines.next() {
                found.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        (
            found,
            String::from_utf8_lossy(lines.unfinished()).into_owned(),
        )
    }

    #[test]
    fn lines_are_found_however_the_bytes_come() {
        for chunks in [&["a\nbc\n\nd"][..], &["a", "\nb", "c\n", "\n", "d"]] {
            let (found, rest) = lines(chunks);
            assert_eq!(found, ["a", "bc", ""]);
            assert_eq!(rest, "d");
        }
    }

    #[test]
    fn a_long_line_is_gathered_and_its_memory_given_back() {
        let mut lines = Lines::default();
        let mut read = |byte: u8, count: usize| {
            for _ in 0..count {
                lines.read(|room| {
                    room[..READ_BYTES].fill(byte);
                    Ok(READ_BYTES)
                });
                assert_eq!(lines.next(), None);
            }
            (
                lines.unfinished().len(),
                lines.take_unfinished().len(),
                lines.bytes.capacity(),
            )
        };
        let (unfinished, taken, _) = read(b'x', 100);
        assert_eq!((unfinished, taken), (100 * READ_BYTES, 100 * READ_BYTES));
        let (unfinished, _, capacity) = read(b'y', 1);
        assert_eq!(unfinished, READ_BYTES);
        assert!(capacity <= 4 * READ_BYTES, "{capacity}");
    }

    #[test]
    fn last_words_are_the_last_ones_and_whole_characters() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(&format!("ä line {number}"));
        }
        assert!(tail.text().ends_with("ä line 9999"));
        assert!(tail.text().len() <= TAIL_BYTES);
        assert_eq!(last_bytes("äb", 2), "b");
        assert_eq!(first_bytes("bä", 2), "b");
    }

    #[test]
    fn a_flood_is_cut_at_the_budget_and_told_once_a_second() {
        let start = Instant::now();
        let mut budget = LogBudget::new(start);
        let admitted = (0..10_000).filter(|_| budget.admit(start, 10).0).count();
        assert_eq!(admitted as u64, LOG_LINES_PER_SECOND);
        let later = start + Duration::from_secs(2);
        assert_eq!(
            budget.admit(later, 10),
            (true, Some(10_000 - LOG_LINES_PER_SECOND))
        );
        assert_eq!(budget.admit(later, LOG_BYTES_PER_SECOND), (false, None));
        assert_eq!(budget.dropped(), Some(1));
    }
}
