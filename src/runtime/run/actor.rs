//! The actor's loop and its step.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    child::{Child, Verdict},
    commit::OnTheirWay,
    days::Days,
    decide::Ghosts,
    hours::Hours,
    origin::Origin,
    pages::{PageNews, Pages},
    patience::Patience,
    view::{Pulse, RunView},
};
use crate::{
    config::job::Schedule,
    ids::{Generation, Index, RunId},
    integration::source::{Fingerprint, OnChange, PageBounds, WhenEmpty},
    iteration::{Counters, Course, Ending, Input, Options, PauseReason, RowStatus, Run, RunStatus},
    limiter::Share,
    machine::Machine,
    plugin::{Answer, Pool, Rollout, Version},
    runtime::{
        RuntimeError,
        control::failed_items,
        decisions::{DecisionOrder, Ruling},
        disk::Disk,
        exporter::Exporter,
        finder::{Found, ItemName},
        limiters::SharedLimiter,
    },
    store::{
        Change, EventKind, EventRow, Line, Requeue, RequeuePage, RunRow, SourceRow, Store,
        StoreError,
    },
    time::{Clock, Timestamp},
};

/// How many answers are taken in by one step: enough to share a commit among, few enough that the
/// first of them does not wait for the last.
const ANSWERS_MAX: usize = 512;

/// Commits on their way at which answers gather instead of making a further one: one is being
/// written while the next fills. More of them would be smaller, and cost the writer a savepoint and a
/// checkpoint each.
const COMMITS_MAX: usize = 2;

/// How many orders may wait for an actor; they come from people.
const ORDERS_MAX: usize = 64;

/// Failed items that are put back in one commit: some 100 ms of the writer's time.
pub(in crate::runtime) const REQUEUE_PAGE_MAX: u32 = 5000;

/// A source that grows all the time is told of once an hour.
const GROWTH_TOLD_EVERY: Duration = Duration::from_hours(1);

/// How long a worker has between SIGTERM and SIGKILL.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Everything an actor is made of.
pub(in crate::runtime) struct ActorSetup {
    pub(in crate::runtime) row: RunRow,
    /// Names the run's execution in idempotency keys.
    pub(in crate::runtime) execution_name: String,
    pub(in crate::runtime) options: Options,
    pub(in crate::runtime) machine: Machine,
    pub(in crate::runtime) origin: Origin,
    pub(in crate::runtime) bounds: PageBounds,
    pub(in crate::runtime) limiter: Option<Arc<SharedLimiter>>,
    pub(in crate::runtime) weight: NonZeroU32,
    /// Whose days it counts by.
    pub(in crate::runtime) days: Days,
    /// What a forecast has to know of the job.
    pub(in crate::runtime) course: Arc<Course>,
    /// What its retries may have of the limiter.
    pub(in crate::runtime) retry_share: Share,
    /// When it may dispatch; `None`: always.
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
        /// Which.
        what: Requeue,
        /// Who asks, as far as is known.
        author: Option<String>,
        /// The answer.
        done: oneshot::Sender<u64>,
    },
    /// Decide on single items; answered when that is durable.
    Decide {
        /// On which, and what.
        order: Box<DecisionOrder>,
        /// Those of them that were looked up in the source.
        found: Vec<(ItemName, Found)>,
        /// The answer.
        done: oneshot::Sender<Result<Ruling, RuntimeError>>,
    },
    /// Go on with the source as it is now; answered when that is durable.
    AcceptSource {
        /// What it is like now.
        known: Box<Fingerprint>,
        /// What has to be in the same commit.
        changes: Vec<Change>,
        /// The answer.
        done: oneshot::Sender<()>,
    },
    /// From now on with this version of the plugin.
    Deploy {
        /// Which.
        version: Box<Version>,
        /// A worker of it was ready elsewhere.
        proven: bool,
        /// Whether it has to prove itself on some calls first.
        canary: bool,
    },
    /// What an edit of the job file has changed.
    Reconfigure(Box<Reconfigured>),
}

/// What an edit of a job file changes of a live run.
#[derive(Debug)]
pub(in crate::runtime) struct Reconfigured {
    pub(in crate::runtime) options: Options,
    pub(in crate::runtime) machine: Machine,
    pub(in crate::runtime) limiter: Arc<SharedLimiter>,
    pub(in crate::runtime) weight: NonZeroU32,
    pub(in crate::runtime) days: Days,
    pub(in crate::runtime) course: Arc<Course>,
    pub(in crate::runtime) retry_share: Share,
    pub(in crate::runtime) schedule: Option<Schedule>,
    pub(in crate::runtime) on_change: OnChange,
    pub(in crate::runtime) when_empty: WhenEmpty,
    /// The plugin, where another one is to do the work.
    pub(in crate::runtime) version: Option<Version>,
}

