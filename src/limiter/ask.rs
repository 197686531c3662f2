//! What a limiter is asked and what it answers.
//!
//! Owns no rule: an [`Ask`] says who wants how much for what, a [`Grant`] says how much of it goes
//! now or when to ask again and why. Never carries an item; permits are counted, not named.

use std::{fmt, num::NonZeroU32};

use super::limits::Share;
use crate::time::Timestamp;

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Try {
    /// The first attempt at a new item; a re-dispatch after a crash counts as one too.
    First,
    /// The retry policy's next attempt at an item that failed.
    Retry,
}

/// A wish for permits, made when a worker is ready for the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Who asks: any number that is the caller's own for as long as it uses the limiter.
    pub user: u64,
    /// What for.
    pub kind: Try,
    /// How many items at most.
    pub count: NonZeroU32,
    /// Permits that one item costs.
    pub weight: NonZeroU32,
    /// Whether this user has further new items ready to go, beside those asked for here. Retries
    /// keep to their share of a quota while somebody has.
    pub first_waiting: bool,
    /// What retries may have while new items wait, by this user's own setting: of a quota's window,
    /// where the retries of all users count, and of the turns at a pace.
    pub retry_share: Share,
}

impl Ask {
    /// One item of weight 1; with new items waiting behind it.
    #[must_use]
    pub const fn one(user: u64, kind: Try) -> Self {
        Self {
            user,
            kind,
            count: NonZeroU32::MIN,
            weight: NonZeroU32::MIN,
            first_waiting: true,
            retry_share: Share::RETRIES_DEFAULT,
        }
    }
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// The permits of that many items are taken: at least 1, at most the count asked for.
    Now(u32),
    /// Nothing now.
    NotBefore {
        /// Later than the instant of asking; [`Timestamp::MAX`] where only an operator helps. Asking
        /// then succeeds if nobody else was served and nothing was changed in between.
        at: Timestamp,
        /// What holds the ask back longest.
        why: Throttle,
    },
}

/// Why an ask has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Throttle {
    /// The pace.
    Pace,
    /// The quota is spread evenly over what is left of its window.
    Spread,
    /// The quota of this window is spent.
    Quota,
    /// New items wait, and retries have had their share of this window.
    RetryShare,
    /// Another user, or the other kind of try, was here first.
    Turn,
    /// A handler or an operator closed the limiter for a while.
    Closed,
    /// An operator paused the limiter.
    Paused,
    /// Not the limiter, but the user's own schedule: it is outside of its hours.
    Hours,
    /// One item weighs more than a whole window allows; it passes only after the limits change.
    Weight,
}

impl Throttle {
    /// The word for status lines and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pace => "pace",
            Self::Spread => "spread",
            Self::Quota => "quota",
            Self::RetryShare => "retry_share",
            Self::Turn => "turn",
            Self::Closed => "closed",
            Self::Paused => "paused",
            Self::Hours => "hours",
            Self::Weight => "weight",
        }
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
