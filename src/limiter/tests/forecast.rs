//! What is reckoned ahead is what the limiter does.

use std::time::Duration;

use super::*;
use crate::limiter::{Forecast, Stretch};

fn always(_: Timestamp) -> Stretch {
    Stretch {
        open: true,
        until: Timestamp::MAX,
    }
}

/// Open from 22:00 to 06:00 UTC.
fn nightly(at: Timestamp) -> Stretch {
    const HOUR_US: i64 = 3_600_000_000;
    let hour = at.0.div_euclid(HOUR_US);
    let of_day = hour.rem_euclid(24);
    let open = !(6..22).contains(&of_day);
    let hours = if open {
        (30 - of_day) % 24
    } else {
        22 - of_day
    };
    Stretch {
        open,
        until: Timestamp((hour + hours) * HOUR_US),
    }
}

/// The instants at which the limiter itself lets items through, one user asking for one at a time.
fn asked(
    limits: &Limits,
    items: u64,
    weight: u32,
    hours: fn(Timestamp) -> Stretch,
) -> (Timestamp, Timestamp) {
    let mut limiter = Limiter::new(limits.clone(), noon());
    let ask = Ask {
        weight: n(weight),
        ..one()
    };
    let (mut now, mut first, mut left) = (noon(), None, items);
    loop {
        let opening = hours(now);
        if !opening.open {
            now = opening.until;
            continue;
        }
        match limiter.ask(&ask, now) {
            Grant::Now(_) => {
                first.get_or_insert(now);
                left -= 1;
                if left == 0 {
                    return (first.unwrap(), now);
                }
            }
            Grant::NotBefore { at, .. } => now = at,
        }
    }
}

/// The last item within `near` of where the limiter has it.
fn check(
    limits: &Limits,
    items: u64,
    weight: u32,
    hours: fn(Timestamp) -> Stretch,
    near: Duration,
) {
    let (first, last) = asked(limits, items, weight, hours);
    let forecast = limits.forecast(items, n(weight), noon(), hours);
    assert!(forecast.exact);
    let apart = forecast.last.since(last).max(last.since(forecast.last));
    assert!(
        apart <= near,
        "{limits:?}, {items} items: {} and not {last}",
        forecast.last
    );
    let apart = forecast.first.since(first).max(first.since(forecast.first));
    assert!(
        apart <= near,
        "{limits:?}: begins {} and not {first}",
        forecast.first
    );
}

#[test]
fn what_is_reckoned_is_what_the_limiter_does() {
    let second = Duration::from_secs(1);
    for hours in [always, nightly] {
        for items in [1, 2, 37, 1_000, 5_003] {
            check(&limits("", "", "UTC"), items, 1, hours, Duration::ZERO);
            check(&limits("1 per 10s", "", "UTC"), items, 1, hours, second);
            check(
                &limits("20 per s burst 5", "", "UTC"),
                items,
                3,
                hours,
                second,
            );
            check(
                &limits("", "500 per day", "Europe/Berlin"),
                items,
                1,
                hours,
                second,
            );
            check(
                &limits("1 per 30s", "500 per day", "Europe/Berlin"),
                items,
                1,
                hours,
                30 * second,
            );
            check(
                &limits("5 per s", "3000 per month", "America/New_York"),
                items,
                7,
                hours,
                second,
            );
        }
    }
    // In a rolling window grants expire in parts of it, and an even spread rounds with each grant.
    check(
        &limits("1 per 10s", "500 per 24h rolling", "UTC"),
        2_000,
        1,
        always,
        3 * DAY / 96,
    );
    check(
        &even("500 per day", "Europe/Berlin"),
        2_000,
        1,
        always,
        200 * second,
    );
    check(&even("500 per day", "UTC"), 2_000, 1, nightly, 200 * second);
}

#[test]
fn a_reserve_is_not_reckoned_with() {
    let limits = Limits {
        reserve: 400,
        ..limits("", "500 per day", "UTC")
    };
    let forecast = limits.forecast(1_000, n(1), noon(), always);
    // Noon, and nine midnights later.
    assert_eq!(forecast.last, at("2027-01-22T00:00:00Z"));
}

#[test]
fn never_and_centuries_are_told_without_a_walk_through_them() {
    let closed = |_| Stretch {
        open: false,
        until: Timestamp::MAX,
    };
    let forecast = limits("", "", "UTC").forecast(5, n(1), noon(), closed);
    assert_eq!(
        forecast,
        Forecast {
            first: Timestamp::MAX,
            last: Timestamp::MAX,
            exact: true
        }
    );
    let forecast = limits("", "1 per day", "UTC").forecast(3_200_000, n(1), noon(), always);
    assert!(!forecast.exact && forecast.first == noon());
    let years = forecast.last.since(noon()).as_secs() / (365 * 86_400);
    assert!((8_700..8_800).contains(&years), "{years}");
}
