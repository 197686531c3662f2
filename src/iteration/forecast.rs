//! When a run will end, as far as can be told: three walks through the time to come, for the earliest,
//! the expected and the latest end.
//!
//! A walk goes from window to window (of the quota, of the schedule's hours), and in each spends what
//! goes through: first tries, the retries they bring, and, behind the last of them, the back-off of those
//! that fail to the end. Owns no state: the same outlook gives the same forecast.
//!
//! Invariant: a walk takes at most [`STEPS_MAX`] steps; what lies beyond is reckoned at the speed so far.

use std::{num::NonZeroU32, time::Duration};

use super::Tally;
use crate::{
    config::job::{Opening, Schedule},
    limiter::{Limits, Share, Usage},
    time::Timestamp,
};

/// The most windows that a walk goes through: three years of days with their hours, or some ten
/// milliseconds for all three walks.
const STEPS_MAX: u32 = 2500;

/// What is lost of a quota on an ordinary day (a restart, the last permits of a window), at the worst.
const LOST_OF_QUOTA: f64 = 0.03;

/// By how much the latest end lies behind its walk, as a part of the time to go: outages.
const OUTAGES: f64 = 0.03;

/// By how much the earliest end lies before its walk: bursts, what others leave.
const LUCK: f64 = 0.01;

/// The most days whose failure rates are looked at: two weeks, so that a rate of each weekday is in twice.
pub const DAYS_MAX: u32 = 14;

/// Days with fewer calls tell nothing about a rate.
const CALLS_MIN: u64 = 20;

/// A low, a likely and a high value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// Hardly below it.
    pub low: f64,
    /// As it will be, as far as is known.
    pub likely: f64,
    /// Hardly above it.
    pub high: f64,
}

/// How long a record that fails is tried, by its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// All back-offs of a record that fails to the end, at the longest; `None`: it is tried for ever.
    pub longest: Option<Duration>,
    /// Whether back-offs are a random part of that.
    pub jitter: bool,
}

/// What stays the same of a run while its job file does.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Permits that a call costs.
    pub weight: NonZeroU32,
    /// When it may dispatch; `None`: always.
    pub schedule: Option<Schedule>,
    /// The retry policy.
    pub backoff: Backoff,
    /// What its retries may have of the limiter while new items wait.
    pub retry_share: Share,
}

/// What is known of a run and its limiter at an instant.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a> {
    /// The instant.
    pub now: Timestamp,
    /// Records without an outcome that were not tried yet.
    pub to_go: u64,
    /// By what part of it `to_go` may be wrong; 0 where all records were counted.
    pub to_go_error: f64,
    /// Records that back off.
    pub retrying: u64,
    /// When the last of them is due.
    pub retry_due: Option<Timestamp>,
    /// What the run counted on its last days, the newest first, at most [`DAYS_MAX`].
    pub days: &'a [Tally],
    /// Calls a second that handlers manage when nothing holds them back; `None`: they never were what
    /// held the run up.
    pub capacity: Option<Guess>,
    /// What the limiter allows, and what is spent of it.
    pub limits: Option<(&'a Limits, &'a Usage)>,
    /// How many runs share the limiter, this one included.
    pub sharers: u32,
    /// Hours, weight, policy.
    pub course: &'a Course,
}

/// When a run will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// Between two instants, nine times out of ten.
    Ends {
        /// Hardly before.
        earliest: Timestamp,
        /// As far as is known.
        expected: Timestamp,
        /// Hardly after; `None`: no telling, because records are tried for ever.
        latest: Option<Timestamp>,
    },
    /// As things stand it does not end.
    Never(&'static str),
    /// Too little is known yet.
    Unknown,
}

/// What one walk assumes.
#[derive(Debug, Clone, Copy)]
struct Case {
    first: f64,
    retries: f64,
    backlog: f64,
    capacity: Option<f64>,
    quota: f64,
    sharers: f64,
    tail: Duration,
}

