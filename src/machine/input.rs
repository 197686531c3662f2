//! What an execution is told.
//!
//! Everything that answers an effect names the frame and the generation of that effect; an input
//! with an older generation came too late and is ignored. An interruption (the process went away) is
//! no failure: what was under way is asked for again, with [`Input::GoOn`] where nobody remembers it.

use std::sync::Arc;

use crate::{
    ids::{FrameId, Generation},
    payload::{Failure, Payload},
};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The execution begins; ignored if it has begun.
    Start {
        /// The execution's input.
        input: Payload,
    },
    /// A worker has taken the task, or the run has begun. For the history alone.
    Started {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
        /// The name that an activity's worker gave itself, or the run's Amazon resource name.
        by: Option<Arc<str>>,
    },
    /// Who does the work has taken it, and the result comes later: by the task's token, or when the
    /// job that was started has ended. For the history alone.
    Submitted {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
        /// What it answered.
        output: Payload,
    },
    /// A task's result.
    TaskDone {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
        /// What came of it.
        output: Payload,
    },
    /// A task failed, or took too long (`States.Timeout`, `States.HeartbeatTimeout`).
    TaskFailed {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
        /// Why.
        failure: Failure,
    },
    /// The instant that a frame waited for has come.
    Woken {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
    },
    /// A Map Run has ended: with the Map state's result, or its error.
    RunEnded {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
        /// What came of it.
        outcome: Result<Payload, Failure>,
    },
    /// A Map Run that the frame asked for was lost with a process before it began; it is asked for again.
    RunLost {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
    },
    /// A Map Run was redriven. For the history alone.
    RunRedriven {
        /// The effect's.
        frame: FrameId,
        /// The effect's.
        generation: Generation,
        /// The run's Amazon resource name.
        run: Arc<str>,
        /// How often it has been.
        count: u32,
    },
    /// The execution had ended without success, was restored from [`super::Execution::take_remains`], and
    /// goes on.
    Redriven {
        /// How often it has been redriven.
        count: u32,
        /// Frames whose Map Run can be taken up where it stands; others start theirs anew.
        runs: Vec<FrameId>,
    },
    /// Go on after [`super::Effect::Continue`].
    Continue,
    /// What the top frame waits for has come, or was lost with a process: a Wait or a back-off is
    /// over, a task is asked for again. Counts as no attempt. For executions of one frame.
    GoOn,
    /// The process that had the tasks is gone: each that nobody outside holds is asked for again, and
    /// what was cut short goes on. Counts as no attempt.
    Interrupted,
    /// The history has as many events as it may: the execution fails.
    HistoryFull,
    /// Somebody stops the execution.
    Stop {
        /// A name for why.
        error: Option<String>,
        /// For people.
        cause: Option<String>,
    },
    /// The execution's own `TimeoutSeconds` are over.
    TimedOut,
}
