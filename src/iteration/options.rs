//! What the user asked of a run, beside its definition: how many at once, in which order, and when
//! to stop. May change while the run is under way.

use serde::{Deserialize, Serialize};

use crate::ids::Index;

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// How many children may be under way at once; at least 1.
    pub slots: u32,
    /// Whether a child that backs off keeps its slot.
    pub order: Order,
    /// What happens to a child whose outcome nobody knows.
    pub on_interrupt: OnInterrupt,
    /// How far the high mark may run ahead of the watermark, in items; also the most that a restart
    /// reads again; with many slots or big batches, two children for each slot where that is more. A
    /// child that holds the watermark back by more gets a row of its own.
    pub window_items_max: u32,
    /// How many children may back off at once before no new items are taken.
    pub parked_items_max: u32,
    /// How many failed items the run bears before it fails.
    pub tolerance: Tolerance,
    /// When the run pauses of itself.
    pub pause_when: BreakerLimits,
}

/// What a run does before it pauses for somebody to look; durable, and over with that pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Nothing from this index on is taken from the source.
    pub until: Index,
    /// How many records are tried, for whoever reads why it paused.
    pub records: u64,
    /// They are rows in the queue, spread over the dataset; else the first of the source.
    pub sample: bool,
}

/// Whether a child that backs off keeps its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// It gives the slot back, so that others go on.
    Relaxed,
    /// It keeps the slot: with one slot this is the serial loop that waits for a stuck record. While
    /// anything is held, nothing new is taken.
    Strict,
}

/// What happens to a child that was dispatched and whose outcome was lost with a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// It is dispatched again, with the same idempotency key and a new permit.
    Retry,
    /// It waits until somebody says what became of it.
    Hold,
}

/// How many failed items a run bears; it fails when either bound is passed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tolerance {
    /// So many failed items are borne; `None`: any number.
    pub count: Option<u64>,
    /// So many percent (0 to 100) of all items may fail; judged once the total is known.
    pub percentage: Option<f64>,
}

impl Tolerance {
    /// Bears everything; a run of a job pauses instead of failing.
    pub const EVERYTHING: Self = Self {
        count: None,
        percentage: None,
    };
}

/// When a run pauses of itself; `None` switches a condition off.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BreakerLimits {
    /// So many percent of the last so many calls failed.
    pub failing: Option<Share>,
    /// So many calls failed one after another.
    pub in_a_row: Option<u32>,
    /// So many percent of all items have failed for good.
    pub failed_percent: Option<f64>,
}

/// A share of the last calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Percent, 0 to 100.
    pub percent: f64,
    /// Of the last so many calls; at most [`super::Breaker::CALLS_MAX`]. Not judged before there were so many.
    pub of_last: u32,
}