/// How a walk ended.
enum Walked {
    At(Timestamp),
    Never(&'static str),
    Unknown,
}

/// When a run will end.
#[must_use]
pub fn forecast(outlook: &Outlook<'_>) -> Forecast {
    let retries = retries_per_record(outlook.days);
    let given_up = given_up(outlook.days);
    let (to_go, error) = (as_f64(outlook.to_go), outlook.to_go_error);
    let backlog = as_f64(outlook.retrying);
    let longest = outlook.course.backoff.longest;
    let chain = longest.unwrap_or(Duration::ZERO);
    let usual = if outlook.course.backoff.jitter {
        chain / 2
    } else {
        chain
    };
    // Why: the last records have to fail to the end for the whole back-off to stand behind them.
    let fails = |times: f64| {
        let near_the_end = (to_go * 0.01).clamp(1.0, 10_000.0) + backlog;
        given_up * near_the_end * times >= 0.5
    };
    let tail = |is: bool, length: Duration| if is { length } else { Duration::ZERO };
    let expected = Case {
        first: to_go,
        retries: retries.likely,
        backlog: backlog * 1.5,
        capacity: outlook.capacity.map(|guess| guess.likely),
        quota: 1.0,
        sharers: f64::from(outlook.sharers.max(1)),
        tail: tail(fails(1.0), usual),
    };
    let earliest = Case {
        first: to_go * (1.0 - error),
        retries: retries.low,
        backlog,
        capacity: outlook.capacity.map(|guess| guess.high),
        sharers: 1.0,
        tail: Duration::ZERO,
        ..expected
    };
    let latest = Case {
        first: to_go * (1.0 + error),
        retries: retries.high,
        backlog: backlog * 4.0,
        capacity: outlook.capacity.map(|guess| guess.low),
        quota: 1.0 - LOST_OF_QUOTA,
        tail: tail(fails(10.0) || backlog > 0.0, chain),
        ..expected
    };
    let expected = match walk(outlook, &expected) {
        Walked::At(at) => at,
        Walked::Never(why) => return Forecast::Never(why),
        Walked::Unknown => return Forecast::Unknown,
    };
    let within = |case: &Case| match walk(outlook, case) {
        Walked::At(at) => Some(at),
        Walked::Never(_) | Walked::Unknown => None,
    };
    let now = outlook.now;
    let latest = within(&latest)
        .map(|at| at.after(at.since(now).mul_f64(OUTAGES)).max(expected))
        .filter(|_| longest.is_some() || (backlog < 1.0 && retries.high < 0.02));
    Forecast::Ends {
        earliest: within(&earliest).map_or(now, |at| {
            let margin = at.since(now).mul_f64(LUCK);
            now.after(at.since(now).saturating_sub(margin))
                .min(expected)
        }),
        expected,
        latest,
    }
}

/// Goes through the time to come.
fn walk(outlook: &Outlook<'_>, case: &Case) -> Walked {
    let limits = outlook.limits.map(|(limits, _)| limits);
    let usage = outlook.limits.map(|(_, usage)| usage);
    let weight = f64::from(outlook.course.weight.get());
    if let Some(why) = hopeless(outlook) {
        return Walked::Never(why);
    }
    let pace = limits.and_then(Limits::permits_per_s);
    let pace = pace.map(|permits| permits / weight / case.sharers);
    let rate = pace.into_iter().chain(case.capacity).reduce(f64::min);
    let retry_part = limits.map_or(0.5, |limits| limits.retry_part(outlook.course.retry_share));
    let mut left = Left {
        first: case.first,
        retries: case.backlog,
    };
    let whole = left.first * (1.0 + case.retries) + left.retries;
    let mut at = usage
        .and_then(|usage| usage.closed_until)
        .unwrap_or(outlook.now);
    let mut window: Option<(Timestamp, f64)> = None;
    for _ in 0..STEPS_MAX {
        if left.is_none() {
            return Walked::At(behind_tail(outlook, at, case.tail));
        }
        let open_until = match outlook.course.schedule.as_ref().map(|s| s.opening(at)) {
            Some(Opening::Closed(Timestamp::MAX)) => {
                return Walked::Never("the hours of its schedule never come");
            }
            Some(Opening::Closed(until)) => {
                at = until;
                continue;
            }
            Some(Opening::Open(until)) => until,
            None => Timestamp::MAX,
        };
        if window.is_none_or(|(end, _)| at >= end) {
            window = window_at(outlook, case, at);
        }
        let until = window.map_or(open_until, |(end, _)| end.min(open_until));
        let calls = window.map_or(f64::INFINITY, |(_, calls)| calls);
        let seconds = until.since(at).as_secs_f64();
        let even = window.filter(|_| limits.is_some_and(Limits::is_even));
        let even = even.map(|(end, calls)| calls / end.since(at).as_secs_f64().max(1e-6));
        // Why: a quota alone goes through as fast as anybody can.
        let quota_alone = window.map(|_| f64::INFINITY);
        let rate = rate.into_iter().chain(even).reduce(f64::min);
        let Some(rate) = rate.or(quota_alone) else {
            return Walked::Unknown;
        };
        if rate <= 0.0 {
            return Walked::Unknown;
        }
        let used = left.spend(calls.min(rate * seconds), case.retries, retry_part);
        let took = Duration::try_from_secs_f64(used / rate).unwrap_or(Duration::MAX);
        if left.is_none() {
            at = at.after(took);
            continue;
        }
        window = window.map(|(end, calls)| (end, calls - used));
        at = until;
    }
    let done = whole - left.first * (1.0 + case.retries) - left.retries;
    if done <= 0.0 || whole <= 0.0 {
        return Walked::Never("next to nothing gets through");
    }
    let so_far = at.since(outlook.now);
    Walked::At(outlook.now.after(so_far.mul_f64((whole / done).min(1e6))))
}

/// The window of the quota at an instant: its end, and the calls it has for this run.
fn window_at(outlook: &Outlook<'_>, case: &Case, at: Timestamp) -> Option<(Timestamp, f64)> {
    let (limits, usage) = outlook.limits?;
    let found = limits.window_at(at)?;
    // Why not of a rolling one: what is spent comes back within the window.
    let begun = !limits.is_rolling() && usage.resets_at.is_some_and(|reset| at < reset);
    let permits = usage.left.filter(|_| begun).unwrap_or(found.permits);
    let weight = f64::from(outlook.course.weight.get());
    let calls = f64::from(permits) * case.quota / weight / case.sharers;
    Some((found.end, calls))
}

/// What is left to be called.
struct Left {
    first: f64,
    retries: f64,
}

impl Left {
    /// Less than half a call is none.
    fn is_none(&self) -> bool {
        self.first + self.retries < 0.5
    }

