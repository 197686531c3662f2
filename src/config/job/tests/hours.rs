//! When a run may dispatch: windows, midnight, blackouts and the days on which clocks are set.

use jiff::{Zoned, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;

use super::{
    super::{Opening, Schedule},
    LEAST, parse,
};
use crate::time::Timestamp;

fn schedule(hours: &str, blackout: &str) -> Schedule {
    let text = format!(
        "{LEAST}[schedule]\ntime_zone = \"Europe/Berlin\"\nhours = [{hours}]\nblackout = [{blackout}]"
    );
    parse(&text).unwrap().schedule.unwrap()
}

fn instant(local: &str) -> Timestamp {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let local: DateTime = local.parse().unwrap();
    Timestamp::from_jiff(zone.to_timestamp(local).unwrap())
}

fn check(hours: &str, blackout: &str, table: &[(&str, bool, Option<&str>)]) {
    for (at, open, until) in table {
        let until = until.map_or(Timestamp::MAX, instant);
        let expected = if *open {
            Opening::Open(until)
        } else {
            Opening::Closed(until)
        };
        assert_eq!(
            schedule(hours, blackout).opening(instant(at)),
            expected,
            "{at}"
        );
    }
}

#[test]
fn without_hours_it_is_always_open() {
    check("", "", &[("2026-06-01T00:00", true, None)]);
    check("\"00:00-24:00\"", "", &[("2026-06-01T00:00", true, None)]);
}

#[test]
fn a_window_that_passes_midnight_belongs_to_the_day_on_which_it_begins() {
    // 2026-06-01 is a Monday.
    check(
        "\"Mon-Fri 22:00-06:00\"",
        "",
        &[
            ("2026-06-01T05:59", false, Some("2026-06-01T22:00")),
            ("2026-06-01T22:00", true, Some("2026-06-02T06:00")),
            ("2026-06-02T06:00", false, Some("2026-06-02T22:00")),
            ("2026-06-06T05:59:59", true, Some("2026-06-06T06:00")),
            ("2026-06-06T06:00", false, Some("2026-06-08T22:00")),
        ],
    );
}

#[test]
fn windows_that_meet_are_one_and_weekends_wrap() {
    check(
        "\"Sat-Mon 00:00-24:00\", \"Tue 00:00-08:30\"",
        "",
        &[
            ("2026-06-06T00:00", true, Some("2026-06-09T08:30")),
            ("2026-06-09T08:30", false, Some("2026-06-13T00:00")),
        ],
    );
    check(
        "\"sun,WED 10:00-11:00\"",
        "",
        &[
            ("2026-06-03T10:30", true, Some("2026-06-03T11:00")),
            ("2026-06-03T11:00", false, Some("2026-06-07T10:00")),
        ],
    );
}

#[test]
fn blackouts_close_whole_days_however_far_away() {
    check(
        "",
        "\"2031-12-24..2031-12-26\", \"2031-12-27\"",
        &[
            ("2026-06-01T00:00", true, Some("2031-12-24T00:00")),
            ("2031-12-26T23:59", false, Some("2031-12-28T00:00")),
            ("2031-12-28T00:00", true, None),
        ],
    );
    check(
        "\"Mon 22:00-06:00\"",
        "\"2026-06-02..2026-07-05\"",
        &[
            ("2026-06-01T23:00", true, Some("2026-06-02T00:00")),
            ("2026-06-02T03:00", false, Some("2026-07-06T22:00")),
        ],
    );
    check(
        "\"Mon 10:00-11:00\"",
        "\"2026-01-01..9999-12-31\"",
        &[("2026-06-01T10:00", false, None)],
    );
}

/// Pitfall 9: windows are swept over the days on which clocks are set.
#[test]
fn a_clock_on_the_wall_that_is_set_opens_and_closes() {
    // Forward on 2026-03-29: 02:00 is 03:00.
    check(
        "\"02:15-02:45\"",
        "",
        &[("2026-03-28T02:45", false, Some("2026-03-30T02:15"))],
    );
    check(
        "\"01:30-02:30\"",
        "",
        &[("2026-03-29T01:45", true, Some("2026-03-29T03:00"))],
    );
    check(
        "\"02:30-04:00\"",
        "",
        &[("2026-03-29T01:45", false, Some("2026-03-29T03:00"))],
    );
    // Back on 2026-10-25: 03:00 is 02:00, and the window comes again.
    let at = |zoned: &str| {
        let zoned: Zoned = format!("2026-10-25T{zoned}[Europe/Berlin]")
            .parse()
            .unwrap();
        Timestamp::from_jiff(zoned.timestamp())
    };
    let schedule = schedule("\"01:00-02:30\"", "");
    assert_eq!(
        schedule.opening(at("02:10+02:00")),
        Opening::Open(at("02:30+02:00"))
    );
    assert_eq!(
        schedule.opening(at("02:40+02:00")),
        Opening::Closed(at("02:00+01:00"))
    );
    assert_eq!(
        schedule.opening(at("02:10+01:00")),
        Opening::Open(at("02:30+01:00"))
    );
}

proptest! {
    #[test]
    fn nothing_changes_before_the_instant_that_is_told(
        minute in 0_i64..60 * 24 * 365,
        days in prop::sample::select(vec!["Mon-Fri", "Sat,Sun", "Wed", "Sun-Tue", "Mon-Sun"]),
        from in 0_u16..1440,
        length in 1_u16..1440,
        black in 1_i8..28,
    ) {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let to = clock((from + length) % 1440);
        let hours = format!("\"{days} {}-{to}\"", clock(from));
        let schedule = schedule(&hours, &format!("\"2026-06-{black:02}..2026-07-{black:02}\""));
        let at = Timestamp(instant("2026-01-01T00:00").0 + minute * 60_000_000);
        let is_open = |at| matches!(schedule.opening(at), Opening::Open(_));
        let (Opening::Open(until) | Opening::Closed(until)) = schedule.opening(at);
        prop_assert!(until > at);
        if until < Timestamp::MAX {
            prop_assert_ne!(is_open(until), is_open(at));
            let steps = 200;
            for step in 0..steps {
                let between = at.0 + (until.0 - at.0) / steps * step;
                prop_assert_eq!(is_open(Timestamp(between)), is_open(at));
            }
        }
    }
}
