//! Conducts the executions of state machines: loads, steps, commits, carries out.
//!
//! One task for all of them. It takes orders and what is due in batches, steps each execution that is
//! concerned, and writes a batch in one commit; what the steps asked for is carried out when that is
//! durable. An execution that waits is rows and no memory. Executions of jobs are not its business.
//!
//! Invariant: nothing but the conductor steps an execution, so what it holds of one is as new as the
//! rows or newer; only what is durable and waits is let go of.

mod activities;
mod agenda;
mod batch;
mod begin;
mod conclusion;
mod following;
mod functions;
mod items;
mod live;
mod logging;
mod map_run;
mod program;
mod reading;
mod redrive;
mod runs;
mod services;
mod work;
mod writing;

use tokio::sync::{mpsc, oneshot};

pub use self::activities::{ActivityTask, TaskAnswer};
pub use self::live::arn_of;
pub use self::program::Program;
pub use self::redrive::{Redriven, redrive_refusal};
use self::{activities::Poll, batch::Item, items::ReadPage, redrive::Redrive};
pub(super) use self::{program::Programs, services::Receive};
use super::{Engine, RuntimeError, Seat, TaskToken, engine::Gone};
use crate::{
    ids::{ExecutionId, RunId},
    machine::Input,
    payload::Payload,
    store::{Change, ExecutionStatus},
    time::Timestamp,
};

/// Orders that wait for the conductor; beyond it, whoever orders waits.
const ORDERS_MAX: usize = 1024;

/// What the conductor is asked.
pub(super) enum Order {
    /// Begin an execution.
    Start(Box<Start>),
    /// Begin an execution for each message that a queue has for a trigger.
    Receive(Box<Receive>),
    /// Have an ended execution go on.
    Redrive(Redrive),
    /// Something happened to an execution.
    Tell {
        /// Which.
        execution: ExecutionId,
        /// What.
        input: Input,
    },
    /// A worker asks for a task of an activity.
    Poll {
        /// Which.
        activity: String,
        /// Who asks.
        poll: Poll,
        /// Answered at once: whether it is served or waits; else too many wait.
        taken: oneshot::Sender<bool>,
    },
    /// Whoever has a token says something of its task.
    Answer {
        /// What the token stands for.
        token: TaskToken,
        /// What is said.
        answer: TaskAnswer,
        /// Answered when that is durable: whether the task waited for it.
        done: oneshot::Sender<bool>,
    },
    /// Items of a Map Run were read.
    Page {
        /// Which run's.
        run: RunId,
        /// What came of it.
        page: Box<ReadPage>,
    },
    /// Other limits for a Map Run.
    Limits {
        /// Which.
        run: RunId,
        /// What changes.
        limits: MapRunLimits,
        /// Answered when that is durable; whether the run was under way.
        done: oneshot::Sender<bool>,
    },
    /// End an execution.
    Stop {
        /// Which.
        execution: ExecutionId,
        /// A name for why.
        error: Option<String>,
        /// For people.
        cause: Option<String>,
        /// Answered with when it ended, durably; `None`: there is none.
        done: oneshot::Sender<Result<Option<Timestamp>, RuntimeError>>,
    },
}

impl Order {
    /// A queue's, as it waits among what is queued.
    fn received(self) -> Option<Item> {
        match self {
            Self::Receive(receive) => Some(Item::Receive(receive)),
            Self::Start(_)
            | Self::Redrive(_)
            | Self::Tell { .. }
            | Self::Poll { .. }
            | Self::Answer { .. }
            | Self::Page { .. }
            | Self::Limits { .. }
            | Self::Stop { .. } => None,
        }
    }
}

/// An execution to be begun.
pub(super) struct Start {
    pub(super) asked: StartExecution,
    /// Nothing of it is written: its caller waits for its end.
    pub(super) volatile: bool,
    pub(super) end: Option<oneshot::Sender<ExecutionEnd>>,
    /// Among those of a trigger.
    pub(super) seat: Option<Seat>,
    /// What is written in the same commit; not where another execution has the name.
    pub(super) beside: Vec<Change>,
    /// Answered when it is durable.
    pub(super) begun: oneshot::Sender<Result<Begun, RuntimeError>>,
}