    /// Spends so many calls at most; while first tries wait, retries have their part of them.
    fn spend(&mut self, calls: f64, retries_each: f64, retry_part: f64) -> f64 {
        let owed = self.first * retries_each + self.retries;
        let all = self.first + owed;
        if calls >= all {
            (self.first, self.retries) = (0.0, 0.0);
            return all;
        }
        let part = (owed / all.max(1.0)).min(retry_part);
        let first = (calls * (1.0 - part)).min(self.first);
        let retries = (calls - first).min(self.retries + first * retries_each);
        self.first -= first;
        self.retries += first * retries_each - retries;
        first + retries
    }
}

/// What keeps a run from ending at all.
fn hopeless(outlook: &Outlook<'_>) -> Option<&'static str> {
    let (limits, usage) = outlook.limits?;
    if usage.paused {
        return Some("its limiter is paused");
    }
    if limits.allows_nothing() {
        return Some("its quota lets nothing through");
    }
    let too_heavy = limits
        .window_at(outlook.now)
        .is_some_and(|window| window.permits < outlook.course.weight.get());
    too_heavy.then_some("a record costs more than its quota has")
}

/// The end of a back-off that begins there: behind closed hours it goes on when they are over.
fn behind_tail(outlook: &Outlook<'_>, at: Timestamp, tail: Duration) -> Timestamp {
    let end = at.after(tail).max(outlook.retry_due.unwrap_or(at));
    match outlook.course.schedule.as_ref().map(|s| s.opening(end)) {
        Some(Opening::Closed(until)) if tail > Duration::ZERO && until < Timestamp::MAX => until,
        Some(_) | None => end,
    }
}

/// How many retries a record brings: by the days, of which the newer ones count more.
fn retries_per_record(days: &[Tally]) -> Guess {
    let (mut weighed, mut weights) = (0.0, 0.0);
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    let mut weight = 1.0;
    for day in days.iter().filter(|day| day.calls() >= CALLS_MIN) {
        let rate = as_f64(day.retries) / as_f64(day.first_tries.max(1));
        let counts = weight * as_f64(day.first_tries);
        weighed += rate * counts;
        weights += counts;
        (low, high) = (low.min(rate), high.max(rate));
        weight *= 0.8;
    }
    if weights <= 0.0 {
        return Guess {
            low: 0.0,
            likely: 0.01,
            high: 0.1,
        };
    }
    let likely = weighed / weights;
    // Why beyond what was seen: a rate that drifts goes on drifting.
    Guess {
        low: (low * 0.75).min(likely),
        likely,
        high: (high * 1.3 + 0.01).max(likely),
    }
}

/// The part of records that fail for good.
fn given_up(days: &[Tally]) -> f64 {
    let (done, failed) = days.iter().fold((0, 0), |(done, failed), day| {
        (done + day.done, failed + day.failed)
    });
    as_f64(failed) / as_f64((done + failed).max(1))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of calls, far below what a double holds exactly"
)]
const fn as_f64(count: u64) -> f64 {
    count as f64
}
