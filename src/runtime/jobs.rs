//! Starts jobs, keeps their runs going, and ends them.
//!
//! A live job has a keeper: a task that makes the run's actor, makes it anew from its rows should it
//! break off, passes on what happens in its plugin, and ends the execution when the run has ended.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    Engine, RuntimeError,
    engine::Live,
    executions,
    exporter::Exporter,
    plan::{Plan, StoredPlan},
    plugins::{Found, PluginNews, plugin_folder, plugin_manifest},
    run::{Actor, ActorSetup, Order, Reconfigured},
};
use crate::{
    config::job::{JobFile, PluginRef},
    ids::RunId,
    integration::source::{self, OpenContext, PageBounds, Source},
    iteration::{Input, PauseReason, RunStatus},
    plugin::{Reload, Watch},
    store::{Change, JobRow, RunRow},
};

/// How long a run that broke off rests before it is made anew from its rows.
const REST: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the state file to be left tidy: writing back a WAL of the
/// default bound takes a fraction of it.
const TIDY_MAX: Duration = Duration::from_secs(5);

/// A source that decompresses to more than this is refused; a tebibyte outlasts any disk here.
const SPOOL_BYTES_MAX: u64 = 1 << 40;

/// What became of an order to start a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// A new run began.
    New,
    /// The unfinished run goes on.
    Resumed,
    /// It was running already.
    Running,
    /// Its last run is finished; a new one begins only when asked for.
    Finished,
}

/// Everything a run needs beside its rows.
struct Prepared {
    plan: Plan,
    plugin: Found,
    source: Box<dyn Source>,
}

impl Engine {
    /// Takes note of a job without starting it.
    pub async fn register(&self, file: &JobFile) -> Result<(), RuntimeError> {
        let changes = self.put_job(file)?;
        self.store().commit(changes).await.await?;
        self.tell_jobs_changed();
        Ok(())
    }

    /// Takes note of a job's file as it is now. What an edit may change of an unfinished run applies
    /// at once: limits, retries, pauses, the process; source and output stay until it has ended.
    pub async fn take_edit(&self, file: &JobFile) -> Result<(), RuntimeError> {
        let known = self.store().job(&file.name)?;
        if known.as_ref().is_some_and(|known| known.text == file.text) {
            return Ok(());
        }
        if let Some(orders) = self.orders(&file.name)
            && let Some(row) = self.store().newest_run(&file.name)?
        {
            let stored = StoredPlan::from_json(&row.plan)?;
            if stored.source != file.source || stored.output != file.output {
                tracing::warn!(
                    job = file.name,
                    "[source] and [output] stay as they were until the run has ended"
                );
            }
            let plan = self.plan_again(file, stored)?;
            let limiter = self
                .limiters()
                .get(&plan.limiter, plan.limits, self.now())?;
            if let Some(live) = self.live().get_mut(&file.name) {
                live.limiter = Arc::clone(&limiter);
            }
            let new = Order::Reconfigure(Box::new(Reconfigured {
                options: plan.options,
                machine: plan.item,
                limiter,
                weight: plan.weight,
                schedule: file.schedule.clone(),
            }));
            // Why ok: a run that has just ended needs no edit.
            orders.send(new).await.ok();
        }
        self.register(file).await?;
        let edited = self.event(&file.name, "edited", "");
        if known.is_some() {
            self.store().commit(vec![edited]).await.await?;
        }
        Ok(())
    }

    fn plan_again(&self, file: &JobFile, stored: StoredPlan) -> Result<Plan, RuntimeError> {
        let config = self.config();
        let name = plugin_manifest(&file.process.plugin, &config)?.name;
        let outputs = self.is_service().then(|| self.paths().outputs());
        Plan::with(file, &name, &config, outputs.as_deref(), stored)
    }

    /// Starts a job, or goes on with its unfinished run, also where that was paused, had failed or
    /// was stopped; after a finished one a new run begins only with `again`.
    pub async fn start(&self, file: &JobFile, again: bool) -> Result<Started, RuntimeError> {
        if self.live().contains_key(&file.name) {
            self.resume(&file.name).await?;
            return Ok(Started::Running);
        }
        let newest = self.store().newest_run(&file.name)?;
        let (row, started) = match newest {
            Some(row) if row.checkpoint.status != RunStatus::Succeeded => {
                (Some(row), Started::Resumed)
            }
            Some(_) if !again => return Ok(Started::Finished),
            Some(_) | None => (None, Started::New),
        };
        let prepared = self.prepare(file, row.as_ref()).await?;
        let (row, mut changes) = match row {
            Some(row) => {
                let changes = self.reopen(&row);
                (row, changes)
            }
            None => self.begin(file, &prepared.plan)?,
        };
        let word = match started {
            Started::New => "started",
            Started::Resumed | Started::Running | Started::Finished => "resumed",
        };
        changes.extend(self.put_job(file)?);
        changes.push(Change::StartJob {
            name: file.name.clone(),
            started: true,
        });
        changes.push(self.event(&file.name, word, format!("run {}", row.id)));
        self.store().commit(changes).await.await?;
        self.tell_jobs_changed();
        // Why not kept elsewhere: it is started for whoever keeps jobs running next.
        if self.is_working() {
            self.keep(file.clone(), row.id, prepared)?;
        }
        Ok(started)
    }

