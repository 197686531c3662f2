//! What happened, what of it shares a commit, and what is to be done once that is durable.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::oneshot;

use super::{
    Begun,
    activities::Handed,
    logging::Logged,
    redrive::{Redrive, Redriven},
    runs::RunInput,
    services::{Receive, Received, Served},
};
use crate::{
    ids::{ExecutionId, FrameId, Generation, Index, RunId},
    iteration::RunStatus,
    machine::{Effect, Input, RunRequest},
    runtime::{RuntimeError, TaskToken},
    store::{ActivityTaskRow, Change, TimerRow},
    time::Timestamp,
};

/// Something that happened.
pub(super) enum Item {
    /// To an execution.
    Execution {
        execution: ExecutionId,
        input: Input,
        /// The stored timer that said so.
        timer: Option<TimerRow>,
    },
    /// To a Map Run.
    Run(RunId, Vec<RunInput>),
    /// An execution's task waits for an embedded service.
    Service(Box<Served>),
    /// Messages of a queue are to start executions.
    Receive(Box<Receive>),
    /// They were received.
    Received(Received),
    /// A task starts an execution.
    StartFor(Box<Served>),
    /// An execution has ended that a task may wait for.
    AwaitedEnd(ExecutionId),
    /// Tasks of an activity have come.
    HandOut(String),
    /// A worker went away before it had its task.
    PutBack(ActivityTaskRow),
    /// Somebody wants an execution to be redriven.
    Redrive(Redrive),
    /// A redriven execution asked for its Map Run.
    RedriveRun {
        execution: ExecutionId,
        frame: FrameId,
        generation: Generation,
    },
    /// An execution asked for a Map Run.
    StartRun {
        execution: ExecutionId,
        frame: FrameId,
        generation: Generation,
        request: Arc<RunRequest>,
    },
}

/// Where an order is answered.
pub(super) type Reply<T> = oneshot::Sender<Result<T, RuntimeError>>;

/// What is to be done once a batch is durable.
#[derive(Default)]
pub(super) struct After {
    pub(super) begun: Vec<(Reply<Begun>, Begun)>,
    pub(super) stopped: Vec<(Reply<Option<Timestamp>>, Option<Timestamp>)>,
    pub(super) told: Vec<(oneshot::Sender<bool>, bool)>,
    pub(super) redriven: Vec<(Reply<Redriven>, Redriven)>,
    /// Map Runs that want rows of their queue: behind which, and how many.
    pub(super) queues: Vec<(RunId, Option<Index>, u32)>,
    pub(super) handed: Vec<Handed>,
    /// Tasks that gave a sign of life.
    pub(super) beaten: Vec<TaskToken>,
    /// Activities whose tasks wait for a worker.
    pub(super) waiting: Vec<String>,
    pub(super) effects: Vec<(ExecutionId, Effect)>,
    pub(super) due: Vec<Timestamp>,
    /// Timers whose rows are gone.
    pub(super) timers: Vec<TimerRow>,
    /// Events for the log.
    pub(super) logged: Vec<Logged>,
    /// Executions that something was written of.
    pub(super) executions: Vec<ExecutionId>,
    /// Map Runs that have ended.
    pub(super) runs: Vec<(RunId, RunStatus)>,
    /// Names that can be found in the store now.
    pub(super) names: Vec<(String, String)>,
}

/// A batch that is being worked on.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) after: After,
    /// What follows for executions that nothing is written of.
    pub(super) at_once: Vec<(ExecutionId, Effect)>,
    pub(super) touched: Vec<ExecutionId>,
    /// What is written beside executions: new runs, and rows of timers that outlived what they were for.
    pub(super) changes: Vec<Change>,
    /// What Map Runs are to be told.
    pub(super) runs: VecDeque<(RunId, Vec<RunInput>)>,
    /// Map Runs that were stepped.
    pub(super) stepped: Vec<RunId>,
    /// Children that may still be begun.
    pub(super) begin_max: u32,
}
