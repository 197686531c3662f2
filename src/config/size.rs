//! How sizes, durations and texts are written in files, beside `time::parse_duration`.
//!
//! Owns the units of bytes and the shortest exact writing of a value, so that what is shown can be
//! pasted into a file. A size is whole bytes in a `u64`; no fractions.

use std::time::Duration;

use super::problem::quoted;

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Reads a size as the files write it: a whole number and a unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`,
/// powers of 1024), as in `64 MiB`.
///
/// # Errors
/// A fragment that names the text and shows a right one; for `MB` and its like, the unit to write.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = |mend: &str| Err(format!("{} is no size; {mend}", quoted(text)));
    let shown = "write for example \"64 MiB\", \"512 KiB\" or \"4096 B\"";
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim_start();
    let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit == "B" => 1,
        None => {
            let meant = UNITS.iter().find(|(name, _)| {
                name[..1].eq_ignore_ascii_case(unit.get(..1).unwrap_or_default())
                    && matches!(unit.len(), 1..=3)
            });
            return match meant {
                Some((name, _)) if !number.is_empty() => {
                    refuse(&format!("write \"{number} {name}\""))
                }
                _ => refuse(shown),
            };
        }
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
    {
        Some(bytes) => Ok(bytes),
        None => refuse(shown),
    }
}

/// Writes a size in the largest unit that divides it.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    match UNITS
        .iter()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
    {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

/// Writes a duration in the largest unit that divides it; below a millisecond it is rounded down.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (unit, factor) = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ]
    .into_iter()
    .find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor))
    .unwrap_or(if millis == 0 { ("s", 1000) } else { ("ms", 1) });
    format!("{}{unit}", millis / factor)
}

/// Writes a text as TOML does, whatever is in it.
pub(crate) fn quote(value: &impl ToString) -> String {
    toml::Value::String(value.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_duration;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64 MiB", 64 << 20),
            ("64MiB", 64 << 20),
            ("1 KiB", 1024),
            ("4096 B", 4096),
            (" 2 TiB ", 2 << 40),
            ("0 B", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_wrong_size_shows_a_right_one() {
        for (text, mend) in [
            ("64 MB", r#""64 MB" is no size; write "64 MiB""#),
            ("64M", r#""64M" is no size; write "64 MiB""#),
            ("3 gib", r#""3 gib" is no size; write "3 GiB""#),
            (
                "64",
                r#""64" is no size; write for example "64 MiB", "512 KiB" or "4096 B""#,
            ),
            (
                "99999999 TiB",
                r#""99999999 TiB" is no size; write for example "64 MiB", "512 KiB" or "4096 B""#,
            ),
            (
                "1.5 MiB",
                r#""1.5 MiB" is no size; write for example "64 MiB", "512 KiB" or "4096 B""#,
            ),
            (
                "größe",
                r#""größe" is no size; write for example "64 MiB", "512 KiB" or "4096 B""#,
            ),
        ] {
            assert_eq!(parse_size(text), Err(mend.to_owned()));
        }
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 3 << 40, u64::MAX] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        for millis in [0, 1, 999, 1000, 90_000, 3_600_000, 86_400_000 * 90] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
    }
}