    /// Goes on with the jobs that were started and have not ended; a paused one stays paused. Those
    /// that cannot go on are told and left as they stand.
    pub async fn resume_all(&self) -> Result<(), RuntimeError> {
        for job in self.store().jobs()? {
            if !job.started {
                continue;
            }
            if let Err(error) = self.go_on(&job).await {
                tracing::error!(job = job.name, %error, "cannot go on with a job");
            }
        }
        Ok(())
    }

    pub(super) async fn go_on(&self, job: &JobRow) -> Result<(), RuntimeError> {
        let file = self.job_file(job)?;
        let Some(row) = self.store().newest_run(&job.name)? else {
            return Ok(());
        };
        if row.checkpoint.status.is_ended() {
            // Crash: the run had ended and its execution had not been told.
            return self.conclude(&row).await;
        }
        let prepared = self.prepare(&file, Some(&row)).await?;
        self.keep(file, row.id, prepared)
    }

    /// The job as it was last taken over, with its file's place.
    pub fn job_file(&self, job: &JobRow) -> Result<JobFile, RuntimeError> {
        JobFile::parse(job.path.as_ref(), job.text.clone())
            .map_err(|problems| RuntimeError::Job(problems.to_string()))
    }

    /// Takes note of a job as its file is now.
    fn put_job(&self, file: &JobFile) -> Result<Vec<Change>, RuntimeError> {
        let mut changes = vec![Change::PutJob(self.job_row(file)?)];
        let known = self.store().job(&file.name)?;
        let before = known.and_then(|known| self.job_file(&known).ok());
        if before.is_some_and(|before| before.schedule != file.schedule) {
            // Why: a new schedule begins now; what it would have started before was not missed.
            changes.push(Change::Scheduled {
                name: file.name.clone(),
                at: self.now(),
            });
        }
        Ok(changes)
    }

    fn job_row(&self, file: &JobFile) -> Result<JobRow, RuntimeError> {
        let path = std::path::absolute(&file.file).map_err(|error| RuntimeError::Io {
            what: format!("cannot tell where {} lies", file.file.display()),
            error,
        })?;
        Ok(JobRow {
            name: file.name.clone(),
            path: path.to_string_lossy().into_owned(),
            text: file.text.clone(),
            started: false,
            registered: self.now(),
            scheduled: None,
        })
    }

    /// A new execution with its run.
    fn begin(&self, file: &JobFile, plan: &Plan) -> Result<(RunRow, Vec<Change>), RuntimeError> {
        let ids = (self.store().next_execution_id(), self.store().next_run_id());
        let plan_text = plan.stored.to_json();
        let begun = executions::begin(&file.name, &plan.definition, plan_text, ids, self.now())?;
        Ok((begun.run, begun.changes))
    }

    /// Everything that may be missing or wrong is found out here, before anything is written.
    async fn prepare(
        &self,
        file: &JobFile,
        row: Option<&RunRow>,
    ) -> Result<Prepared, RuntimeError> {
        let engine = self.clone();
        let file = file.clone();
        let stored = row
            .map(|row| StoredPlan::from_json(&row.plan))
            .transpose()?;
        let work = move || {
            let plugin = engine.plugins().take(&file.process.plugin)?;
            let config = engine.config();
            let outputs = engine.is_service().then(|| engine.paths().outputs());
            let name = plugin.version.manifest.name.as_str();
            let plan = match stored {
                Some(stored) => Plan::with(&file, name, &config, outputs.as_deref(), stored),
                None => Plan::of(&file, name, &config, outputs.as_deref()),
            }?;
            let source = engine.open_source(&plan)?;
            Ok(Prepared {
                plan,
                plugin,
                source,
            })
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| RuntimeError::Closed)?
    }

