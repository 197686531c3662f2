//! The hours in which a run may dispatch, and the days on which it may not.
//!
//! Owns their grammar and their meaning in local time: a window that passes midnight belongs to the
//! day on which it begins (`Fri 22:00-06:00` ends on Saturday), blackouts are whole days. What counts is
//! what a clock on the wall shows: where it skips an hour, what lies in that hour does not happen;
//! where it shows an hour twice, it happens twice.

use jiff::{
    Span,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::super::problem::quoted;
use crate::time::Timestamp;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// A window of hours on days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// A bit for each day on which the window begins; bit 0 is Monday.
    days: u8,
    /// Minute of the day at which it begins.
    from: u16,
    /// Minute of the day before which it ends; not after `from`: on the next day.
    to: u16,
}

impl Hours {
    /// Reads `22:00-06:00`, `Mon-Fri 22:00-06:00`, `Sat,Sun 00:00-24:00`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "{} are no hours; write for example \"Mon-Fri 22:00-06:00\" or \"Sat,Sun 00:00-24:00\"",
                quoted(text)
            )
        };
        let (days, window) = match text.trim().rsplit_once(' ') {
            Some((days, window)) => (days_of(days).ok_or_else(refuse)?, window),
            None => (0b111_1111, text.trim()),
        };
        let (from, to) = window.split_once('-').ok_or_else(refuse)?;
        let from = minute_of(from).filter(|from| *from < DAY_MINUTES);
        let hours = Self {
            days,
            from: from.ok_or_else(refuse)?,
            to: minute_of(to).ok_or_else(refuse)?,
        };
        if hours.from == hours.to {
            return Err(format!(
                "{} ends when it begins; the whole day is \"00:00-24:00\"",
                quoted(text)
            ));
        }
        Ok(hours)
    }

    /// Whether a local time lies in the window.
    #[must_use]
    pub fn contains(self, at: DateTime) -> bool {
        let minute = minute_of_day(at);
        let today = weekday(at.date());
        let begins_on = |day: usize| self.days & (1 << (day % 7)) != 0;
        if self.from < self.to {
            return begins_on(today) && (self.from..self.to).contains(&minute);
        }
        (begins_on(today) && minute >= self.from) || (begins_on(today + 6) && minute < self.to)
    }
}

/// Days on which nothing is dispatched, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blackout {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

impl Blackout {
    /// Reads `2026-12-24..2026-12-26`, or one day.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let date = |day: &str| {
            // Why: jiff's own reading also takes times and zones, which would be dropped unseen.
            let day = day.trim();
            let shaped = day.len() == 10 && day.is_ascii();
            day.parse::<Date>().ok().filter(|_| shaped).ok_or_else(|| {
                format!(
                    "{} is no day; write for example \"2026-12-24\" or \"2026-12-24..2026-12-26\"",
                    quoted(day)
                )
            })
        };
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from, to) = (date(from)?, date(to)?);
        if to < from {
            return Err(format!(
                "{} ends before it begins; swap the days",
                quoted(text)
            ));
        }
        Ok(Self { from, to })
    }

    /// Whether a day is one of them.
    #[must_use]
    pub fn contains(self, day: Date) -> bool {
        (self.from..=self.to).contains(&day)
    }
}

/// Whether a run may dispatch, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It may, until this instant; [`Timestamp::MAX`]: for good.
    Open(Timestamp),
    /// It may not, until this instant; [`Timestamp::MAX`]: ever.
    Closed(Timestamp),
}

/// How often clocks may be set before the next change of an opening; a century has 200 settings at
/// most, and beyond it the answer is only early.
const SETTINGS_MAX: usize = 200;

/// What hours and blackouts say together.
pub(super) fn opening(
    hours: &[Hours],
    blackout: &[Blackout],
    zone: &TimeZone,
    at: Timestamp,
) -> Opening {
    let open_now = is_open(hours, blackout, zone.to_datetime(at.to_jiff()));
    let until = changes_at(hours, blackout, zone, at, open_now)
        .map_or(Timestamp::MAX, Timestamp::from_jiff);
    if open_now {
        Opening::Open(until)
    } else {
        Opening::Closed(until)
    }
}

