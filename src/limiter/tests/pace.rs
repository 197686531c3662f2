//! The pace: GCRA's bound, weights, and what happens when the pace is changed.

use super::*;

/// No span of t seconds may hold more than `burst` + `per_s` x t permits.
fn check_bound(granted: &[(Timestamp, u32)], burst: f64, per_s: f64) {
    for (i, (from, _)) in granted.iter().enumerate() {
        let mut permits = 0;
        for (to, more) in &granted[i..] {
            permits += more;
            let allowed = burst + per_s * to.since(*from).as_secs_f64();
            assert!(
                f64::from(permits) <= allowed + 1e-6,
                "{permits} from {from} to {to}"
            );
        }
    }
}

#[test]
fn no_span_of_time_holds_more_than_the_burst_and_the_rate() {
    for (pace, burst, per_s, expected) in [
        ("20 per s burst 5", 5.0, 20.0, 604),
        ("1 per 10s", 1.0, 0.1, 3),
        ("3 per s", 1.0, 3.0, 90),
        ("7 per s burst 3", 3.0, 7.0, 212),
    ] {
        let mut limiter = Limiter::new(limits(pace, "", "UTC"), noon());
        let until = noon() + SECOND * 30;
        let granted = simulate(&mut limiter, &[many(3)], noon(), until).remove(0);
        check_bound(&granted, burst, per_s);
        assert_eq!(sum(&granted), expected, "{pace}");
    }
}

/// An interval is rounded up to a whole nanosecond, which slows the worst case by a thousandth.
#[test]
fn rounding_neither_adds_permits_nor_slows_a_fast_pace() {
    for (pace, expected) in [
        ("1000000 per s", 100_000),
        ("999983 per s burst 3", 99_902),
        ("600000 per s burst 2", 59_989),
    ] {
        let mut limiter = Limiter::new(limits(pace, "", "UTC"), noon());
        let until = noon() + SECOND / 10;
        let granted = simulate(&mut limiter, &[one()], noon(), until).remove(0);
        assert_eq!(sum(&granted), expected, "{pace}");
    }
}

#[test]
fn a_burst_comes_back_after_idleness_and_never_grows_beyond_itself() {
    let mut limiter = Limiter::new(limits("1 per s burst 5", "", "UTC"), noon());
    assert_eq!(limiter.ask(&many(9), noon()), Grant::Now(5));
    assert_eq!(
        refused(&mut limiter, &many(9), noon()),
        (noon() + SECOND, Throttle::Pace)
    );
    let later = noon() + SECOND * 2;
    assert_eq!(limiter.ask(&many(9), later), Grant::Now(2));
    assert_eq!(limiter.ask(&many(9), later + DAY), Grant::Now(5));
}

#[test]
fn weights_are_permits() {
    let mut limiter = Limiter::new(limits("1 per s burst 10", "", "UTC"), noon());
    let ask = Ask {
        count: n(7),
        ..heavy(3)
    };
    assert_eq!(limiter.ask(&ask, noon()), Grant::Now(3));
    assert_eq!(
        refused(&mut limiter, &ask, noon()),
        (noon() + SECOND * 2, Throttle::Pace)
    );
}

#[test]
fn an_item_heavier_than_the_burst_takes_it_all_and_is_paid_back_before_the_next() {
    let mut limiter = Limiter::new(limits("1 per s burst 2", "", "UTC"), noon());
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    let (whole, why) = refused(&mut limiter, &heavy(10), noon());
    assert_eq!((whole, why), (noon() + SECOND, Throttle::Pace));
    assert_eq!(limiter.ask(&heavy(10), whole), Grant::Now(1));
    assert_eq!(
        refused(&mut limiter, &heavy(10), whole).0,
        whole + SECOND * 10
    );
    assert_eq!(refused(&mut limiter, &one(), whole).0, whole + SECOND * 9);

    let granted = simulate(&mut limiter, &[heavy(10)], whole, whole + SECOND * 100);
    assert_eq!(sum(&granted[0]), 90, "the rate stays that of the pace");
}

#[test]
fn a_changed_pace_keeps_the_permits_that_are_owed() {
    let mut limiter = Limiter::new(limits("1 per day", "", "UTC"), noon());
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    limiter.change(limits("1 per 10s", "", "UTC"), noon() + HOUR * 12);
    let (next, _) = refused(&mut limiter, &one(), noon() + HOUR * 12);
    assert_eq!(
        next,
        noon() + HOUR * 12 + SECOND * 5,
        "half a permit was owed"
    );
    assert_eq!(limiter.ask(&one(), next), Grant::Now(1));
}

#[test]
fn the_changed_pace_of_a_file_holds_after_a_restart_too() {
    let mut limiter = Limiter::new(limits("1 per day", "", "UTC"), noon());
    assert_eq!(limiter.ask(&one(), noon()), Grant::Now(1));
    let faster = limits("1 per 10s", "", "UTC");
    let mut limiter = Limiter::restore(faster, limiter.state().clone(), noon()).unwrap();
    assert_eq!(
        refused(&mut limiter, &one(), noon()).0,
        noon() + SECOND * 10
    );
}

#[test]
fn what_is_unlimited_changes_no_state() {
    let mut limiter = Limiter::new(Limits::default(), noon());
    let before = limiter.state().clone();
    assert_eq!(limiter.ask(&many(u32::MAX), noon()), Grant::Now(u32::MAX));
    assert_eq!(limiter.ask(&retry(2, true), noon()), Grant::Now(1));
    assert_eq!(*limiter.state(), before);
}

#[test]
fn a_closing_holds_for_everybody_and_an_earlier_longer_one_stays() {
    let mut limiter = Limiter::new(limits("1 per s", "", "UTC"), noon());
    limiter.close(SECOND * 60, noon());
    limiter.close(SECOND * 30, noon());
    for ask in [one(), retry(2, true)] {
        assert_eq!(
            refused(&mut limiter, &ask, noon()),
            (noon() + SECOND * 60, Throttle::Closed)
        );
    }
    assert_eq!(limiter.ask(&one(), noon() + SECOND * 60), Grant::Now(1));
    limiter.close(Duration::MAX, noon() + SECOND * 60);
    let (until, _) = refused(&mut limiter, &one(), noon() + SECOND * 60);
    assert_eq!(
        until,
        noon() + SECOND * 60 + DAY * 31,
        "no handler closes it for good"
    );
    limiter.open(noon() + SECOND * 90);
    assert_eq!(limiter.ask(&one(), noon() + SECOND * 90), Grant::Now(1));
}

#[test]
fn an_unlimited_limiter_can_be_closed_and_paused() {
    let mut limiter = Limiter::new(Limits::default(), noon());
    limiter.close(SECOND, noon());
    assert_eq!(refused(&mut limiter, &one(), noon()).1, Throttle::Closed);
    limiter.set_paused(true, noon());
    assert_eq!(
        refused(&mut limiter, &one(), noon()),
        (Timestamp::MAX, Throttle::Paused)
    );
    limiter.set_paused(false, noon());
    assert_eq!(limiter.ask(&one(), noon() + SECOND), Grant::Now(1));
}
