//! When so many items will have been let through: the limits reckoned ahead instead of asked.
//!
//! Owns arithmetic over whole stretches of time in which nothing changes (a window of the quota, an
//! opening of the hours), so that months cost as little as hours. Never takes a permit. The limiter is
//! the truth; what is said here is held against it by a test.

use std::num::NonZeroU32;

use super::{Limits, Pace, Span, Spread, limits::interval_ns};
use crate::time::Timestamp;

/// Stretches that are reckoned one by one: 50 years of days, in a tenth of a second. What lasts longer
/// goes on at the same speed.
const STRETCHES_MAX: usize = 20_000;

/// Whether work may begin, and until when that is so; from the hours of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Whether it may.
    pub open: bool,
    /// The first instant at which this may change; later than the instant that was asked about.
    pub until: Timestamp,
}

/// When items would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// The first of them; [`Timestamp::MAX`]: never.
    pub first: Timestamp,
    /// The last of them; [`Timestamp::MAX`]: never.
    pub last: Timestamp,
    /// Whether the last was reckoned to the end, and not only extended.
    pub exact: bool,
}

impl Limits {
    /// When so many items of this weight begin, if nothing else uses the limiter, its windows are
    /// untouched, and there is always an item and a worker ready.
    pub fn forecast(
        &self,
        items: u64,
        weight: NonZeroU32,
        now: Timestamp,
        mut hours: impl FnMut(Timestamp) -> Stretch,
    ) -> Forecast {
        let mut walk = Walk::new(self, weight, now);
        let mut first = None;
        let mut left = items;
        for _ in 0..STRETCHES_MAX {
            let opening = hours(walk.at);
            if !opening.open {
                if opening.until == Timestamp::MAX {
                    return Forecast::never(first);
                }
                walk.at = opening
                    .until
                    .max(walk.at.after(std::time::Duration::from_micros(1)));
                continue;
            }
            let passed = walk.pass(left, opening.until);
            if passed.items > 0 {
                first.get_or_insert(passed.first);
                left -= passed.items;
            }
            if left == 0 {
                let first = first.unwrap_or(now);
                let last = if items == 0 { first } else { passed.last };
                return Forecast {
                    first,
                    last,
                    exact: true,
                };
            }
            if walk.at == Timestamp::MAX {
                return Forecast::never(first);
            }
        }
        extended(items, left, first, now, walk.at)
    }

    /// The pace alone.
    #[must_use]
    pub fn pace_only(&self) -> Self {
        Self {
            pace: self.pace,
            ..Self::default()
        }
    }

    /// Items of this weight within 24 hours at most, without the pace's burst; `None`: any number.
    /// Weeks and months may be used up in a day.
    #[must_use]
    pub fn most_in_a_day(&self, weight: NonZeroU32) -> Option<u64> {
        const DAY_NS: u64 = 86_400 * 1_000_000_000;
        let paced = self
            .pace_interval_ns()
            .map(|interval| DAY_NS / interval.get());
        let counted = self.quota.as_ref().map(|quota| {
            let permits = u64::from(self.permits(quota));
            let windows = match quota.span() {
                Span::Calendar(_) => 1,
                Span::Rolling(length) => {
                    u64::try_from(u128::from(DAY_NS).div_ceil(length.as_nanos().max(1)))
                        .unwrap_or(u64::MAX)
                }
            };
            permits.saturating_mul(windows)
        });
        let permits = paced.into_iter().chain(counted).min()?;
        Some(permits / u64::from(weight.get()))
    }
}

impl Forecast {
    fn never(first: Option<Timestamp>) -> Self {
        Self {
            first: first.unwrap_or(Timestamp::MAX),
            last: Timestamp::MAX,
            exact: true,
        }
    }
}

/// Goes on as it went so far.
fn extended(
    items: u64,
    left: u64,
    first: Option<Timestamp>,
    now: Timestamp,
    at: Timestamp,
) -> Forecast {
    let done = items.saturating_sub(left);
    let Some(first) = first.filter(|_| done > 0) else {
        return Forecast::never(first);
    };
    let took = at.since(now).as_micros();
    let more = took.saturating_mul(u128::from(left)) / u128::from(done);
    let more = std::time::Duration::from_micros(u64::try_from(more).unwrap_or(u64::MAX));
    Forecast {
        first,
        last: at.after(more),
        exact: false,
    }
}

/// Items that passed in a stretch.
struct Passed {
    items: u64,
    first: Timestamp,
    last: Timestamp,
}

/// One rate, with the time up to which it is used.
#[derive(Clone, Copy)]
struct Flow {
    interval_ns: u128,
    burst: u128,
    /// Nanoseconds since 1970 up to which permits are taken.
    taken_ns: i128,
}

impl Flow {
    /// The instant at which the item after `items` others begins, if it is ready from `from` on.
    fn begins(&self, items: u128, from: i128) -> i128 {
        let ahead = items.saturating_sub(self.burst - 1) * self.interval_ns;
        let debt = self.taken_ns.max(from);
        let earlier = self.burst.saturating_sub(1).saturating_sub(items) * self.interval_ns;
        let ahead = i128::try_from(ahead).unwrap_or(i128::MAX);
        let earlier = i128::try_from(earlier).unwrap_or(i128::MAX);
        from.max(debt.saturating_add(ahead).saturating_sub(earlier))
    }

