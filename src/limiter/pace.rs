//! How fast: the pace, and the rule that keeps it (GCRA, by governor).
//!
//! The only file that names governor. governor decides within one step: its clock stands at the
//! step's instant, and its state store is a slot that is filled before and read after. What lasts is
//! a [`Debt`]: the theoretical arrival time as absolute wall time, which can be stored and restored.
//!
//! Invariant: a span of t seconds holds at most burst + rate x t permits (or the weight of the
//! heaviest item, where that is above the burst).

use std::{
    cell::Cell,
    fmt,
    num::{NonZeroU32, NonZeroU64},
    str::FromStr,
    time::Duration,
};

use governor::{
    RateLimiter, clock,
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use serde::{Deserialize, Serialize};

use super::{
    limits::{LimitError, interval_ns},
    text::{Per, read_count, read_rate, read_time},
};
use crate::time::Timestamp;

/// Longest time of a pace, and of a burst's refill. A year is beyond any API's; it also keeps every
/// sum of nanoseconds here far below what 64 bits hold (584 years).
const REFILL_MAX: Duration = Duration::from_hours(366 * 24);

/// Fastest pace. Instants are whole microseconds, so a faster one could not be told apart.
const PER_SECOND_MAX: u64 = 1_000_000;

/// Longest debt that is kept, in nanoseconds (ten years). Only items far heavier than the burst, or
/// a damaged state, come near it.
const DEBT_NS_MAX: u64 = 10 * 366 * 86_400 * 1_000_000_000;

/// A number of permits per time, and how many may go at once after an idle time.
///
/// A permit that nobody takes while the burst is full is lost. Timers are a millisecond coarse, so
/// from some 100 per second on a burst of what comes within 10 ms keeps the rate up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    permits: NonZeroU32,
    per: Duration,
    burst: NonZeroU32,
}

impl Pace {
    /// Nanoseconds that one permit stands for, rounded up.
    pub(super) fn interval_ns(self) -> NonZeroU64 {
        interval_ns(self.per, u64::from(self.permits.get()))
    }

    /// As the step needs it.
    pub(super) fn rate(self) -> Rate {
        Rate {
            interval_ns: self.interval_ns(),
            burst: self.burst,
        }
    }
}

/// Reads `20 per s burst 5`; the burst is 1 unless said.
impl FromStr for Pace {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let refuse = |why| LimitError::Pace {
            text: text.to_owned(),
            why,
        };
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        let (permits, time, tail) = read_rate(&words, "burst").map_err(refuse)?;
        if time == "month" || time == "year" {
            return Err(refuse(
                "months differ in length; a month is a quota's window",
            ));
        }
        let per = read_time(&time)
            .filter(|per| !per.is_zero())
            .ok_or_else(|| refuse("the time after \"per\" is none"))?;
        let burst = match tail {
            [] => NonZeroU32::MIN,
            [_, burst] => read_count(burst).map_err(refuse)?,
            _ => return Err(refuse("one number belongs after \"burst\"")),
        };
        let pace = Self {
            permits,
            per,
            burst,
        };
        if u128::from(permits.get()) * 1_000_000_000 > per.as_nanos() * u128::from(PER_SECOND_MAX) {
            return Err(refuse("at most 1000000 per s"));
        }
        let refill = u128::from(pace.interval_ns().get()) * u128::from(burst.get());
        if per > REFILL_MAX || refill > REFILL_MAX.as_nanos() {
            return Err(refuse(
                "the time, and the burst's refill, may take 366 days at most",
            ));
        }
        Ok(pace)
    }
}

/// Writes what reading gives back.
impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.permits, Per(self.per))?;
        match self.burst.get() {
            1 => Ok(()),
            burst => write!(f, " burst {burst}"),
        }
    }
}

/// A pace in the numbers that GCRA takes; the spread of a quota becomes one too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Nanoseconds that one permit stands for.
    pub(super) interval_ns: NonZeroU64,
    /// Permits that may go at once after an idle time.
    pub(super) burst: NonZeroU32,
}

