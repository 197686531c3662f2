//! Everything a run may ask for, on one screen.

use super::{PauseReason, RunStatus};
use crate::{
    ids::{Cursor, Generation, Index},
    limiter::Throttle,
    time::Timestamp,
};

/// What the shell carries out after the commit of the step that asked for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read the children that follow; answered by [`super::Input::Page`]. Never twice at a time.
    Read {
        /// The position to read from.
        from: Cursor,
        /// The index of the first item read there.
        first: Index,
    },
    /// Hand a child to its handler. The permit, the high mark behind it and, where it has a row,
    /// that row's status [`super::RowStatus::InFlight`] are in the commit.
    Dispatch {
        /// The child's first item.
        index: Index,
        /// How many items it has.
        items: u32,
        /// To be returned with its outcome.
        generation: Generation,
        /// Its payload lies in its row and not in the page.
        rowed: bool,
    },
    /// Write the failure of a damaged child, in this commit.
    Fail {
        /// The child's first item.
        index: Index,
    },
    /// Write a row for a child under way, in this commit: it holds the watermark back too long.
    Spill {
        /// The child's first item.
        index: Index,
    },
    /// Write a row for a child in doubt, in this commit; it waits for somebody's decision.
    Hold {
        /// The child's first item.
        index: Index,
        /// It has a row already, whose status changes.
        rowed: bool,
    },
    /// Make rows that back off due by now, in this commit: their handler was mended.
    Hurry {
        /// This one; `None`: all.
        only: Option<Index>,
    },
    /// Load children that were put back; answered by [`super::Input::Queue`]. Never twice at a time.
    LoadQueue {
        /// The rows after this index; `None`: from the first.
        after: Option<Index>,
        /// At most so many.
        children_max: u32,
    },
    /// Send a tick at that instant; it replaces the wake-up asked for before.
    Wake {
        /// When.
        at: Timestamp,
        /// What is waited for.
        reason: WakeReason,
    },
    /// Tell whoever is to be told; the status is in the commit.
    Paused(PauseReason),
    /// The run is over, with this status.
    Ended(RunStatus),
    /// The last child in flight ended after [`super::Input::Drain`].
    Drained,
}

/// What a run waits for until it wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// The limiter's next permit.
    Throttled(Throttle),
    /// The next try, or the end of a Wait, of a parked child.
    Due,
}
