//! Readers of single values: what a key takes, with its bounds, and the sentence where it does not.
//!
//! Each takes a TOML value and answers the typed one or a fragment that names what is wrong and the
//! mend; the key and the place are put in front by whoever asked. None of them knows a key.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::{
    document::expected,
    problem::{clipped, near, nearest, quoted},
    size::{parse_size, show_duration, show_size},
};
use crate::time::parse_duration;

/// Longest text value of a key, in characters: a path of the longest length that Linux takes.
const TEXT_CHARS_MAX: usize = 4096;

/// A share of a whole, in hundredths of a percent, from 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// A share of whole percent; more than 100 is 100.
    #[must_use]
    pub const fn whole(percent: u16) -> Self {
        Self(if percent > 100 { 10_000 } else { percent * 100 })
    }

    /// The share as hundredths of a percent, from 0 to 10,000.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// The share as a fraction, from 0.0 to 1.0.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Reads `50%` or `0.5%`; two places after the point.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "{} is no share; write for example \"10%\" or \"0.5%\", from 0% to 100%",
                quoted(text)
            )
        };
        let number = text.trim().strip_suffix('%').ok_or_else(refuse)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || !(1..=2).contains(&part.len()) {
            return Err(refuse());
        }
        let part: u16 = format!("{part:0<2}").parse().map_err(|_| refuse())?;
        whole
            .parse::<u16>()
            .ok()
            .and_then(|whole| whole.checked_mul(100)?.checked_add(part))
            .filter(|hundredths| *hundredths <= 10_000)
            .map(Self)
            .ok_or_else(refuse)
    }
}

/// Any text that is not empty.
pub(crate) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or_else(|| expected("a text", value))?;
    if text.trim().is_empty() {
        return Err("must not be empty".into());
    }
    if text.contains('\0') || text.chars().nth(TEXT_CHARS_MAX).is_some() {
        return Err(format!(
            "{} has a NUL or more than {TEXT_CHARS_MAX} characters",
            quoted(text)
        ));
    }
    Ok(text.to_owned())
}

/// A path.
pub(crate) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

/// A whole number within bounds.
pub(crate) fn whole(value: &DeValue<'_>, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let what = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
    value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| expected(&what(), value))
}

/// The same, for numbers that are kept in 32 bits.
pub(crate) fn whole_u32(value: &DeValue<'_>, bounds: RangeInclusive<u32>) -> Result<u32, String> {
    let wide = u64::from(*bounds.start())..=u64::from(*bounds.end());
    whole(value, wide)?
        .try_into()
        .map_err(|_| expected("a smaller number", value))
}

/// A number, whole or not, within bounds.
pub(crate) fn number(value: &DeValue<'_>, bounds: RangeInclusive<f64>) -> Result<f64, String> {
    let what = || format!("a number from {} to {}", bounds.start(), bounds.end());
    let text = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        DeValue::Integer(_)
        | DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return Err(expected(&what(), value)),
    };
    text.parse()
        .ok()
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| expected(&what(), value))
}

/// A size such as `"64 MiB"` within bounds.
pub(crate) fn size(value: &DeValue<'_>, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let what = "a size such as \"64 MiB\"";
    let bytes = parse_size(value.as_str().ok_or_else(|| expected(what, value))?)?;
    if bounds.contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "{} is out of bounds; write from \"{}\" to \"{}\"",
        show_size(bytes),
        show_size(*bounds.start()),
        show_size(*bounds.end())
    ))
}

/// A duration such as `"30s"` within bounds.
pub(crate) fn duration(
    value: &DeValue<'_>,
    bounds: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let what = "a duration such as \"30s\"";
    let text = value.as_str().ok_or_else(|| expected(what, value))?;
    duration_text(text, bounds)
}

/// The same, of a text within a longer one.
pub(crate) fn duration_text(
    text: &str,
    bounds: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let duration = match clipped(text) {
        whole if whole.len() == text.len() => parse_duration(text)?,
        _ => return Err(format!("{} is no duration", quoted(text))),
    };
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "{} is out of bounds; write from \"{}\" to \"{}\"",
        quoted(text),
        show_duration(*bounds.start()),
        show_duration(*bounds.end())
    ))
}

/// `Some` of what `read` takes, or `None` for the given word (`"never"`).
pub(crate) fn or_word<T>(
    value: &DeValue<'_>,
    word: &str,
    read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.as_str() == Some(word) {
        return Ok(None);
    }
    read(value)
        .map(Some)
        .map_err(|why| format!("{why}; or \"{word}\""))
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let written = value.as_str().ok_or_else(|| expected("a text", value))?;
    let names = words.iter().map(|(name, _)| *name);
    words
        .iter()
        .find(|(name, _)| *name == written)
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| {
            let mend = nearest(written, names, "it is one of");
            format!("unknown value {}{mend}", quoted(written))
        })
}

/// `true` or `false`.
pub(crate) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| expected("true or false", value))
}

/// A share such as `"10%"`.
pub(crate) fn percent(value: &DeValue<'_>) -> Result<Percent, String> {
    let what = "a share such as \"10%\"";
    Percent::parse(value.as_str().ok_or_else(|| expected(what, value))?)
}

/// The name of a time zone, such as `"Europe/Berlin"`, that this machine or the binary knows.
pub(crate) fn time_zone(value: &DeValue<'_>) -> Result<TimeZone, String> {
    let name = text(value)?;
    TimeZone::get(&name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|n| n.to_string()).collect();
        // Why: some 600 names are no list to print; a near one is.
        let near = near(&name, known.iter().map(String::as_str));
        let mend = near.map_or_else(
            || "write for example \"Europe/Berlin\" or \"UTC\"".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        format!("unknown time zone {}; {mend}", quoted(&name))
    })
}

/// Whether a text can name a job, a limiter or a machine.
///
/// Spec: the names of `CreateStateMachine`: 1 to 80 characters, no white space, no brackets,
/// wildcards, special or control characters. Beside that a name begins with neither `-` nor `.`, so
/// that it is an argument and a file name as it stands.
pub(crate) fn name(value: &DeValue<'_>) -> Result<String, String> {
    const NAME_CHARS_MAX: usize = 80;
    let name = value.as_str().ok_or_else(|| expected("a text", value))?;
    let refused = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || "<>{}[]?*\"#%\\^|~`$&,;:/".contains(c)
            || matches!(c, '\u{FFFE}' | '\u{FFFF}')
    };
    let mend = "write 1 to 80 letters, digits, \"-\", \"_\" or \".\"";
    if let Some(c) = name.chars().find(|c| refused(*c)) {
        return Err(format!("{} has {c:?} in it; {mend}", quoted(name)));
    }
    if name.is_empty() || name.chars().nth(NAME_CHARS_MAX).is_some() {
        return Err(format!("{} is no name; {mend}", quoted(name)));
    }
    if name.starts_with(['-', '.']) {
        return Err(format!(
            "{} begins with \"-\" or \".\"; {mend}",
            quoted(name)
        ));
    }
    Ok(name.to_owned())
}