/// What somebody wants to be run.
#[derive(Debug, Clone)]
pub struct StartExecution {
    /// Of which machine.
    pub program: Program,
    /// Its name; made up where there is none.
    pub name: Option<String>,
    /// Its input.
    pub input: Payload,
    /// The trace that it belongs to.
    pub trace_header: Option<String>,
}

/// An execution that was begun, or was running under its name already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It goes.
    Running {
        /// Its number.
        id: ExecutionId,
        /// Its name.
        name: String,
        /// When it began.
        started: Timestamp,
        /// This start has begun it; otherwise it was there, with the same input.
        new: bool,
    },
    /// Another one has its name.
    Exists {
        /// The name.
        name: String,
        /// It has the same input, and has ended: whoever asks may ask for the second time.
        same: bool,
        /// When it began.
        started: Timestamp,
    },
}

/// What is to change of a Map Run's limits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MapRunLimits {
    /// Children at a time; 0: as many as there is room for.
    pub concurrency: Option<u32>,
    /// So many percent of the items may fail.
    pub tolerated_percentage: Option<f64>,
    /// So many items may fail.
    pub tolerated_count: Option<u64>,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionEnd {
    /// Its number.
    pub id: ExecutionId,
    /// Its name.
    pub name: String,
    /// How.
    pub status: ExecutionStatus,
    /// Its output, where it succeeded.
    pub output: Option<Payload>,
    /// The error's name, where it did not.
    pub error: Option<String>,
    /// The error's cause.
    pub cause: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub stopped: Timestamp,
}

