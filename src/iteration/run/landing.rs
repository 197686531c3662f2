//! What becomes of a child in flight: it ended, waits, or nobody knows.
//!
//! Invariant: a child leaves the flights once, by the generation it was dispatched with; what comes later
//! finds nothing and changes nothing.

use super::{End, Flight, Run, parked, trial::Shown};
use crate::{
    ids::{Generation, Index},
    iteration::{Effect, Ending, OnInterrupt, Parked, RowStatus},
    limiter::Try,
    time::Timestamp,
};

impl Run {
    pub(super) fn take_ended(&mut self, index: Index, generation: Generation, ending: Ending) {
        let Some(flight) = self.land(index, generation) else {
            return;
        };
        self.window.settle(index);
        let shown = match ending {
            Ending::Done => Shown::Good,
            Ending::Failed => Shown::Bad,
        };
        self.note_trial(index, flight, shown);
        self.breaker
            .record(ending == Ending::Failed, &self.options.pause_when);
        *self.counters.of(ending) += u64::from(flight.items);
    }

    pub(super) fn take_parked(&mut self, index: Index, generation: Generation, parked: Parked) {
        let Some(flight) = self.land(index, generation) else {
            return;
        };
        self.window.settle(index);
        let (status, kind) = match parked {
            // Why its own kind: what was put off has not failed, and is no retry when it goes again.
            Parked::Retry {
                throttled: true, ..
            } => {
                self.counters.throttled += 1;
                (RowStatus::Retrying, flight.kind)
            }
            Parked::Retry {
                throttled: false, ..
            } => {
                self.note_trial(index, flight, Shown::Bad);
                self.breaker.record(true, &self.options.pause_when);
                (RowStatus::Retrying, Try::Retry)
            }
            Parked::Wait { .. } => {
                self.note_trial(index, flight, Shown::Good);
                (RowStatus::Waiting, flight.kind)
            }
        };
        self.parked.insert(
            index,
            parked::Entry {
                at: parked.at(),
                items: flight.items,
                status,
                kind,
            },
        );
    }

    /// Takes a child out of flight, where the generation is the one that was dispatched.
    pub(super) fn land(&mut self, index: Index, generation: Generation) -> Option<Flight> {
        if !self.is_current(index, generation) {
            return None;
        }
        if self.source.end == End::Confirmed {
            self.source.end = End::Seen;
        }
        self.flights.remove(&index)
    }

    /// A child whose outcome nobody knows: again, or held.
    pub(super) fn take_doubtful(
        &mut self,
        index: Index,
        flight: Flight,
        effects: &mut Vec<Effect>,
    ) {
        match (self.options.on_interrupt, flight.kind) {
            (OnInterrupt::Retry, Try::First) => self.rescued.push_back((index, flight)),
            // Why: it is a retry that is due at once, and has its row already.
            (OnInterrupt::Retry, Try::Retry) => self.parked.insert(
                index,
                parked::Entry {
                    at: Timestamp(i64::MIN),
                    items: flight.items,
                    status: RowStatus::Retrying,
                    kind: Try::Retry,
                },
            ),
            (OnInterrupt::Hold, _) => {
                self.held += u64::from(flight.items);
                self.window.settle(index);
                effects.push(Effect::Hold {
                    index,
                    rowed: flight.rowed,
                });
            }
        }
    }

    pub(super) fn decide_on_doubtful(&mut self, effects: &mut Vec<Effect>) {
        if self.status.is_ended() {
            return;
        }
        for (index, flight) in std::mem::take(&mut self.doubtful) {
            self.take_doubtful(index, flight, effects);
        }
    }
}
