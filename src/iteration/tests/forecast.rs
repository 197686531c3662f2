//! Forecasts beside runs that are played to their end: the real limiter, a handler that fails by rule.
//!
//! The play has no chance in it: whether a record fails follows from its index.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    num::NonZeroU32,
    time::Duration,
};

use jiff::tz::TimeZone;

use crate::{
    config::job::{JobFile, Schedule},
    iteration::{Backoff, Course, DAYS_MAX, Forecast, Guess, Outlook, Tally, forecast},
    limiter::{Ask, Grant, Limiter, Limits, Share, Spread, Try},
    time::Timestamp,
};

const DAY: Duration = Duration::from_hours(24);

fn at(text: &str) -> Timestamp {
    Timestamp::from_jiff(text.parse().unwrap())
}

/// A run that is played, and what is forecast each midnight.
struct Play {
    limits: Limits,
    schedule: Option<Schedule>,
    records: u64,
    /// How many tries of a record fail, by its index and the day on which it is tried first.
    fails: fn(u64, u64) -> u32,
    /// From when to when every call fails.
    outage: Option<(u64, u64)>,
    attempts: u32,
    /// How long a call takes; one at a time.
    call: Duration,
}

struct Seen {
    asked: Timestamp,
    forecast: Forecast,
}

impl Play {
    fn new(limits: Limits, records: u64) -> Self {
        Self {
            limits,
            schedule: None,
            records,
            fails: |_, _| 0,
            outage: None,
            attempts: 12,
            call: Duration::from_millis(50),
        }
    }

    fn backoff(attempt: u32) -> Duration {
        let seconds = 3_u64.saturating_mul(1 << (attempt - 1).min(20));
        Duration::from_secs(seconds).min(Duration::from_hours(6))
    }

    fn course(&self) -> Course {
        Course {
            weight: NonZeroU32::MIN,
            schedule: self.schedule.clone(),
            backoff: Backoff {
                longest: Some((1..self.attempts).map(Self::backoff).sum()),
                jitter: false,
            },
            retry_share: Share::RETRIES_DEFAULT,
        }
    }

    /// Plays it to its end; what was forecast each day, and when it ended.
    fn run(&self, start: Timestamp) -> (Vec<Seen>, Timestamp) {
        let mut limiter = Limiter::new(self.limits.clone(), start);
        let mut days: BTreeMap<u64, Tally> = BTreeMap::new();
        let mut due: BinaryHeap<Reverse<(Timestamp, u64, u32, u32)>> = BinaryHeap::new();
        let (mut next, mut now, mut seen) = (0, start, Vec::new());
        let mut ask_at = start.after(Duration::from_hours(1));
        let course = self.course();
        let (mut first_at, mut retry_at) = (start, start);
        while next < self.records || !due.is_empty() {
            while ask_at <= now {
                let newest: Vec<Tally> = days
                    .values()
                    .rev()
                    .take(DAYS_MAX as usize)
                    .copied()
                    .collect();
                let speed = 1.0 / self.call.as_secs_f64();
                let usage = limiter.usage(ask_at);
                let outlook = Outlook {
                    now: ask_at,
                    to_go: self.records - next,
                    to_go_error: 0.0,
                    retrying: due.len() as u64,
                    retry_due: due.iter().map(|Reverse((at, ..))| *at).max(),
                    days: &newest,
                    capacity: Some(Guess {
                        low: speed * 0.9,
                        likely: speed,
                        high: speed * 1.1,
                    }),
                    limits: Some((&self.limits, &usage)),
                    sharers: 1,
                    course: &course,
                };
                seen.push(Seen {
                    asked: ask_at,
                    forecast: forecast(&outlook),
                });
                ask_at = ask_at.after(DAY);
            }
            if let Some(crate::config::job::Opening::Closed(until)) =
                self.schedule.as_ref().map(|schedule| schedule.opening(now))
            {
                now = until;
                continue;
            }
            let is_due = due.peek().is_some_and(|Reverse((at, ..))| *at <= now) && retry_at <= now;
            let kind = if is_due { Try::Retry } else { Try::First };
            let next_due = due.peek().map(|Reverse((at, ..))| (*at).max(retry_at));
            if !is_due && (next >= self.records || first_at > now) {
                let first = (next < self.records).then_some(first_at);
                now = first
                    .into_iter()
                    .chain(next_due)
                    .min()
                    .unwrap()
                    .max(now.after(Duration::from_micros(1)));
                continue;
            }
            let ask = Ask {
                first_waiting: next < self.records,
                ..Ask::one(1, kind)
            };
            if let Grant::NotBefore { at, .. } = limiter.ask(&ask, now) {
                if is_due {
                    retry_at = at;
                } else {
                    first_at = at;
                }
                continue;
            }
            let day = now.since(start).as_secs() / 86_400;
            let tally = days.entry(day).or_default();
            let (index, tried, fails) = if is_due {
                tally.retries += 1;
                let Reverse((_, index, tried, fails)) = due.pop().unwrap();
                (index, tried, fails)
            } else {
                tally.first_tries += 1;
                next += 1;
                (next - 1, 0, (self.fails)(next - 1, day))
            };
            now = now.after(self.call);
            let hours = now.since(start).as_secs() / 3600;
            let out = self
                .outage
                .is_some_and(|(from, to)| (from..to).contains(&hours));
            if !out && tried >= fails {
                tally.done += 1;
            } else if tried + 1 >= self.attempts {
                tally.failed += 1;
            } else {
                due.push(Reverse((
                    now.after(Self::backoff(tried + 1)),
                    index,
                    tried + 1,
                    fails,
                )));
            }
        }
        (seen, now)
    }
}

