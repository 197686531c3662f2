//! What the limiter promises, from the texts of its settings to months of simulated days.

mod clock;
mod forecast;
mod laws;
mod pace;
mod quota;
mod shares;
mod texts;

use std::{num::NonZeroU32, time::Duration};

use super::{Ask, Grant, Limiter, Limits, Quota, Spread, Throttle, Try, time_zone};
use crate::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// An instant, from its text in any offset or zone.
fn at(text: &str) -> Timestamp {
    let zoned = text.parse::<jiff::Zoned>().map(|zoned| zoned.timestamp());
    Timestamp::from_jiff(zoned.unwrap_or_else(|_| text.parse().unwrap()))
}

/// Noon on a day without any event in any zone.
fn noon() -> Timestamp {
    at("2027-01-13T12:00:00Z")
}

fn n(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// Limits by the texts of a file; an empty text is a missing key.
fn limits(pace: &str, quota: &str, zone: &str) -> Limits {
    let quota = (!quota.is_empty()).then(|| {
        let quota: Quota = quota.parse().unwrap();
        quota.in_zone(time_zone(zone).unwrap(), 0).unwrap()
    });
    Limits {
        pace: (!pace.is_empty()).then(|| pace.parse().unwrap()),
        quota,
        ..Limits::default()
    }
}

fn even(quota: &str, zone: &str) -> Limits {
    Limits {
        spread: Spread::Even,
        ..limits("", quota, zone)
    }
}

/// New items of one user, one after the other, with more behind them.
fn one() -> Ask {
    Ask::one(1, Try::First)
}

fn many(count: u32) -> Ask {
    Ask {
        count: n(count),
        ..one()
    }
}

fn heavy(weight: u32) -> Ask {
    Ask {
        weight: n(weight),
        ..one()
    }
}

fn retry(user: u64, first_waiting: bool) -> Ask {
    Ask {
        first_waiting,
        ..Ask::one(user, Try::Retry)
    }
}

/// The refusal of an ask; a grant fails the test.
#[track_caller]
fn refused(limiter: &mut Limiter, ask: &Ask, now: Timestamp) -> (Timestamp, Throttle) {
    match limiter.ask(ask, now) {
        Grant::NotBefore { at, why } => {
            assert!(at > now, "{at} is not after {now}");
            (at, why)
        }
        Grant::Now(items) => panic!("{items} items were granted at {now}"),
    }
}

/// What each asker was granted: when, and how many permits.
type Granted = Vec<(Timestamp, u32)>;

/// Lets askers ask until `until`, each again at the instant it was told, or at once after a grant.
/// Among those due at one instant the first of the list asks first.
fn simulate(
    limiter: &mut Limiter,
    asks: &[Ask],
    from: Timestamp,
    until: Timestamp,
) -> Vec<Granted> {
    let mut due = vec![from; asks.len()];
    let mut granted = vec![Granted::new(); asks.len()];
    loop {
        let Some((asker, now)) = due.iter().copied().enumerate().min_by_key(|(_, due)| *due) else {
            return granted;
        };
        if now >= until {
            return granted;
        }
        match limiter.ask(&asks[asker], now) {
            Grant::Now(items) => granted[asker].push((now, items * asks[asker].weight.get())),
            Grant::NotBefore { at, .. } => {
                assert!(at > now);
                due[asker] = at;
            }
        }
    }
}

fn sum(granted: &[(Timestamp, u32)]) -> u32 {
    granted.iter().map(|(_, permits)| permits).sum()
}
