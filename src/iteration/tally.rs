//! What a run counted between two of its commits: the part of its counters that belongs to one day.
//!
//! Owns how counters that may also go down (items are put back) become figures that only go up. Never
//! knows a day or a time zone; whoever commits names it.
//!
//! Invariant: tallies from the beginning on add up to the counters: `done - redone` and
//! `failed - put_back` are the counters' `done` and `failed`, calls, interruptions and throttling are equal.

use std::time::Duration;

use super::{Counters, Ending, Input, Stood};

/// What was counted in some time; in items unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Dispatches of children that had not failed before.
    pub first_tries: u64,
    /// Dispatches of children that had.
    pub retries: u64,
    /// Ended with a result.
    pub done: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Done items that are so no longer: put back to be redone, or decided otherwise.
    pub redone: u64,
    /// Failed items that were put back.
    pub put_back: u64,
    /// Dispatches whose outcome was lost with a worker.
    pub interrupted: u64,
    /// Dispatches that were put off because somebody limits us.
    pub throttled: u64,
    /// For how long such answers closed the limiter.
    pub closed: Duration,
}

/// Items that inputs put back, by what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutBack {
    done: u64,
    failed: u64,
}

impl PutBack {
    /// Those of the inputs of one step.
    #[must_use]
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a Input>) -> Self {
        let mut put_back = Self::default();
        for input in inputs {
            if let Input::Requeued { items, were, .. } = input {
                match were {
                    Ending::Done => put_back.done += items,
                    Ending::Failed => put_back.failed += items,
                }
            } else if let Input::Decided {
                items,
                stood: Stood::Ended(Ending::Failed),
                ..
            } = input
            {
                put_back.failed += u64::from(*items);
            }
        }
        put_back
    }
}

impl Tally {
    /// What was counted between two checkpoints, with the items that were put back in between.
    #[must_use]
    pub fn between(before: &Counters, after: &Counters, put_back: PutBack) -> Self {
        let (done, redone) = gross(before.done, after.done, put_back.done);
        let (failed, put_back) = gross(before.failed, after.failed, put_back.failed);
        Self {
            first_tries: after.first_tries.saturating_sub(before.first_tries),
            retries: after.retries.saturating_sub(before.retries),
            done,
            failed,
            redone,
            put_back,
            interrupted: after.interrupted.saturating_sub(before.interrupted),
            throttled: after.throttled.saturating_sub(before.throttled),
            closed: Duration::ZERO,
        }
    }

    /// Calls of a handler.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.first_tries + self.retries
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was counted in another time.
    pub fn add(&mut self, other: &Self) {
        self.first_tries += other.first_tries;
        self.retries += other.retries;
        self.done += other.done;
        self.failed += other.failed;
        self.redone += other.redone;
        self.put_back += other.put_back;
        self.interrupted += other.interrupted;
        self.throttled += other.throttled;
        self.closed += other.closed;
    }

    /// The counters of a run whose tallies add up to this, but for `redone`: a done item may also be
    /// taken back by a decision on it, which is no redo.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters {
            done: self.done.saturating_sub(self.redone),
            failed: self.failed.saturating_sub(self.put_back),
            first_tries: self.first_tries,
            retries: self.retries,
            interrupted: self.interrupted,
            throttled: self.throttled,
            redone: 0,
        }
    }
}

/// How many were added, and how many taken away, where a counter went from one value to another and
/// so many were said to be taken away. Whatever was said, the difference is the counter's.
fn gross(before: u64, after: u64, taken: u64) -> (u64, u64) {
    let added = after.saturating_add(taken).saturating_sub(before);
    let taken = before.saturating_add(added).saturating_sub(after);
    (added, taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the counters do, tallies of all steps add up to them.
        #[test]
        fn tallies_add_up_to_the_counters(steps in prop::collection::vec((0_u64..50, 0_u64..50, 0_u64..80, 0_u64..80), 1..40)) {
            let (mut sum, mut before) = (Tally::default(), Counters::default());
            for (done, failed, redone, put_back) in steps {
                let mut after = before;
                after.done = (before.done + done).saturating_sub(redone);
                after.failed = (before.failed + failed).saturating_sub(put_back);
                after.first_tries += done;
                after.retries += failed;
                sum.add(&Tally::between(&before, &after, PutBack { done: redone, failed: put_back }));
                prop_assert_eq!(sum.counters(), after);
                before = after;
            }
        }
    }

    #[test]
    fn what_is_put_back_while_other_items_fail_is_told_apart() {
        let counters = |failed| Counters {
            failed,
            ..Counters::default()
        };
        let input = Input::Requeued {
            children: 8,
            items: 8,
            were: Ending::Failed,
        };
        let tally = Tally::between(&counters(10), &counters(5), PutBack::of([&input]));
        assert_eq!((tally.failed, tally.put_back), (3, 8));
    }
}
