//! `[retry]`: how often a failed item is tried again, and after which back-off.

use std::time::Duration;

use toml::de::DeValue;

use super::super::{
    Limit,
    document::{Section, expected},
    values::{Percent, duration, number, one_of, or_word, percent, text, whole_u32},
};

/// Most attempts that can be counted. Spec: `MaxAttempts` is at most 99,999,999 retries.
const ATTEMPTS_MAX: u32 = 100_000_000;

/// The shortest back-off: below it a failing item would be a busy loop.
const DELAY_MIN: Duration = Duration::from_millis(1);

/// The longest back-off. Spec: `MaxDelaySeconds` is less than a year of 366 days.
const DELAY_MAX: Duration = Duration::from_hours(365 * 24);

/// Steepest growth of the back-off: from a millisecond to a year in four steps.
const FACTOR_MAX: f64 = 1000.0;

/// Most names in `give_up_on`; a list is compared with each failure.
const GIVE_UP_ON_MAX: usize = 100;

pub(super) const QUOTA_SHARE_MISSING: &str = "\"forever\" on a quota would let records that can never succeed eat it; write quota_share = \"10%\" beside it, or a number of attempts";

/// `[retry]`
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// How often an item is tried.
    pub attempts: Attempts,
    /// The first back-off.
    pub first: Duration,
    /// What each back-off is multiplied with to give the next; from 1.
    pub factor: f64,
    /// No back-off is longer; not shorter than `first`.
    pub max_delay: Duration,
    /// Whether a back-off is a random part of what it could be, so that items which failed together
    /// do not come back together.
    pub jitter: bool,
    /// Names of errors that are not retried.
    pub give_up_on: Vec<String>,
    /// How much of a quota retries may use, where the file says so; see [`Retry::quota_share`].
    pub quota_share_written: Option<Percent>,
}

/// How often an item is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// So often, the first time included; from 1.
    Count(u32),
    /// Until it succeeds.
    Forever,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: Attempts::Count(12),
            first: Duration::from_secs(3),
            factor: 2.0,
            max_delay: Duration::from_hours(6),
            jitter: true,
            give_up_on: Vec::new(),
            quota_share_written: None,
        }
    }
}

impl Retry {
    /// How much of a quota retries may use, so that bad records cannot starve a run.
    #[must_use]
    pub fn quota_share(&self) -> Percent {
        self.quota_share_written.unwrap_or(Percent::whole(10))
    }

    /// Whether this policy may only stand on a quota once the file says what share of it retries get.
    pub(super) fn needs_quota_share(&self) -> bool {
        self.attempts == Attempts::Forever && self.quota_share_written.is_none()
    }

    pub(super) fn read(section: Option<Section<'_>>, limit: Option<&Limit>) -> Self {
        const JITTERS: [(&str, bool); 2] = [("full", true), ("none", false)];
        let default = Self::default();
        let Some(mut section) = section else {
            return default;
        };
        let delay = |value: &DeValue<'_>| duration(value, DELAY_MIN..=DELAY_MAX);
        let retry = Self {
            attempts: section
                .read("attempts", attempts)
                .unwrap_or(default.attempts),
            first: section.read("first", delay).unwrap_or(default.first),
            factor: section
                .read("factor", |value| number(value, 1.0..=FACTOR_MAX))
                .unwrap_or(default.factor),
            max_delay: section
                .read("max_delay", delay)
                .unwrap_or(default.max_delay),
            jitter: section
                .read("jitter", |value| one_of(value, &JITTERS))
                .unwrap_or(default.jitter),
            give_up_on: section
                .list("give_up_on", GIVE_UP_ON_MAX, error_name)
                .unwrap_or(default.give_up_on),
            quota_share_written: section.read("quota_share", percent),
        };
        if retry.max_delay < retry.first {
            let key = if section.has("max_delay") {
                "max_delay"
            } else {
                "first"
            };
            section.report_key(key, || {
                "first is longer than max_delay; swap or raise them".into()
            });
        }
        let quota = matches!(limit, Some(Limit::Own(limit)) if limit.quota.is_some());
        // Why: asked of the file, not of the value: a share that is written wrong is reported already.
        if quota && retry.attempts == Attempts::Forever && !section.has("quota_share") {
            section.report_key("attempts", || QUOTA_SHARE_MISSING.into());
        }
        section.finish();
        retry
    }
}

fn attempts(value: &DeValue<'_>) -> Result<Attempts, String> {
    let count = |value: &DeValue<'_>| whole_u32(value, 1..=ATTEMPTS_MAX);
    Ok(match or_word(value, "forever", count)? {
        Some(count) => Attempts::Count(count),
        None => Attempts::Forever,
    })
}

/// Spec: `States.ALL` stands alone in a retrier, and would stand for every error here.
fn error_name(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value).map_err(|_| expected("the name of an error", value))?;
    match name.as_str() {
        "States.ALL" => Err("States.ALL gives up on everything; write attempts = 1".into()),
        _ => Ok(name),
    }
}