impl Engine {
    /// Sets the conductor going, with what was under way when the last process ended. Once for each
    /// engine that keeps things running.
    pub fn conduct(&self) {
        let (orders, queue) = mpsc::channel(ORDERS_MAX);
        let (working, gone) = Gone::when_dropped();
        if !self.set_conductor(orders, gone) {
            return;
        }
        let (answer, answers) = mpsc::unbounded_channel();
        let work = work::Work::new(self.clone(), answer);
        // Why a thread with a runtime of its own: it reads the store between two waits, one that moves
        // between threads leaves memory behind in each, and the caller's runtime may end before it does.
        let thread = std::thread::Builder::new().name("iterd-conductor".to_owned());
        let conducting = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(work.work(queue, answers)),
                Err(error) => {
                    tracing::error!(%error, "executions of state machines do not run");
                }
            }
            drop(working);
        });
        if let Err(error) = conducting {
            tracing::error!(%error, "executions of state machines do not run");
        }
    }

    /// Begins an execution; when this returns it is durable.
    pub async fn start_execution(&self, asked: StartExecution) -> Result<Begun, RuntimeError> {
        self.start_seated(asked, None).await
    }

    /// The same, among those of a trigger.
    pub async fn start_seated(
        &self,
        asked: StartExecution,
        seat: Option<Seat>,
    ) -> Result<Begun, RuntimeError> {
        self.start_beside(asked, seat, Vec::new()).await
    }

    /// The same, with what is written in the commit that begins it; nothing of it where
    /// it was there already.
    pub(super) async fn start_beside(
        &self,
        asked: StartExecution,
        seat: Option<Seat>,
        beside: Vec<Change>,
    ) -> Result<Begun, RuntimeError> {
        let (begun, answer) = oneshot::channel();
        let start = Start {
            asked,
            volatile: false,
            end: None,
            seat,
            beside,
            begun,
        };
        self.conductor(Order::Start(Box::new(start))).await?;
        answer.await.map_err(|_| RuntimeError::Closed)?
    }

    /// Runs an express execution to its end. Nothing of it is written: should the process end, whoever
    /// waits is not answered. With a seat it counts among those of a trigger until its end, also where
    /// nobody waits for that any more.
    pub async fn run_execution(
        &self,
        asked: StartExecution,
        seat: Option<Seat>,
    ) -> Result<ExecutionEnd, RuntimeError> {
        let (begun, answer) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let start = Start {
            asked,
            volatile: true,
            end: Some(end),
            seat,
            beside: Vec::new(),
            begun,
        };
        self.conductor(Order::Start(Box::new(start))).await?;
        answer.await.map_err(|_| RuntimeError::Closed)??;
        ended.await.map_err(|_| RuntimeError::Closed)
    }

    /// Ends an execution as aborted; when this returns that is durable. Answers when it ended, which for
    /// one that had ended is then; `None` where there is no such execution.
    pub async fn stop_execution(
        &self,
        execution: ExecutionId,
        error: Option<String>,
        cause: Option<String>,
    ) -> Result<Option<Timestamp>, RuntimeError> {
        let (done, answer) = oneshot::channel();
        let order = Order::Stop {
            execution,
            error,
            cause,
            done,
        };
        self.conductor(order).await?;
        answer.await.map_err(|_| RuntimeError::Closed)?
    }

    /// Has an execution that ended without success go on where it failed; when this returns that is durable.
    /// The same token again is the same redrive.
    pub async fn redrive_execution(
        &self,
        execution: ExecutionId,
        token: Option<String>,
    ) -> Result<Redriven, RuntimeError> {
        let (done, answer) = oneshot::channel();
        let asked = Redrive {
            execution,
            token,
            done,
        };
        self.conductor(Order::Redrive(asked)).await?;
        answer.await.map_err(|_| RuntimeError::Closed)?
    }

    /// The next task of an activity, once there is one; `None` where as many workers wait as may. A
    /// worker that waits no longer than it wants drops the future: the task that it did not get waits
    /// for another.
    pub async fn activity_task(
        &self,
        activity: &str,
        worker: Option<String>,
    ) -> Result<Option<ActivityTask>, RuntimeError> {
        let (reply, task) = oneshot::channel();
        let (taken, known) = oneshot::channel();
        let order = Order::Poll {
            activity: activity.to_owned(),
            poll: Poll { worker, reply },
            taken,
        };
        self.conductor(order).await?;
        if !known.await.map_err(|_| RuntimeError::Closed)? {
            return Ok(None);
        }
        let offer = task.await.map_err(|_| RuntimeError::Closed)?;
        Ok(Some(offer.accept()))
    }

    /// What a text stands for as a task's token; `None` where we have not made it.
    #[must_use]
    pub fn task_token(&self, text: &str) -> Option<TaskToken> {
        self.tokens().parse(text)
    }

    /// Takes in what whoever has a token says; when this returns it is durable. Whether the task waited
    /// for it: a second answer, or one that comes too late, changes nothing.
    pub async fn answer_task(
        &self,
        token: TaskToken,
        answer: TaskAnswer,
    ) -> Result<bool, RuntimeError> {
        let (done, known) = oneshot::channel();
        let order = Order::Answer {
            token,
            answer,
            done,
        };
        self.conductor(order).await?;
        known.await.map_err(|_| RuntimeError::Closed)
    }

    /// Changes the limits of a Map Run; when this returns that is in force. Refused where it has ended.
    pub async fn update_map_run(
        &self,
        run: RunId,
        limits: MapRunLimits,
    ) -> Result<(), RuntimeError> {
        let (done, answer) = oneshot::channel();
        let order = Order::Limits { run, limits, done };
        self.conductor(order).await?;
        if answer.await.map_err(|_| RuntimeError::Closed)? {
            return Ok(());
        }
        Err(RuntimeError::Conflict(
            "the map run has ended; its limits change nothing any more".to_owned(),
        ))
    }

    pub(super) async fn conductor(&self, order: Order) -> Result<(), RuntimeError> {
        let orders = self.orders_of_conductor().ok_or(RuntimeError::Closed)?;
        orders.send(order).await.map_err(|_| RuntimeError::Closed)
    }
}

#[cfg(test)]
mod tests;
