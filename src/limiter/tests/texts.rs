//! How settings are written, and what is said about those that cannot be.

use super::*;
use crate::limiter::{LimitError, Pace, Share};

#[test]
fn paces_are_read_as_people_write_them() {
    for (text, canonical) in [
        ("1 per 10s", "1 per 10s"),
        ("20 per s burst 5", "20 per s burst 5"),
        ("20 per second burst 1", "20 per s"),
        ("  3   per 10 seconds ", "3 per 10s"),
        ("100 per minute", "100 per m"),
        ("100 Per Min", "100 per m"),
        ("5 per 1h30m", "5 per 90m"),
        ("1_000 per hour burst 10", "1000 per h burst 10"),
        ("500 per day", "500 per d"),
        ("500 per week", "500 per 7d"),
        ("2 per 100ms", "2 per 100ms"),
        ("1 per 0.5ms", "1 per 0.5ms"),
        ("1000000 per s", "1000000 per s"),
    ] {
        let pace: Pace = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(pace.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(pace));
    }
}

#[test]
fn what_is_no_pace_is_named_with_the_mend() {
    for (text, why) in [
        ("", "it is empty"),
        ("fast", "a whole number of permits is expected"),
        ("0.5 per s", "a whole number of permits is expected"),
        ("-1 per s", "a whole number of permits is expected"),
        (
            "0 per s",
            "0 would allow nothing for ever; to stop it, pause it",
        ),
        ("99999999999 per s", "the number is above 4294967295"),
        ("20", "the word \"per\" belongs after the number"),
        ("20 / s", "the word \"per\" belongs after the number"),
        ("20 per", "a time belongs after \"per\""),
        ("20 per burst 5", "a time belongs after \"per\""),
        ("20 per apple", "the time after \"per\" is none"),
        ("20 per 0s", "the time after \"per\" is none"),
        (
            "20 per 99999999999999999999s",
            "the time after \"per\" is none",
        ),
        ("20 per s burst", "one number belongs after \"burst\""),
        ("20 per s burst 5 6", "one number belongs after \"burst\""),
        (
            "20 per s burst 0",
            "0 would allow nothing for ever; to stop it, pause it",
        ),
        (
            "500 per month",
            "months differ in length; a month is a quota's window",
        ),
        ("1000001 per s", "at most 1000000 per s"),
        (
            "1 per 400d",
            "the time, and the burst's refill, may take 366 days at most",
        ),
        (
            "1 per day burst 400",
            "the time, and the burst's refill, may take 366 days at most",
        ),
    ] {
        let text = text.to_owned();
        let expected = LimitError::Pace {
            text: text.clone(),
            why,
        };
        assert_eq!(text.parse::<Pace>(), Err(expected), "{text}");
    }
    assert_eq!(
        "fast".parse::<Pace>().unwrap_err().to_string(),
        "\"fast\" is no pace (a whole number of permits is expected); write for example \"1 per 10s\", \
         \"100 per minute\" or \"20 per s burst 5\""
    );
}

#[test]
fn quotas_are_read_as_people_write_them() {
    for (text, canonical) in [
        ("500 per day", "500 per day"),
        ("10_000 per Month", "10000 per month"),
        ("7 per week", "7 per week"),
        ("500 per 24h rolling", "500 per d rolling"),
        ("1000 per hour rolling", "1000 per h rolling"),
        ("5 per 10 minutes rolling", "5 per 10m rolling"),
    ] {
        let quota: Quota = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(quota.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(quota));
    }
}

#[test]
fn what_is_no_quota_is_named_with_the_mend() {
    let calendar = "a calendar counts per day, week or month; any other time is \"rolling\"";
    for (text, why) in [
        (
            "0 per day",
            "0 would allow nothing for ever; to stop it, pause it",
        ),
        ("500 per 24h", calendar),
        ("500 per hour", calendar),
        ("500 per 2 days", calendar),
        (
            "500 per apple rolling",
            "a rolling time is between 1s and 366d",
        ),
        (
            "500 per 10ms rolling",
            "a rolling time is between 1s and 366d",
        ),
        (
            "500 per 367d rolling",
            "a rolling time is between 1s and 366d",
        ),
        (
            "500 per day rolling stones",
            "nothing belongs after \"rolling\"",
        ),
    ] {
        let text = text.to_owned();
        let expected = LimitError::Quota {
            text: text.clone(),
            why,
        };
        assert_eq!(text.parse::<Quota>(), Err(expected), "{text}");
    }
}

#[test]
fn shares_are_read_to_a_hundredth_of_a_percent() {
    for (text, canonical) in [
        ("10%", "10%"),
        ("0%", "0%"),
        ("100 %", "100%"),
        ("2.5%", "2.50%"),
        ("0.01%", "0.01%"),
    ] {
        let share: Share = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(share.to_string(), canonical);
    }
    for text in [
        "",
        "%",
        "10",
        "101%",
        "-1%",
        "1.234%",
        ".5%",
        "5.%",
        "99999999%",
        "1e1%",
        "+1%",
    ] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
}

#[test]
fn settings_that_do_not_fit_one_another_are_refused() {
    let quota = limits("", "10 per day", "UTC");
    assert_eq!(quota.check(n(10)), Ok(()));
    assert_eq!(
        quota.check(n(11)),
        Err(LimitError::Weight {
            weight: 11,
            permits: 10
        })
    );
    let reserved = Limits {
        reserve: 10,
        ..quota.clone()
    };
    assert_eq!(
        reserved.check(n(1)).unwrap_err().to_string(),
        "a reserve of 10 leaves nothing of the quota \"10 per day\"; lower it below the quota"
    );
    let spread = Limits {
        spread: Spread::Even,
        ..Limits::default()
    };
    assert_eq!(spread.check(n(1)), Err(LimitError::SpreadWithoutQuota));
    let hour = "1 per day"
        .parse::<Quota>()
        .unwrap()
        .in_zone(time_zone("UTC").unwrap(), 24);
    assert_eq!(hour, Err(LimitError::ResetHour { hour: 24 }));
    assert!(
        time_zone("Mars/Olympus")
            .unwrap_err()
            .to_string()
            .contains("Europe/Berlin")
    );
}

#[test]
fn zones_are_known_where_the_system_has_none() {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin");
    assert!(zone.is_ok());
}

#[test]
fn the_least_time_is_what_the_slower_of_pace_and_quota_takes() {
    for (pace, quota, items, weight, least) in [
        ("", "", 1_000_000, 1, Duration::ZERO),
        ("30 per s", "", 300, 1, 10 * SECOND),
        ("30 per s", "", 300, 3, 30 * SECOND),
        ("", "500 per day", 500, 1, Duration::ZERO),
        ("", "500 per day", 501, 1, DAY),
        ("", "500 per day", 3_200_000, 1, 6_399 * DAY),
        (
            "1 per 10s",
            "100000 per day",
            100_000,
            1,
            1_000_000 * SECOND,
        ),
        (
            "1 per 365d",
            "",
            u64::MAX,
            1_000,
            Duration::from_nanos(u64::MAX),
        ),
    ] {
        let found = limits(pace, quota, "UTC").least_time(items, n(weight));
        let close = found.abs_diff(least) <= least / 1_000_000;
        assert!(close, "{pace:?} {quota:?} {items}: {found:?}");
    }
}
