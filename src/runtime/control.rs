//! Steers jobs: pause, resume, stop, retry what failed.
//!
//! A live run is told through its actor; one that rests is stepped over its stored checkpoint, by
//! the same core. Either way the change is durable when these return.

use tokio::sync::oneshot;

use super::{Engine, RuntimeError, engine::Reach, run::Order};
use crate::{
    ids::Index,
    iteration::{
        BreakerLimits, Context, Ending, Input, OnInterrupt, Options, Order as ItemOrder,
        PauseReason, Run, RunStatus, Tolerance,
    },
    limiter::{Grant, Throttle},
    store::{Change, RunRow, Store},
    time::Timestamp,
};

impl Engine {
    /// Holds a job: nothing new is taken until it is resumed. What is in flight finishes; with `now` it
    /// is cut off, and done again after the pause as what never was called.
    pub async fn pause(
        &self,
        job: &str,
        author: String,
        note: String,
        now: bool,
    ) -> Result<(), RuntimeError> {
        let row = self.unfinished(job)?;
        if row.checkpoint.status == RunStatus::Paused && self.view(job).is_none() {
            return Ok(());
        }
        let reason = PauseReason::Operator { author, note };
        self.tell(&row, Input::Pause(reason), Vec::new()).await?;
        if now && let Some(orders) = self.orders(job) {
            // Why ok: an actor that is gone has nothing in flight.
            orders.send(Order::Quit).await.ok();
            self.until_gone(job).await;
        }
        Ok(())
    }

    /// Goes on with a paused job; what the breaker remembered is forgotten.
    pub async fn resume(&self, job: &str) -> Result<(), RuntimeError> {
        let row = self.unfinished(job)?;
        let event = self.event(job, "resumed", "");
        self.tell(&row, Input::Resume, vec![event]).await
    }

    /// Stops a job: its execution ends as aborted, calls under way are cut off. Its position and
    /// results stay, and starting it again goes on from there.
    pub async fn stop(&self, job: &str, author: &str) -> Result<(), RuntimeError> {
        let row = self.unfinished(job)?;
        let event = self.event(job, "stopped", format!("by {author}"));
        self.tell(&row, Input::Abort, vec![event]).await?;
        // The keeper concludes, where there is one.
        self.until_gone(job).await;
        match self.store().run(row.id)? {
            Some(row) => self.conclude(&row).await,
            None => Ok(()),
        }
    }

    /// Puts failed items back to be done again: all, those of one error, or one. Answers how many.
    pub async fn retry(
        &self,
        job: &str,
        error: Option<String>,
        index: Option<Index>,
    ) -> Result<u64, RuntimeError> {
        let _turn = loop {
            match self.reach(job).await {
                Reach::Resting(turn) => break turn,
                Reach::Live(orders) => {
                    let (done, answer) = oneshot::channel();
                    let order = Order::Requeue {
                        error: error.clone(),
                        index,
                        done,
                    };
                    if orders.send(order).await.is_ok()
                        && let Ok(count) = answer.await
                    {
                        return Ok(count);
                    }
                }
            }
        };
        let row = self.newest(job)?;
        let (children, items) = self
            .store()
            .count_requeued(row.id, error.as_deref(), index)?;
        if children == 0 {
            return Ok(0);
        }
        let mut changes = vec![Change::RequeueFailures {
            run: row.id,
            error,
            index,
            at: self.now(),
        }];
        if row.checkpoint.status.is_ended() {
            changes.push(Change::ReopenExecution {
                execution: row.execution,
            });
        }
        changes.push(Change::StartJob {
            name: job.to_owned(),
            started: true,
        });
        changes.push(self.event(job, "retried", format!("{items} failed items")));
        let input = Input::Requeued {
            children,
            items,
            were: Ending::Failed,
        };
        self.step_resting(&row, input, changes).await?;
        Ok(items)
    }

    /// What makes a run that rests go on: from pause, or from its end.
    pub(super) fn reopen(&self, row: &RunRow) -> Vec<Change> {
        let mut changes = Vec::new();
        if row.checkpoint.status.is_ended() {
            changes.push(Change::ReopenExecution {
                execution: row.execution,
            });
        }
        if row.checkpoint.status != RunStatus::Running {
            changes.push(self.rested(row, Input::Resume));
        }
        changes
    }

