//! Numbers and times as people read them.

use std::time::Duration;

use serde_json::Value;

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// So many of a thing, in its one word or the other: `1 call`, `2 calls`.
pub(super) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// `3 d 4 h`, `12 min`, `8 s`: the two largest units.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86400, "d"), (seconds % 86400 / 3600, "h")),
    };
    if small.0 == 0 {
        format!("{} {}", large.0, large.1)
    } else {
        format!("{} {} {} {}", large.0, large.1, small.0, small.1)
    }
}

/// A rate of items: `12.3/s`, `40/min`, `6/h`; none where nothing moves.
pub(super) fn rate(per_second: f64) -> Option<String> {
    if per_second * 3600.0 < 0.05 {
        return None;
    }
    let (value, unit) = if per_second >= 1.0 {
        (per_second, "s")
    } else if per_second * 60.0 >= 1.0 {
        (per_second * 60.0, "min")
    } else {
        (per_second * 3600.0, "h")
    };
    Some(if value >= 100.0 {
        format!("{value:.0}/{unit}")
    } else {
        format!("{value:.1}/{unit}")
    })
}

/// A size: `512 B`, `1.4 MiB`, `36 GiB`.
#[expect(clippy::cast_precision_loss, reason = "a size, for people")]
pub(super) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if value >= 10.0 || unit == "B" {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// An instant of an answer in this machine's time zone, to the second.
pub(super) fn instant(text: &str) -> String {
    let Ok(instant) = text.parse::<jiff::Timestamp>() else {
        return text.to_owned();
    };
    let local = instant.to_zoned(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A text that somebody else wrote, in a line of its own: control characters are escaped, so that it
/// cannot steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let as_it_is = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(as_it_is)
        })
        .collect()
}

/// A count in an answer; 0 where there is none.
pub(super) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

/// A text in an answer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// Seconds in an answer.
pub(super) fn seconds(value: &Value, key: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(value[key].as_f64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_read_them() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "retry", "retries"), "1 retry");
        assert_eq!(counted(0, "retry", "retries"), "0 retries");
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3_600, "1 h"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), shown);
        }
        for (per_second, shown) in [
            (250.4, "250/s"),
            (12.34, "12.3/s"),
            (0.5, "30.0/min"),
            (0.001, "3.6/h"),
        ] {
            assert_eq!(rate(per_second).as_deref(), Some(shown));
        }
        assert_eq!(rate(0.0), None);
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (36 << 30, "36 GiB"),
            (5000 << 40, "5000 TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn a_text_of_somebody_else_cannot_steer_the_terminal() {
        assert_eq!(
            plain("Größe\u{1b}[2J\n\u{9b}1m"),
            "Größe\\u{1b}[2J\\n\\u{9b}1m"
        );
    }
}
