//! What is shared: between first tries and retries, and between users.

use super::*;
use crate::limiter::turns;

/// Pitfall 25: one record in a hundred never succeeds and is retried for ever; new records keep at
/// least nine tenths of the quota of each full day, and the retries get what is theirs.
#[test]
fn bad_records_retried_for_ever_leave_new_ones_nine_tenths_of_every_day() {
    for limits in [
        limits("", "500 per day", "Europe/Berlin"),
        limits("1 per m burst 5", "500 per day", "Europe/Berlin"),
        even("500 per day", "Europe/Berlin"),
    ] {
        let start = at("2026-02-01T00:00:00+01:00[Europe/Berlin]");
        let mut limiter = Limiter::new(limits, start);
        let mut now = start;
        let (mut first, mut retried, mut bad) = (0_u32, 0_u32, 0_u32);
        // When each bad record is due again, an hour after each failure: oldest first.
        let mut due = std::collections::VecDeque::new();
        for day in 1..=120 {
            let end = limiter.usage(now).resets_at.unwrap();
            let (first_before, retried_before) = (first, retried);
            while now < end {
                // What a run does with a free worker: what is due again, else the next new record.
                let mut wake = end;
                if due.front().is_some_and(|at| *at <= now) {
                    match limiter.ask(&retry(1, true), now) {
                        Grant::Now(_) => {
                            retried += 1;
                            due.pop_front();
                            due.push_back(now + HOUR);
                            continue;
                        }
                        Grant::NotBefore { at, .. } => wake = wake.min(at),
                    }
                }
                match limiter.ask(&one(), now) {
                    Grant::Now(_) => {
                        first += 1;
                        if first.is_multiple_of(100) {
                            bad += 1;
                            due.push_back(now + HOUR);
                        }
                    }
                    Grant::NotBefore { at, .. } => now = wake.min(at),
                }
            }
            let (new, again) = (first - first_before, retried - retried_before);
            assert!(
                new >= 450,
                "day {day}: {new} new and {again} retried of {bad} bad"
            );
            assert!(new + again <= 500);
        }
        assert!(retried > 1_000, "{retried} retried");
    }
}

#[test]
fn retries_take_all_of_a_quota_when_nothing_new_waits() {
    let mut limiter = Limiter::new(limits("", "100 per day", "UTC"), noon());
    let ask = Ask {
        count: n(1000),
        ..retry(1, false)
    };
    assert_eq!(limiter.ask(&ask, noon()), Grant::Now(100));
}

#[test]
fn retries_stop_at_their_share_while_new_items_wait_and_say_so() {
    let mut limiter = Limiter::new(limits("", "100 per day", "UTC"), noon());
    let ask = Ask {
        count: n(1000),
        ..retry(1, true)
    };
    assert_eq!(limiter.ask(&ask, noon()), Grant::Now(10));
    let midnight = at("2027-01-14T00:00:00Z");
    assert_eq!(
        refused(&mut limiter, &ask, noon()),
        (midnight, Throttle::RetryShare)
    );
    assert_eq!(limiter.ask(&many(1000), noon()), Grant::Now(90));
    assert_eq!(limiter.ask(&ask, midnight), Grant::Now(10));
}

#[test]
fn new_items_of_another_user_count_until_it_is_silent_or_gone() {
    let ask = Ask {
        count: n(1000),
        ..retry(1, false)
    };
    let drained = || {
        let mut limiter = Limiter::new(limits("", "100 per day", "UTC"), noon());
        assert_eq!(limiter.ask(&Ask::one(2, Try::First), noon()), Grant::Now(1));
        assert_eq!(limiter.ask(&ask, noon()), Grant::Now(10));
        limiter
    };
    let mut limiter = drained();
    let (next, why) = refused(&mut limiter, &ask, noon());
    assert_eq!((next, why), (noon() + SECOND * 60, Throttle::RetryShare));
    assert_eq!(limiter.ask(&ask, next), Grant::Now(89));
    let mut limiter = drained();
    limiter.leave(2);
    assert_eq!(limiter.ask(&ask, noon()), Grant::Now(89));
}

/// The share is the asker's: what one user's file says changes nothing for the others.
#[test]
fn users_of_one_quota_keep_to_the_retry_share_of_their_own_each() {
    let mut limiter = Limiter::new(limits("", "100 per day", "UTC"), noon());
    let ask = |user, share: &str| Ask {
        count: n(1000),
        retry_share: share.parse().unwrap(),
        ..retry(user, true)
    };
    assert_eq!(limiter.ask(&ask(1, "10%"), noon()), Grant::Now(10));
    let why = refused(&mut limiter, &ask(1, "10%"), noon()).1;
    assert_eq!(why, Throttle::RetryShare);
    assert_eq!(limiter.ask(&ask(2, "30%"), noon()), Grant::Now(20));
    for (user, share) in [(1, "10%"), (2, "30%")] {
        let why = refused(&mut limiter, &ask(user, share), noon()).1;
        assert_eq!(why, Throttle::RetryShare, "{user}");
    }
    assert_eq!(limiter.ask(&many(1000), noon()), Grant::Now(70));
}