/// The instant at which [`is_open`] is no longer what it is now.
///
/// Until clocks are set next, local time passes like any other; then it is looked at again.
fn changes_at(
    hours: &[Hours],
    blackout: &[Blackout],
    zone: &TimeZone,
    at: Timestamp,
    open_now: bool,
) -> Option<jiff::Timestamp> {
    let mut from = at.to_jiff();
    for _ in 0..SETTINGS_MAX {
        let local = zone.to_datetime(from);
        if is_open(hours, blackout, local) != open_now {
            break;
        }
        let change = next_change(hours, blackout, local)?;
        let until = from.checked_add(change.duration_since(local)).ok()?;
        match zone.following(from).next() {
            Some(set) if set.timestamp() < until => from = set.timestamp(),
            _ => return Some(until),
        }
    }
    Some(from)
}

fn is_open(hours: &[Hours], blackout: &[Blackout], at: DateTime) -> bool {
    (hours.is_empty() || hours.iter().any(|hours| hours.contains(at)))
        && !blackout.iter().any(|days| days.contains(at.date()))
}

/// The next local time at which [`is_open`] changes.
///
/// Between blackouts weeks repeat: where a week brings no change, the next one comes with a blackout,
/// if ever.
fn next_change(hours: &[Hours], blackout: &[Blackout], from: DateTime) -> Option<DateTime> {
    let open_now = is_open(hours, blackout, from);
    let mut start = from;
    for _ in 0..=2 * blackout.len() {
        if start > from && is_open(hours, blackout, start) != open_now {
            return Some(start);
        }
        let today = start.date();
        if let Some(days) = blackout.iter().find(|days| days.contains(today)) {
            start = days.to.tomorrow().ok()?.at(0, 0, 0, 0);
            continue;
        }
        let next_blackout = blackout
            .iter()
            .map(|days| days.from)
            .filter(|day| *day > today)
            .min()
            .map(|day| day.at(0, 0, 0, 0));
        let change = window_edges(hours, today)
            .filter(|edge| *edge > start && next_blackout.is_none_or(|next| *edge < next))
            .filter(|edge| is_open(hours, &[], *edge) != open_now)
            .min();
        if change.is_some() {
            return change;
        }
        start = next_blackout?;
    }
    None
}

/// Where windows begin and end within eight days: a week, and what begins late on its last day.
fn window_edges(hours: &[Hours], from: Date) -> impl Iterator<Item = DateTime> {
    let days = std::iter::successors(Some(from), |day| day.tomorrow().ok()).take(8);
    days.flat_map(|day| {
        let edges = hours.iter().flat_map(|hours| [hours.from, hours.to]);
        edges.filter_map(move |minute| {
            let minutes = Span::new().try_minutes(i64::from(minute)).ok()?;
            day.at(0, 0, 0, 0).checked_add(minutes).ok()
        })
    })
}

fn minute_of_day(at: DateTime) -> u16 {
    let minute = i32::from(at.hour()) * 60 + i32::from(at.minute());
    u16::try_from(minute).unwrap_or(0)
}

fn weekday(day: Date) -> usize {
    usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or(0)
}

/// `Mon`, `Mon-Fri`, `Sat-Mon`, and several of them with commas, as bits.
fn days_of(text: &str) -> Option<u8> {
    let day = |name: &str| {
        DAYS.iter()
            .position(|day| day.eq_ignore_ascii_case(name.trim()))
    };
    text.split(',').try_fold(0, |days, part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (day(from)?, day(to)?);
        let count = (to + 7 - from) % 7 + 1;
        Some((from..from + count).fold(days, |days, day| days | 1 << (day % 7)))
    })
}

/// `22:00` as a minute of the day; `24:00` is its end.
fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let shaped = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| shaped)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
}