/// How many of the forecasts held, and how wide they were at the widest, as a part of the time to go.
fn judge(seen: &[Seen], end: Timestamp) -> (usize, f64) {
    let (mut held, mut widest) = (0, 0.0_f64);
    let whole = end.since(seen[0].asked).as_secs_f64();
    for Seen { asked, forecast } in seen {
        let Forecast::Ends {
            earliest,
            expected,
            latest: Some(latest),
        } = *forecast
        else {
            panic!("at {asked}: {forecast:?}");
        };
        assert!(earliest <= expected && expected <= latest, "{forecast:?}");
        held += usize::from((earliest..=latest).contains(&end));
        let to_go = end.since(*asked).as_secs_f64();
        // Why the first half: behind it a day more or less is much of what is left.
        if to_go * 2.0 > whole {
            widest = widest.max(latest.since(earliest).as_secs_f64() / to_go);
        }
    }
    (held, widest)
}

fn limits(pace: Option<&str>, quota: Option<&str>, spread: Spread) -> Limits {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    Limits {
        pace: pace.map(|pace| pace.parse().unwrap()),
        quota: quota.map(|quota| {
            quota
                .parse::<crate::limiter::Quota>()
                .unwrap()
                .in_zone(zone, 0)
                .unwrap()
        }),
        spread,
        ..Limits::default()
    }
}

/// Nine out of ten, and no wider than that part of the time to go.
fn check(play: &Play, start: &str, width: f64) {
    let start = at(start);
    let (seen, end) = play.run(start);
    let (held, widest) = judge(&seen, end);
    assert!(
        held * 10 >= seen.len() * 9,
        "{held} of {} held, the end is {end}: {:#?}",
        seen.len(),
        seen.iter()
            .map(|s| format!("{} {:?}", s.asked, s.forecast))
            .collect::<Vec<_>>()
    );
    assert!(widest <= width, "a range of {widest} of the time to go");
}

#[test]
fn a_steady_pace_is_foreseen() {
    let play = Play::new(limits(Some("4 per minute"), None, Spread::Asap), 40_000);
    check(&play, "2026-03-01T10:00:00Z", 0.2);
}

#[test]
fn sixty_days_on_a_quota_are_foreseen_across_a_change_of_the_clocks() {
    for spread in [Spread::Asap, Spread::Even] {
        let play = Play::new(limits(Some("5 per s"), Some("500 per day"), spread), 30_000);
        check(&play, "2026-09-10T10:00:00Z", 0.2);
    }
}

#[test]
fn hours_on_workdays_are_foreseen() {
    let text = "name = \"a\"\n[source]\nkind = \"jsonl\"\npath = \"in\"\n[process]\nplugin = \"identity\"\n\
                [schedule]\ntime_zone = \"Europe/Berlin\"\nhours = [\"Mon-Fri 22:00-06:00\"]\nblackout = [\"2026-10-30\"]\n";
    let file = JobFile::parse("a.toml".as_ref(), text.to_owned()).unwrap();
    let play = Play {
        schedule: file.schedule,
        fails: |index, _| u32::from(index % 50 == 0),
        ..Play::new(limits(Some("1 per minute"), None, Spread::Asap), 10_000)
    };
    check(&play, "2026-10-05T10:00:00Z", 0.25);
}

