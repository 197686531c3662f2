//! What a run is told.

use serde::{Deserialize, Serialize};

use super::{Options, PauseReason, Trial};
use crate::{
    ids::{Cursor, Generation, Index},
    time::Timestamp,
};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The children that follow the last one read; answers [`super::Effect::Read`]. An empty page
    /// says that nothing follows. Where reading fails, [`Input::Pause`] with
    /// [`PauseReason::Source`] is the answer, and the run reads again once it is resumed.
    Page {
        /// The index of the first item, as it was asked for.
        first: Index,
        /// In the order of the source, contiguous.
        children: Vec<Child>,
        /// Whether nothing follows.
        end: bool,
    },
    /// The source has more than it had when it was last read.
    Grown,
    /// A child ended.
    Ended {
        /// The child.
        index: Index,
        /// As it was dispatched.
        generation: Generation,
        /// How it ended.
        ending: Ending,
    },
    /// A child waits, and has its row from this commit on.
    Parked {
        /// The child.
        index: Index,
        /// As it was dispatched.
        generation: Generation,
        /// What it waits for.
        parked: Parked,
    },
    /// A child under way got a row of its own, because something about it must survive.
    Rowed {
        /// The child.
        index: Index,
    },
    /// A child's outcome was lost with a worker; it counts as no attempt. Its payload is kept: it
    /// may be dispatched again, or get a row.
    Interrupted {
        /// The child.
        index: Index,
        /// As it was dispatched.
        generation: Generation,
    },
    /// Nothing but time has passed, or a limiter or schedule has changed.
    Tick,
    /// Take nothing new until resumed.
    Pause(PauseReason),
    /// Go on, also where the run failed or was aborted; what the breaker remembered is forgotten. A
    /// run that succeeded stays as it is.
    Resume,
    /// End the run as aborted; what is in flight is not waited for.
    Abort,
    /// End the run as failed, because its source cannot be read; what is in flight is not waited for.
    Fail,
    /// Take nothing new in this process; durable status stays as it is.
    Drain,
    /// The options are these from now on.
    Options(Options),
    /// Rows that ended were put back in the queue by somebody, in this same commit.
    Requeued {
        /// How many children (rows).
        children: u64,
        /// How many items they have.
        items: u64,
        /// Whether they had counted as failed (else as done).
        were: Ending,
    },
    /// Items in doubt were decided on by somebody, in this same commit.
    Released {
        /// How many children (rows).
        children: u64,
        /// How many items they have.
        items: u64,
        /// What was decided; with [`Decision::Again`] the rows are queued.
        decision: Decision,
    },
    /// Somebody decided what becomes of one child, wherever it stands; its row and its outcome are as
    /// decided from this same commit on. An answer that is still to come is late.
    Decided {
        /// Its first item.
        index: Index,
        /// How many items it has. Of a child that was read: all of its items; of one that was not:
        /// what will be a child of its own.
        items: u32,
        /// Where its rows said that it stands.
        stood: Stood,
        /// What was decided.
        decision: Decision,
    },
    /// Go on as with [`Input::Resume`], but try this first, then pause.
    Trial(Trial),
    /// What a child in a Wait waited for is there; its row is due at once, in this same commit.
    Answered {
        /// The child.
        index: Index,
    },
    /// The handler was mended. One child that backs off is due at once, the others when a retry has
    /// got through.
    Mended,
    /// Rows of the queue, in order; answers [`super::Effect::LoadQueue`].
    Queue {
        /// The children, at most as many as were asked for.
        children: Vec<(Index, u32)>,
    },
}

/// A child that a source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// How many items it has: 1, or a batch's; never 0.
    pub items: u32,
    /// The position behind its last item.
    pub end: Cursor,
    /// Whether it is damaged, so that it fails without being dispatched.
    pub faulty: bool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Done,
    /// With an error that nothing retries.
    Failed,
}

/// What somebody decided on items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They are done again, or before their turn: their rows are queued.
    Again,
    /// One is done again before anything new: its row is retrying, and due at this instant.
    AtOnce(Timestamp),
    /// They had ended so.
    Ended(Ending),
}

/// Where a child stands, as the rows of the store tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    /// It has a row with this status.
    Row(RowStatus),
    /// It had ended so.
    Ended(Ending),
    /// There is no trace of it: it is under way without a row, in doubt, or was never dispatched.
    Nowhere,
}

/// What a parked child waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    /// Its next try, after a failure; what was throttled stays the kind of try that it was.
    Retry {
        /// The instant of the next try.
        at: Timestamp,
        /// It was put off because somebody limits us; that is neither a failure nor a fault.
        throttled: bool,
    },
    /// Its next try: it was failed by a version of the handler that has not proved itself, which is no
    /// attempt. It stays the kind of try that it was.
    Excused {
        /// The instant of the next try.
        at: Timestamp,
    },
    /// An instant, or an answer from outside that has none ([`Timestamp::MAX`]); keeps its slot.
    Wait {
        /// When to go on at the latest.
        at: Timestamp,
    },
}

impl Parked {
    /// When it is due.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        match self {
            Self::Retry { at, .. } | Self::Excused { at } | Self::Wait { at } => at,
        }
    }
}

/// A child's row, as a restart finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its first item.
    pub index: Index,
    /// How many items it has.
    pub items: u32,
    /// Where it stood.
    pub status: RowStatus,
    /// When it is due; [`Timestamp::MAX`] where only an answer wakes it.
    pub at: Timestamp,
    /// Whether it failed before, so that its next try is a retry.
    pub tried: bool,
}

/// Where a child with a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// Dispatched; after a crash: in doubt.
    InFlight,
    /// Backing off after a failure. The run moves it.
    Retrying,
    /// In a Wait or waiting for an answer. The run moves it.
    Waiting,
    /// In doubt, and kept from being called again. An operator moves it.
    Held,
    /// Put back by an operator, to be done again. The run moves it.
    Queued,
}

impl RowStatus {
    /// Every status, for the schema's CHECK and for reading them back.
    pub const ALL: [Self; 5] = [
        Self::InFlight,
        Self::Retrying,
        Self::Waiting,
        Self::Held,
        Self::Queued,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Queued => "queued",
        }
    }

    /// From what was stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}
