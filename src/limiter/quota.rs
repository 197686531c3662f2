//! How many within a window: the quota, and the calendar that says where its windows begin and end.
//!
//! Owns the texts of quotas and the arithmetic of days, weeks and months in a time zone. Never counts;
//! counting is the ledger's.
//!
//! Invariant: a calendar's windows follow one another without gap or overlap, whatever the zone does
//! (days of 23 and 25 hours, skipped days).

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use jiff::{ToSpan, civil::Date, tz::TimeZone};

use super::{
    limits::LimitError,
    text::{Per, read_rate, read_time},
};
use crate::time::Timestamp;

/// Longest rolling window; what is longer is a calendar's business.
const ROLLING_MAX: Duration = Duration::from_hours(366 * 24);

/// Shortest rolling window; what is shorter is a pace.
const ROLLING_MIN: Duration = Duration::from_secs(1);

/// A number of permits within each window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    permits: NonZeroU32,
    span: Span,
}

/// What the permits are counted over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Over days, weeks or months that begin for everybody at the same instant.
    Calendar(Calendar),
    /// Over any stretch of that length.
    Rolling(Duration),
}

/// The windows of a calendar quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// How long a window is.
    pub unit: Unit,
    /// Whose midnight counts.
    pub zone: TimeZone,
    /// The hour of the day at which a window begins, from 0 to 23. Where the clock skips that hour
    /// the window begins with the next one, where it repeats it with the first.
    pub reset_hour: u8,
}

/// The length of a calendar window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// From one reset hour to the next.
    Day,
    /// From a Monday to the next.
    Week,
    /// From the first of a month to the next.
    Month,
}

/// The zone of that name, from the system's database, else from the one that is compiled in.
///
/// Reads the system's files; meant for the moment when a file is taken in, never for a step. Taking
/// the compiled-in database alone would end that, and the corrections that systems ship with it.
///
/// # Errors
/// There is no zone of that name.
pub fn time_zone(name: &str) -> Result<TimeZone, LimitError> {
    TimeZone::get(name).map_err(|_| LimitError::Zone {
        name: name.to_owned(),
    })
}

impl Quota {
    /// Counts days, weeks and months in that zone, from that hour; no change for a rolling window.
    ///
    /// # Errors
    /// The hour is above 23.
    pub fn in_zone(mut self, zone: TimeZone, reset_hour: u8) -> Result<Self, LimitError> {
        if reset_hour > 23 {
            return Err(LimitError::ResetHour { hour: reset_hour });
        }
        if let Span::Calendar(calendar) = &mut self.span {
            calendar.zone = zone;
            calendar.reset_hour = reset_hour;
        }
        Ok(self)
    }

    /// Permits of one window, the reserve included.
    #[must_use]
    pub const fn permits(&self) -> NonZeroU32 {
        self.permits
    }

    /// What they are counted over.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// About how long a window is: a month counts 30 days.
    pub(super) fn length(&self) -> Duration {
        match &self.span {
            Span::Calendar(calendar) => calendar.unit.length(),
            Span::Rolling(length) => *length,
        }
    }
}

/// Reads `500 per day` (in UTC, from midnight; see [`Quota::in_zone`]) and `500 per 24h rolling`.
impl FromStr for Quota {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let refuse = |why| LimitError::Quota {
            text: text.to_owned(),
            why,
        };
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        let (permits, time, tail) = read_rate(&words, "rolling").map_err(refuse)?;
        let calendar = |unit| Calendar {
            unit,
            zone: TimeZone::UTC,
            reset_hour: 0,
        };
        let span = match (tail, time.as_str()) {
            ([], "day") => Span::Calendar(calendar(Unit::Day)),
            ([], "week") => Span::Calendar(calendar(Unit::Week)),
            ([], "month") => Span::Calendar(calendar(Unit::Month)),
            ([], _) => {
                return Err(refuse(
                    "a calendar counts per day, week or month; any other time is \"rolling\"",
                ));
            }
            (["rolling"], time) => read_time(time)
                .filter(|length| (ROLLING_MIN..=ROLLING_MAX).contains(length))
                .map(Span::Rolling)
                .ok_or_else(|| refuse("a rolling time is between 1s and 366d"))?,
            _ => return Err(refuse("nothing belongs after \"rolling\"")),
        };
        Ok(Self { permits, span })
    }
}

/// Writes what reading gives back; the zone and the hour are settings of their own.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.span {
            Span::Calendar(calendar) => write!(f, "{} per {}", self.permits, calendar.unit),
            Span::Rolling(length) => {
                write!(f, "{} per {} rolling", self.permits, Per(*length))
            }
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        })
    }
}

impl Unit {
    const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
        })
    }

    /// The first day of the unit that holds `date`.
    fn first_day(self, date: Date) -> Result<Date, jiff::Error> {
        match self {
            Self::Day => Ok(date),
            Self::Week => date.checked_sub(date.weekday().to_monday_zero_offset().days()),
            Self::Month => Ok(date.first_of_month()),
        }
    }

    /// The first day of the unit after the one that begins with `first`.
    fn next(self, first: Date) -> Result<Date, jiff::Error> {
        first.checked_add(match self {
            Self::Day => 1.day(),
            Self::Week => 7.days(),
            Self::Month => 1.month(),
        })
    }
}

impl Calendar {
    /// The window that holds `now`: its first instant, and the first instant of the next one.
    pub(super) fn window(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        self.civil_window(now)
            .ok()
            .filter(|(start, end)| (*start..*end).contains(&now))
            .unwrap_or_else(|| {
                // Beyond the years that calendars know (-9999 to 9999) all windows are equally long.
                let length = i64::try_from(self.unit.length().as_micros()).unwrap_or(i64::MAX);
                let start = now.0.saturating_sub(now.0.rem_euclid(length));
                (Timestamp(start), Timestamp(start.saturating_add(length)))
            })
    }

    fn civil_window(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), jiff::Error> {
        let today = now.to_jiff().to_zoned(self.zone.clone()).date();
        let mut first = self.unit.first_day(today)?;
        // Once where it is before the reset hour; twice where a zone skipped the day before.
        while self.begins(first)? > now {
            first = self.unit.first_day(first.yesterday()?)?;
        }
        Ok((self.begins(first)?, self.begins(self.unit.next(first)?)?))
    }

    /// The instant at which the clocks of the zone show the reset hour of that day.
    fn begins(&self, date: Date) -> Result<Timestamp, jiff::Error> {
        let hour = i8::try_from(self.reset_hour).unwrap_or(0);
        let zoned = date.at(hour, 0, 0, 0).to_zoned(self.zone.clone())?;
        Ok(Timestamp::from_jiff(zoned.timestamp()))
    }
}
