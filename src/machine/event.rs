//! What happened, as the history tells it: enough to write AWS's events later.
//!
//! Ids count from 1 within the execution, gapless, in the order of the events; each names the event
//! that led to it. Names of events per service (`LambdaFunctionScheduled`) are the API's business.

use std::{sync::Arc, time::Duration};

use crate::{payload::Payload, time::Timestamp};

/// An event with its place in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Place in the history, from 1.
    pub id: u64,
    /// The event that led to it; 0 for none.
    pub previous: u64,
    /// The step's instant.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are AWS's, by AWS's names")]
pub enum Event {
    /// The execution began.
    ExecutionStarted { input: Payload },
    /// A state was entered; `kind` is its type.
    StateEntered {
        kind: &'static str,
        name: Arc<str>,
        input: Payload,
    },
    /// A state was left, for the next one or a catcher's.
    StateExited {
        kind: &'static str,
        name: Arc<str>,
        output: Payload,
    },
    /// A task was asked for.
    TaskScheduled {
        resource: Arc<str>,
        parameters: Payload,
        timeout: Option<Duration>,
        heartbeat: Option<Duration>,
    },
    /// A worker took it.
    TaskStarted { resource: Arc<str> },
    /// It gave a result.
    TaskSucceeded { resource: Arc<str>, output: Payload },
    /// It failed.
    TaskFailed {
        resource: Arc<str>,
        error: Option<String>,
        cause: Option<String>,
    },
    /// It took too long.
    TaskTimedOut {
        resource: Arc<str>,
        error: Option<String>,
        cause: Option<String>,
    },
    /// A Map knows its items; 0 where a reader will find them.
    MapStateStarted { length: u64 },
    /// An iteration of an inline Map began.
    MapIterationStarted { name: Arc<str>, index: u32 },
    /// It ended well.
    MapIterationSucceeded { name: Arc<str>, index: u32 },
    /// It failed, and with it the Map.
    MapIterationFailed { name: Arc<str>, index: u32 },
    /// It was dropped because another one failed.
    MapIterationAborted { name: Arc<str>, index: u32 },
    /// A distributed Map's run began.
    MapRunStarted,
    /// It ended well.
    MapRunSucceeded,
    /// It failed.
    MapRunFailed {
        error: Option<String>,
        cause: Option<String>,
    },
    /// All iterations ended well.
    MapStateSucceeded,
    /// The Map failed and is not retried.
    MapStateFailed,
    /// A Parallel began its branches.
    ParallelStateStarted,
    /// All branches ended well.
    ParallelStateSucceeded,
    /// A branch failed, and the Parallel is not retried.
    ParallelStateFailed,
    /// The execution's output.
    ExecutionSucceeded { output: Payload },
    /// The error that nobody caught.
    ExecutionFailed {
        error: Option<String>,
        cause: Option<String>,
    },
    /// Its own time was over.
    ExecutionTimedOut,
    /// Somebody stopped it.
    ExecutionAborted {
        error: Option<String>,
        cause: Option<String>,
    },
}
