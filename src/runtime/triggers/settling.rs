//! Which files nothing happens to any more.
//!
//! Invariant: instants are those of this process alone. The clock of a folder that somebody else serves says only
//! whether something changed, never when.

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::folder::Found;
use crate::time::Timestamp;

/// Without a change for this long a file is finished, once it was closed.
const SETTLE: Duration = Duration::from_secs(1);

/// What a change of a file changes: its size, when it was written, its inode, when anything of it was changed.
type Shape = (u64, i64, u64, Timestamp);

/// Files that start nothing yet, and since when they have been as they are; no more than a look finds.
#[derive(Debug, Default)]
pub(super) struct Settling {
    since: HashMap<PathBuf, (Shape, Instant)>,
}

/// The files of one look beside those of the one before.
pub(super) struct Comparison<'s> {
    before: HashMap<PathBuf, (Shape, Instant)>,
    now: &'s mut Settling,
    begun: Instant,
    ended: Instant,
}

impl Settling {
    /// Compares with a look that was begun and ended then; what is not asked for is forgotten.
    pub(super) fn compare(&mut self, begun: Instant, ended: Instant) -> Comparison<'_> {
        Comparison {
            before: std::mem::take(&mut self.since),
            now: self,
            begun,
            ended,
        }
    }
}

impl Comparison<'_> {
    /// How long a file has to stay as it is; nothing where it is settled.
    pub(super) fn left(&mut self, file: &Found) -> Duration {
        let shape = (file.size, file.modified_ns, file.inode, file.changed);
        let before = self.before.remove(&file.path);
        let since = before
            .filter(|(before, _)| *before == shape)
            // Why the end: it may have been seen at any time of the look.
            .map_or(self.ended, |(_, since)| since);
        self.now.since.insert(file.path.clone(), (shape, since));
        SETTLE.saturating_sub(self.begun.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_settled_when_two_looks_a_second_apart_find_the_same_whatever_its_clock_says() {
        let mut settling = Settling::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut file = Found {
            path: PathBuf::from("/in/1.csv"),
            size: 1,
            modified_ns: 0,
            inode: 1,
            // Of a server whose clock stands.
            changed: Timestamp(0),
            folder: 1,
        };
        let mut left = |file: &Found, begun, ended| {
            let left = settling.compare(at(begun), at(ended)).left(file);
            u64::try_from(left.as_millis()).unwrap()
        };
        assert_eq!(left(&file, 0, 500), 1000);
        assert_eq!(left(&file, 1000, 1001), 500);
        assert_eq!(left(&file, 1500, 1501), 0);
        for change in 0..3 {
            match change {
                0 => file.size += 1,
                1 => file.modified_ns += 1,
                _ => file.changed = Timestamp(1),
            }
            assert_eq!(left(&file, 5000, 5001), 1000, "{change}");
        }
        assert_eq!(left(&file, 6001, 6002), 0);
    }

    #[test]
    fn what_is_not_found_in_between_begins_again() {
        let mut settling = Settling::default();
        let file = Found {
            path: PathBuf::from("/in/1.csv"),
            size: 1,
            modified_ns: 0,
            inode: 1,
            changed: Timestamp(0),
            folder: 1,
        };
        let begin = Instant::now();
        settling.compare(begin, begin).left(&file);
        drop(settling.compare(begin, begin));
        let later = begin + SETTLE;
        assert_eq!(settling.compare(later, later).left(&file), SETTLE);
    }
}
