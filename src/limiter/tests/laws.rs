//! Laws over random asks, random limits and clocks that jump.

use proptest::prelude::*;

use super::*;

/// What happens next to a limiter.
#[derive(Debug, Clone)]
enum Event {
    Ask(Ask),
    /// Real time passes.
    Pass(Duration),
    /// Somebody sets the clock, by that many microseconds.
    Step(i64),
    Close(Duration),
    Restart,
}

fn asks() -> impl Strategy<Value = Ask> {
    (0..4_u64, any::<bool>(), 1..6_u32, 1..4_u32, any::<bool>()).prop_map(
        |(user, first, count, weight, first_waiting)| Ask {
            user,
            kind: if first { Try::First } else { Try::Retry },
            count: n(count),
            weight: n(weight),
            first_waiting,
            ..Ask::one(user, Try::First)
        },
    )
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let pace = prop::sample::select(vec!["", "1 per 10s", "20 per s burst 5", "3 per m burst 2"]);
    let quota = prop::sample::select(vec![
        "",
        "4 per day",
        "50 per day",
        "30 per week",
        "20 per 1h rolling",
        "6 per 24h rolling",
    ]);
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Havana"]);
    (pace, quota, zone, any::<bool>()).prop_map(|(pace, quota, zone, even)| Limits {
        spread: if even && !quota.is_empty() {
            Spread::Even
        } else {
            Spread::Asap
        },
        ..limits(pace, quota, zone)
    })
}

fn pauses() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..2_000_000_u64).prop_map(Duration::from_micros),
        (0..7_200_u64).prop_map(Duration::from_secs),
        (0..100_u64).prop_map(Duration::from_hours),
    ]
}

fn events(step: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => asks().prop_map(Event::Ask),
        4 => pauses().prop_map(Event::Pass),
        1 => step.prop_map(Event::Step),
        1 => (0..10_000_u64).prop_map(|ms| Event::Close(Duration::from_millis(ms))),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..200)
}

fn restart(limiter: &Limiter, now: Timestamp) -> Limiter {
    let stored = serde_json::to_string(limiter.state()).unwrap();
    let state = serde_json::from_str(&stored).unwrap();
    Limiter::restore(limiter.limits().clone(), state, now).unwrap()
}

