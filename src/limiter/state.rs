//! What a limiter must remember over a restart, and what it shows of itself.
//!
//! Owns the stored form and its format number. The store keeps the state with the highest sequence
//! and never looks inside.

use serde::{Deserialize, Serialize};

use super::{ask::Throttle, ledger::Ledger, pace::Debt};
use crate::time::Timestamp;

/// The format that this version writes.
const FORMAT: u16 = 1;

/// Everything of a limiter that outlives the process; below 1 KiB as JSON, 16 KiB with a rolling quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimiterState {
    /// Of this form; grows when an older version could not read it.
    format: u16,
    pub(super) sequence: u64,
    /// When the state changed last. A clock that shows less was set back.
    pub(super) touched: Timestamp,
    /// What runs ahead of the pace.
    pub(super) pace: Debt,
    /// What runs ahead of the even spread of the quota.
    pub(super) spread: Debt,
    /// What one permit stood for when `pace` and `spread` were written; 0 where there was none.
    pub(super) pace_interval_ns: u64,
    pub(super) spread_interval_ns: u64,
    /// Open from then on.
    pub(super) closed_until: Timestamp,
    pub(super) paused: bool,
    /// What was spent of the quota; none before there was one.
    pub(super) ledger: Option<Ledger>,
}

/// A stored state that cannot be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A newer version wrote it.
    #[error(
        "the limiter's state has format {found} and this version reads up to {FORMAT}; start the \
         version that wrote it, or a newer one"
    )]
    Format {
        /// As stored.
        found: u16,
    },
}

impl LimiterState {
    /// That of a limiter which was never used.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            sequence: 0,
            touched: now,
            pace: Debt::none(now),
            spread: Debt::none(now),
            pace_interval_ns: 0,
            spread_interval_ns: 0,
            closed_until: now,
            paused: false,
            ledger: None,
        }
    }

    /// Grows with each change that must be durable; of two states the higher one is the newer.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) const fn check_format(&self) -> Result<(), StateError> {
        if self.format > FORMAT {
            return Err(StateError::Format { found: self.format });
        }
        Ok(())
    }
}

/// Where a limiter stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Permits of this window spent for first tries; 0 without a quota.
    pub first: u32,
    /// Permits of this window spent for retries; 0 without a quota.
    pub retry: u32,
    /// Permits of this window still to be had, the reserve not among them; none without a quota.
    pub left: Option<u32>,
    /// When the window ends; of a rolling one, when all that counts now will have expired.
    pub resets_at: Option<Timestamp>,
    /// When a new item of weight 1 could go, if nobody else asked: now, where `why` is none;
    /// [`Timestamp::MAX`] while the limiter is paused.
    pub next_permit_at: Timestamp,
    /// What holds that item back longest.
    pub why: Option<Throttle>,
    /// Until when the limiter is closed, if it is.
    pub closed_until: Option<Timestamp>,
    /// Whether an operator paused it.
    pub paused: bool,
}
