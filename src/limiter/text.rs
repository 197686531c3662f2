//! How rates are written: `COUNT per TIME`, and what may follow.
//!
//! Owns the words that paces and quotas have in common. Says what is wrong with a text and leaves it to
//! them to say what the text was meant to be.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::time::parse_duration;

/// Reads `COUNT per TIME [TAIL..]`; the time is what stands before the word `until`, without spaces.
pub(super) fn read_rate<'a>(
    words: &'a [&'a str],
    until: &str,
) -> Result<(NonZeroU32, String, &'a [&'a str]), &'static str> {
    let (count, rest) = words.split_first().ok_or("it is empty")?;
    let count = read_count(count)?;
    let Some((&"per", rest)) = rest.split_first() else {
        return Err("the word \"per\" belongs after the number");
    };
    let end = rest.iter().position(|w| *w == until).unwrap_or(rest.len());
    let (time, tail) = rest.split_at(end);
    if time.is_empty() {
        return Err("a time belongs after \"per\"");
    }
    Ok((count, time.concat(), tail))
}

/// A count of permits: digits, which `_` may group.
pub(super) fn read_count(word: &str) -> Result<NonZeroU32, &'static str> {
    let digits = word.replace('_', "");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a whole number of permits is expected");
    }
    let count: u32 = digits
        .parse()
        .map_err(|_| "the number is above 4294967295")?;
    NonZeroU32::new(count).ok_or("0 would allow nothing for ever; to stop it, pause it")
}

/// A time as people write it after "per": `s`, `second`, `10s`, `10seconds`, `1h30m`, `week`.
pub(super) fn read_time(text: &str) -> Option<Duration> {
    let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let (number, unit) = text.split_at(number_end);
    let seconds: u64 = match unit
        .strip_suffix('s')
        .filter(|u| u.len() > 2)
        .unwrap_or(unit)
    {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3_600,
        "d" | "day" => 86_400,
        "week" => 604_800,
        _ => return parse_duration(text).ok(),
    };
    let number: u64 = if number.is_empty() {
        1
    } else {
        number.parse().ok()?
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// A duration as it stands after "per": in the largest unit that divides it.
pub(super) struct Per(pub(super) Duration);

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.subsec_nanos().is_multiple_of(1_000_000) {
            return write!(f, "{}ms", self.0.as_secs_f64() * 1_000.0);
        }
        let millis = self.0.as_millis();
        for (unit, length) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
        ] {
            if millis >= length && millis.is_multiple_of(length) {
                let count = millis / length;
                return if count == 1 {
                    f.write_str(unit)
                } else {
                    write!(f, "{count}{unit}")
                };
            }
        }
        write!(f, "{millis}ms")
    }
}
