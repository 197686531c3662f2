//! What can be seen of a run from outside, without changing it: its checkpoint and its figures.

use super::{End, Run, WakeReason};
use crate::{
    ids::Index,
    iteration::{Checkpoint, Counters, Options, PauseReason, RunStatus},
    limiter::Try,
    time::Timestamp,
};

/// The figures of a run at an instant, in items unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Where it stands.
    pub status: RunStatus,
    /// What was counted since its beginning.
    pub counters: Counters,
    /// How many items the run has, once the source's end was seen.
    pub total: Option<u64>,
    /// How many records at the source's beginning are no part of the run.
    pub left_out: u64,
    /// How many items were read from the source by this process, from its beginning on.
    pub read: Index,
    /// Children with a handler.
    pub in_flight: usize,
    /// Children that back off.
    pub retrying: usize,
    /// When the last of these is due.
    pub retry_due: Option<Timestamp>,
    /// Children that wait for an instant or an answer.
    pub waiting: usize,
    /// Items in doubt that wait for a decision.
    pub held: u64,
    /// Children that were put back and not dispatched yet.
    pub queued: u64,
    /// No new items are taken, because too many back off.
    pub parked_full: bool,
    /// What it waits for, and until when.
    pub wake: Option<(Timestamp, WakeReason)>,
}

impl Run {
    /// What the next commit has to store; see [`Run::restore`].
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let mut done = self.window.done_ranges();
        let next = self.window.next();
        let high_mark = next.max(self.doubt_until);
        // Why: a page may end within a range; what is behind it is still to be read. What lies beyond
        // the high mark is told by its rows, or every commit would write all of it.
        for (first, end) in self.settled_before.iter().copied() {
            let (first, end) = (first.max(next), end.min(high_mark));
            if first >= end {
                continue;
            }
            match done.last_mut() {
                Some(last) if last.1 == first => last.1 = end,
                _ => done.push((first, end)),
            }
        }
        Checkpoint {
            status: self.status,
            pause: self.pause.clone(),
            watermark: self.window.watermark(),
            cursor: self.window.low().clone(),
            high_mark,
            done,
            counters: self.counters,
            breaker: self.breaker.clone(),
            total: self.total,
            left_out: self.left_out,
            trial: self.trial,
            generation: self.generation,
            probation: self.probation,
        }
    }

    /// Whether a child is left that no handler has failed yet, as far as the source was read.
    #[must_use]
    pub fn has_first_tries(&self) -> bool {
        let mut flights = self.flights.values();
        self.source.end == End::Unseen
            || !self.source.children.is_empty()
            || !self.rescued.is_empty()
            || self.queue.len() > 0
            || self.parked.first_put_off().is_some()
            || flights.any(|flight| flight.kind == Try::First)
    }

    /// The run's figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            status: self.status,
            counters: self.counters,
            total: self.total,
            left_out: self.left_out,
            read: self.source.next,
            in_flight: self.flights.len(),
            retrying: self.parked.retrying(),
            retry_due: self.parked.last_retrying(),
            waiting: self.parked.waiting(),
            held: self.held,
            queued: self.queue.len(),
            parked_full: self.parked_full(),
            wake: self.wake,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        self.status
    }

    /// Why it is paused, if it is.
    #[must_use]
    pub const fn pause_reason(&self) -> Option<&PauseReason> {
        self.pause.as_ref()
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The first index above `index` at which a child has to begin. A batch must not reach across
    /// it: on one side of it is what a former process had settled or dispatched, on the other what
    /// it had not; and what is tried first ends at one.
    #[must_use]
    pub fn border_after(&self, index: Index) -> Option<Index> {
        let at = self
            .settled_before
            .partition_point(|(_, end)| *end <= index);
        let settled = self.settled_before.get(at).map(
            |(first, end)| {
                if *first > index { *first } else { *end }
            },
        );
        let doubtful = (self.doubt_until > index).then_some(self.doubt_until);
        let tried = self.trial.map(|trial| trial.until);
        let tried = tried.filter(|until| *until > index);
        settled.into_iter().chain(doubtful).chain(tried).min()
    }
}