#[test]
fn a_small_quota_leaves_retries_one_item_a_window() {
    let mut limiter = Limiter::new(limits("", "5 per day", "UTC"), noon());
    assert_eq!(limiter.ask(&retry(1, true), noon()), Grant::Now(1));
    assert_eq!(
        refused(&mut limiter, &retry(1, true), noon()).1,
        Throttle::RetryShare
    );
}

#[test]
fn a_pace_without_quota_gives_retries_their_share_of_the_turns() {
    for (share, retries, tolerance) in [("10%", 100, 3), ("25%", 250, 3), ("0%", 0, 0)] {
        let of_share = |ask: Ask| Ask {
            retry_share: share.parse().unwrap(),
            ..ask
        };
        let asks = [retry(1, true), one()].map(of_share);
        for order in [asks, [asks[1], asks[0]]] {
            let mut limiter = Limiter::new(limits("1 per s", "", "UTC"), noon());
            // Both wait before the first permit is made.
            limiter.close(SECOND, noon());
            let granted = simulate(&mut limiter, &order, noon(), noon() + SECOND * 1001);
            let of = |kind| {
                let place = order.iter().position(|ask| ask.kind == kind).unwrap();
                sum(&granted[place])
            };
            assert!(
                of(Try::Retry).abs_diff(retries) <= tolerance,
                "{} of {share}",
                of(Try::Retry)
            );
            assert_eq!(of(Try::First) + of(Try::Retry), 1000, "no turn is lost");
        }
    }
}

#[test]
fn retries_have_the_pace_for_themselves_when_nothing_new_asks() {
    let mut limiter = Limiter::new(limits("1 per s", "", "UTC"), noon());
    let granted = simulate(
        &mut limiter,
        &[retry(1, false)],
        noon(),
        noon() + SECOND * 100,
    );
    assert_eq!(sum(&granted[0]), 100);
}

#[test]
fn users_of_one_pace_get_equal_parts_whoever_asks_first() {
    for (pace, weights) in [
        ("1 per s", vec![1, 1]),
        ("1 per s", vec![1, 1, 1, 1, 1]),
        ("1 per s burst 4", vec![1, 4, 2]),
        ("20 per s burst 5", vec![1, 1, 1]),
        ("1 per s", vec![1, 5]), // heavier than the burst
    ] {
        let asks: Vec<Ask> = (0..)
            .zip(&weights)
            .map(|(user, weight)| Ask {
                user,
                ..heavy(*weight)
            })
            .collect();
        let mut limiter = Limiter::new(limits(pace, "", "UTC"), noon());
        let granted = simulate(&mut limiter, &asks, noon(), noon() + SECOND * 1000);
        let permits: Vec<u32> = granted.iter().map(|granted| sum(granted)).collect();
        let all: u32 = permits.iter().sum();
        let part = all / u32::try_from(weights.len()).unwrap();
        for one in &permits {
            assert!(
                one.abs_diff(part) <= part / 20 + 10,
                "{pace} {weights:?}: {permits:?}"
            );
        }
        let made = if pace.starts_with("20") {
            20_000
        } else {
            1_000
        };
        assert!(
            all >= made * 97 / 100,
            "{pace} {weights:?}: {all} of {made}"
        );
    }
}

#[test]
fn users_of_an_evenly_spread_quota_get_equal_parts_of_all_of_it() {
    let from = at("2027-01-13T00:00:00Z");
    let mut limiter = Limiter::new(even("500 per day", "UTC"), from);
    let asks = [
        Ask::one(1, Try::First),
        Ask::one(2, Try::First),
        retry(2, true),
    ];
    let granted = simulate(&mut limiter, &asks, from, from + DAY);
    let parts: Vec<u32> = granted.iter().map(|granted| sum(granted)).collect();
    assert!(parts.iter().sum::<u32>() >= 498, "{parts:?}");
    assert!(
        parts[0].abs_diff(parts[1]) <= 2 && parts[2].abs_diff(50) <= 2,
        "{parts:?}"
    );
}

#[test]
fn a_user_that_comes_later_gets_its_part_and_no_arrears() {
    let mut limiter = Limiter::new(limits("1 per s", "", "UTC"), noon());
    let (a, b) = (Ask::one(1, Try::First), Ask::one(2, Try::First));
    simulate(&mut limiter, &[a], noon(), noon() + SECOND * 500);
    let later = noon() + SECOND * 500;
    let granted = simulate(&mut limiter, &[a, b], later, later + SECOND * 100);
    assert!(sum(&granted[0]).abs_diff(50) <= 2, "{}", sum(&granted[0]));
}

