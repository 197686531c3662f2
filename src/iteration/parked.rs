//! The children that wait, by the instant they are due. Their payloads lie in rows; here is only
//! who and when, bounded by `slots + parked_items_max`.

use std::collections::{BTreeMap, BTreeSet};

use super::RowStatus;
use crate::{ids::Index, limiter::Try, time::Timestamp};

/// The parked children.
#[derive(Debug, Clone, Default)]
pub(super) struct ParkedChildren {
    by_index: BTreeMap<Index, Entry>,
    retrying: BTreeSet<(Timestamp, Index)>,
    /// First tries that were put off because somebody limits us.
    put_off: BTreeSet<(Timestamp, Index)>,
    waiting: BTreeSet<(Timestamp, Index)>,
}

/// One parked child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) items: u32,
    /// Retrying or Waiting.
    pub(super) status: RowStatus,
    /// What its next call is.
    pub(super) kind: Try,
}

impl ParkedChildren {
    /// Takes in a child; it is in no other place.
    pub(super) fn insert(&mut self, index: Index, entry: Entry) {
        self.remove(index);
        self.times(entry).insert((entry.at, index));
        self.by_index.insert(index, entry);
    }

    /// Takes a child out.
    pub(super) fn remove(&mut self, index: Index) -> Option<Entry> {
        let entry = self.by_index.remove(&index)?;
        self.times(entry).remove(&(entry.at, index));
        Some(entry)
    }

    /// The child whose next try is due first, and when.
    pub(super) fn first_retrying(&self) -> Option<(Timestamp, Index)> {
        self.retrying.first().copied()
    }

    /// The first try that was put off and is due first, and when.
    pub(super) fn first_put_off(&self) -> Option<(Timestamp, Index)> {
        self.put_off.first().copied()
    }

    /// How many first tries that were put off are due, at most so many.
    pub(super) fn put_off_due(&self, now: Timestamp, count_max: usize) -> usize {
        let due = self.put_off.iter().take_while(|(at, _)| *at <= now);
        due.take(count_max).count()
    }

    /// The child whose Wait is over first, and when; [`Timestamp::MAX`] where only an answer ends it.
    pub(super) fn first_waiting(&self) -> Option<(Timestamp, Index)> {
        self.waiting.first().copied()
    }

    /// How many back off after a failure, or were put off.
    pub(super) fn retrying(&self) -> usize {
        self.retrying.len() + self.put_off.len()
    }

    /// How many wait for an instant or an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_index.len()
    }

    /// Makes a child in a Wait due at once: what it waited for is there.
    pub(super) fn answer(&mut self, index: Index) {
        if let Some(entry) = self.by_index.get_mut(&index)
            && entry.status == RowStatus::Waiting
        {
            self.waiting.remove(&(entry.at, index));
            entry.at = Timestamp(i64::MIN);
            self.waiting.insert((entry.at, index));
        }
    }

    /// Makes every child that backs off due by now; whether that changes any.
    pub(super) fn hurry(&mut self, now: Timestamp) -> bool {
        let later = (Timestamp(now.0.saturating_add(1)), 0);
        let early = self.retrying.split_off(&later);
        for (_, index) in &early {
            if let Some(entry) = self.by_index.get_mut(index) {
                entry.at = now;
                self.retrying.insert((now, *index));
            }
        }
        !early.is_empty()
    }

    /// Makes a child that backs off due by now; whether that changes it.
    pub(super) fn hurry_one(&mut self, index: Index, now: Timestamp) -> bool {
        let Some(entry) = self.by_index.get_mut(&index) else {
            return false;
        };
        if entry.at <= now || !self.retrying.remove(&(entry.at, index)) {
            return false;
        }
        entry.at = now;
        self.retrying.insert((now, index))
    }

    /// Whether a child backs off after a failure.
    pub(super) fn backs_off(&self, index: Index) -> bool {
        self.by_index
            .get(&index)
            .is_some_and(|entry| entry.status == RowStatus::Retrying && entry.kind == Try::Retry)
    }

    fn times(&mut self, entry: Entry) -> &mut BTreeSet<(Timestamp, Index)> {
        match (entry.status, entry.kind) {
            (RowStatus::Waiting, _) => &mut self.waiting,
            (_, Try::First) => &mut self.put_off,
            (_, Try::Retry) => &mut self.retrying,
        }
    }
}
