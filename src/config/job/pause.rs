//! `[pause_when]`: how much failing makes a run pause, which keeps its position, instead of going on.

use toml::de::DeValue;

use super::super::{
    document::{Section, expected},
    problem::quoted,
    values::{Percent, or_word, whole_u32},
};

/// Longest window of recent outcomes: so many a run remembers.
pub const WINDOW_MAX: u32 = 1_000;

/// Longest row of failures that can be asked for.
const IN_A_ROW_MAX: u32 = 1_000_000;

/// `[pause_when]`; `None` is written `"never"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseWhen {
    /// This share of the latest outcomes failed.
    pub failing: Option<FailingShare>,
    /// So many failed one after the other; from 1.
    pub in_a_row: Option<u32>,
    /// This share of the whole dataset has failed for good.
    pub failed: Option<Percent>,
}

/// A share of the latest outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingShare {
    /// How much of them.
    pub share: Percent,
    /// How many of them, from 1; fewer outcomes than that do not pause a run.
    pub window: u32,
}

impl Default for PauseWhen {
    fn default() -> Self {
        Self {
            failing: Some(FailingShare {
                share: Percent::whole(50),
                window: 200,
            }),
            in_a_row: Some(25),
            failed: Some(Percent::whole(10)),
        }
    }
}

impl PauseWhen {
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let default = Self::default();
        let Some(mut section) = section else {
            return default;
        };
        let pause_when = Self {
            failing: section
                .read("failing", |value| or_word(value, "never", failing))
                .unwrap_or(default.failing),
            in_a_row: section
                .read("in_a_row", |value| {
                    or_word(value, "never", |value| whole_u32(value, 1..=IN_A_ROW_MAX))
                })
                .unwrap_or(default.in_a_row),
            failed: section
                .read("failed", |value| or_word(value, "never", failed))
                .unwrap_or(default.failed),
        };
        section.finish();
        pause_when
    }
}

fn failing(value: &DeValue<'_>) -> Result<FailingShare, String> {
    const SHOWN: &str = "a share such as \"50% of last 200\"";
    let text = value.as_str().ok_or_else(|| expected(SHOWN, value))?;
    let (share, window) = text
        .split_once(" of last ")
        .ok_or_else(|| expected(SHOWN, value))?;
    let window = window
        .trim()
        .parse()
        .ok()
        .filter(|window| (1..=WINDOW_MAX).contains(window))
        .ok_or_else(|| {
            format!(
                "{} is no number of outcomes from 1 to {WINDOW_MAX}",
                quoted(window)
            )
        })?;
    Ok(FailingShare {
        share: Percent::parse(share)?,
        window,
    })
}

fn failed(value: &DeValue<'_>) -> Result<Percent, String> {
    const SHOWN: &str = "a share such as \"10% of total\"";
    let text = value.as_str().ok_or_else(|| expected(SHOWN, value))?;
    let share = text
        .trim()
        .strip_suffix(" of total")
        .ok_or_else(|| expected(SHOWN, value))?;
    Percent::parse(share)
}
