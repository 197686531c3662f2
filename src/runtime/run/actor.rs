//! The actor's loop and its step.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    child::{Child, Verdict},
    commit::OnTheirWay,
    gate::Gate,
    pages::Pages,
    view::{Pulse, RunView},
};
use crate::{
    config::job::Schedule,
    ids::{Generation, Index, RunId},
    integration::source::{PageBounds, Source},
    iteration::{Ending, Input, Options, PauseReason, RowStatus, Run, RunStatus},
    machine::Machine,
    plugin::{Answer, Pool, Version},
    runtime::{disk::Disk, exporter::Exporter, limiters::SharedLimiter},
    store::{Change, RunRow, Store, StoreError},
    time::{Clock, Timestamp},
};

/// How many answers are taken in by one step: enough to share a commit among, few enough that the
/// first of them does not wait for the last.
const ANSWERS_MAX: usize = 512;

/// How many orders may wait for an actor; they come from people.
const ORDERS_MAX: usize = 64;

/// The longest an actor sleeps without looking at the clock again: what was stored as an instant
/// comes true even if the clock was set, or a wake-up was lost.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// How long a worker has between SIGTERM and SIGKILL.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Everything an actor is made of.
pub(in crate::runtime) struct ActorSetup {
    pub(in crate::runtime) row: RunRow,
    /// Names the run's execution in idempotency keys.
    pub(in crate::runtime) execution_name: String,
    pub(in crate::runtime) options: Options,
    pub(in crate::runtime) machine: Machine,
    pub(in crate::runtime) source: Box<dyn Source>,
    pub(in crate::runtime) bounds: PageBounds,
    pub(in crate::runtime) limiter: Option<Arc<SharedLimiter>>,
    pub(in crate::runtime) weight: NonZeroU32,
    pub(in crate::runtime) schedule: Option<Schedule>,
    pub(in crate::runtime) pool: Pool,
    pub(in crate::runtime) answers: mpsc::UnboundedReceiver<Answer>,
    pub(in crate::runtime) exporter: Option<Exporter>,
    pub(in crate::runtime) store: Store,
    pub(in crate::runtime) disk: Disk,
    pub(in crate::runtime) clock: Arc<dyn Clock>,
}

/// What others ask of an actor.
#[derive(Debug)]
pub(in crate::runtime) enum Order {
    /// Tell the core; answered when what came of it is durable.
    Tell {
        /// What to tell it.
        input: Input,
        /// What has to be in the same commit.
        changes: Vec<Change>,
        /// The answer.
        done: oneshot::Sender<()>,
    },
    /// Put failed items back; answered with how many, when that is durable.
    Requeue {
        /// Only those with this error.
        error: Option<String>,
        /// Only this one.
        index: Option<Index>,
        /// The answer.
        done: oneshot::Sender<u64>,
    },
    /// From now on with this version of the plugin.
    Deploy(Box<Version>),
    /// What an edit of the job file has changed.
    Reconfigure(Box<Reconfigured>),
    /// End now; what is in flight is left in doubt.
    Quit,
}

/// What an edit of a job file changes of a live run.
#[derive(Debug)]
pub(in crate::runtime) struct Reconfigured {
    pub(in crate::runtime) options: Options,
    pub(in crate::runtime) machine: Machine,
    pub(in crate::runtime) limiter: Arc<SharedLimiter>,
    pub(in crate::runtime) weight: NonZeroU32,
    pub(in crate::runtime) schedule: Option<Schedule>,
}

