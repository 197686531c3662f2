//! Restarts, and clocks that jump.

use super::*;
use crate::limiter::{LimiterState, StateError};

fn restarted(limiter: &Limiter, now: Timestamp) -> Limiter {
    let stored = serde_json::to_string(limiter.state()).unwrap();
    let state: LimiterState = serde_json::from_str(&stored).unwrap();
    Limiter::restore(limiter.limits().clone(), state, now).unwrap()
}

#[test]
fn the_pace_and_the_quota_hold_over_a_restart() {
    let mut limiter = Limiter::new(limits("1 per 10s", "5 per day", "UTC"), noon());
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    let mut limiter = restarted(&limiter, noon() + SECOND * 4);
    let next = noon() + SECOND * 10;
    assert_eq!(
        refused(&mut limiter, &one(), noon() + SECOND * 4),
        (next, Throttle::Pace)
    );
    for i in 0..4 {
        let mut limiter_again = restarted(&limiter, next + SECOND * 10 * i);
        assert_eq!(
            limiter_again.ask(&one(), next + SECOND * 10 * i),
            Grant::Now(1)
        );
        limiter = limiter_again;
    }
    let mut limiter = restarted(&limiter, next + HOUR);
    assert_eq!(
        refused(&mut limiter, &one(), next + HOUR).1,
        Throttle::Quota
    );
}

#[test]
fn closing_and_pausing_hold_over_a_restart_and_the_sequence_grows_with_each_change() {
    let mut limiter = Limiter::new(limits("1 per s", "", "UTC"), noon());
    let mut sequence = limiter.state().sequence();
    let mut grown = |limiter: &Limiter, by| {
        assert_eq!(limiter.state().sequence(), sequence + by);
        sequence += by;
    };
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    grown(&limiter, 1);
    refused(&mut limiter, &one(), noon());
    grown(&limiter, 0);
    limiter.close(HOUR, noon());
    grown(&limiter, 1);
    limiter.set_paused(true, noon());
    grown(&limiter, 1);
    let mut limiter = restarted(&limiter, noon());
    assert_eq!(refused(&mut limiter, &one(), noon()).1, Throttle::Paused);
    limiter.set_paused(false, noon());
    grown(&limiter, 1);
    assert_eq!(
        refused(&mut limiter, &one(), noon()),
        (noon() + HOUR, Throttle::Closed)
    );
    let usage = limiter.usage(noon());
    assert_eq!(
        (usage.closed_until, usage.paused),
        (Some(noon() + HOUR), false)
    );
}

#[test]
fn a_state_of_a_newer_version_is_refused() {
    let limiter = Limiter::new(Limits::default(), noon());
    let mut stored = serde_json::to_value(limiter.state()).unwrap();
    stored["format"] = 2.into();
    let state = serde_json::from_value(stored).unwrap();
    let refused = Limiter::restore(Limits::default(), state, noon()).unwrap_err();
    assert_eq!(refused, StateError::Format { found: 2 });
}

/// Pitfall 9: the clock goes back over midnight, after which nothing is refilled on either side.
#[test]
fn a_clock_that_goes_back_over_midnight_refills_nothing() {
    let midnight = at("2027-01-14T00:00:00Z");
    let before = Timestamp(midnight.0 - 60_000_000);
    for restart in [false, true] {
        let mut limiter = Limiter::new(limits("", "10 per day", "UTC"), noon());
        assert_eq!(limiter.ask(&many(8), noon()), Grant::Now(8));
        assert_eq!(limiter.ask(&many(3), midnight), Grant::Now(3));
        if restart {
            limiter = restarted(&limiter, before);
        }
        // Two are left of the old day; they count in the new one as well.
        assert_eq!(limiter.ask(&many(100), before), Grant::Now(2));
        assert_eq!(
            refused(&mut limiter, &one(), before),
            (midnight, Throttle::Quota)
        );
        assert_eq!(limiter.ask(&many(100), midnight), Grant::Now(5));
        let (next, _) = refused(&mut limiter, &one(), before);
        assert_eq!(next, midnight + DAY, "both days are spent");
        assert_eq!(limiter.ask(&many(100), next), Grant::Now(10));
    }
}

