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
    /// The execution began. The three names are Amazon resource names, where somebody gave them.
    ExecutionStarted {
        input: Payload,
        role: Option<Arc<str>>,
        version: Option<Arc<str>>,
        alias: Option<Arc<str>>,
    },
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
        assigned: Option<Assigned>,
    },
    /// A state within a Map or a Parallel was given up because another one failed.
    StateAborted { kind: &'static str },
    /// An expression of a state gave no value that the state can go on with.
    EvaluationFailed {
        state: Arc<str>,
        location: Option<String>,
        error: String,
        cause: String,
    },
    /// A task was asked for. `role` is the one that its credentials name.
    TaskScheduled {
        resource: Arc<str>,
        region: Arc<str>,
        parameters: Payload,
        timeout: Option<Duration>,
        heartbeat: Option<Duration>,
        role: Option<Arc<str>>,
    },
    /// It could not be asked for.
    TaskScheduleFailed {
        resource: Arc<str>,
        error: Option<String>,
        cause: Option<String>,
    },
    /// A worker took it; activities name theirs.
    TaskStarted {
        resource: Arc<str>,
        worker: Option<Arc<str>>,
    },
    /// It could not be started.
    TaskStartFailed {
        resource: Arc<str>,
        error: Option<String>,
        cause: Option<String>,
    },
    /// Who does the work has it; the result comes by a callback, or when the job has ended.
    TaskSubmitted { resource: Arc<str>, output: Payload },
    /// Who was to do the work did not take it.
    TaskSubmitFailed {
        resource: Arc<str>,
        error: Option<String>,
        cause: Option<String>,
    },
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
    /// A distributed Map's run began; `run` is its Amazon resource name.
    MapRunStarted { run: Option<Arc<str>> },
    /// It ended well.
    MapRunSucceeded,
    /// It failed.
    MapRunFailed {
        error: Option<String>,
        cause: Option<String>,
    },
    /// It was stopped.
    MapRunAborted,
    /// An operator restarted it.
    MapRunRedriven { run: Option<Arc<str>>, count: u32 },
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
    ExecutionTimedOut {
        error: Option<String>,
        cause: Option<String>,
    },
    /// Somebody stopped it.
    ExecutionAborted {
        error: Option<String>,
        cause: Option<String>,
    },
    /// An operator restarted it, for the `count`th time.
    ExecutionRedriven { count: u32 },
}

/// The variables that a state assigned when it was left: names, and values as their text.
pub type Assigned = Vec<(Arc<str>, Payload)>;
