//! Everything that an execution may ask for, on one screen.

use std::{sync::Arc, time::Duration};

use super::{event::Record, run::RunRequest};
use crate::{
    ids::{FrameId, Generation},
    payload::Payload,
    time::Timestamp,
};

/// Something to be done once the step's changes are durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Have a task done; answered by `TaskDone` or `TaskFailed`.
    Invoke {
        /// Returned in the answer.
        frame: FrameId,
        /// Returned in the answer.
        generation: Generation,
        /// Counts the entries into states of this execution: the same for all attempts, and after a
        /// crash. Part of the idempotency key.
        entry: u64,
        /// Who does the work.
        resource: Arc<str>,
        /// What it is given.
        payload: Payload,
        /// How long the attempt may take; the runtime says `States.Timeout` when it is over.
        timeout: Option<Duration>,
        /// How long it may stay silent; the runtime says `States.HeartbeatTimeout`.
        heartbeat: Option<Duration>,
        /// Which try this is, from 1.
        attempt: u32,
        /// The token that the task waits for (`.waitForTaskToken`): whoever knows it gives the result.
        token: Option<Arc<str>>,
        /// What the task is to be done with (`Credentials`).
        credentials: Option<Payload>,
    },
    /// Say `Woken` at this instant, not earlier.
    Wake {
        /// Returned in the answer.
        frame: FrameId,
        /// Returned in the answer.
        generation: Generation,
        /// When.
        at: Timestamp,
        /// What for.
        reason: WakeReason,
    },
    /// Start a Map Run; answered by `RunEnded`.
    StartRun {
        /// Returned in the answer.
        frame: FrameId,
        /// Returned in the answer.
        generation: Generation,
        /// What it runs over.
        request: Arc<RunRequest>,
    },
    /// Take the frame's Map Run up where it failed or was stopped; answered by `RunEnded`.
    RedriveRun {
        /// Returned in the answer.
        frame: FrameId,
        /// Returned in the answer.
        generation: Generation,
    },
    /// What this frame asked for (a task, a timer, a run) is not wanted any more; an answer to it
    /// would be ignored.
    Cancel {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
    },
    /// For the history; only where the machine's options ask for records.
    Record(Box<Record>),
    /// The step was cut short: say `Continue` after the commit.
    Continue,
    /// The execution has ended; nothing comes after this.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeReason {
    /// A Wait state.
    Wait,
    /// A retry after a failure.
    Retry {
        /// The failure's error name.
        error: String,
        /// Which try comes next, from 2.
        attempt: u32,
    },
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With this output.
    Succeeded(Payload),
    /// In an error that nobody caught.
    Failed {
        /// Its name; a Fail state may have none.
        error: Option<String>,
        /// For people.
        cause: Option<String>,
    },
    /// Its own `TimeoutSeconds` were over.
    TimedOut,
    /// Somebody stopped it.
    Aborted {
        /// The stopper's name for why.
        error: Option<String>,
        /// For people.
        cause: Option<String>,
    },
}