    fn open_source(&self, plan: &Plan) -> Result<Box<dyn Source>, RuntimeError> {
        let spool_dir = self.paths().spool();
        let closing = self.closing();
        let mut progress = |_| {
            if *closing.borrow() {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        };
        source::open(
            &plan.source,
            &mut OpenContext {
                spool_dir: &spool_dir,
                spool_bytes_max: SPOOL_BYTES_MAX,
                progress: &mut progress,
            },
        )
        .map_err(|error| RuntimeError::Job(format!("job {:?}: {error}", plan.job)))
    }

    /// Starts the keeper of a run.
    fn keep(&self, file: JobFile, run: RunId, prepared: Prepared) -> Result<(), RuntimeError> {
        let keeper = Keeper {
            engine: self.clone(),
            file,
            run,
        };
        let (actor, news) = keeper.actor(prepared)?;
        tokio::spawn(keeper.work(actor, news));
        Ok(())
    }

    /// Ends the execution whose run has ended.
    pub(super) async fn conclude(&self, row: &RunRow) -> Result<(), RuntimeError> {
        let mut changes = vec![Change::StartJob {
            name: row.job.clone(),
            started: false,
        }];
        if let Some(execution) = self.store().execution(row.execution)?
            && execution.stopped.is_none()
        {
            let parts = self.store().frames(row.execution)?;
            changes.extend(executions::conclude(
                &execution,
                parts,
                &row.checkpoint,
                self.now(),
            )?);
        }
        Ok(self.store().commit(changes).await.await?)
    }

    /// Ends everything within `grace`: what is in flight may finish, nothing new is taken. Runs stay
    /// as they stand and go on when somebody opens the directory again.
    pub async fn shut_down(&self, grace: Duration) {
        self.begin_closing();
        let live: Vec<_> = {
            let live = self.live();
            let reach = |live: &Live| (live.orders.clone(), live.view.clone());
            live.values().map(reach).collect()
        };
        let drained = async {
            for (orders, _) in &live {
                tell(orders, Input::Drain).await;
            }
            for (_, view) in &mut live.clone() {
                // Why either way: an actor that is gone has nothing in flight.
                drop(view.wait_for(|view| view.over).await);
            }
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            if !grace.is_zero() {
                tracing::warn!(
                    "not everything in flight has ended in time; it is called again at the next start"
                );
            }
            for (orders, _) in &live {
                drop(orders.try_send(Order::Quit));
            }
            for (_, mut view) in live {
                drop(view.wait_for(|view| view.over).await);
            }
        }
        // Why a bound: on a full disk the writer goes on trying, and nothing is lost by not waiting.
        drop(tokio::time::timeout(TIDY_MAX, self.store().tidy()).await);
    }
}

async fn tell(orders: &mpsc::Sender<Order>, input: Input) {
    let (done, _) = oneshot::channel();
    let order = Order::Tell {
        input,
        changes: Vec::new(),
        done,
    };
    // Why dropped: an actor that is gone needs no orders.
    drop(orders.send(order).await);
}

/// Keeps one run going.
struct Keeper {
    engine: Engine,
    file: JobFile,
    run: RunId,
}

impl Keeper {
    fn actor(
        &self,
        prepared: Prepared,
    ) -> Result<(Actor, mpsc::UnboundedReceiver<PluginNews>), RuntimeError> {
        let engine = &self.engine;
        let Prepared {
            plan,
            plugin,
            source,
        } = prepared;
        let row = engine
            .store()
            .run(self.run)?
            .ok_or_else(|| RuntimeError::Conflict(format!("run {} is gone", self.run)))?;
        let (answer, answers) = mpsc::unbounded_channel();
        let (news, plugin_news) = mpsc::unbounded_channel();
        let concurrency = NonZeroU32::new(plan.options.slots).unwrap_or(NonZeroU32::MIN);
        let pool = engine
            .plugins()
            .open(&plan.job, plugin.version, concurrency, answer, news)?;
        let config = engine.config();
        let exporter = plan
            .output
            .map(|spec| Exporter::start(row.id, plan.job.clone(), spec, engine.store().clone()));
        let limiter = engine
            .limiters()
            .get(&plan.limiter, plan.limits, engine.now())?;
        let (actor, handle) = Actor::start(ActorSetup {
            execution_name: executions::name_of(&row.job, row.execution),
            row,
            options: plan.options,
            machine: plan.item,
            source,
            bounds: PageBounds {
                records_max: config.items.page_items_max as usize,
                bytes_max: usize::try_from(config.items.page_bytes_max).unwrap_or(usize::MAX),
                record_bytes_max: usize::try_from(config.items.record_bytes_max)
                    .unwrap_or(usize::MAX),
            },
            limiter: Some(Arc::clone(&limiter)),
            weight: plan.weight,
            schedule: self.file.schedule.clone(),
            pool,
            answers,
            exporter,
            store: engine.store().clone(),
            disk: engine.disk().clone(),
            clock: Arc::clone(engine.clock()),
        })?;
        engine.live().insert(
            plan.job,
            Live {
                orders: handle.orders,
                view: handle.view,
                limiter,
            },
        );
        Ok((actor, plugin_news))
    }

