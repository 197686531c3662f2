//! Activities: tasks that wait for workers which ask for them, and workers that wait for tasks.
//!
//! A task is a row until a worker has it; what a worker has is known by its token alone. A worker that went
//! away while its task was on its way to it does not lose it: the task waits again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{batch::Batch, work::Work};
use crate::{
    ids::{ExecutionId, FrameId, Generation},
    machine::Input,
    payload::{Failure, Payload},
    runtime::{RuntimeError, TaskToken},
    store::{ActivityTaskRow, Change, TimerKind, TimerRow},
    time::Timestamp,
};

/// Workers that may wait for tasks of one activity. Spec: "1,000 pollers" in the quotas of AWS.
pub(super) const POLLS_MAX: usize = 1000;

/// Tasks that are looked at to find one that is not on its way to a worker.
const LOOK_MAX: usize = 2000;

/// A task as a worker is given it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivityTask {
    /// Who knows it gives the result.
    pub token: String,
    /// What is to be done, JSON.
    pub input: String,
}

/// What a worker says of its task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskAnswer {
    /// It is done.
    Done(Payload),
    /// It failed.
    Failed(Failure),
    /// It is under way still.
    Beat,
}

/// A worker that waits.
pub(in crate::runtime) struct Poll {
    pub(super) worker: Option<String>,
    pub(super) reply: oneshot::Sender<Offer>,
}

/// A task that a worker is given; where nobody takes it, it goes back.
pub(in crate::runtime) struct Offer {
    task: ActivityTask,
    /// Until somebody has it.
    row: Option<ActivityTaskRow>,
    back: mpsc::UnboundedSender<ActivityTaskRow>,
}

impl Offer {
    /// Somebody has it.
    pub(super) fn accept(mut self) -> ActivityTask {
        self.row = None;
        std::mem::take(&mut self.task)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(row) = self.row.take() {
            // Why ok: it fails only where the process goes away; the task ends by its silence then.
            self.back.send(row).ok();
        }
    }
}

/// Who waits for what.
#[derive(Default)]
pub(super) struct Activities {
    polls: HashMap<String, VecDeque<Poll>>,
    /// On their way to a worker.
    taken: HashSet<(ExecutionId, FrameId, Generation)>,
    /// Tasks that gave a sign of life which is not durable yet, and how many.
    beating: HashMap<(ExecutionId, FrameId, Generation), u32>,
}

/// A task on its way to a worker.
pub(super) struct Handed {
    poll: oneshot::Sender<Offer>,
    offer: Offer,
    task: (ExecutionId, FrameId, Generation),
}

impl Activities {
    /// What was on its way is not, should a batch be refused.
    pub(super) fn forget(&mut self) {
        self.taken.clear();
        self.beating.clear();
    }

    /// Activities that workers wait for.
    pub(super) fn polled(&self) -> impl Iterator<Item = &String> {
        self.polls.keys()
    }

    /// Whether a task gave a sign of life that its timer does not know of yet.
    pub(super) fn is_beating(&self, timer: &TimerRow) -> bool {
        let task = (timer.execution, timer.frame, timer.generation);
        timer.kind == TimerKind::Heartbeat && self.beating.contains_key(&task)
    }

    /// A sign of life is durable.
    pub(super) fn has_beaten(&mut self, token: TaskToken) {
        let task = (token.execution, token.frame, token.generation);
        if let Some(count) = self.beating.get_mut(&task) {
            *count -= 1;
            if *count == 0 {
                self.beating.remove(&task);
            }
        }
    }
}