    fn newest(&self, job: &str) -> Result<RunRow, RuntimeError> {
        match self.store().newest_run(job)? {
            Some(row) => Ok(row),
            None if self.store().job(job)?.is_some() => Err(RuntimeError::Conflict(format!(
                "job {job:?} was never started; start it with: iterd start {job}"
            ))),
            None => Err(unknown_job(self.store(), job)),
        }
    }

    fn unfinished(&self, job: &str) -> Result<RunRow, RuntimeError> {
        let row = self.newest(job)?;
        if row.checkpoint.status.is_ended() && self.view(job).is_none() {
            return Err(RuntimeError::Conflict(format!(
                "job {job:?} is not running: its last run has {}",
                row.checkpoint.status.as_str()
            )));
        }
        Ok(row)
    }

    /// Makes a job live that rests and is to run, where this is a daemon that keeps jobs running.
    pub async fn go_on_with(&self, job: &str) -> Result<(), RuntimeError> {
        if self.view(job).is_none()
            && self.is_working()
            && let Some(row) = self.store().job(job)?
        {
            self.go_on(&row).await?;
        }
        Ok(())
    }

    async fn tell(
        &self,
        row: &RunRow,
        input: Input,
        changes: Vec<Change>,
    ) -> Result<(), RuntimeError> {
        let _turn = loop {
            match self.reach(&row.job).await {
                Reach::Resting(turn) => break turn,
                Reach::Live(orders) => {
                    let (done, answer) = oneshot::channel();
                    let order = Order::Tell {
                        input: input.clone(),
                        changes: changes.clone(),
                        done,
                    };
                    if orders.send(order).await.is_ok() && answer.await.is_ok() {
                        return Ok(());
                    }
                }
            }
        };
        let row = self.newest(&row.job)?;
        self.step_resting(&row, input, changes).await
    }

    async fn step_resting(
        &self,
        row: &RunRow,
        input: Input,
        mut changes: Vec<Change>,
    ) -> Result<(), RuntimeError> {
        changes.push(self.rested(row, input));
        Ok(self.store().commit(changes).await.await?)
    }

    /// The checkpoint of a run that rests after one input.
    fn rested(&self, row: &RunRow, input: Input) -> Change {
        let now = self.now();
        let mut run = Run::restore(resting_options(), row.checkpoint.clone(), &[], 0, 0);
        let mut refuse = |_, _, _| Grant::NotBefore {
            at: Timestamp::MAX,
            why: Throttle::Paused,
        };
        // Why the effects are dropped: nothing is dispatched here, and whoever makes the run live
        // asks the core again.
        drop(run.step(
            [input],
            &mut Context {
                now,
                permits: &mut refuse,
            },
        ));
        Change::Checkpoint {
            run: row.id,
            checkpoint: Box::new(run.checkpoint()),
            at: now,
        }
    }
}

/// Options that dispatch nothing and judge nothing.
fn resting_options() -> Options {
    Options {
        slots: 1,
        order: ItemOrder::Relaxed,
        on_interrupt: OnInterrupt::Retry,
        window_items_max: 4096,
        parked_items_max: 0,
        tolerance: Tolerance::EVERYTHING,
        pause_when: BreakerLimits::default(),
    }
}

/// Tells that a job is not known, and which one looks like it.
#[must_use]
pub fn unknown_job(store: &Store, name: &str) -> RuntimeError {
    let known = store.jobs().unwrap_or_default();
    let nearest = known
        .iter()
        .map(|job| (strsim::damerau_levenshtein(&job.name, name), &job.name))
        .min();
    let hint = match nearest {
        Some((distance, known)) if distance <= 3 => format!("; did you mean {known:?}?"),
        Some(_) => "; iterd jobs lists what is known".to_owned(),
        None => "; none is known here yet".to_owned(),
    };
    RuntimeError::UnknownJob {
        name: name.to_owned(),
        hint,
    }
}