/// Plays the events; gives each grant's real time, wall time and permits.
fn play(limits: &Limits, events: &[Event]) -> Vec<(Duration, Timestamp, u32)> {
    let mut now = at("2026-03-28T20:00:00Z");
    let mut real = Duration::ZERO;
    let mut limiter = Limiter::new(limits.clone(), now);
    let mut granted = Vec::new();
    for event in events {
        let sequence = limiter.state().sequence();
        match event {
            Event::Ask(ask) => match limiter.ask(ask, now) {
                Grant::Now(items) => {
                    assert!((1..=ask.count.get()).contains(&items));
                    assert!(
                        limits.pace.is_none() && limits.quota.is_none()
                            || limiter.state().sequence() > sequence
                    );
                    granted.push((real, now, items * ask.weight.get()));
                }
                Grant::NotBefore { at, .. } => assert!(at > now || now == Timestamp::MAX),
            },
            Event::Pass(time) => {
                real += *time;
                now = now + *time;
            }
            Event::Step(micros) => now.0 = now.0.saturating_add(*micros),
            Event::Close(time) => limiter.close(*time, now),
            Event::Restart => limiter = restart(&limiter, now),
        }
        assert!(limiter.state().sequence() >= sequence);
    }
    granted
}

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// By real time, whatever steps back the clock makes, the pace holds.
    #[test]
    fn no_step_of_the_clock_backwards_breaks_the_pace(
        events in events((-400 * DAY_US..0).prop_union(-10_000_000..0)),
        quota in prop::sample::select(vec!["", "50 per day"]),
    ) {
        let granted = play(&limits("3 per m burst 4", quota, "UTC"), &events);
        for (i, (from, _, _)) in granted.iter().enumerate() {
            let mut permits = 0;
            for (to, _, more) in &granted[i..] {
                permits += more;
                let allowed = 4.0 + to.saturating_sub(*from).as_secs_f64() * 3.0 / 60.0;
                prop_assert!(f64::from(permits) <= allowed + 1e-3, "{permits} from {from:?} to {to:?}");
            }
        }
    }

    /// Pitfall 9: by the wall, no calendar day holds more than its quota, whatever steps of up to an
    /// hour back and three days forward the clock makes.
    #[test]
    fn no_day_holds_more_than_its_quota(
        limits in any_limits(),
        events in events((-DAY_US / 24..DAY_US / 24).prop_union(0..3 * DAY_US)),
    ) {
        let granted = play(&Limits {
            quota: super::limits("", "12 per day", "Europe/Berlin").quota,
            ..limits
        }, &events);
        let zone = time_zone("Europe/Berlin").unwrap();
        let mut days = std::collections::BTreeMap::new();
        for (_, when, permits) in granted {
            *days.entry(when.to_jiff().to_zoned(zone.clone()).date()).or_insert(0) += permits;
        }
        for (day, permits) in days {
            prop_assert!(permits <= 12, "{permits} on {day}");
        }
    }

    /// By real time, no stretch of a rolling window's length holds more than the quota, whatever
    /// steps back the clock makes.
    #[test]
    fn no_stretch_holds_more_than_a_rolling_quota(
        events in events((-400 * DAY_US..0).prop_union(-600_000_000..0)),
    ) {
        let granted = play(&limits("", "20 per 1h rolling", "UTC"), &events);
        for (i, (from, _, _)) in granted.iter().enumerate() {
            let within = granted[i..].iter().take_while(|(to, _, _)| to.saturating_sub(*from) < HOUR);
            prop_assert!(within.map(|(_, _, permits)| permits).sum::<u32>() <= 20);
        }
    }

    /// Anything at all: no panic, no refusal that names the past, whatever the clock shows.
    #[test]
    fn nothing_panics_and_no_refusal_names_the_past(
        limits in any_limits(),
        events in events((i64::MIN / 4..i64::MAX / 4).prop_union(-400 * DAY_US..400 * DAY_US)),
    ) {
        play(&limits, &events);
    }

    /// Asking again at the instant that a refusal names succeeds, if nobody else asked.
    #[test]
    fn asking_again_at_the_instant_named_succeeds(
        limits in any_limits(),
        events in events((-2 * DAY_US..2 * DAY_US).prop_union(-10_000_000..10_000_000)),
        last in asks(),
    ) {
        let mut now = at("2026-03-28T20:00:00Z");
        let mut limiter = Limiter::new(limits, now);
        for event in events {
            match event {
                Event::Ask(ask) => {
                    limiter.ask(&Ask { user: last.user, ..ask }, now);
                }
                Event::Pass(time) => now = now + time,
                Event::Step(micros) => now.0 = now.0.saturating_add(micros),
                Event::Close(time) => limiter.close(time, now),
                Event::Restart => limiter = restart(&limiter, now),
            }
        }
        // The other kind of try of the same user is somebody else.
        limiter.leave(last.user);
        if let Grant::NotBefore { at, why } = limiter.ask(&last, now)
            && at < Timestamp::MAX
        {
                let again = limiter.ask(&last, at);
                let rounded = at + Duration::from_micros(1);
                let granted = matches!(again, Grant::Now(_))
                    || matches!(limiter.ask(&last, rounded), Grant::Now(_));
                prop_assert!(granted, "{why} until {at}, then {again:?}");
        }
    }

    /// A limiter that was stored and restored answers as the one that went on.
    #[test]
    fn a_restored_limiter_answers_as_the_one_that_went_on(
        limits in any_limits(),
        before in events((-2 * DAY_US..2 * DAY_US).prop_union(-10_000_000..10_000_000)),
        after in prop::collection::vec((asks(), pauses()), 1..50),
    ) {
        let mut now = at("2026-03-28T20:00:00Z");
        let mut limiter = Limiter::new(limits, now);
        for event in before {
            match event {
                Event::Ask(ask) => {
                    limiter.ask(&ask, now);
                }
                Event::Pass(time) => now = now + time,
                Event::Step(micros) => now.0 = now.0.saturating_add(micros),
                Event::Close(time) => limiter.close(time, now),
                Event::Restart => {}
            }
        }
        let mut restored = restart(&limiter, now);
        for user in 0..4 {
            limiter.leave(user); // who waits is not stored: everybody asks again
        }
        for (ask, pause) in after {
            let ask = Ask { user: 1, kind: Try::First, ..ask };
            prop_assert_eq!(limiter.ask(&ask, now), restored.ask(&ask, now));
            now = now + pause;
        }
        prop_assert_eq!(limiter.usage(now).first, restored.usage(now).first);
    }
}
