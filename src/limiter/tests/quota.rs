//! The quota: calendar windows over a year of clock changes, rolling windows, the even spread.

use super::*;
use crate::limiter::{Span, Unit};

#[test]
fn windows_follow_one_another_without_gap_whatever_the_zone_does() {
    for (zone, from) in [
        ("Europe/Berlin", "2026-01-01T00:00:00Z"),
        ("America/Havana", "2026-01-01T00:00:00Z"), // falls back from 01:00 to midnight
        ("America/Sao_Paulo", "2018-01-01T00:00:00Z"), // skipped midnight, fell back at midnight
        ("Australia/Lord_Howe", "2026-01-01T00:00:00Z"), // moves by half an hour
        ("Pacific/Apia", "2011-06-01T00:00:00Z"),   // skipped 2011-12-30
        ("UTC", "1969-06-01T00:00:00Z"),
    ] {
        for unit in [Unit::Day, Unit::Week, Unit::Month] {
            for hour in [0, 2, 3, 23] {
                let quota = format!("1 per {unit}").parse::<Quota>().unwrap();
                let quota = quota.in_zone(time_zone(zone).unwrap(), hour).unwrap();
                let Span::Calendar(calendar) = quota.span() else {
                    panic!("a calendar")
                };
                let (mut start, mut end) = calendar.window(at(from));
                for _ in 0..400 {
                    assert!(start < end, "{zone} {unit} {hour} {start}");
                    let last = Timestamp(end.0 - 1);
                    for inside in [start, Timestamp(i64::midpoint(start.0, end.0)), last] {
                        assert_eq!(
                            calendar.window(inside),
                            (start, end),
                            "{zone} {unit} {hour}"
                        );
                    }
                    let next = calendar.window(end);
                    assert_eq!(next.0, end, "{zone} {unit} {hour}");
                    (start, end) = next;
                }
            }
        }
    }
}

#[test]
fn windows_begin_where_a_calendar_says() {
    let check = |quota: &str, zone: &str, hour, now: &str, start: &str, end: &str| {
        let quota = quota.parse::<Quota>().unwrap();
        let quota = quota.in_zone(time_zone(zone).unwrap(), hour).unwrap();
        let Span::Calendar(calendar) = quota.span() else {
            panic!("a calendar")
        };
        assert_eq!(calendar.window(at(now)), (at(start), at(end)), "{now}");
    };
    let berlin = "Europe/Berlin";
    // Days of 23 and 25 hours.
    check(
        "1 per day",
        berlin,
        0,
        "2026-03-29T12:00Z",
        "2026-03-28T23:00Z",
        "2026-03-29T22:00Z",
    );
    check(
        "1 per day",
        berlin,
        0,
        "2026-10-25T12:00Z",
        "2026-10-24T22:00Z",
        "2026-10-25T23:00Z",
    );
    // An hour that is skipped, and one that comes twice.
    check(
        "1 per day",
        berlin,
        2,
        "2026-03-29T12:00Z",
        "2026-03-29T01:00Z",
        "2026-03-30T00:00Z",
    );
    check(
        "1 per day",
        berlin,
        2,
        "2026-10-25T00:30Z",
        "2026-10-25T00:00Z",
        "2026-10-26T01:00Z",
    );
    check(
        "1 per day",
        berlin,
        6,
        "2026-06-10T03:59Z",
        "2026-06-09T04:00Z",
        "2026-06-10T04:00Z",
    );
    check(
        "1 per week",
        "UTC",
        0,
        "2026-03-01T23:59Z",
        "2026-02-23T00:00Z",
        "2026-03-02T00:00Z",
    );
    check(
        "1 per month",
        "UTC",
        6,
        "2028-03-01T05:00Z",
        "2028-02-01T06:00Z",
        "2028-03-01T06:00Z",
    );
    check(
        "1 per month",
        berlin,
        0,
        "2026-12-31T23:00Z",
        "2026-12-31T23:00Z",
        "2027-01-31T23:00Z",
    );
}

#[test]
fn far_years_have_windows_too() {
    let quota = "1 per month".parse::<Quota>().unwrap();
    let Span::Calendar(calendar) = quota.span() else {
        panic!("a calendar")
    };
    for now in [
        i64::MIN,
        i64::MIN / 2,
        -377_705_023_201_000_000,
        253_402_207_200_000_000,
        i64::MAX / 2,
    ] {
        let (start, end) = calendar.window(Timestamp(now));
        assert!(start.0 <= now && now < end.0, "{now}: {start:?} {end:?}");
    }
}

