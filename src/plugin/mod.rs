//! Processing code that users write: its folder and manifest, its versions, and the hosts that run it.
//!
//! Knows neither `store` nor `runtime`. What must be durable (the processes that a successor has to
//! kill) leaves through a port that the runtime implements.

use std::time::Duration;

use crate::{
    ids::{Generation, Index, VersionNumber},
    payload::{Failure, Payload},
};
use compact_str::CompactString;

/// One item (or task) handed over to a worker.
#[derive(Debug, Clone)]
pub struct Call {
    /// Returned in the [`Answer`]; unique among the calls under way of one pool.
    pub ticket: u64,
    /// Place of the item in its dataset.
    pub index: Index,
    /// The item's own identity, where it has one.
    pub id: Option<CompactString>,
    /// Which dispatch of the item this is; returned in the [`Answer`].
    pub generation: Generation,
    /// What the handler is given.
    pub payload: Payload,
    /// Which try this is, from 1; interruptions do not count.
    pub attempt: u32,
    /// The idempotency key: the same over retries and crashes.
    pub key: CompactString,
    /// Counted from the hand-over to the worker; `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

/// What became of a [`Call`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// The call's.
    pub ticket: u64,
    /// The call's.
    pub generation: Generation,
    /// The version of the plugin that the call was handed to.
    pub version: VersionNumber,
    /// What came of it.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The handler's result.
    Done(Payload),
    /// The handler, or the host on its behalf (time-out, crash while this was its only call), says why not.
    Failed(Failure),
    /// The worker went away for reasons that are not this call's; it counts as no attempt.
    Interrupted,
}