#[test]
fn a_user_that_vanished_costs_one_turn() {
    let mut limiter = Limiter::new(limits("1 per 10s", "", "UTC"), noon());
    assert_eq!(limiter.ask(&Ask::one(1, Try::First), noon()), Grant::Now(1));
    let (at_2, _) = refused(&mut limiter, &Ask::one(2, Try::First), noon());
    assert_eq!(at_2, noon() + SECOND * 10);
    let (at_1, why) = refused(&mut limiter, &Ask::one(1, Try::First), noon() + SECOND);
    assert_eq!((at_1, why), (noon() + SECOND * 20, Throttle::Turn));
    // User 2 never comes back.
    let granted = simulate(
        &mut limiter,
        &[Ask::one(1, Try::First)],
        at_1,
        noon() + SECOND * 1000,
    );
    assert_eq!(sum(&granted[0]), 98);
}

#[test]
fn a_user_that_leaves_costs_nothing() {
    let mut limiter = Limiter::new(limits("1 per 10s", "", "UTC"), noon());
    assert_eq!(limiter.ask(&Ask::one(1, Try::First), noon()), Grant::Now(1));
    refused(&mut limiter, &Ask::one(2, Try::First), noon());
    limiter.leave(2);
    assert_eq!(
        refused(&mut limiter, &Ask::one(1, Try::First), noon()).0,
        noon() + SECOND * 10
    );
}

#[test]
fn users_who_waited_for_the_reset_share_a_quota_that_nothing_paces() {
    let mut limiter = Limiter::new(limits("", "100 per day", "UTC"), noon());
    assert_eq!(limiter.ask(&many(1000), noon()), Grant::Now(100));
    let asks: Vec<Ask> = (1..=4).map(|user| Ask { user, ..many(1000) }).collect();
    let midnight = refused(&mut limiter, &asks[0], noon()).0;
    for ask in &asks {
        refused(&mut limiter, ask, noon());
    }
    for ask in &asks {
        assert!(
            matches!(limiter.ask(ask, midnight), Grant::Now(items) if items >= 25),
            "{ask:?}"
        );
    }
}

/// Pitfall 19: a crowd whose retries fall due together is let through at the pace, in turn, and
/// nobody is refused without an instant to come back at.
#[test]
fn ten_thousand_retries_due_together_go_at_the_pace() {
    let mut limiter = Limiter::new(limits("100 per s burst 10", "", "UTC"), noon());
    let asks = [Ask {
        count: n(10_000),
        ..retry(1, true)
    }];
    let granted = simulate(&mut limiter, &asks, noon(), noon() + SECOND * 100).remove(0);
    assert_eq!(sum(&granted), 10_009);
    assert!(granted.iter().all(|(_, permits)| *permits <= 10));
}

#[test]
fn more_users_than_are_remembered_are_served_all_the_same() {
    let users = u64::try_from(turns::USERS_MAX).unwrap() + 16;
    let asks: Vec<Ask> = (0..users).map(|user| Ask::one(user, Try::First)).collect();
    let mut limiter = Limiter::new(limits("10 per s", "", "UTC"), noon());
    let granted = simulate(&mut limiter, &asks, noon(), noon() + SECOND * 64);
    let parts: Vec<u32> = granted.iter().map(|granted| sum(granted)).collect();
    assert!(
        parts.iter().sum::<u32>() >= 630,
        "no turn is lost: {parts:?}"
    );
    assert!(
        parts.iter().all(|part| *part >= 2),
        "nobody starves: {parts:?}"
    );
}

#[test]
fn idleness_saves_up_no_turns() {
    let (a, b) = (Ask::one(1, Try::First), Ask::one(2, Try::First));
    for idle in [b, retry(2, true)] {
        let mut limiter = Limiter::new(limits("1 per s", "", "UTC"), noon());
        limiter.close(SECOND, noon());
        let early = simulate(&mut limiter, &[a, idle], noon(), noon() + SECOND * 21);
        assert!(sum(&early[1]) >= 1, "both are known");
        simulate(
            &mut limiter,
            &[a],
            noon() + SECOND * 21,
            noon() + SECOND * 900,
        );
        let later = noon() + SECOND * 900;
        let granted = simulate(&mut limiter, &[a, idle], later, later + SECOND * 100);
        let part = if idle.kind == Try::Retry { 10 } else { 50 };
        assert!(sum(&granted[1]).abs_diff(part) <= 2, "{}", sum(&granted[1]));
    }
}