/// The shell around one run.
pub(in crate::runtime) struct Actor {
    pub(super) id: RunId,
    pub(super) job: String,
    pub(super) execution_name: String,
    pub(super) run: Run,
    /// The options as the job has them; the run's own are bounded by the workers.
    pub(super) wanted: Options,
    pub(super) machine: Machine,
    pub(super) pages: Pages,
    /// When growth of the source was last told.
    pub(super) growth_told: Option<Timestamp>,
    pub(super) live: HashMap<Index, Child>,
    pub(super) ghosts: Ghosts,
    pub(super) limiter: Option<Arc<SharedLimiter>>,
    pub(super) limiter_saved: u64,
    limiter_changed: Option<watch::Receiver<()>>,
    pub(super) weight: NonZeroU32,
    pub(super) days: Days,
    /// What was counted as of the last commit.
    pub(super) counted: Counters,
    pub(super) course: Arc<Course>,
    pub(super) retry_share: Share,
    pub(super) hours: Hours,
    pub(super) pool: Pool,
    pub(super) answers: mpsc::UnboundedReceiver<Answer>,
    orders: mpsc::Receiver<Order>,
    quit: Arc<Notify>,
    pub(super) exporter: Option<Exporter>,
    pub(super) on_their_way: OnTheirWay,
    pub(super) wake: Option<Timestamp>,
    /// When the limiter would let more go than the ready workers can hold.
    pub(super) staff_at: Option<Timestamp>,
    pub(super) store: Store,
    pub(super) line: Line,
    pub(super) disk: Disk,
    disk_changed: watch::Receiver<bool>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) view: watch::Sender<RunView>,
    pub(super) pulse: Pulse,
    pub(super) patience: Patience,
    /// Answers of handlers that were taken in.
    pub(super) answered: u64,
    /// The last failure of a call, in a line.
    pub(super) last_failure: Option<String>,
    /// The last call ended after the order to take nothing new.
    pub(super) drained: bool,
}

/// How an actor is reached while it runs.
pub(in crate::runtime) struct ActorHandle {
    pub(in crate::runtime) orders: mpsc::Sender<Order>,
    pub(in crate::runtime) view: watch::Receiver<RunView>,
    /// Ends the actor now; what is in flight is left in doubt.
    pub(in crate::runtime) quit: Arc<Notify>,
}

impl Actor {
    /// Makes the run anew from its rows; nothing is dispatched before [`Actor::work`].
    pub(in crate::runtime) fn start(setup: ActorSetup) -> Result<(Self, ActorHandle), StoreError> {
        let id = setup.row.id;
        let rows = setup.store.live_children(id)?;
        let (queued, _) = setup.store.count_children(id, RowStatus::Queued)?;
        let (_, held) = setup.store.count_children(id, RowStatus::Held)?;
        let options = bounded(&setup.options, &setup.pool);
        let counted = setup.row.checkpoint.counters;
        let position = (
            setup.row.checkpoint.cursor.clone(),
            setup.row.checkpoint.watermark,
        );
        let high_mark = setup.row.checkpoint.high_mark;
        let mut run = Run::restore(options, setup.row.checkpoint, &rows, queued, held);
        run.restore_ahead(setup.store.traces_from(id, high_mark, Run::AHEAD_MAX)?);
        let (orders, order_queue) = mpsc::channel(ORDERS_MAX);
        let mut pages = Pages::new(setup.origin, setup.bounds, position);
        pages.read_for(id);
        let quit = Arc::new(Notify::new());
        let first = RunView::first(&run, setup.pool.version(), Arc::clone(&setup.course));
        let (view, view_of) = watch::channel(first);
        let actor = Self {
            id,
            job: setup.row.job,
            execution_name: setup.execution_name,
            run,
            wanted: setup.options,
            machine: setup.machine,
            pages,
            growth_told: None,
            live: HashMap::new(),
            ghosts: Ghosts::default(),
            limiter_changed: setup.limiter.as_ref().map(|limiter| limiter.changes()),
            limiter: setup.limiter,
            limiter_saved: 0,
            weight: setup.weight,
            days: setup.days,
            counted,
            course: setup.course,
            retry_share: setup.retry_share,
            hours: Hours::new(setup.schedule),
            pool: setup.pool,
            answers: setup.answers,
            orders: order_queue,
            quit: Arc::clone(&quit),
            exporter: setup.exporter,
            on_their_way: OnTheirWay::default(),
            wake: None,
            staff_at: None,
            line: setup.store.line(),
            store: setup.store,
            disk_changed: setup.disk.changes(),
            disk: setup.disk,
            clock: setup.clock,
            view,
            pulse: Pulse::default(),
            patience: Patience::default(),
            answered: 0,
            last_failure: None,
            drained: false,
        };
        let handle = ActorHandle {
            orders,
            view: view_of,
            quit,
        };
        Ok((actor, handle))
    }