impl Rate {
    /// Takes the permits of up to `items` items of one weight: at least one item, or none and the
    /// earliest instant for one.
    ///
    /// An item heavier than the burst waits until the whole burst is there, takes it and borrows the
    /// rest: whoever comes next waits until it is paid back.
    pub(super) fn take(
        self,
        debt: Debt,
        items: u32,
        weight: NonZeroU32,
        now: Timestamp,
    ) -> Result<(u32, Debt), Timestamp> {
        let interval = Duration::from_nanos(self.interval_ns.get());
        let Some(quota) = governor::Quota::with_period(interval) else {
            return Ok((items, debt)); // an interval is never zero
        };
        let slot = Slot(Cell::new(Nanos::from(debt.ahead_ns(now))));
        let limiter = RateLimiter::<_, _, _, StateInformationMiddleware>::new(
            quota.allow_burst(self.burst),
            slot,
            StepClock,
        );
        let first = weight.min(self.burst);
        let refill = || now.after(interval.saturating_mul(first.get()));
        let snapshot = match limiter.check_n(first) {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(not_until)) => {
                let wait_ns = u64::from(not_until.earliest_possible());
                return Err(now.after(Duration::from_micros(wait_ns.div_ceil(1_000))));
            }
            Err(_) => return Err(refill()), // more than the burst is never asked for
        };
        let more = (items.saturating_sub(1)).min(snapshot.remaining_burst_capacity() / weight);
        let taken = match NonZeroU32::new(more.saturating_mul(weight.get())) {
            Some(permits) if matches!(limiter.check_n(permits), Ok(Ok(_))) => more + 1,
            Some(_) | None => 1,
        };
        let borrowed = self.cost_ns(weight.get() - first.get());
        let ahead_ns = u64::from(limiter.into_state_store().0.get()).saturating_add(borrowed);
        Ok((taken, Debt::ahead(now, ahead_ns)))
    }

    /// How long the pace takes to make that many permits.
    pub(super) fn cost(self, permits: u32) -> Duration {
        Duration::from_nanos(self.cost_ns(permits))
    }

    fn cost_ns(self, permits: u32) -> u64 {
        self.interval_ns
            .get()
            .saturating_mul(u64::from(permits))
            .min(DEBT_NS_MAX)
    }
}

/// How far what was taken runs ahead of the pace: GCRA's theoretical arrival time, as wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Debt {
    /// When it is paid back, rounded down.
    at: Timestamp,
    /// Nanoseconds after `at`, below 1,000. Why: rounding each permit to a microsecond would slow
    /// "1000000 per s" by half.
    ns: u16,
}

impl Debt {
    /// Nothing owed.
    pub(super) const fn none(now: Timestamp) -> Self {
        Self { at: now, ns: 0 }
    }

    fn ahead(now: Timestamp, ahead_ns: u64) -> Self {
        let ahead_ns = ahead_ns.min(DEBT_NS_MAX);
        Self {
            at: now.after(Duration::from_micros(ahead_ns / 1_000)),
            ns: u16::try_from(ahead_ns % 1_000).unwrap_or(0),
        }
    }

    fn ahead_ns(self, now: Timestamp) -> u64 {
        let micros = i128::from(self.at.0) - i128::from(now.0);
        let ahead_ns = micros * 1_000 + i128::from(self.ns);
        u64::try_from(ahead_ns.clamp(0, DEBT_NS_MAX.into())).unwrap_or(DEBT_NS_MAX)
    }

    /// The same debt after the clock was set back from `from` to `to`.
    pub(super) fn rebased(self, from: Timestamp, to: Timestamp) -> Self {
        Self::ahead(to, self.ahead_ns(from))
    }

    /// The same number of permits owed, after the time that each stands for has changed.
    pub(super) fn rescaled(self, now: Timestamp, from_ns: NonZeroU64, to_ns: NonZeroU64) -> Self {
        let ahead = u128::from(self.ahead_ns(now)) * u128::from(to_ns.get());
        let ahead = ahead.div_ceil(u128::from(from_ns.get()));
        Self::ahead(now, u64::try_from(ahead).unwrap_or(DEBT_NS_MAX))
    }
}

/// governor's clock within one step: it stands still at zero, the step's instant.
struct StepClock;

impl clock::Clock for StepClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::default()
    }
}

/// governor's state within one step: nanoseconds by which the debt is ahead of the step's instant.
struct Slot(Cell<Nanos>);

impl StateStore for Slot {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, next) = decide(Some(self.0.get()))?;
        self.0.set(next);
        Ok(outcome)
    }
}