#[test]
fn a_clock_that_was_years_ahead_costs_at_most_the_day() {
    let mut limiter = Limiter::new(limits("1 per 10s", "10 per day", "UTC"), noon());
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    let wrong = noon() + DAY * 1500;
    assert_eq!(limiter.ask(&one(), wrong), Grant::Now(1));
    limiter.close(HOUR, wrong);
    let now = noon() + SECOND * 30;
    assert_eq!(
        refused(&mut limiter, &one(), now),
        (now + HOUR, Throttle::Closed)
    );
    assert_eq!(
        limiter.usage(now).left,
        Some(8),
        "both were granted on this day"
    );
    assert_eq!(limiter.ask(&one(), now + HOUR), Grant::Now(1));
}

#[test]
fn a_rolling_window_that_was_counted_years_ahead_counts_from_now() {
    let mut limiter = Limiter::new(limits("", "10 per 24h rolling", "UTC"), noon() + DAY * 1500);
    assert_eq!(limiter.ask(&many(10), noon() + DAY * 1500), Grant::Now(10));
    assert_eq!(
        refused(&mut limiter, &one(), noon()),
        (noon() + DAY, Throttle::Quota)
    );
    assert_eq!(limiter.ask(&many(99), noon() + DAY), Grant::Now(10));
}

#[test]
fn a_rolling_window_counts_against_the_latest_instant_that_was_seen() {
    let mut limiter = Limiter::new(limits("", "2 per 1h rolling", "UTC"), noon());
    assert_eq!(limiter.ask(&one(), noon() + SECOND * 10), Grant::Now(1));
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    let (next, why) = refused(&mut limiter, &one(), noon());
    assert_eq!((next, why), (noon() + SECOND * 10 + HOUR, Throttle::Quota));
}

#[test]
fn a_clock_set_back_leaves_the_wait_for_the_pace_as_long_as_it_was() {
    for back in [SECOND, SECOND * 10, HOUR, DAY * 10_000] {
        for restart in [false, true] {
            let mut limiter = Limiter::new(limits("1 per 10s", "", "UTC"), noon());
            assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
            let now = Timestamp(noon().0 - i64::try_from(back.as_micros()).unwrap());
            if restart {
                limiter = restarted(&limiter, now);
            }
            assert_eq!(refused(&mut limiter, &one(), now).0, now + SECOND * 10);
            assert_eq!(limiter.ask(&one(), now + SECOND * 10), Grant::Now(1));
        }
    }
}

#[test]
fn a_clock_set_forward_frees_one_burst_and_no_more() {
    let mut limiter = Limiter::new(limits("1 per 10s burst 3", "", "UTC"), noon());
    assert_eq!(limiter.ask(&many(9), noon()), Grant::Now(3));
    let mut limiter = restarted(&limiter, noon() + DAY * 10_000);
    assert_eq!(limiter.ask(&many(9), noon() + DAY * 10_000), Grant::Now(3));
    assert_eq!(
        refused(&mut limiter, &one(), noon()).0,
        noon() + SECOND * 10
    );
}

/// Pitfall 9: every instant of the days on which Berlin changes its clocks, and small steps back at
/// each of them.
#[test]
fn steps_back_on_the_days_of_clock_changes_break_no_day() {
    let zone = time_zone("Europe/Berlin").unwrap();
    for from in ["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z"] {
        for (step_back_s, every) in [(1, 3), (59, 2), (3_600, 7), (7_200, 5)] {
            let mut limiter = Limiter::new(limits("", "100 per day", "Europe/Berlin"), at(from));
            let mut days = std::collections::BTreeMap::new();
            let mut now = at(from);
            for step in 0..4_000_i64 {
                now.0 += 97_000_000;
                if step % every == 0 {
                    now.0 -= step_back_s * 1_000_000;
                }
                if let Grant::Now(items) = limiter.ask(&many(2), now) {
                    let day = now.to_jiff().to_zoned(zone.clone()).date();
                    *days.entry(day).or_insert(0) += items;
                }
            }
            for (day, permits) in days {
                assert!(permits <= 100, "{permits} on {day}");
            }
        }
    }
}