    /// Works until the run ends, is drained, or is told to quit; then the status it stands in.
    pub(in crate::runtime) async fn work(mut self) -> Result<RunStatus, StoreError> {
        let outcome = self.work_through().await;
        // Why here: whoever sent an order that is not read any more learns it at once.
        self.orders.close();
        while self.orders.try_recv().is_ok() {}
        if let Some(limiter) = &self.limiter {
            limiter.leave(self.id.0.unsigned_abs());
        }
        self.pool.shutdown(Duration::ZERO, WORKER_GRACE).await;
        if let Some(mut exporter) = self.exporter.take() {
            if outcome.is_ok() {
                tokio::select! {
                    biased;
                    () = self.quit.notified() => {}
                    () = exporter.finish() => {}
                }
            }
            exporter.halt().await;
        }
        outcome
    }

    async fn work_through(&mut self) -> Result<RunStatus, StoreError> {
        let mut news = News::default();
        news.inputs.push(Input::Tick);
        if self.run.status() == RunStatus::Running {
            // Why before anything is dispatched: the record at hand may not be the one it was.
            self.check_source(&mut news).await;
        }
        self.step(std::mem::take(&mut news)).await;
        while !(self.is_over() && self.on_their_way.is_empty()) {
            let wake = self.wake.into_iter().chain(self.staff_at).min();
            let (running, idle) = (self.run.status() == RunStatus::Running, self.is_idle());
            let wake = wake.unwrap_or(Timestamp::MAX);
            tokio::select! {
                biased;
                () = self.quit.notified() => {
                    // Why again: nothing that follows is waited for either.
                    self.quit.notify_one();
                    return Ok(self.run.status());
                }
                durable = self.on_their_way.next() => self.carry_out(durable?, &mut news)?,
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order, &mut news).await?,
                    None => return Ok(self.run.status()),
                },
                _ = self.answers.recv_many(&mut news.answers, ANSWERS_MAX),
                    if self.on_their_way.len() < COMMITS_MAX => {}
                page = self.pages.next(running, idle, self.clock.as_ref()) => {
                    self.take_page_news(page, &mut news);
                }
                () = self.clock.wait_until(wake) => news.inputs.push(Input::Tick),
                () = changed(Some(&mut self.disk_changed)) => news.inputs.push(Input::Tick),
                () = changed(self.limiter_changed.as_mut()) => news.inputs.push(Input::Tick),
                () = self.pool.changed() => news.inputs.push(Input::Tick),
            }
            if !news.is_empty() {
                self.step(std::mem::take(&mut news)).await;
            }
        }
        Ok(self.run.status())
    }

    /// Whether nothing is left to do here but to wait for commits. Why the status itself: an order
    /// may put items back after the run has ended and before its end is durable.
    fn is_over(&self) -> bool {
        self.drained || self.run.status().is_ended()
    }

    async fn obey(&mut self, order: Order, news: &mut News) -> Result<(), StoreError> {
        match order {
            Order::Tell {
                input,
                changes,
                done,
            } => {
                if matches!(input, Input::Resume | Input::Trial(_)) {
                    self.pool.forgive();
                }
                let resumes = matches!(input, Input::Resume);
                news.inputs.push(input);
                if resumes {
                    self.check_source(news).await;
                }
                news.changes.extend(changes);
                news.told.push(done);
            }
            Order::AcceptSource {
                known,
                changes,
                done,
            } => {
                self.pages.accept(*known);
                news.inputs.push(Input::Resume);
                news.changes.extend(changes);
                news.told.push(done);
            }
            Order::Requeue { what, author, done } => {
                self.requeue(what, author, done, news).await?;
            }
            Order::Decide { order, found, done } => {
                self.decide(*order, &found, done, news).await?;
            }
            Order::Deploy {
                version,
                proven,
                canary,
            } => self.deploy(*version, proven, canary),
            Order::Reconfigure(new) => self.reconfigure(*new, news),
        }
        Ok(())
    }

    /// Whether the run would end if nothing followed in its source.
    fn is_idle(&self) -> bool {
        let figures = self.run.figures();
        let under_way = figures.in_flight + figures.retrying + figures.waiting;
        under_way == 0 && figures.queued == 0 && self.pages.is_empty()
    }

    /// Looks at the source before the run goes on.
    async fn check_source(&mut self, news: &mut News) {
        let found = self.pages.check(self.clock.now()).await;
        self.take_page_news(found, news);
    }

    fn take_page_news(&mut self, page: PageNews, news: &mut News) {
        news.inputs.extend(page.inputs);
        let Some(note) = page.note else {
            return;
        };
        let at = self.clock.now();
        news.changes.push(Change::Source(SourceRow {
            run: self.id,
            fingerprint: note.fingerprint.to_json(),
            accepted: note.accepted,
            at,
        }));
        if let Some(grown) = note.grown
            && self
                .growth_told
                .is_none_or(|told| at.since(told) >= GROWTH_TOLD_EVERY)
        {
            self.growth_told = Some(at);
            let event = EventRow::new(at, &self.job, EventKind::SourceGrew, grown);
            news.changes.push(Change::Event(event));
        }
    }

    fn deploy(&self, version: Version, proven: bool, canary: bool) {
        let held = self
            .run
            .pause_reason()
            .is_some_and(PauseReason::is_of_failures);
        let rollout = if canary {
            let alone = held || !self.run.has_first_tries();
            Rollout::Canary { alone }
        } else {
            Rollout::AtOnce
        };
        if let Err(error) = self.pool.deploy(version, proven, rollout) {
            tracing::error!(job = self.job, %error, "the version is not taken up");
        }
    }

    fn reconfigure(&mut self, new: Reconfigured, news: &mut News) {
        self.limiter_changed = Some(new.limiter.changes());
        if let Some(old) = self.limiter.replace(new.limiter) {
            old.leave(self.id.0.unsigned_abs());
        }
        self.limiter_saved = 0;
        self.weight = new.weight;
        self.days = new.days;
        self.course = new.course;
        self.retry_share = new.retry_share;
        self.hours = Hours::new(new.schedule);
        self.machine = new.machine;
        self.pages.set_on_change(new.on_change);
        self.pages.set_when_empty(new.when_empty);
        let concurrency = NonZeroU32::new(new.options.slots).unwrap_or(NonZeroU32::MIN);
        self.pool.set_concurrency(concurrency);
        if let Some(version) = new.version {
            self.deploy(version, false, false);
        }
        self.wanted = new.options;
        let options = bounded(&self.wanted, &self.pool);
        news.inputs.push(Input::Options(options));
    }

    /// Puts failed items back, a page in each commit. What is on its way is waited for first, so that
    /// the figures of a page hold for the rows that its commit will find.
    async fn requeue(
        &mut self,
        mut what: Requeue,
        author: Option<String>,
        done: oneshot::Sender<u64>,
        news: &mut News,
    ) -> Result<(), StoreError> {
        let mut items = 0;
        loop {
            self.settle_commits(news).await?;
            let page = tokio::task::block_in_place(|| {
                self.store.requeue_page(self.id, &what, REQUEUE_PAGE_MAX)
            })?;
            let Some(page) = page else { break };
            items += page.items;
            news.requeue(self.id, &what, page, self.clock.now());
            self.step(std::mem::take(news)).await;
            what.from = page.last.saturating_add(1);
        }
        if items > 0 {
            let detail = failed_items(items);
            let event = EventRow::new(self.clock.now(), &self.job, EventKind::Retried, detail);
            news.changes.push(Change::Event(event.by(author)));
            self.step(std::mem::take(news)).await;
            self.settle_commits(news).await?;
        }
        // Why ok: whoever does not wait any more does not want to know.
        done.send(items).ok();
        Ok(())
    }

    /// Waits until everything that is on its way is durable, and carries it out.
    pub(super) async fn settle_commits(&mut self, news: &mut News) -> Result<(), StoreError> {
        while !self.on_their_way.is_empty() {
            let durable = self.on_their_way.next().await?;
            self.carry_out(durable, news)?;
        }
        Ok(())
    }
}