/// Pitfall 9: sweeps a year by the calendar of a zone with clock changes; the count of each civil day
/// is exactly the quota, on days of 23 and 25 hours too.
#[test]
fn each_calendar_day_of_a_year_has_exactly_its_quota() {
    let zone = time_zone("Europe/Berlin").unwrap();
    for limits in [
        limits("", "7 per day", "Europe/Berlin"),
        limits("1 per 10m burst 3", "7 per day", "Europe/Berlin"),
        even("7 per day", "Europe/Berlin"),
    ] {
        let from = at("2026-01-01T00:00:00+01:00[Europe/Berlin]");
        let until = at("2027-01-01T00:00:00+01:00[Europe/Berlin]");
        let mut limiter = Limiter::new(limits, from);
        let granted = simulate(&mut limiter, &[many(3)], from, until).remove(0);
        let mut days = std::collections::BTreeMap::new();
        for (when, permits) in granted {
            *days
                .entry(when.to_jiff().to_zoned(zone.clone()).date())
                .or_insert(0) += permits;
        }
        assert_eq!(days.len(), 365);
        for (day, permits) in days {
            assert_eq!(permits, 7, "{day}");
        }
    }
}

#[test]
fn a_quota_with_a_pace_never_lets_through_a_burst_and_a_day() {
    let from = at("2027-01-13T23:00:00Z");
    let mut limiter = Limiter::new(limits("500 per day burst 500", "500 per day", "UTC"), from);
    let granted = simulate(&mut limiter, &[many(50)], from, from + HOUR * 25).remove(0);
    let midnight = from + HOUR;
    assert_eq!(
        sum(&granted
            .iter()
            .copied()
            .filter(|(t, _)| *t < midnight)
            .collect::<Vec<_>>()),
        500
    );
    assert!(sum(&granted) <= 1000);
}

#[test]
fn a_spent_quota_names_the_reset_and_a_reserve_is_never_granted() {
    let limits = Limits {
        reserve: 4,
        ..limits("", "10 per day", "UTC")
    };
    let mut limiter = Limiter::new(limits, noon());
    assert_eq!(limiter.ask(&many(100), noon()), Grant::Now(6));
    let midnight = at("2027-01-14T00:00:00Z");
    assert_eq!(
        refused(&mut limiter, &one(), noon()),
        (midnight, Throttle::Quota)
    );
    let usage = limiter.usage(noon());
    assert_eq!((usage.first, usage.retry, usage.left), (6, 0, Some(0)));
    assert_eq!(usage.resets_at, Some(midnight));
    assert_eq!(
        (usage.next_permit_at, usage.why),
        (midnight, Some(Throttle::Quota))
    );
    assert_eq!(limiter.ask(&many(100), midnight), Grant::Now(6));
}

#[test]
fn weights_count_against_the_quota_and_a_heavier_item_than_the_quota_says_so() {
    let mut limiter = Limiter::new(limits("", "10 per day", "UTC"), noon());
    let ask = Ask {
        count: n(9),
        ..heavy(4)
    };
    assert_eq!(limiter.ask(&ask, noon()), Grant::Now(2));
    assert_eq!(refused(&mut limiter, &ask, noon()).1, Throttle::Quota);
    assert_eq!(limiter.ask(&heavy(2), noon()), Grant::Now(1));
    assert_eq!(
        refused(&mut limiter, &heavy(11), noon()),
        (Timestamp::MAX, Throttle::Weight)
    );
}

#[test]
fn no_stretch_of_a_rolling_window_holds_more_than_the_quota() {
    let window = HOUR;
    let mut limiter = Limiter::new(limits("", "50 per 1h rolling", "UTC"), noon());
    let mut granted = Granted::new();
    let mut now = noon();
    // A little more than the quota is asked for, unevenly.
    for step in 0..4_000_u32 {
        if let Grant::Now(items) = limiter.ask(&many(1 + step % 3), now) {
            granted.push((now, items));
        }
        now = now + SECOND * (step * 7919 % 127);
    }
    for (i, (from, _)) in granted.iter().enumerate() {
        let within = granted[i..]
            .iter()
            .copied()
            .take_while(|(t, _)| t.since(*from) < window);
        assert!(sum(&within.collect::<Vec<_>>()) <= 50, "from {from}");
    }
    let hours = now.since(noon()).as_secs_f64() / 3600.0;
    assert!(
        f64::from(sum(&granted)) >= 50.0 * hours * 0.95,
        "{} in {hours} h",
        sum(&granted)
    );
    assert!(serde_json::to_string(limiter.state()).unwrap().len() < 16 * 1024);
}

