//! What a file says about a limiter: `[limit]` of a job, `[limiters.NAME]` of the settings.
//!
//! Owns the keys and what cannot stand together. What a pace or a quota means belongs to `limiter`,
//! which reads their texts.

use std::path::Path;

use jiff::tz::TimeZone;

use super::{
    Overrides,
    document::{Document, Section},
    problem::Problems,
    size::quote,
    values::{one_of, text, time_zone, whole, whole_u32},
};

/// Most permits that one item may cost; a million items of an API in one call is no longer an item.
const WEIGHT_MAX: u32 = 1_000_000;

const SPREADS: [(&str, Spread); 2] = [("asap", Spread::Asap), ("even", Spread::Even)];

/// When the permits of a quota's window may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// At once.
    Asap,
    /// Evenly over what is left of the window.
    Even,
}

/// The keys of a limiter. Without a pace and a quota it holds nobody back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSpec {
    /// `1 per 10s`, `20 per s burst 5`; the limiter's reader checks it.
    pub pace: Option<String>,
    /// `500 per day`; the limiter's reader checks it.
    pub quota: Option<String>,
    /// Whose days, weeks and months the quota counts; UTC unless written.
    pub time_zone: TimeZone,
    /// The hour of the day at which the quota's days, weeks and months begin, from 0 to 23.
    pub reset_hour: u8,
    /// When the quota's permits may be used.
    pub spread: Spread,
    /// Permits of each window that are kept for others.
    pub reserve: u64,
    /// Permits that an item costs; from 1.
    pub weight: u32,
}

impl Default for LimitSpec {
    fn default() -> Self {
        Self {
            pace: None,
            quota: None,
            time_zone: TimeZone::UTC,
            reset_hour: 0,
            spread: Spread::Asap,
            reserve: 0,
            weight: 1,
        }
    }
}

/// Which limiter a job uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// One of its own.
    Own(LimitSpec),
    /// The one of this name in the settings, shared with everybody who names it.
    Shared(String),
}

impl Limit {
    /// Reads a job's `[limit]`.
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let shared = section.read("use", text);
        let limit = LimitSpec::keys(&mut section);
        for key in [
            "pace",
            "quota",
            "time_zone",
            "reset_hour",
            "spread",
            "reserve",
            "weight",
        ] {
            if section.has("use") && section.has(key) {
                section.report_key(key, || {
                    format!(
                        "\"use\" stands alone; write {key} at the shared limiter, or leave \"use\" out"
                    )
                });
            }
        }
        section.finish();
        match shared {
            Some(name) => Self::Shared(name),
            None => Self::Own(limit),
        }
    }
}

impl LimitSpec {
    /// Reads a `[limiters.NAME]`.
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let limit = Self::keys(&mut section);
        section.finish();
        limit
    }

    /// The limiter as a file would say it, on one line.
    pub(crate) fn show(&self) -> String {
        let keys = self.keys_written();
        let keys: Vec<String> = keys
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        format!("{{ {} }}", keys.join(", "))
    }

    /// Each key of the limiter with `section` in front, its last part, and its value as a file would
    /// say it.
    #[must_use]
    pub fn rows(&self, section: &str) -> Vec<(String, &'static str, String)> {
        let keys = self.keys_written().into_iter();
        keys.map(|(key, value)| (format!("{section}.{key}"), key, value))
            .collect()
    }

    fn keys_written(&self) -> Vec<(&'static str, String)> {
        let mut keys = Vec::new();
        keys.extend(self.pace.iter().map(|pace| ("pace", quote(pace))));
        if let Some(quota) = &self.quota {
            keys.push(("quota", quote(quota)));
            // Invariant: a zone that was read has a name, as nothing else is taken.
            let zone = self.time_zone.iana_name().unwrap_or("UTC");
            keys.push(("time_zone", quote(&zone)));
            keys.push(("reset_hour", self.reset_hour.to_string()));
            let spread = SPREADS.iter().find(|(_, spread)| *spread == self.spread);
            keys.extend(spread.map(|(name, _)| ("spread", quote(name))));
            keys.push(("reserve", self.reserve.to_string()));
        }
        keys.push(("weight", self.weight.to_string()));
        keys
    }

    /// The limiter of that name in the settings with what operators have set over it.
    ///
    /// # Errors
    /// What they have set does not go with what the settings say.
    pub fn overridden(&self, name: &str, overrides: &Overrides) -> Result<Self, Problems> {
        if overrides.is_empty() {
            return Ok(self.clone());
        }
        let text = format!("limiter = {}", self.show());
        let below = overrides.below("limiter");
        let document = Document::parse(Path::new("the settings"), &text, &below)?;
        let spec = document.root().section("limiter").map(Self::read);
        let told = document.answer(spec);
        told.map_err(|problems| problems.told_of("limiter.", &format!("limiters.{name}.")))
    }

    fn keys(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let limit = Self {
            pace: section.read("pace", text),
            quota: section.read("quota", text),
            time_zone: section
                .read("time_zone", time_zone)
                .unwrap_or(default.time_zone),
            reset_hour: section
                .read("reset_hour", |value| whole(value, 0..=23))
                .and_then(|hour| u8::try_from(hour).ok())
                .unwrap_or(default.reset_hour),
            spread: section
                .read("spread", |value| one_of(value, &SPREADS))
                .unwrap_or(default.spread),
            reserve: section
                .read("reserve", |value| whole(value, 0..=u64::from(u32::MAX)))
                .unwrap_or(default.reserve),
            weight: section
                .read("weight", |value| whole_u32(value, 1..=WEIGHT_MAX))
                .unwrap_or(default.weight),
        };
        for key in ["time_zone", "reset_hour", "spread", "reserve"] {
            if section.has(key) && !section.has("quota") && !section.has("use") {
                section.report_key(key, || {
                    "it is about a quota, and there is none; write for example quota = \"500 per day\"".into()
                });
            }
        }
        limit
    }
}