/// Why: a permit is taken when a worker is ready, so no more are under way than ready workers hold.
/// Until the first one is, no permit is asked for at all.
pub(super) fn bounded(wanted: &Options, pool: &Pool) -> Options {
    let ready = u32::try_from(pool.ready()).unwrap_or(u32::MAX);
    Options {
        slots: calls(wanted, pool).min(ready).max(1),
        ..wanted.clone()
    }
}

/// How many items may be under way at once: a batch of them counts as one to the job.
pub(super) fn calls(wanted: &Options, pool: &Pool) -> u32 {
    wanted.slots.saturating_mul(pool.batch().get())
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
    /// A page of failed items is put back.
    fn requeue(&mut self, run: RunId, what: &Requeue, page: RequeuePage, now: Timestamp) {
        self.inputs.push(Input::Requeued {
            children: page.children,
            items: page.items,
            were: Ending::Failed,
        });
        self.changes.push(Change::RequeueFailures {
            run,
            what: Requeue {
                to: page.last,
                ..what.clone()
            },
            at: now,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
            && self.answers.is_empty()
            && self.verdicts.is_empty()
            && self.changes.is_empty()
            && self.told.is_empty()
    }
}

/// Wakes when somebody has changed it; a change while nobody waited counts too.
async fn changed<T>(what: Option<&mut watch::Receiver<T>>) {
    if let Some(what) = what
        && what.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
