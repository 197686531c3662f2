//! Which identities stand more than once in a source, exactly and in bounded memory.
//!
//! Keeps 128 bits of a hash and the index for each record: sorted runs of a million in a file without
//! a name, merged at the end. Two records whose hashes are the same have the same identity, as far as
//! anybody will ever see. Crash: the file has no name, and is gone with the process.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::ids::Index;

/// Records in a run: 24 MiB in memory.
const RUN_ENTRIES_MAX: usize = 1 << 20;

/// Bytes of an entry in the file: the hash and the index.
const ENTRY_BYTES: usize = 24;

/// Entries read from a run at a time: 48 KiB, so that a thousand runs (a billion records) fit in memory.
const READ_ENTRIES: usize = 2048;

/// Two records with the same identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The identity.
    pub id: String,
    /// The record that has it first.
    pub first: Index,
    /// The next one that has it, too.
    pub again: Index,
}

/// A hash and an index; ordered so that the same identities stand together, in dataset order.
type Entry = (u128, Index);

/// Gathers identities.
pub(super) struct Duplicates {
    run_entries_max: usize,
    entries: Vec<Entry>,
    /// How many entries each run in the file has.
    runs: Vec<usize>,
    spilled: Option<BufWriter<File>>,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Records whose identity an earlier one has.
    pub(super) records: u64,
    /// The first of them, at most as many as were asked for: the two indexes.
    pub(super) examples: Vec<(Index, Index)>,
}

impl Duplicates {
    pub(super) fn new() -> Self {
        Self {
            run_entries_max: RUN_ENTRIES_MAX,
            entries: Vec::new(),
            runs: Vec::new(),
            spilled: None,
        }
    }

    /// Takes note of a record's identity; the directory is where what is too much goes.
    pub(super) fn add(&mut self, id: &str, index: Index, directory: &Path) -> io::Result<()> {
        let digest = Sha256::digest(id.as_bytes());
        let half = digest.iter().take(16);
        let hash = half.fold(0_u128, |hash, byte| hash << 8 | u128::from(*byte));
        self.entries.push((hash, index));
        if self.entries.len() >= self.run_entries_max {
            self.spill(directory)?;
        }
        Ok(())
    }

    fn spill(&mut self, directory: &Path) -> io::Result<()> {
        self.entries.sort_unstable();
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(BufWriter::new(nameless(directory)?)),
        };
        for (hash, index) in &self.entries {
            spilled.write_all(&hash.to_be_bytes())?;
            spilled.write_all(&index.to_be_bytes())?;
        }
        self.runs.push(self.entries.len());
        self.entries.clear();
        Ok(())
    }

    /// What stands more than once, with at most `examples_max` examples.
    pub(super) fn find(mut self, examples_max: usize) -> io::Result<Found> {
        self.entries.sort_unstable();
        let mut finder = Finder::new(examples_max);
        let Some(spilled) = self.spilled.take() else {
            for entry in self.entries {
                finder.take(entry);
            }
            return Ok(finder.found());
        };
        let file = spilled
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let mut begin = 0;
        let mut runs = Vec::with_capacity(self.runs.len() + 1);
        for entries in self.runs {
            runs.push(Run::in_file(begin, entries));
            begin += (entries * ENTRY_BYTES) as u64;
        }
        runs.push(Run::in_memory(self.entries));
        let mut next = BinaryHeap::with_capacity(runs.len());
        for (at, run) in runs.iter_mut().enumerate() {
            next.extend(run.next(&file)?.map(|entry| Reverse((entry, at))));
        }
        while let Some(Reverse((entry, at))) = next.pop() {
            finder.take(entry);
            let follows = match runs.get_mut(at) {
                Some(run) => run.next(&file)?,
                None => None,
            };
            next.extend(follows.map(|entry| Reverse((entry, at))));
        }
        Ok(finder.found())
    }
}

/// A sorted run that is being read.
struct Run {
    offset: u64,
    left: usize,
    read: std::vec::IntoIter<Entry>,
}

impl Run {
    fn in_file(offset: u64, entries: usize) -> Self {
        Self {
            offset,
            left: entries,
            read: Vec::new().into_iter(),
        }
    }

    fn in_memory(entries: Vec<Entry>) -> Self {
        Self {
            offset: 0,
            left: 0,
            read: entries.into_iter(),
        }
    }

    fn next(&mut self, file: &File) -> io::Result<Option<Entry>> {
        if self.read.len() == 0 && self.left > 0 {
            let entries = self.left.min(READ_ENTRIES);
            let mut bytes = vec![0; entries * ENTRY_BYTES];
            file.read_exact_at(&mut bytes, self.offset)?;
            self.offset += bytes.len() as u64;
            self.left -= entries;
            let read: Vec<Entry> = bytes.chunks_exact(ENTRY_BYTES).map(entry).collect();
            self.read = read.into_iter();
        }
        Ok(self.read.next())
    }
}

fn entry(bytes: &[u8]) -> Entry {
    let number = |bytes: &[u8]| {
        let digits = bytes.iter();
        digits.fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
    };
    let (hash, index) = bytes.split_at(16);
    (number(hash), u64::try_from(number(index)).unwrap_or(0))
}

/// Is shown the entries in order.
struct Finder {
    examples_max: usize,
    last: Option<Entry>,
    records: u64,
    /// The earliest by the later index; the latest of them on top.
    examples: BinaryHeap<(Index, Index)>,
}

impl Finder {
    fn new(examples_max: usize) -> Self {
        Self {
            examples_max,
            last: None,
            records: 0,
            examples: BinaryHeap::new(),
        }
    }

    fn take(&mut self, entry: Entry) {
        match self.last {
            Some((hash, first)) if hash == entry.0 => {
                self.records += 1;
                self.examples.push((entry.1, first));
                if self.examples.len() > self.examples_max {
                    self.examples.pop();
                }
            }
            Some(_) | None => self.last = Some(entry),
        }
    }

    fn found(self) -> Found {
        let sorted = self.examples.into_sorted_vec();
        Found {
            records: self.records,
            examples: sorted
                .into_iter()
                .map(|(again, first)| (first, again))
                .collect(),
        }
    }
}

/// A file that no name leads to.
fn nameless(directory: &Path) -> io::Result<File> {
    let name = format!("ids-{}-{:016x}", std::process::id(), rand::random::<u64>());
    let path = directory.join(name);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: impl Iterator<Item = u64>, run_entries_max: usize) -> Found {
        let directory = tempfile::tempdir().unwrap();
        let mut duplicates = Duplicates::new();
        duplicates.run_entries_max = run_entries_max;
        for (index, id) in (0..).zip(ids) {
            duplicates
                .add(&id.to_string(), index, directory.path())
                .unwrap();
        }
        let found = duplicates.find(3).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        found
    }

    #[test]
    fn the_same_is_found_in_memory_and_over_any_number_of_runs() {
        // Each id below 1,000 stands once, but every hundredth a second and third time.
        let ids = || {
            (0..10_000)
                .chain((0..10_000).step_by(100))
                .chain((0..10_000).step_by(100))
        };
        let expected = Found {
            records: 200,
            examples: vec![(0, 10_000), (100, 10_001), (200, 10_002)],
        };
        for run_entries_max in [RUN_ENTRIES_MAX, 5000, 333, 1] {
            assert_eq!(check(ids(), run_entries_max), expected, "{run_entries_max}");
        }
    }

    #[test]
    fn where_every_identity_stands_once_nothing_is_found() {
        assert_eq!(check(0..5000, 700), Found::default());
        assert_eq!(check(std::iter::empty(), 700), Found::default());
    }
}
