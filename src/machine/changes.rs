//! What of an execution is to be written after a step.
//!
//! The frame is the row; the items of an inline Map, the results that a step gave and each variable are rows
//! of their own, so that a step of a Map of 10,000 items writes a handful of rows.

use std::collections::BTreeSet;

use crate::ids::FrameId;

/// What a commit writes: first remove, then put.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Frames of which every row goes: the frame, its items, its results.
    pub removed: Vec<FrameId>,
    /// Rows that are new or replace what is there.
    pub put: Vec<Row>,
}

/// A stored piece of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Unique within the execution.
    pub key: RowKey,
    /// JSON with the number of its format.
    pub body: String,
}

/// Which piece of an execution a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// The frame; 0 for the head.
    pub frame: FrameId,
    /// What of it.
    pub part: Part,
    /// The first iteration or branch of results, the place of a variable; else 0.
    pub index: u32,
}

/// What of a frame a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The execution's status and counters; written at every step.
    Head,
    /// The frame's state and data.
    Frame,
    /// What an inline Map iterates over; written once.
    Items,
    /// Outputs of iterations or branches; written once.
    Result,
    /// A variable of the frame's scope; written when it is assigned.
    Variable,
}

impl Part {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Frame => "frame",
            Self::Items => "items",
            Self::Result => "result",
            Self::Variable => "variable",
        }
    }

    /// The part of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Head,
            Self::Frame,
            Self::Items,
            Self::Result,
            Self::Variable,
        ]
        .into_iter()
        .find(|part| part.as_str() == text)
    }
}

/// What changed since it was last asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Dirty {
    pub(super) top: bool,
    pub(super) frames: BTreeSet<FrameId>,
    /// Forked frames and places whose result is new.
    pub(super) results: Vec<(FrameId, u32)>,
    /// Frames and places whose variable is new.
    pub(super) variables: BTreeSet<(FrameId, u32)>,
    pub(super) removed: Vec<FrameId>,
}
