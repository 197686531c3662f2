//! What somebody decided on one child: that it ended, or that it goes before its turn, or again.
//!
//! Owns how a child is taken out of wherever it stands. The rows were changed by whoever tells of the
//! decision; the core takes no part in why.
//!
//! Invariant: afterwards the child is settled for the window, read or not, so that the source's turn
//! passes over it.

use super::{End, Run};
use crate::{
    ids::Index,
    iteration::{Decision, Ending, PauseReason, RowStatus, RunStatus, Stood, parked},
    limiter::Try,
};

impl Run {
    /// The most children that may be decided on before their turn at a time: they are held in memory
    /// until the source's turn passes them.
    pub const AHEAD_MAX: u32 = 10_000;

    /// Takes in, right after [`Run::restore`], the children with a row or an outcome at or above the
    /// high mark, in any order: first items and numbers of items.
    pub fn restore_ahead(&mut self, children: impl IntoIterator<Item = (Index, u32)>) {
        for (index, items) in children {
            self.settle_ahead(index, items);
        }
    }

    pub(super) fn take_decided(
        &mut self,
        index: Index,
        items: u32,
        stood: Stood,
        decision: Decision,
    ) {
        if !self.take_out(index, items, stood) {
            return;
        }
        if self.source.end == End::Confirmed {
            self.source.end = End::Seen;
        }
        match decision {
            Decision::Again => self.queue.add(1),
            Decision::AtOnce(at) => self.parked.insert(
                index,
                parked::Entry {
                    at,
                    items,
                    status: RowStatus::Retrying,
                    kind: Try::Retry,
                },
            ),
            Decision::Ended(ending) => *self.counters.of(ending) += u64::from(items),
        }
        if self.status.is_ended() && !matches!(decision, Decision::Ended(_)) {
            self.become_status(RunStatus::Running);
        }
        self.wake_from_held(decision);
    }

    /// A run that paused for what is held goes on where something can, or where nothing is held any
    /// more; else it says how many are left.
    pub(super) fn wake_from_held(&mut self, decision: Decision) {
        let Some(PauseReason::Held { items }) = &mut self.pause else {
            return;
        };
        if self.held > 0 && matches!(decision, Decision::Ended(_)) {
            *items = self.held;
        } else {
            self.become_status(RunStatus::Running);
        }
    }

    /// Takes a child out of where it stands; whether it stood there.
    fn take_out(&mut self, index: Index, items: u32, stood: Stood) -> bool {
        match stood {
            Stood::Ended(ending) => {
                let count = self.counters.of(ending);
                *count = count.saturating_sub(u64::from(items));
                if ending == Ending::Done {
                    self.counters.redone += u64::from(items);
                }
                self.breaker.forgive_at_most(self.counters.failed);
            }
            Stood::Row(RowStatus::Held) => self.held = self.held.saturating_sub(u64::from(items)),
            Stood::Row(RowStatus::Queued) => self.queue.remove(index),
            Stood::Row(RowStatus::InFlight | RowStatus::Retrying | RowStatus::Waiting) => {
                self.parked.remove(index);
                self.take_under_way(index);
            }
            Stood::Nowhere => {
                if self.take_under_way(index) {
                    self.window.settle(index);
                } else {
                    return index >= self.window.next() && self.settle_ahead(index, items);
                }
            }
        }
        true
    }

    /// Takes a child out of flight, or out of what waits to be dispatched again.
    fn take_under_way(&mut self, index: Index) -> bool {
        let before = self.rescued.len() + self.doubtful.len();
        self.rescued.retain(|(one, _)| *one != index);
        self.doubtful.retain(|(one, _)| *one != index);
        let found = self.rescued.len() + self.doubtful.len() < before;
        self.flights.remove(&index).is_some() || found
    }

    /// A child that was not taken from the source yet is settled when its turn comes; whether it was
    /// not before.
    fn settle_ahead(&mut self, index: Index, items: u32) -> bool {
        let end = index.saturating_add(u64::from(items));
        let at = self
            .settled_before
            .partition_point(|(_, settled_end)| *settled_end <= index);
        let known = self
            .settled_before
            .get(at)
            .is_some_and(|(first, _)| *first < end);
        if !known {
            self.settled_before.insert(at, (index, end));
        }
        !known
    }
}
