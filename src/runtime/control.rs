//! Steers jobs: pause, resume, stop, retry what failed.
//!
//! A live run is told through its actor; one that rests is stepped over its stored checkpoint, by
//! the same core. Either way the change is durable when these return.
//!
//! Invariant: a run that rests is changed by whoever holds the turn of its job and by nobody else.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use super::{
    Engine, RuntimeError,
    author::author,
    engine::Live,
    plan::StoredPlan,
    run::{Days, Order, REQUEUE_PAGE_MAX, count_resting},
    run_events,
};
use crate::{
    ids::Index,
    integration::source::Fingerprint,
    iteration::{
        BreakerLimits, Context, Effect, Ending, Input, OnInterrupt, Options, Order as ItemOrder,
        PauseReason, PutBack, RowStatus, Run, RunStatus, Tolerance, Trial,
    },
    limiter::{Grant, Throttle},
    store::{Change, EventKind, EventRow, Requeue, RunRow, SourceRow, Store},
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
        let reason = PauseReason::Operator { author, note };
        self.tell(job, Input::Pause(reason), Vec::new()).await?;
        if now {
            self.cut_off(job).await;
            if self.newest(job)?.checkpoint.status == RunStatus::Running {
                // It was resumed before it could be cut off.
                return self.go_on_with(job).await;
            }
        }
        Ok(())
    }

    /// Ends the actor of a live job; what is in flight is left in doubt.
    async fn cut_off(&self, job: &str) {
        let reach = |live: &Live| (Arc::clone(&live.quit), live.gone.clone());
        let reached = self.live().get(job).map(reach);
        if let Some((quit, mut gone)) = reached {
            quit.notify_one();
            gone.wait().await;
        }
    }

    /// Goes on with a paused job; what the breaker remembered is forgotten.
    pub async fn resume(&self, job: &str) -> Result<(), RuntimeError> {
        let event = self.event(job, EventKind::Resumed, "");
        self.tell(job, Input::Resume, vec![event]).await?;
        self.refuse_paused_by_source(job)?;
        self.go_on_with(job).await
    }

    /// Goes on with a job whose source is not what it was, with what is there now and from where the
    /// run stands; `author` answers for it.
    pub async fn accept_source(&self, job: &str, author: &str) -> Result<(), RuntimeError> {
        let row = self.newest(job)?;
        let known = self.source_now(job, &row).await?;
        let source = Change::Source(SourceRow {
            run: row.id,
            fingerprint: known.to_json(),
            accepted: true,
            at: self.now(),
        });
        let detail = match &row.checkpoint.pause {
            Some(reason @ PauseReason::Source { .. }) => reason.to_string(),
            Some(_) | None => String::new(),
        };
        let event = self.event_by(author, job, EventKind::SourceAccepted, detail);
        let changes = vec![source, event];
        loop {
            let turn = self.turn(job).await;
            let Some(orders) = self.orders(job) else {
                let now = self.newest(job)?;
                if now.id != row.id || now.checkpoint.status.is_ended() {
                    return Err(RuntimeError::Conflict(format!(
                        "job {job:?} is not running: its last run has {}",
                        now.checkpoint.status.as_str()
                    )));
                }
                self.step_resting(&now, Input::Resume, changes).await?;
                drop(turn);
                return self.go_on_with(job).await;
            };
            drop(turn);
            let (done, answer) = oneshot::channel();
            let order = Order::AcceptSource {
                known: Box::new(known.clone()),
                changes: changes.clone(),
                done,
            };
            // Why again otherwise: it has just ended.
            if orders.send(order).await.is_ok() && answer.await.is_ok() {
                return Ok(());
            }
        }
    }

    /// What the source of a run is like now.
    async fn source_now(&self, job: &str, row: &RunRow) -> Result<Fingerprint, RuntimeError> {
        let known = self
            .store()
            .job(job)?
            .ok_or_else(|| unknown_job(self.store(), job))?;
        let file = self.job_file(&known)?;
        let plan = self.plan_again(&file, StoredPlan::from_json(&row.plan)?)?;
        let looking = tokio::task::spawn_blocking(move || Fingerprint::take(&plan.source));
        let looked = looking.await.map_err(|_| RuntimeError::Closed)?;
        looked.map_err(|error| RuntimeError::Conflict(error.to_string()))
    }

    /// A live run that was resumed and found its source changed has paused again at once.
    fn refuse_paused_by_source(&self, job: &str) -> Result<(), RuntimeError> {
        let pause = self.view(job).and_then(|view| view.borrow().pause.clone());
        match pause {
            Some(reason @ PauseReason::Source { .. }) => Err(RuntimeError::Conflict(format!(
                "job {job:?} stays paused; {reason}"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Stops a job: its execution ends as aborted, calls under way are cut off. Its position and
    /// results stay, and starting it again goes on from there.
    pub async fn stop(&self, job: &str, author: &str) -> Result<(), RuntimeError> {
        let event = EventRow::new(self.now(), job, EventKind::Stopped, "");
        let event = Change::Event(event.by(Some(author.to_owned())));
        let reach = |live: &Live| (live.gone.clone(), live.view.clone());
        let reached = self.live().get(job).map(reach);
        self.tell(job, Input::Abort, vec![event]).await?;
        if let Some((mut gone, mut view)) = reached {
            // Why either: a start may reach the actor between the commit of the abort and its end, and
            // then it never goes.
            tokio::select! {
                () = gone.wait() => {}
                // Why nothing else then: what is stored may still be the abort, and the run goes on.
                Ok(_) = view.wait_for(|view| !view.figures.status.is_ended()) => return Ok(()),
            }
        }
        let _turn = self.turn(job).await;
        self.conclude(&self.newest(job)?).await
    }

    /// Puts failed items back to be done again: all, those of one error, or one. Answers how many.
    pub async fn retry(
        &self,
        job: &str,
        error: Option<String>,
        index: Option<Index>,
    ) -> Result<u64, RuntimeError> {
        let what = Requeue::new(error, index);
        loop {
            let turn = self.turn(job).await;
            let Some(orders) = self.orders(job) else {
                let items = self.retry_resting(job, what).await?;
                drop(turn);
                if items > 0 {
                    self.go_on_with(job).await?;
                }
                return Ok(items);
            };
            drop(turn);
            let (done, answer) = oneshot::channel();
            let order = Order::Requeue {
                what: what.clone(),
                author: author(),
                done,
            };
            // Why again otherwise: it has just ended.
            if orders.send(order).await.is_ok()
                && let Ok(items) = answer.await
            {
                return Ok(items);
            }
        }
    }

    /// In pages, as an actor does it: a commit of all of them could take minutes.
    async fn retry_resting(&self, job: &str, mut what: Requeue) -> Result<u64, RuntimeError> {
        let mut items = 0;
        loop {
            let row = self.newest(job)?;
            let page = self.store().requeue_page(row.id, &what, REQUEUE_PAGE_MAX)?;
            let Some(page) = page else { break };
            items += page.items;
            let mut changes = vec![Change::RequeueFailures {
                run: row.id,
                what: Requeue {
                    to: page.last,
                    ..what.clone()
                },
                at: self.now(),
            }];
            if row.checkpoint.status.is_ended() {
                changes.push(Change::ReopenExecution {
                    execution: row.execution,
                });
                changes.push(Change::StartJob {
                    name: job.to_owned(),
                    started: true,
                });
            }
            let input = Input::Requeued {
                children: page.children,
                items: page.items,
                were: Ending::Failed,
            };
            self.step_resting(&row, input, changes).await?;
            what.from = page.last.saturating_add(1);
        }
        if items > 0 {
            let event = self.event(job, EventKind::Retried, failed_items(items));
            self.store().commit(vec![event]).await.await?;
        }
        Ok(items)
    }

    /// What makes a run that rests go on: from pause, or from its end.
    pub(super) fn reopen(
        &self,
        row: &RunRow,
        trial: Option<Trial>,
    ) -> Result<Vec<Change>, RuntimeError> {
        let mut changes = Vec::new();
        if row.checkpoint.status.is_ended() {
            changes.push(Change::ReopenExecution {
                execution: row.execution,
            });
        }
        if let Some(trial) = trial {
            changes.extend(self.rested(row, vec![Input::Trial(trial)])?);
        } else if row.checkpoint.status != RunStatus::Running {
            changes.extend(self.rested(row, vec![Input::Resume])?);
        }
        Ok(changes)
    }

    pub(super) fn newest(&self, job: &str) -> Result<RunRow, RuntimeError> {
        self.refuse_departed(job)?;
        match self.store().newest_run(job)? {
            Some(row) => Ok(row),
            None if self.store().job(job)?.is_some() => Err(RuntimeError::Conflict(format!(
                "job {job:?} was never started; start it with: iterd start {job}"
            ))),
            None => Err(unknown_job(self.store(), job)),
        }
    }

    /// Makes a job live that rests and is to run, where this is a daemon that keeps jobs running.
    pub(super) async fn go_on_with(&self, job: &str) -> Result<(), RuntimeError> {
        let turn = self.turn(job).await;
        match self.store().job(job)? {
            Some(row) if row.started && self.is_working() => self.go_on(&row, &turn).await,
            Some(_) | None => Ok(()),
        }
    }

    async fn tell(
        &self,
        job: &str,
        input: Input,
        changes: Vec<Change>,
    ) -> Result<(), RuntimeError> {
        loop {
            let turn = self.turn(job).await;
            let Some(orders) = self.orders(job) else {
                let row = self.newest(job)?;
                if row.checkpoint.status.is_ended() {
                    return Err(RuntimeError::Conflict(format!(
                        "job {job:?} is not running: its last run has {}",
                        row.checkpoint.status.as_str()
                    )));
                }
                return self.step_resting(&row, input, changes).await;
            };
            drop(turn);
            // Why again otherwise: it has just ended.
            if was_told(&orders, input.clone(), changes.clone()).await {
                return Ok(());
            }
        }
    }

    pub(super) async fn step_resting(
        &self,
        row: &RunRow,
        input: Input,
        mut changes: Vec<Change>,
    ) -> Result<(), RuntimeError> {
        changes.extend(self.rested(row, vec![input])?);
        Ok(self.store().commit(changes).await.await?)
    }

    /// The checkpoint of a run that rests after these inputs, and what people may want to know of it.
    pub(super) fn rested(
        &self,
        row: &RunRow,
        inputs: Vec<Input>,
    ) -> Result<Vec<Change>, RuntimeError> {
        let now = self.now();
        let rows = self.store().live_children(row.id)?;
        let (queued, _) = self.store().count_children(row.id, RowStatus::Queued)?;
        let (_, held) = self.store().count_children(row.id, RowStatus::Held)?;
        let checkpoint = row.checkpoint.clone();
        let mut run = Run::restore(resting_options(), checkpoint, &rows, queued, held);
        let put_back = PutBack::of(&inputs);
        let mut refuse = |_, _, _| Grant::NotBefore {
            at: Timestamp::MAX,
            why: Throttle::Paused,
        };
        // Why the other effects are dropped: nothing is dispatched here, and whoever makes the run
        // live asks the core again.
        let effects = run.step(
            inputs,
            &mut Context {
                now,
                permits: &mut refuse,
            },
        );
        let told = effects.into_iter().filter_map(|effect| match effect {
            Effect::Paused(reason) => Some(run_events::paused(now, &row.job, &reason, None)),
            Effect::Ended(status) => Some(run_events::ended(now, &row.job, status)),
            Effect::Read { .. }
            | Effect::Dispatch { .. }
            | Effect::Fail { .. }
            | Effect::Spill { .. }
            | Effect::Hold { .. }
            | Effect::Hurry { .. }
            | Effect::LoadQueue { .. }
            | Effect::Wake { .. }
            | Effect::Drained => None,
        });
        let mut changes: Vec<Change> = told.collect();
        let counters = (&row.checkpoint.counters, &run.checkpoint().counters);
        let day = || self.days_of(&row.job).of(now);
        changes.extend(count_resting(row.id, counters, put_back, day, now));
        changes.push(Change::Checkpoint {
            run: row.id,
            checkpoint: Box::new(run.checkpoint()),
            at: now,
        });
        Ok(changes)
    }

    /// The days that a job's runs count by; UTC's where its file cannot be read any more.
    fn days_of(&self, job: &str) -> Days {
        let known = self.store().job(job).ok().flatten();
        let file = known.and_then(|row| self.job_file(&row).ok());
        let config = self.config();
        let limit = file.as_ref().map(|file| file.limiter(&config.limiters));
        let zone = limit
            .and_then(Result::ok)
            .map(|spec| spec.time_zone.clone());
        Days::new(zone.unwrap_or(TimeZone::UTC))
    }
}

/// Tells an actor; whether it took that in, durably. Else it has ended.
pub(super) async fn was_told(
    orders: &mpsc::Sender<Order>,
    input: Input,
    changes: Vec<Change>,
) -> bool {
    let (done, answer) = oneshot::channel();
    let order = Order::Tell {
        input,
        changes,
        done,
    };
    orders.send(order).await.is_ok() && answer.await.is_ok()
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

/// So many failed items, for the log.
pub(super) fn failed_items(items: u64) -> String {
    let word = if items == 1 { "item" } else { "items" };
    format!("{items} failed {word}")
}