#[test]
fn one_in_a_hundred_that_fails_to_the_end_is_foreseen_with_its_last_back_off() {
    let play = Play {
        fails: |index, _| if index % 100 == 99 { 99 } else { 0 },
        ..Play::new(
            limits(Some("5 per s"), Some("500 per day"), Spread::Asap),
            20_000,
        )
    };
    check(&play, "2026-03-01T10:00:00Z", 0.3);
}

#[test]
fn a_failure_rate_that_drifts_and_an_outage_stay_within_the_range_nine_days_out_of_ten() {
    let play = Play {
        fails: |index, day| {
            // From 1% to 6% of the records and back, over the run.
            let per_mille = 10 + 50 * day.min(60).min(70_u64.saturating_sub(day)) / 40;
            let hash = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            if hash % 1000 < per_mille {
                1 + u32::try_from(hash % 3).unwrap()
            } else {
                0
            }
        },
        outage: Some((20 * 24, 20 * 24 + 6)),
        ..Play::new(
            limits(Some("5 per s"), Some("500 per day"), Spread::Even),
            30_000,
        )
    };
    check(&play, "2026-09-10T10:00:00Z", 0.35);
}

#[test]
fn what_cannot_end_says_why() {
    let course = Play::new(Limits::default(), 1).course();
    let ask = |limits: &Limits, paused: bool, course: &Course| {
        let now = at("2026-03-01T10:00:00Z");
        let mut limiter = Limiter::new(limits.clone(), now);
        limiter.set_paused(paused, now);
        let usage = limiter.usage(now);
        forecast(&Outlook {
            now,
            to_go: 10,
            to_go_error: 0.0,
            retrying: 0,
            retry_due: None,
            days: &[],
            capacity: None,
            limits: Some((limits, &usage)),
            sharers: 1,
            course,
        })
    };
    let quota = limits(None, Some("5 per day"), Spread::Asap);
    assert_eq!(
        ask(&quota, true, &course),
        Forecast::Never("its limiter is paused")
    );
    let reserved = Limits {
        reserve: 5,
        ..quota.clone()
    };
    assert_eq!(
        ask(&reserved, false, &course),
        Forecast::Never("its quota lets nothing through")
    );
    let heavy = Course {
        weight: NonZeroU32::new(6).unwrap(),
        ..course.clone()
    };
    assert_eq!(
        ask(&quota, false, &heavy),
        Forecast::Never("a record costs more than its quota has")
    );
    assert_eq!(ask(&Limits::default(), false, &course), Forecast::Unknown);
}

#[test]
fn a_century_is_reckoned_and_not_walked() {
    let limits = limits(None, Some("1 per day"), Spread::Asap);
    let now = at("2026-03-01T10:00:00Z");
    let usage = Limiter::new(limits.clone(), now).usage(now);
    let course = Play::new(Limits::default(), 1).course();
    let outlook = Outlook {
        now,
        to_go: 36_525,
        to_go_error: 0.0,
        retrying: 0,
        retry_due: None,
        days: &[Tally {
            first_tries: 100,
            done: 100,
            ..Tally::default()
        }],
        capacity: None,
        limits: Some((&limits, &usage)),
        sharers: 1,
        course: &course,
    };
    let Forecast::Ends { expected, .. } = forecast(&outlook) else {
        panic!()
    };
    let years = expected.since(now).as_secs() / (86_400 * 365);
    assert!((98..=102).contains(&years), "{years}");
}

#[test]
fn what_backs_off_is_waited_for_even_where_nothing_else_is_left() {
    let limits = limits(Some("5 per s"), None, Spread::Asap);
    let now = at("2026-03-01T10:00:00Z");
    let usage = Limiter::new(limits.clone(), now).usage(now);
    let course = Play::new(Limits::default(), 1).course();
    let due = now.after(Duration::from_hours(5));
    let outlook = Outlook {
        now,
        to_go: 0,
        to_go_error: 0.0,
        retrying: 3,
        retry_due: Some(due),
        days: &[],
        capacity: None,
        limits: Some((&limits, &usage)),
        sharers: 1,
        course: &course,
    };
    let Forecast::Ends {
        expected, latest, ..
    } = forecast(&outlook)
    else {
        panic!()
    };
    assert!(expected >= due && latest.is_some_and(|latest| latest >= due));
}