/// The shell around one run.
pub(in crate::runtime) struct Actor {
    pub(super) id: RunId,
    pub(super) job: String,
    pub(super) execution_name: String,
    pub(super) run: Run,
    pub(super) machine: Machine,
    pub(super) pages: Pages,
    pub(super) live: HashMap<Index, Child>,
    pub(super) limiter: Option<Arc<SharedLimiter>>,
    pub(super) limiter_saved: u64,
    pub(super) weight: NonZeroU32,
    pub(super) gate: Gate,
    pub(super) pool: Pool,
    pub(super) answers: mpsc::UnboundedReceiver<Answer>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) exporter: Option<Exporter>,
    pub(super) on_their_way: OnTheirWay,
    pub(super) wake: Option<Timestamp>,
    pub(super) store: Store,
    pub(super) disk: Disk,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) view: watch::Sender<RunView>,
    pub(super) pulse: Pulse,
    pub(super) over: bool,
}

/// How an actor is reached while it runs.
pub(in crate::runtime) struct ActorHandle {
    pub(in crate::runtime) orders: mpsc::Sender<Order>,
    pub(in crate::runtime) view: watch::Receiver<RunView>,
}

impl Actor {
    /// Makes the run anew from its rows; nothing is dispatched before [`Actor::work`].
    pub(in crate::runtime) fn start(setup: ActorSetup) -> Result<(Self, ActorHandle), StoreError> {
        let id = setup.row.id;
        let rows = setup.store.live_children(id)?;
        let (queued, _) = setup.store.count_children(id, RowStatus::Queued)?;
        let (_, held) = setup.store.count_children(id, RowStatus::Held)?;
        let options = bounded(setup.options, &setup.pool);
        let run = Run::restore(options, setup.row.checkpoint, &rows, queued, held);
        let (orders, order_queue) = mpsc::channel(ORDERS_MAX);
        let (view, view_of) = watch::channel(RunView {
            figures: run.figures(),
            pause: run.pause_reason().cloned(),
            rate: None,
            source_share: None,
            disk_full: false,
            version: setup.pool.version(),
            over: false,
        });
        let actor = Self {
            id,
            job: setup.row.job,
            execution_name: setup.execution_name,
            run,
            machine: setup.machine,
            pages: Pages::new(setup.source, setup.bounds),
            live: HashMap::new(),
            limiter: setup.limiter,
            limiter_saved: 0,
            weight: setup.weight,
            gate: Gate::new(setup.schedule),
            pool: setup.pool,
            answers: setup.answers,
            orders: order_queue,
            exporter: setup.exporter,
            on_their_way: OnTheirWay::default(),
            wake: None,
            store: setup.store,
            disk: setup.disk,
            clock: setup.clock,
            view,
            pulse: Pulse::default(),
            over: false,
        };
        let handle = ActorHandle {
            orders,
            view: view_of,
        };
        Ok((actor, handle))
    }

    /// Works until the run ends, is drained, or is told to quit; then the status it stands in.
    pub(in crate::runtime) async fn work(mut self) -> Result<RunStatus, StoreError> {
        let outcome = self.work_through().await;
        if let Some(limiter) = &self.limiter {
            limiter.leave(self.id.0.unsigned_abs());
        }
        self.pool.shutdown(Duration::ZERO, WORKER_GRACE).await;
        self.view.send_modify(|view| view.over = true);
        outcome
    }

    async fn work_through(&mut self) -> Result<RunStatus, StoreError> {
        let mut news = News::default();
        self.step(News::of(Input::Tick)).await;
        while !(self.over && self.on_their_way.is_empty()) {
            tokio::select! {
                biased;
                durable = self.on_their_way.next() => self.carry_out(durable?, &mut news),
                order = self.orders.recv() => match order {
                    Some(Order::Tell { input, changes, done }) => {
                        news.inputs.push(input);
                        news.changes = changes;
                        news.told.push(done);
                    }
                    Some(Order::Requeue { error, index, done }) => {
                        self.requeue(error, index, done, &mut news).await?;
                    }
                    Some(Order::Deploy(version)) => {
                        if let Err(error) = self.pool.deploy(*version) {
                            tracing::error!(job = self.job, %error, "the version is not taken up");
                        }
                    }
                    Some(Order::Reconfigure(new)) => self.reconfigure(*new, &mut news),
                    Some(Order::Quit) | None => return Ok(self.run.status()),
                },
                _ = self.answers.recv_many(&mut news.answers, ANSWERS_MAX) => {}
                page = self.pages.next() => match page {
                    Ok(page) => news.inputs.push(page),
                    Err(error) => {
                        let reason = PauseReason::Source { cause: error.to_string() };
                        news.inputs.push(Input::Pause(reason));
                    }
                },
                () = sleep_until(self.wake, self.clock.now()) => news.inputs.push(Input::Tick),
                () = self.disk.changed() => news.inputs.push(Input::Tick),
                () = limiter_changed(self.limiter.as_deref()) => news.inputs.push(Input::Tick),
            }
            if !news.is_empty() {
                self.step(std::mem::take(&mut news)).await;
            }
        }
        if let Some(exporter) = self.exporter.take() {
            exporter.finish().await;
        }
        Ok(self.run.status())
    }