    /// How many items begin in `from..until`.
    fn within(&self, from: i128, until: i128) -> u128 {
        let debt = self.taken_ns.max(from);
        // The nth begins at debt + (n - burst) x interval.
        let room = until.saturating_sub(debt);
        if room <= 0 {
            let behind = u128::try_from(-room).unwrap_or(u128::MAX);
            return self.burst.saturating_sub(behind / self.interval_ns + 1);
        }
        let room = u128::try_from(room).unwrap_or(0);
        room.div_ceil(self.interval_ns) + self.burst - 1
    }

    fn take(&mut self, items: u128, from: i128) {
        let taken = i128::try_from(items * self.interval_ns).unwrap_or(i128::MAX);
        self.taken_ns = self.taken_ns.max(from).saturating_add(taken);
    }
}

/// A way through time.
struct Walk<'a> {
    limits: &'a Limits,
    weight: u128,
    at: Timestamp,
    pace: Option<Flow>,
    spread_taken_ns: i128,
    /// The quota's window: its end, and permits left in it.
    window: Option<(Timestamp, u64)>,
}

impl<'a> Walk<'a> {
    fn new(limits: &'a Limits, weight: NonZeroU32, now: Timestamp) -> Self {
        let weight = u128::from(weight.get());
        let pace = limits.pace.map(Pace::rate).map(|rate| Flow {
            interval_ns: u128::from(rate.interval_ns.get()) * weight,
            burst: (u128::from(rate.burst.get()) / weight).max(1),
            taken_ns: nanos(now),
        });
        Self {
            limits,
            weight,
            at: now,
            pace,
            spread_taken_ns: nanos(now),
            window: None,
        }
    }

    /// Lets items through until the window or the opening ends, or there are no more of them.
    fn pass(&mut self, items: u64, open_until: Timestamp) -> Passed {
        self.turn_window();
        let from = nanos(self.at);
        let ends = self
            .window
            .map_or(open_until, |(end, _)| end.min(open_until));
        let until = nanos(ends);
        let room = self.window.map_or(u64::MAX, |(_, left)| {
            u64::try_from(u128::from(left) / self.weight).unwrap_or(u64::MAX)
        });
        let mut spread = self.spread();
        let flows = || self.pace.iter().chain(&spread);
        let within = flows().map(|flow| flow.within(from, until)).min();
        let within = within.map_or(u64::MAX, |items| u64::try_from(items).unwrap_or(u64::MAX));
        let passed = items.min(room).min(within);
        let begins = |nth: u64| {
            let begins = flows().map(|flow| flow.begins(u128::from(nth), from));
            instant(begins.max().unwrap_or(from))
        };
        let (first, last) = (begins(0), begins(passed.saturating_sub(1)));
        for flow in [&mut self.pace, &mut spread].into_iter().flatten() {
            flow.take(u128::from(passed), from);
        }
        if let Some(flow) = spread {
            self.spread_taken_ns = flow.taken_ns;
        }
        if let Some((_, left)) = &mut self.window {
            let spent = u128::from(passed) * self.weight;
            *left = left.saturating_sub(u64::try_from(spent).unwrap_or(u64::MAX));
        }
        self.at = ends;
        Passed {
            items: passed,
            first,
            last,
        }
    }

    /// Begins the window that holds this instant, unless it is the one at hand.
    fn turn_window(&mut self) {
        let Some(quota) = &self.limits.quota else {
            return;
        };
        if self.window.is_some_and(|(end, _)| self.at < end) {
            return;
        }
        let end = match quota.span() {
            Span::Calendar(calendar) => calendar.window(self.at).1,
            // It lasts from its first permit, which is the first that is to be had.
            Span::Rolling(length) => {
                let first = self
                    .pace
                    .map_or(nanos(self.at), |pace| pace.begins(0, nanos(self.at)));
                instant(first).max(self.at).after(*length)
            }
        };
        self.window = Some((end, u64::from(self.limits.permits(quota))));
    }

    /// What the even spread makes of the window at hand: what is left over the time that is left.
    fn spread(&self) -> Option<Flow> {
        let quota = self.limits.quota.as_ref()?;
        let (end, left) = self.window?;
        let interval = match (self.limits.spread, quota.span()) {
            (Spread::Asap, _) => return None,
            (Spread::Even, Span::Calendar(_)) => interval_ns(end.since(self.at), left),
            (Spread::Even, Span::Rolling(_)) => self.limits.spread_interval_ns()?,
        };
        Some(Flow {
            interval_ns: u128::from(interval.get()) * self.weight,
            burst: 1,
            taken_ns: self.spread_taken_ns,
        })
    }
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.0) * 1000
}

fn instant(nanos: i128) -> Timestamp {
    Timestamp(i64::try_from(nanos.div_euclid(1000)).unwrap_or(i64::MAX))
}
