//! What is due when: the timers in the store, and those of executions that nothing is written of.
//!
//! Of the stored ones only the earliest instant is in memory, and those that were taken up and whose
//! commit is on its way.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use crate::{
    ids::{ExecutionId, FrameId, Generation},
    store::{Store, StoreError, TimerKind, TimerRow},
    time::Timestamp,
};

/// Timers that are taken up at a time.
const DUE_MAX: usize = 512;

/// Stored timers that are taken up and not out of the store yet; while so many are, no others are read, so
/// that a million which are due at once are read once each.
const TAKEN_MAX: usize = 1024;

/// Due, execution, frame, generation and kind of a timer that is in memory alone.
type Volatile = (Timestamp, i64, u32, u32, TimerKind);

#[derive(Default)]
pub(super) struct Agenda {
    /// The earliest stored one that was not taken up, or before it.
    next: Option<Timestamp>,
    /// Taken up, and still in the store as far as is known.
    taken: HashSet<TimerRow>,
    /// Of executions that cannot go on: they stay in the store, and are not taken up again.
    aside: HashSet<TimerRow>,
    volatile: BinaryHeap<Reverse<Volatile>>,
}

/// Timers that are due.
#[derive(Default)]
pub(super) struct Due {
    pub(super) stored: Vec<TimerRow>,
    pub(super) volatile: Vec<TimerRow>,
}

impl Agenda {
    /// One that will look into the store at once.
    pub(super) fn new() -> Self {
        Self {
            next: Some(Timestamp::default()),
            ..Self::default()
        }
    }

    /// When something is to be taken up.
    pub(super) fn next(&self) -> Timestamp {
        let volatile = self.volatile.peek().map(|Reverse((at, ..))| *at);
        let stored = self.next.filter(|_| self.taken.len() < TAKEN_MAX);
        stored
            .into_iter()
            .chain(volatile)
            .min()
            .unwrap_or(Timestamp::MAX)
    }

    /// A timer is in the store.
    pub(super) fn stored(&mut self, due: Timestamp) {
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// A timer is in memory alone.
    pub(super) fn put_volatile(&mut self, row: TimerRow) {
        self.volatile.push(Reverse((
            row.due,
            row.execution.0,
            row.frame.0,
            row.generation.0,
            row.kind,
        )));
    }

    /// What is due; blocks. Each is answered once.
    pub(super) fn due(&mut self, store: &Store, now: Timestamp) -> Result<Due, StoreError> {
        let mut due = Due::default();
        while let Some(Reverse((at, execution, frame, generation, kind))) =
            self.volatile.peek().copied()
            && at <= now
            && due.volatile.len() < DUE_MAX
        {
            self.volatile.pop();
            due.volatile.push(TimerRow {
                execution: ExecutionId(execution),
                frame: FrameId(frame),
                kind,
                generation: Generation(generation),
                due: at,
                beat: None,
            });
        }
        if self.next.is_none_or(|next| next > now) || self.taken.len() >= TAKEN_MAX {
            return Ok(due);
        }
        let most = DUE_MAX + self.taken.len() + self.aside.len();
        let rows = store.first_timers(u32::try_from(most).unwrap_or(u32::MAX))?;
        let all = rows.len() < most;
        let known = |row: &TimerRow| self.taken.contains(row) || self.aside.contains(row);
        let mut open = rows.into_iter().filter(|row| !known(row));
        let mut next = (!all).then_some(now);
        let mut taken = Vec::new();
        for row in open.by_ref() {
            if row.due > now {
                next = Some(row.due);
                break;
            }
            taken.push(row);
        }
        self.next = next;
        self.taken.extend(taken.iter().copied());
        due.stored = taken;
        Ok(due)
    }

    /// What was taken up is left as it is.
    pub(super) fn set_aside(&mut self, row: TimerRow) {
        self.taken.remove(&row);
        self.aside.insert(row);
    }

    /// What was taken up is out of the store.
    pub(super) fn done(&mut self, row: &TimerRow) {
        self.taken.remove(row);
    }
}