    fn reconfigure(&mut self, new: Reconfigured, news: &mut News) {
        if let Some(old) = self.limiter.replace(new.limiter) {
            old.leave(self.id.0.unsigned_abs());
        }
        self.limiter_saved = 0;
        self.weight = new.weight;
        self.machine = new.machine;
        self.gate = Gate::new(new.schedule);
        news.inputs
            .push(Input::Options(bounded(new.options, &self.pool)));
    }

    /// Puts failed items back. What is on its way is waited for first, so that the count holds for
    /// the rows that the commit will find.
    async fn requeue(
        &mut self,
        error: Option<String>,
        index: Option<Index>,
        done: oneshot::Sender<u64>,
        news: &mut News,
    ) -> Result<(), StoreError> {
        while !self.on_their_way.is_empty() {
            let durable = self.on_their_way.next().await?;
            self.carry_out(durable, news);
        }
        let (children, items) = self
            .store
            .count_requeued(self.id, error.as_deref(), index)?;
        if children > 0 {
            news.inputs.push(Input::Requeued {
                children,
                items,
                were: Ending::Failed,
            });
            news.changes.push(Change::RequeueFailures {
                run: self.id,
                error,
                index,
                at: self.clock.now(),
            });
        }
        let (told, durable) = oneshot::channel();
        news.told.push(told);
        tokio::spawn(async move {
            if durable.await.is_ok() {
                // Why ok: whoever does not wait any more does not want to know.
                done.send(items).ok();
            }
        });
        Ok(())
    }
}

/// Why: a permit is taken when a worker is ready, so no more are under way than the workers hold.
fn bounded(mut options: Options, pool: &Pool) -> Options {
    let capacity = u32::try_from(pool.capacity()).unwrap_or(u32::MAX);
    options.slots = options.slots.min(capacity).max(1);
    options
}

/// Everything that one step is told.
#[derive(Default)]
pub(super) struct News {
    pub(super) inputs: Vec<Input>,
    pub(super) answers: Vec<Answer>,
    /// What became of children without a handler's answer.
    pub(super) verdicts: Vec<(Index, Generation, Verdict)>,
    pub(super) changes: Vec<Change>,
    pub(super) told: Vec<oneshot::Sender<()>>,
}

impl News {
    fn of(input: Input) -> Self {
        Self {
            inputs: vec![input],
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.inputs.is_empty()
            && self.answers.is_empty()
            && self.verdicts.is_empty()
            && self.changes.is_empty()
            && self.told.is_empty()
    }
}

/// Sleeps until that instant of wall time, or until it is time to look at the clock again.
async fn sleep_until(wake: Option<Timestamp>, now: Timestamp) {
    let wait = wake.map_or(SLEEP_MAX, |at| at.since(now).min(SLEEP_MAX));
    tokio::time::sleep(wait).await;
}

async fn limiter_changed(limiter: Option<&SharedLimiter>) {
    match limiter {
        Some(limiter) => limiter.changed().await,
        None => std::future::pending().await,
    }
}
