//! The rows that wait to be done again because an operator put them back, loaded a page at a time.
//!
//! Owns their number and the page that is loaded; their payloads stay in the rows. A pass goes up by
//! index; rows put back behind it are met by the next pass.
//!
//! Invariant: a page is asked for only when none of the former is left. Whatever was loaded has then
//! left the status queued in the commit that the load waits for, so no row is loaded twice.

use std::collections::{BTreeSet, VecDeque};

use super::Run;
use crate::{
    ids::Index,
    iteration::{Decision, Effect, Ending, RunStatus},
};

/// Rows put back and not dispatched yet.
#[derive(Debug, Clone, Default)]
pub(super) struct RowQueue {
    /// How many are not loaded.
    unloaded: u64,
    /// What is loaded, in order: first item and number of items.
    loaded: VecDeque<(Index, u32)>,
    after: Option<Index>,
    loading: bool,
    /// Taken out while a page was on its way that may still hold them.
    gone: BTreeSet<Index>,
}

impl RowQueue {
    pub(super) fn new(children: u64) -> Self {
        Self {
            unloaded: children,
            ..Self::default()
        }
    }

    /// How many children there are.
    pub(super) fn len(&self) -> u64 {
        self.unloaded + self.loaded.len() as u64
    }

    /// How many of them can be dispatched now.
    pub(super) fn ready(&self) -> usize {
        self.loaded.len()
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<(Index, u32)> {
        self.loaded.pop_front()
    }

    /// Takes in that so many were put back.
    pub(super) fn add(&mut self, children: u64) {
        self.unloaded += children;
    }

    /// Takes one out, which is there.
    pub(super) fn remove(&mut self, index: Index) {
        let loaded = self.loaded.len();
        self.loaded.retain(|(one, _)| *one != index);
        if self.loaded.len() == loaded {
            self.unloaded = self.unloaded.saturating_sub(1);
            if self.loading {
                self.gone.insert(index);
            }
        }
    }

    /// Takes in a page; an empty one ends a pass.
    fn take_page(&mut self, mut children: Vec<(Index, u32)>) {
        if !std::mem::take(&mut self.loading) {
            return;
        }
        let gone = std::mem::take(&mut self.gone);
        if let Some((last, _)) = children.last() {
            self.after = Some(*last);
            // Why also one that is back: the next pass meets it.
            children.retain(|(index, _)| !gone.contains(index));
            self.unloaded = self.unloaded.saturating_sub(children.len() as u64);
            self.loaded.extend(children);
        } else if self.after.take().is_none() {
            // Why: a whole pass showed none, so none are there, whatever was counted.
            self.unloaded = 0;
        }
    }

    /// Asks for the next page where none is left.
    pub(super) fn load(&mut self, effects: &mut Vec<Effect>) {
        if self.unloaded > 0 && !self.loading && self.loaded.is_empty() {
            self.loading = true;
            effects.push(Effect::LoadQueue {
                after: self.after,
                children_max: Run::QUEUE_PAGE_MAX,
            });
        }
    }
}

impl Run {
    pub(super) fn take_requeued(&mut self, children: u64, items: u64, were: Ending) {
        let count = self.counters.of(were);
        *count = count.saturating_sub(items);
        if were == Ending::Done {
            self.counters.redone += items;
        }
        self.breaker.forgive_at_most(self.counters.failed);
        self.queue.add(children);
        if self.status.is_ended() {
            self.become_status(RunStatus::Running);
        }
    }

    pub(super) fn take_released(&mut self, children: u64, items: u64, decision: Decision) {
        self.held = self.held.saturating_sub(items);
        match decision {
            Decision::Again | Decision::AtOnce(_) => self.queue.add(children),
            Decision::Ended(ending) => *self.counters.of(ending) += items,
        }
        self.wake_from_held(decision);
    }

    pub(super) fn take_queue(&mut self, children: Vec<(Index, u32)>) {
        self.queue.take_page(children);
    }
}
