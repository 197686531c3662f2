//! Notices that calls keep failing, so that a run pauses instead of burning its records.
//!
//! Judges calls (tries), not items: with twelve tries spread over a day, failed items would tell a
//! bug hours too late. What is throttled is neither a success nor a failure and is not recorded.

use serde::{Deserialize, Serialize};

use super::{BreakerLimits, PauseReason};

/// What is remembered of the last calls; stored with the checkpoint, so that a crash does not
/// reset it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    /// The last calls, newest last: `1` failed, `0` did not.
    last: String,
    in_a_row: u32,
    /// How many failed items somebody knew of when the run was resumed.
    #[serde(default)]
    forgiven: u64,
}

impl Breaker {
    /// The most calls that are remembered: a share is judged on no more. It is part of every
    /// checkpoint, so it stays small beside the results of one commit.
    pub const CALLS_MAX: u32 = 1000;

    /// Remembers one call.
    pub(super) fn record(&mut self, failed: bool, limits: &BreakerLimits) {
        self.in_a_row = if failed {
            self.in_a_row.saturating_add(1)
        } else {
            0
        };
        let Some(share) = limits.failing else {
            self.last.clear();
            return;
        };
        self.last.push(if failed { '1' } else { '0' });
        let keep = share.of_last.min(Self::CALLS_MAX) as usize;
        // Why: trimmed in strides, so that a call costs no shift of the whole memory.
        if self.last.len() >= keep.saturating_mul(2) {
            self.last.drain(..self.last.len() - keep);
        }
    }

    /// Why the run has to pause, if it has to. `failed` of `total` items have failed for good.
    pub(super) fn trips(
        &self,
        limits: &BreakerLimits,
        failed: u64,
        total: Option<u64>,
    ) -> Option<PauseReason> {
        if let Some(limit) = limits.in_a_row
            && self.in_a_row >= limit.max(1)
        {
            return Some(PauseReason::InARow {
                failed: self.in_a_row,
            });
        }
        if let Some(share) = limits.failing {
            let of_last = share.of_last.clamp(1, Self::CALLS_MAX);
            let last = &self.last.as_bytes()[self.last.len().saturating_sub(of_last as usize)..];
            let bad: u32 = last.iter().map(|call| u32::from(*call == b'1')).sum();
            if bad > 0
                && last.len() >= of_last as usize
                && f64::from(bad) * 100.0 >= share.percent * f64::from(of_last)
            {
                return Some(PauseReason::Failing {
                    failed: bad,
                    of_last,
                });
            }
        }
        let unforgiven = failed.saturating_sub(self.forgiven);
        if let (Some(percent), Some(total)) = (limits.failed_percent, total)
            && unforgiven > 0
            && !share_below(unforgiven, total, percent)
        {
            return Some(PauseReason::FailedShare { failed, of: total });
        }
        None
    }

    /// Forgets everything; somebody resumed the run and knows, of the failed items too.
    pub(super) fn reset(&mut self, failed: u64) {
        *self = Self {
            forgiven: failed,
            ..Self::default()
        };
    }

    /// Takes in that only so many items are failed now, since others are done again.
    pub(super) fn forgive_at_most(&mut self, failed: u64) {
        self.forgiven = self.forgiven.min(failed);
    }
}

/// Whether `part` is more than `percent` of `whole`.
pub(super) fn share_exceeds(part: u64, whole: u64, percent: f64) -> bool {
    hundredfold(part) > percent * exact(whole)
}

fn share_below(part: u64, whole: u64, percent: f64) -> bool {
    hundredfold(part) < percent * exact(whole)
}

fn hundredfold(count: u64) -> f64 {
    100.0 * exact(count)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of items, exact up to 2^53 of them"
)]
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{super::Share, *};

    fn check(limits: BreakerLimits, calls: &str) -> Option<PauseReason> {
        let mut breaker = Breaker::default();
        for call in calls.bytes() {
            breaker.record(call == b'1', &limits);
        }
        breaker.trips(&limits, 0, None)
    }

    #[test]
    fn a_share_is_judged_once_there_were_enough_calls() {
        let limits = BreakerLimits {
            failing: Some(Share {
                percent: 50.0,
                of_last: 4,
            }),
            ..BreakerLimits::default()
        };
        assert_eq!(check(limits, "111"), None);
        assert_eq!(check(limits, "0001"), None);
        assert_eq!(check(limits, "11000000"), None);
        assert_eq!(
            check(limits, "00000000000101"),
            Some(PauseReason::Failing {
                failed: 2,
                of_last: 4
            })
        );
    }

    #[test]
    fn one_success_ends_a_row() {
        let limits = BreakerLimits {
            in_a_row: Some(3),
            ..BreakerLimits::default()
        };
        assert_eq!(check(limits, "110110"), None);
        assert_eq!(
            check(limits, "0111"),
            Some(PauseReason::InARow { failed: 3 })
        );
    }

    #[test]
    fn the_share_of_failed_items_waits_for_the_total() {
        let limits = BreakerLimits {
            failed_percent: Some(10.0),
            ..BreakerLimits::default()
        };
        let breaker = Breaker::default();
        assert_eq!(breaker.trips(&limits, 5, None), None);
        assert_eq!(breaker.trips(&limits, 5, Some(100)), None);
        assert!(breaker.trips(&limits, 10, Some(100)).is_some());
        assert_eq!(breaker.trips(&limits, 0, Some(0)), None);
    }

    #[test]
    fn failed_items_that_were_known_at_the_resume_do_not_pause_it_again() {
        let limits = BreakerLimits {
            failed_percent: Some(10.0),
            ..BreakerLimits::default()
        };
        let mut breaker = Breaker::default();
        breaker.reset(10);
        assert_eq!(breaker.trips(&limits, 19, Some(100)), None);
        assert!(breaker.trips(&limits, 20, Some(100)).is_some());
        breaker.forgive_at_most(5);
        assert!(breaker.trips(&limits, 15, Some(100)).is_some());
    }
}
