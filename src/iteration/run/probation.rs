//! What happens to the children that back off once their handler was mended: one of them goes at
//! once, and the others when a retry has shown that the mend is one.
//!
//! Owns which child that is, and when a probation is over; that a child goes is `dispatch`'s business,
//! and its permit the limiter's.
//!
//! Invariant: while a probation is open, at most one child that backs off goes before its time. It is in
//! the checkpoint, and what it makes due is in the rows of the same commit, so a crash loses neither.

use serde::{Deserialize, Serialize};

use super::{Flight, Run};
use crate::{ids::Index, iteration::Effect, limiter::Try, time::Timestamp};

/// Retries of the mended handler that may fail until the probation is over: the first one may be a record
/// that is bad for itself, sixteen in a row are not, and a success long after says nothing about the
/// mend.
const RETRIES_MAX: u32 = 16;

/// A mended handler on probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    /// The child that goes before its time, until something came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Index>,
    /// How many more retries may fail.
    pub(super) left: u32,
}

/// What a dispatch under a probation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The handler got through.
    Good,
    /// It failed again.
    Bad,
}

impl Run {
    /// The handler was mended.
    pub(super) fn begin_probation(&mut self) {
        // Why: what is under way was handed to the handler of before, and shows nothing.
        for flight in self.flights.values_mut() {
            flight.on_probation = false;
        }
        let affected = self.parked.retrying() > 0 || !self.flights.is_empty();
        self.probation = affected.then_some(Probation {
            first: None,
            left: RETRIES_MAX,
        });
        self.mended = false;
    }

    /// Takes in what a child that landed shows of the mended handler. Only a retry shows anything: it
    /// had failed before.
    pub(super) fn note_probation(&mut self, index: Index, flight: Flight, shown: Shown) {
        let Some(probation) = &mut self.probation else {
            return;
        };
        if !flight.on_probation || flight.kind != Try::Retry {
            return;
        }
        if shown == Shown::Good {
            self.mended = true;
            return;
        }
        probation.left = probation.left.saturating_sub(1);
        if probation.first == Some(index) {
            probation.first = None;
        }
        if probation.left == 0 {
            self.probation = None;
        }
    }

    /// Makes due what is to go before its time: the first child, or all once the mend has shown.
    pub(super) fn attend_probation(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(probation) = &mut self.probation else {
            return;
        };
        if std::mem::take(&mut self.mended) {
            self.probation = None;
            if self.parked.hurry(now) {
                effects.push(Effect::Hurry { only: None });
            }
            return;
        }
        let flights = &self.flights;
        // Why: it may be held, or have been put an end to; then another one goes.
        probation.first = probation
            .first
            .filter(|first| flights.contains_key(first) || self.parked.backs_off(*first));
        if probation.first.is_some() || probation.left < RETRIES_MAX {
            return;
        }
        if let Some((_, index)) = self.parked.first_retrying() {
            probation.first = Some(index);
            if self.parked.hurry_one(index, now) {
                effects.push(Effect::Hurry { only: Some(index) });
            }
        } else if flights.values().all(|flight| flight.on_probation) {
            // Nothing failed under the handler of before that could go first.
            self.probation = None;
        }
    }
}