impl Work {
    /// A worker asks: it gets the task that came first, or waits. Refused where too many wait.
    pub(super) fn poll(
        &mut self,
        activity: &str,
        poll: Poll,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, RuntimeError> {
        let waiting = self
            .activities
            .polls
            .entry(activity.to_owned())
            .or_default();
        waiting.retain(|poll| !poll.reply.is_closed());
        if waiting.len() >= POLLS_MAX {
            return Ok(false);
        }
        waiting.push_back(poll);
        self.hand_out(activity, now, batch)?;
        Ok(true)
    }

    /// Gives the tasks of an activity to those who wait for one.
    pub(super) fn hand_out(
        &mut self,
        activity: &str,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let Some(waiting) = self.activities.polls.get_mut(activity) else {
            return Ok(());
        };
        waiting.retain(|poll| !poll.reply.is_closed());
        if waiting.is_empty() {
            self.activities.polls.remove(activity);
            return Ok(());
        }
        let most = (self.activities.taken.len() + waiting.len()).min(LOOK_MAX);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let mut stale = false;
        for row in self.engine.store().activity_tasks(activity, most)? {
            let (execution, frame, generation) = (row.execution, row.frame, row.generation);
            let key = (execution, frame, generation);
            if self.activities.taken.contains(&key) {
                continue;
            }
            if !self.waits(execution, frame, generation)? {
                // Why: its end is in this batch, or came before it was put back.
                batch
                    .changes
                    .push(Change::RemoveActivityTask { execution, frame });
                // Why: it took the place of one that somebody waits for.
                stale = true;
                continue;
            }
            let waiting = self.activities.polls.get_mut(activity);
            let Some(poll) = waiting.and_then(VecDeque::pop_front) else {
                break;
            };
            let started = Input::Started {
                frame,
                generation,
                by: poll.worker.map(Into::into),
            };
            self.tell(execution, started, now, batch)?;
            batch
                .changes
                .push(Change::RemoveActivityTask { execution, frame });
            batch.changes.extend(limits(&row, now));
            batch.after.due.push(now);
            self.activities.taken.insert(key);
            let handed = self.handed(row, poll.reply);
            batch.after.handed.push(handed);
        }
        if stale {
            batch.after.waiting.push(activity.to_owned());
        }
        Ok(())
    }

    /// A task on its way to a worker, once its row is gone.
    fn handed(&self, row: ActivityTaskRow, poll: oneshot::Sender<Offer>) -> Handed {
        let (execution, frame, generation) = (row.execution, row.frame, row.generation);
        let token = self.engine.tokens().make(TaskToken {
            execution,
            frame,
            generation,
        });
        Handed {
            poll,
            offer: Offer {
                task: ActivityTask {
                    token,
                    input: row.input.clone(),
                },
                row: Some(row),
                back: self.back.clone(),
            },
            task: (execution, frame, generation),
        }
    }

    /// The rows of tasks that were handed out are gone.
    pub(super) fn deliver(&mut self, handed: Handed) {
        self.activities.taken.remove(&handed.task);
        // Why ok: what nobody takes comes back.
        handed.poll.send(handed.offer).ok();
    }

    /// A worker went away before it had its task: it waits again, in its old place.
    pub(super) fn put_back(
        &mut self,
        row: ActivityTaskRow,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let (execution, frame) = (row.execution, row.frame);
        if !self.waits(execution, frame, row.generation)? {
            return Ok(());
        }
        let activity = row.activity.clone();
        batch
            .changes
            .push(Change::RemoveTimers { execution, frame });
        batch.changes.push(Change::PutActivityTask(Box::new(row)));
        batch.after.waiting.push(activity);
        Ok(())
    }

    /// Takes in what whoever has a token says; whether its task waits for that.
    pub(super) fn answer(
        &mut self,
        token: TaskToken,
        answer: TaskAnswer,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, RuntimeError> {
        let TaskToken {
            execution,
            frame,
            generation,
        } = token;
        if !self.waits(execution, frame, generation)? {
            return Ok(false);
        }
        let input = match answer {
            TaskAnswer::Done(output) => Input::TaskDone {
                frame,
                generation,
                output,
            },
            TaskAnswer::Failed(failure) => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
            TaskAnswer::Beat => {
                let task = (execution, frame, generation);
                *self.activities.beating.entry(task).or_default() += 1;
                batch.after.beaten.push(token);
                batch.changes.push(Change::Beat {
                    execution,
                    frame,
                    at: now,
                });
                return Ok(true);
            }
        };
        self.tell(execution, input, now, batch)
    }
}

/// The timers of a task that a worker has.
fn limits(row: &ActivityTaskRow, now: Timestamp) -> impl Iterator<Item = Change> {
    let timer = |kind, limit: Option<Duration>| {
        limit.map(|limit| {
            Change::PutTimer(TimerRow {
                execution: row.execution,
                frame: row.frame,
                kind,
                generation: row.generation,
                due: now.after(limit),
                beat: (kind == TimerKind::Heartbeat).then_some(limit),
            })
        })
    };
    let timeout = timer(TimerKind::Timeout, row.timeout);
    let heartbeat = timer(TimerKind::Heartbeat, row.heartbeat);
    timeout.into_iter().chain(heartbeat)
}
