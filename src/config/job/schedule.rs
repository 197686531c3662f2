//! `[schedule]`: when a job is started, and when its run may dispatch.
//!
//! Owns the keys; fire times and catching up belong to the runtime. All times of day are those of
//! `time_zone`, UTC unless written: the same file means the same on every machine.

use croner::{
    Cron,
    parser::{CronParser, Year},
};
use jiff::{civil::DateTime, tz::TimeZone};
use toml::de::DeValue;

use super::{
    super::{
        document::{Section, expected},
        problem::quoted,
        values::{one_of, text, time_zone},
    },
    hours::{Blackout, Hours, Opening, opening},
};
use crate::time::Timestamp;

/// Longest cron expression; six fields that list every value have fewer characters.
const CRON_CHARS_MAX: usize = 1000;

/// Most windows of a week (three of each day and some), and most blackouts (ten holidays of ten years).
/// Looking for the next change grows with the square of the first and with the second.
const HOURS_MAX: usize = 25;
const BLACKOUTS_MAX: usize = 100;

/// `[schedule]`
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// When the job is started; `None`: by hand.
    pub cron: Option<Cron>,
    /// Whose times of day the schedule speaks of.
    pub time_zone: TimeZone,
    /// What a start does while an earlier run is under way.
    pub overlap: Overlap,
    /// Which of the starts that fell into a downtime are made up for.
    pub catch_up: CatchUp,
    /// When a run may dispatch; empty: always.
    pub hours: Vec<Hours>,
    /// Days on which it may not.
    pub blackout: Vec<Blackout>,
}

/// What a start does while an earlier run of the job is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing.
    Skip,
    /// It waits for the end of the earlier run.
    Queue,
    /// It runs beside it.
    Allow,
}

/// Which of the starts that fell into a downtime are made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// None of them.
    None,
    /// One for all of them.
    One,
    /// Each of them.
    All,
}

impl Schedule {
    /// Whether a run may dispatch at an instant, and when that changes next.
    #[must_use]
    pub fn opening(&self, at: Timestamp) -> Opening {
        opening(&self.hours, &self.blackout, &self.time_zone, at)
    }

    pub(super) fn read(mut section: Section<'_>) -> Self {
        const OVERLAPS: [(&str, Overlap); 3] = [
            ("skip", Overlap::Skip),
            ("queue", Overlap::Queue),
            ("allow", Overlap::Allow),
        ];
        const CATCH_UPS: [(&str, CatchUp); 3] = [
            ("none", CatchUp::None),
            ("one", CatchUp::One),
            ("all", CatchUp::All),
        ];
        let schedule = Self {
            cron: section.read("cron", cron),
            time_zone: section
                .read("time_zone", time_zone)
                .unwrap_or(TimeZone::UTC),
            overlap: section
                .read("overlap", |value| one_of(value, &OVERLAPS))
                .unwrap_or(Overlap::Skip),
            catch_up: section
                .read("catch_up", |value| one_of(value, &CATCH_UPS))
                .unwrap_or(CatchUp::One),
            hours: section
                .list("hours", HOURS_MAX, |value| Hours::parse(&text(value)?))
                .unwrap_or_default(),
            blackout: section
                .list("blackout", BLACKOUTS_MAX, |value| {
                    Blackout::parse(&text(value)?)
                })
                .unwrap_or_default(),
        };
        for key in ["overlap", "catch_up"] {
            if section.has(key) && !section.has("cron") {
                section.report_key(key, || {
                    "it is about starts by cron, and there is none; write for example cron = \"0 2 * * *\"".into()
                });
            }
        }
        section.finish();
        schedule
    }
}

/// A cron expression that fires at some time.
fn cron(value: &DeValue<'_>) -> Result<Cron, String> {
    const SHOWN: &str = "write five fields (minute hour day month weekday) or six with seconds in front, for example \"0 2 * * *\"";
    let text = value
        .as_str()
        .ok_or_else(|| expected("a cron expression such as \"0 2 * * *\"", value))?;
    let refuse = |why: &str| format!("{} {why}; {SHOWN}", quoted(text));
    if text.chars().nth(CRON_CHARS_MAX).is_some() {
        return Err(refuse("is too long"));
    }
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let cron = parser
        .parse(text)
        .map_err(|_| refuse("is no cron expression"))?;
    // Why: "0 0 30 2 *" is well-formed and would wait for ever. Day and weekday repeat after 28 years
    // at the latest within a century, so one starting point stands for all.
    match cron.find_next_occurrence(&DateTime::constant(2024, 1, 1, 0, 0, 0, 0), true) {
        Ok(_) => Ok(cron),
        Err(_) => Err(refuse("never fires")),
    }
}