    async fn work(self, actor: Actor, news: mpsc::UnboundedReceiver<PluginNews>) {
        let (mut actor, mut news) = (actor, news);
        let watch = self.watch();
        loop {
            let outcome = {
                let working = actor.work();
                tokio::pin!(working);
                loop {
                    tokio::select! {
                        outcome = &mut working => break outcome,
                        Some(news) = news.recv() => self.pass_on(news).await,
                    }
                }
            };
            match outcome {
                Ok(status) => {
                    self.end(status).await;
                    break;
                }
                Err(error) => {
                    tracing::error!(job = self.file.name, %error, "the run broke off; it goes on from its last commit");
                    match self.anew().await {
                        Some(again) => (actor, news) = again,
                        None => break,
                    }
                }
            }
        }
        drop(watch);
        self.engine.live().remove(&self.file.name);
    }

    /// The actor made anew from the rows, as soon as that can be done.
    async fn anew(&self) -> Option<(Actor, mpsc::UnboundedReceiver<PluginNews>)> {
        let mut closing = self.engine.closing();
        loop {
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                _ = closing.wait_for(|closing| *closing) => return None,
            }
            let made = async {
                let row = self.engine.store().run(self.run)?;
                let prepared = self.engine.prepare(&self.file, row.as_ref()).await?;
                self.actor(prepared)
            };
            match made.await {
                Ok(made) => return Some(made),
                Err(error) => tracing::error!(job = self.file.name, %error, "cannot go on yet"),
            }
        }
    }

    async fn end(&self, status: RunStatus) {
        if !status.is_ended() {
            return;
        }
        let ended = async {
            if let Some(row) = self.engine.store().run(self.run)? {
                self.engine.conclude(&row).await?;
            }
            Ok::<_, RuntimeError>(())
        };
        if let Err(error) = ended.await {
            // Crash: the next start finds the run ended and concludes.
            tracing::error!(job = self.file.name, %error, "cannot end the execution");
        }
    }

    async fn pass_on(&self, news: PluginNews) {
        let job = &self.file.name;
        let Some(orders) = self.engine.orders(job) else {
            return;
        };
        let (input, change) = match news {
            PluginNews::Deployed(version) => {
                let now = self.engine.now();
                let detail = format!("version {version} of the plugin is in use");
                tell_with(
                    &orders,
                    Input::Hurry { now },
                    vec![
                        Change::HurryChildren {
                            run: self.run,
                            at: now,
                        },
                        self.engine.event(job, "deployed", detail),
                    ],
                )
                .await;
                return;
            }
            PluginNews::CannotStart {
                version,
                cause,
                first,
            } => {
                let detail = format!("version {version} of the plugin does not start: {cause}");
                let event = self.engine.event(job, "not deployed", detail.clone());
                let input = if first {
                    Input::Pause(PauseReason::Plugin { cause: detail })
                } else {
                    Input::Tick
                };
                (input, event)
            }
        };
        tell_with(&orders, input, vec![change]).await;
    }

    /// Takes up changes of the plugin's folder while the run goes on, where it is so reloaded.
    fn watch(&self) -> Option<Watch> {
        let engine = self.engine.clone();
        let plugin = self.file.process.plugin.clone();
        let folder = plugin_folder(&plugin, &engine.config())?;
        let job = self.file.name.clone();
        let runtime = tokio::runtime::Handle::current();
        let changed = move || {
            let (engine, plugin, job) = (engine.clone(), plugin.clone(), job.clone());
            runtime.spawn(async move { redeploy(engine, plugin, job).await });
        };
        match crate::plugin::watch(&folder, changed) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(job = self.file.name, %error, "changes of the plugin are not noticed");
                None
            }
        }
    }
}

async fn redeploy(engine: Engine, plugin: PluginRef, job: String) {
    let taking = {
        let engine = engine.clone();
        tokio::task::spawn_blocking(move || engine.plugins().take(&plugin))
    };
    match taking.await {
        Ok(Ok(found)) => {
            let watched = match found.version.manifest.reload {
                Some(reload) => reload == Reload::Watch,
                None => !engine.is_service(),
            };
            if watched && let Some(orders) = engine.orders(&job) {
                drop(orders.send(Order::Deploy(Box::new(found.version))).await);
            }
        }
        Ok(Err(error)) => {
            tracing::error!(job, %error, "the changed plugin is not taken up; the old version goes on");
            let detail = error.to_string();
            drop(
                engine
                    .store()
                    .commit(vec![engine.event(&job, "not deployed", detail)])
                    .await,
            );
        }
        Err(error) => tracing::error!(job, %error, "taking up the changed plugin broke off"),
    }
}

async fn tell_with(orders: &mpsc::Sender<Order>, input: Input, changes: Vec<Change>) {
    let (done, _) = oneshot::channel();
    let order = Order::Tell {
        input,
        changes,
        done,
    };
    // Why dropped: an actor that is gone needs no orders.
    drop(orders.send(order).await);
}