#[test]
fn a_spent_rolling_quota_frees_permits_as_they_expire() {
    let mut limiter = Limiter::new(limits("", "5 per 24h rolling", "UTC"), noon());
    assert_eq!(limiter.ask(&many(2), noon()), Grant::Now(2));
    assert_eq!(limiter.ask(&many(9), noon() + HOUR), Grant::Now(3));
    let late = noon() + HOUR * 2;
    assert_eq!(
        refused(&mut limiter, &one(), late),
        (noon() + DAY, Throttle::Quota)
    );
    assert_eq!(refused(&mut limiter, &heavy(3), late).0, noon() + HOUR * 25);
    assert_eq!(limiter.ask(&many(9), noon() + DAY), Grant::Now(2));
}

#[test]
fn an_even_spread_goes_on_with_what_is_left_over_the_time_that_is_left() {
    let midnight = at("2027-01-13T00:00:00Z");
    let mut limiter = Limiter::new(even("24 per day", "UTC"), midnight);
    assert_eq!(limiter.ask(&many(5), midnight), Grant::Now(1));
    assert_eq!(
        refused(&mut limiter, &one(), midnight),
        (midnight + HOUR, Throttle::Spread)
    );
    assert_eq!(limiter.ask(&one(), midnight + HOUR), Grant::Now(1));
    // The machine is off until 13:00: 22 permits for 11 hours.
    let late = midnight + HOUR * 13;
    assert_eq!(limiter.ask(&one(), late), Grant::Now(1));
    assert_eq!(refused(&mut limiter, &one(), late).0, late + HOUR / 2);
    let granted = simulate(&mut limiter, &[one()], late, midnight + DAY).remove(0);
    assert_eq!(sum(&granted), 21, "the whole quota is used by midnight");
}

#[test]
fn an_even_spread_of_a_rolling_quota_is_a_pace() {
    let mut limiter = Limiter::new(even("24 per 24h rolling", "UTC"), noon());
    let granted = simulate(&mut limiter, &[one()], noon(), noon() + DAY * 3).remove(0);
    assert!(
        granted
            .windows(2)
            .all(|pair| pair[1].0.since(pair[0].0) >= HOUR)
    );
    assert!(sum(&granted) >= 70, "{}", sum(&granted));
}

#[test]
fn an_operator_sets_what_was_spent_elsewhere() {
    for limits in [
        limits("", "10 per day", "UTC"),
        limits("", "10 per 24h rolling", "UTC"),
    ] {
        let mut limiter = Limiter::new(limits, noon());
        limiter.set_spent(7, 1, noon());
        let usage = limiter.usage(noon());
        assert_eq!((usage.first, usage.retry, usage.left), (7, 1, Some(2)));
        assert_eq!(limiter.ask(&many(9), noon()), Grant::Now(2));
    }
}

#[test]
fn changed_limits_keep_what_was_spent() {
    for (was, is, left) in [
        ("10 per day", "15 per day", 5),
        ("10 per day", "5 per day", 0),
        ("10 per day", "100 per month", 90),
        ("100 per month", "15 per day", 5),
        ("10 per day", "15 per 24h rolling", 5),
        ("10 per 24h rolling", "15 per day", 5),
        ("10 per 24h rolling", "15 per 1h rolling", 5),
    ] {
        for restart in [false, true] {
            let mut limiter = Limiter::new(limits("", was, "UTC"), noon());
            assert_eq!(limiter.ask(&many(10), noon()), Grant::Now(10));
            let later = noon() + SECOND;
            let changed = limits("", is, "Europe/Berlin");
            if restart {
                limiter = Limiter::restore(changed, limiter.state().clone(), later).unwrap();
            } else {
                limiter.change(changed, later);
            }
            assert_eq!(limiter.usage(later).left, Some(left), "{was} to {is}");
        }
    }
}

#[test]
fn a_quota_that_is_taken_away_for_a_while_is_not_refilled_by_it() {
    let mut limiter = Limiter::new(limits("", "10 per day", "UTC"), noon());
    assert_eq!(limiter.ask(&many(10), noon()), Grant::Now(10));
    limiter.change(Limits::default(), noon());
    limiter.change(limits("", "10 per day", "UTC"), noon() + HOUR);
    assert_eq!(
        refused(&mut limiter, &one(), noon() + HOUR).1,
        Throttle::Quota
    );
}
