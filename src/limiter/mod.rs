//! The pure core of limiters: pace, quota, closed-until, and what is shared fairly.

use crate::time::Timestamp;

/// Kind of try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// First.
    First,
    /// Retry.
    Retry,
}
/// Answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// So many now.
    Now(u32),
    /// Not before.
    NotBefore {
        /// When.
        at: Timestamp,
        /// Why.
        why: Throttle,
    },
}
/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// Pace.
    Pace,
}
