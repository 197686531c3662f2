//! Which retrier or catcher an error belongs to, and how long a retry waits.
//!
//! The crate `backoff` grows the interval; jitter is the step's own random number. Impurity: its
//! policy insists on a clock and draws a random number that its randomization factor of 0 multiplies
//! away. The clock here answers one fixed instant of the process, which nothing depends on because
//! no maximum of elapsed time is set; a generator that takes the number of the attempt would remove
//! both.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use backoff::{Clock, backoff::Backoff as _, exponential::ExponentialBackoff};

use super::failure::{DATA_LIMIT, HEARTBEAT, RUNTIME, Raised, TIMEOUT};
use crate::asl::{Catcher, Jitter, Retrier};

/// Longest delay where `MaxDelaySeconds` is not set: some 31 centuries, the latest instant that a
/// calendar here can name lies beyond it. Longer ones would never be lived through.
const DELAY_MAX: Duration = Duration::from_secs(99_999_999_999);

/// The retrier that is responsible for the error: the first whose names match it.
///
/// Spec: its `States.ALL` does not stand for `States.DataLimitExceeded`; what is too large stays so.
pub(super) fn retrier(retriers: &[Retrier], raised: &Raised) -> Option<usize> {
    if raised.retry == Some(false) {
        return None;
    }
    let all = !raised.is(DATA_LIMIT);
    retriers
        .iter()
        .position(|retrier| matches(&retrier.errors, raised, all))
}

/// The catcher that is responsible for the error: the first whose names match it.
///
/// AWS's documentation excepts `States.DataLimitExceeded` from `States.ALL`; recordings show that a
/// catcher of `States.ALL` catches it.
pub(super) fn catcher<'d>(catchers: &'d [Catcher], raised: &Raised) -> Option<&'d Catcher> {
    catchers
        .iter()
        .find(|catcher| matches(&catcher.errors, raised, true))
}

/// `all`: whether `States.ALL` stands for the error.
fn matches(names: &[Box<str>], raised: &Raised, all: bool) -> bool {
    // Recorded: not even a catcher that names it catches States.Runtime.
    if raised.is(RUNTIME) {
        return false;
    }
    let timed_out = raised.is(TIMEOUT);
    names.iter().any(|name| match &**name {
        "States.ALL" => all,
        "States.TaskFailed" => !timed_out,
        TIMEOUT => timed_out,
        HEARTBEAT => raised.silent || raised.is(HEARTBEAT),
        name => raised.is(name),
    })
}

/// How long to wait before a retry, given how many retries came before it (`before`).
///
/// The delay grows from the interval by the rate up to the longest delay, in constant time for any
/// number of retries. With full jitter it is `draw` (evenly from all `u64`) scaled to it.
/// `retry_after` lengthens the delay and never shortens it. Exact to the microsecond.
#[must_use]
pub fn delay(
    retrier: &Retrier,
    before: u32,
    retry_after: Option<Duration>,
    draw: impl FnOnce() -> u64,
) -> Duration {
    let max = retrier.max_delay.unwrap_or(DELAY_MAX);
    let factor = retrier.backoff_rate.powf(f64::from(before));
    // Overflow gives infinity, which is no duration: then the longest delay is meant.
    let grown = Duration::try_from_secs_f64(retrier.interval.as_secs_f64() * factor)
        .unwrap_or(max)
        .min(max);
    let mut policy = ExponentialBackoff {
        current_interval: whole_micros(grown),
        initial_interval: retrier.interval,
        randomization_factor: 0.0,
        multiplier: retrier.backoff_rate,
        max_interval: max,
        max_elapsed_time: None,
        start_time: FixedClock.now(),
        clock: FixedClock,
    };
    let interval = whole_micros(policy.next_backoff().unwrap_or(max));
    let delay = match retrier.jitter {
        Jitter::None => interval,
        Jitter::Full => jittered(interval, draw()),
    };
    delay.max(retry_after.unwrap_or_default())
}

/// The draw's share of the interval, rounded down.
fn jittered(interval: Duration, draw: u64) -> Duration {
    let share = interval.as_micros().saturating_mul(u128::from(draw)) >> 64;
    u64::try_from(share).map_or(interval, Duration::from_micros)
}

/// Why: beyond 104 days a double has no nanoseconds, and the policy adds up to one by chance.
fn whole_micros(duration: Duration) -> Duration {
    u64::try_from(duration.as_micros()).map_or(duration, Duration::from_micros)
}

#[derive(Debug, Clone)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Instant {
        static INSTANT: OnceLock<Instant> = OnceLock::new();
        *INSTANT.get_or_init(Instant::now)
    }
}
