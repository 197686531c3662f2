//! Keeps one run going: makes its actor, makes it anew from its rows should it break off, passes on
//! what happens in its plugin, and ends the execution when the run has ended.
//!
//! Invariant: a job has one keeper with an actor at a time. It makes a job live, and takes it out, in
//! the job's turn alone.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Engine, RuntimeError,
    canaries::rolled_back,
    engine::{Gone, Live},
    executions,
    exporter::{Export, Exporter},
    jobs::Prepared,
    plugins::{PluginNews, WATCH, is_watched, plugin_folder},
    run::{Actor, ActorSetup, Days, Order},
};
use crate::{
    config::job::{JobFile, PluginRef},
    ids::{RunId, VersionNumber},
    iteration::{Input, PauseReason, RunStatus},
    plugin::{Version, Watch},
    store::{Change, EventKind, InForceRow},
};

/// How long a run that broke off rests before it is made anew from its rows.
const REST: Duration = Duration::from_secs(1);

/// Keeps one run going.
pub(super) struct Keeper {
    engine: Engine,
    file: JobFile,
    run: RunId,
    /// The copy of the plugin that was taken up last because its folder was edited.
    edited: Edited,
}

/// The copy of a plugin that was last taken up from an edit, until it is in use.
type Edited = Arc<Mutex<Option<PathBuf>>>;

/// An actor, and what its keeper needs to attend to it.
struct Kept {
    actor: Actor,
    news: mpsc::UnboundedReceiver<PluginNews>,
    /// Dropped when the job is live no longer.
    gone: watch::Sender<()>,
}

impl Keeper {
    /// Makes a run live, and keeps it so. The caller has the job's turn.
    pub(super) fn start(
        engine: Engine,
        file: JobFile,
        run: RunId,
        prepared: Prepared,
    ) -> Result<(), RuntimeError> {
        let keeper = Self {
            engine,
            file,
            run,
            edited: Edited::default(),
        };
        let kept = keeper.make(prepared)?;
        tokio::spawn(keeper.work(kept));
        Ok(())
    }

    fn make(&self, prepared: Prepared) -> Result<Kept, RuntimeError> {
        let engine = &self.engine;
        let Prepared {
            plan,
            plugin,
            origin,
            fingerprint: _,
        } = prepared;
        let row = engine
            .store()
            .run(self.run)?
            .ok_or_else(|| RuntimeError::Conflict(format!("run {} is gone", self.run)))?;
        let (answer, answers) = mpsc::unbounded_channel();
        let (news_sender, news) = mpsc::unbounded_channel();
        let concurrency = NonZeroU32::new(plan.options.slots).unwrap_or(NonZeroU32::MIN);
        let pool =
            engine
                .plugins()
                .open(&plan.job, plugin.clone(), concurrency, answer, news_sender)?;
        let (run, store) = (row.id, engine.store().clone());
        let exporter = plan.output.map(|spec| {
            let export = Export { run, spec, store };
            Exporter::start(plan.job.clone(), export)
        });
        let limiter = engine
            .limiters()
            .get(&plan.limiter, plan.limits, engine.now())?;
        // Why as it is stored: an adopted one keeps its name, and with it the keys of its calls.
        let execution_name = match engine.store().execution(row.execution)? {
            Some(execution) => execution.name,
            None => executions::name_of(&row.job, row.execution),
        };
        let (actor, handle) = Actor::start(ActorSetup {
            execution_name,
            row,
            options: plan.options,
            machine: plan.item,
            origin,
            bounds: engine.page_bounds(),
            limiter: Some(Arc::clone(&limiter)),
            weight: plan.weight,
            days: Days::new(plan.time_zone),
            course: plan.course,
            retry_share: plan.retry_share,
            schedule: plan.schedule,
            pool,
            answers,
            exporter,
            store: engine.store().clone(),
            disk: engine.disk().clone(),
            clock: Arc::clone(engine.clock()),
        })?;
        let orders = handle.orders.clone();
        let (sender, gone) = Gone::when_dropped();
        let live = Live {
            orders: handle.orders,
            view: handle.view,
            quit: handle.quit,
            limiter,
            gone,
        };
        engine.enliven(plan.job, live)?;
        self.compare(&plugin, &orders)?;
        Ok(Kept {
            actor,
            news,
            gone: sender,
        })
    }

    /// Tells a new actor that the plugin is another one than its run worked with last, or than the
    /// one in force: it may have been deployed while nobody served, or just now.
    fn compare(&self, plugin: &Version, orders: &mpsc::Sender<Order>) -> Result<(), RuntimeError> {
        let (engine, run) = (&self.engine, self.run);
        let known = engine.store().run_plugin(run)?;
        let hash = hash_of(&plugin.folder);
        if known.as_deref() != Some(&hash) {
            // Why not at a first start: nothing can have failed under another version.
            let input = known.map_or(Input::Tick, |_| Input::Mended);
            let (done, _) = oneshot::channel();
            let changes = vec![Change::RunPlugin { run, hash }];
            // Why dropped: the queue of an actor that has not begun has room.
            drop(orders.try_send(Order::Tell {
                input,
                changes,
                done,
            }));
        }
        // Why after it is live: a deploy that does not find it live was committed before this look.
        let used = &self.file.process.plugin;
        if let Some(version) = engine.plugins().in_force(used)?
            && version.folder != plugin.folder
        {
            drop(orders.try_send(Order::Deploy {
                version: Box::new(version),
                proven: false,
                canary: false,
            }));
        }
        // Crash: one that was proving itself begins anew.
        match engine.plugins().canary(used) {
            Ok(None) => {}
            Ok(Some(version)) => drop(orders.try_send(Order::Deploy {
                version: Box::new(version),
                proven: false,
                canary: true,
            })),
            Err(error) => {
                let job = &self.file.name;
                tracing::error!(job, %error, "the version that was to prove itself is not taken up");
            }
        }
        Ok(())
    }

    /// What a version that is in use from now on changes in the state.
    fn in_use(&self, folder: &Path, version: u32) -> Result<Vec<Change>, RuntimeError> {
        let (engine, run) = (&self.engine, self.run);
        let hash = hash_of(folder);
        let mut changes = vec![Change::RunPlugin { run, hash }];
        let mut edited = self.edited.lock().unwrap_or_else(PoisonError::into_inner);
        let place = engine.plugins().place(&self.file.process.plugin);
        if edited.take_if(|edited| edited == folder).is_some()
            && let Some(place) = place
            && let Some(plugin) = folder.parent().and_then(Path::file_name)
            && engine
                .store()
                .in_force(&place)?
                .is_none_or(|row| row.version != version)
        {
            changes.push(Change::PutInForce(InForceRow {
                place,
                plugin: plugin.to_string_lossy().into_owned(),
                version,
                author: WATCH.to_owned(),
                at: engine.now(),
            }));
        }
        Ok(changes)
    }

    async fn work(self, kept: Kept) {
        let watch = self.watch();
        let mut next = Some(kept);
        while let Some(Kept { actor, news, gone }) = next {
            next = match self.attend(actor, news).await {
                Ok(status) => {
                    self.end(status).await;
                    drop(gone);
                    None
                }
                Err(error) => {
                    tracing::error!(job = self.file.name, %error, "the run broke off; it goes on from its last commit");
                    self.take_out().await;
                    drop(gone);
                    self.anew().await
                }
            };
        }
        drop(watch);
    }

    /// Lets the actor work to its end. Why in a task of its own: it goes on while news are passed to
    /// it, and should it panic, that ends here.
    async fn attend(
        &self,
        actor: Actor,
        mut news: mpsc::UnboundedReceiver<PluginNews>,
    ) -> Result<RunStatus, RuntimeError> {
        let mut working = tokio::spawn(actor.work());
        loop {
            tokio::select! {
                outcome = &mut working => {
                    let outcome = outcome.map_err(|panic| RuntimeError::Damaged {
                        what: "the actor of a run".to_owned(),
                        cause: panic.to_string(),
                    })?;
                    return Ok(outcome?);
                }
                Some(news) = news.recv() => self.pass_on(news).await,
            }
        }
    }

    /// The actor has ended, and not by mishap.
    async fn end(&self, status: RunStatus) {
        let _turn = self.engine.turn_of_keeper(&self.file.name).await;
        if status.is_ended()
            && let Err(error) = self.conclude().await
        {
            // Crash: the next start finds the run ended and concludes.
            tracing::error!(job = self.file.name, %error, "cannot end the execution");
        }
        self.engine.live().remove(&self.file.name);
        if status.is_ended()
            && let Err(error) = self.engine.release_canary(&self.file.process.plugin).await
        {
            tracing::error!(job = self.file.name, %error, "a version goes on proving itself");
        }
    }

    async fn conclude(&self) -> Result<(), RuntimeError> {
        match self.engine.store().run(self.run)? {
            Some(row) => self.engine.conclude(&row).await,
            None => Ok(()),
        }
    }

    /// The actor broke off: until there is another one, the run is steered as one that rests.
    async fn take_out(&self) {
        let _turn = self.engine.turn_of_keeper(&self.file.name).await;
        self.engine.live().remove(&self.file.name);
    }

    /// The actor made anew from the rows, as soon as that can be done; `None` where that is nobody's
    /// business any more.
    async fn anew(&self) -> Option<Kept> {
        let mut closing = self.engine.closing();
        loop {
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                _ = closing.wait_for(|closing| *closing) => return None,
            }
            let _turn = self.engine.turn(&self.file.name).await;
            match self.make_anew().await {
                Ok(made) => return made,
                Err(error) => {
                    tracing::error!(job = self.file.name, %error, "cannot go on yet");
                }
            }
        }
    }

    async fn make_anew(&self) -> Result<Option<Kept>, RuntimeError> {
        let (engine, name) = (&self.engine, &self.file.name);
        // Why: commits of the actor that broke off may still be on their way; behind this one, none is.
        engine.store().commit(Vec::new()).await.await?;
        if engine.live().contains_key(name) {
            // Somebody has started it meanwhile.
            return Ok(None);
        }
        let (Some(job), Some(row)) = (engine.store().job(name)?, engine.store().newest_run(name)?)
        else {
            return Ok(None);
        };
        if row.id != self.run || row.checkpoint.status.is_ended() || !job.started {
            return Ok(None);
        }
        // Why not the keeper's own: the file may have been edited since.
        let file = engine.job_file(&job)?;
        let prepared = engine.prepare(&file, Some(&row)).await?;
        self.make(prepared).map(Some)
    }

    async fn pass_on(&self, news: PluginNews) {
        let job = &self.file.name;
        let Some(orders) = self.engine.orders(job) else {
            return;
        };
        let (input, changes) = match news {
            PluginNews::Canary { version } => {
                let detail =
                    format!("version {version} of the plugin proves itself on some records");
                let event = self.engine.event(job, EventKind::Canary, detail);
                (Input::Mended, vec![event])
            }
            PluginNews::Deployed {
                version,
                folder,
                proven,
            } => {
                let detail = format!("version {version} of the plugin is in use");
                let mut changes = self.in_use(&folder, version.0).unwrap_or_else(|error| {
                    // Crash: as if it had happened here; the next start compares again.
                    tracing::error!(job, %error, "the version in use was not written down");
                    Vec::new()
                });
                changes.push(self.engine.event(job, EventKind::Deployed, detail));
                if proven {
                    self.conclude_canary(version, None).await;
                }
                // Why: to what backs off, it was mended when it began to prove itself.
                (if proven { Input::Tick } else { Input::Mended }, changes)
            }
            PluginNews::Refuted { version, cause } => {
                // Why not here as well: where a deploy wanted it, all jobs that use it were told.
                if self.conclude_canary(version, Some(&cause)).await {
                    return;
                }
                let detail = rolled_back(version, &cause);
                let event = self.engine.event(job, EventKind::RolledBack, detail);
                (Input::Tick, vec![event])
            }
            PluginNews::CannotStart {
                version,
                cause,
                first,
                ..
            } => {
                let detail = format!("version {version} of the plugin does not start: {cause}");
                let event = self
                    .engine
                    .event(job, EventKind::NotDeployed, detail.clone());
                self.conclude_canary(version, Some(&cause)).await;
                let input = if first {
                    Input::Pause(PauseReason::Plugin { cause: detail })
                } else {
                    Input::Tick
                };
                (input, vec![event])
            }
        };
        let (done, _) = oneshot::channel();
        let order = Order::Tell {
            input,
            changes,
            done,
        };
        // Why dropped: an actor that is gone needs no orders.
        drop(orders.send(order).await);
    }

    /// What a deployed version has come to here counts everywhere; whether it did not before.
    async fn conclude_canary(&self, version: VersionNumber, refuted: Option<&str>) -> bool {
        let plugin = &self.file.process.plugin;
        let concluded = self.engine.conclude_canary(plugin, version, refuted).await;
        concluded.unwrap_or_else(|error| {
            // Crash: it proves itself again.
            tracing::error!(job = self.file.name, %error, "what a version has shown was not written down");
            false
        })
    }

    /// Takes up changes of the plugin's folder while the run goes on, where it is so reloaded.
    fn watch(&self) -> Option<Watch> {
        let engine = self.engine.clone();
        let plugin = self.file.process.plugin.clone();
        let folder = plugin_folder(&plugin, &engine.config())?;
        let job = self.file.name.clone();
        let edited = Arc::clone(&self.edited);
        let runtime = tokio::runtime::Handle::current();
        let changed = move || {
            let (engine, plugin, job) = (engine.clone(), plugin.clone(), job.clone());
            let edited = Arc::clone(&edited);
            runtime.spawn(async move { redeploy(engine, plugin, job, edited).await });
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

/// What names the content of a copy.
pub(super) fn hash_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Takes up an edit, where the version in force says that edits are taken up at once.
async fn redeploy(engine: Engine, plugin: PluginRef, job: String, edited: Edited) {
    let taking = {
        let engine = engine.clone();
        tokio::task::spawn_blocking(move || take_edit(&engine, &plugin))
    };
    match taking.await {
        Ok(Ok(Some(version))) => {
            *edited.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.folder.clone());
            if let Some(orders) = engine.orders(&job) {
                let order = Order::Deploy {
                    version: Box::new(version),
                    proven: false,
                    canary: true,
                };
                drop(orders.send(order).await);
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            tracing::error!(job, %error, "the changed plugin is not taken up; the old version goes on");
            let detail = error.to_string();
            drop(
                engine
                    .store()
                    .commit(vec![engine.event(&job, EventKind::NotDeployed, detail)])
                    .await,
            );
        }
        Err(error) => tracing::error!(job, %error, "taking up the changed plugin broke off"),
    }
}

fn take_edit(engine: &Engine, plugin: &PluginRef) -> Result<Option<Version>, RuntimeError> {
    let plugins = engine.plugins();
    let in_force = plugins.in_force(plugin)?;
    let watched = in_force.is_none_or(|version| is_watched(&version.manifest, engine.is_service()));
    let Some(folder) = plugins.folder(plugin).filter(|_| watched) else {
        return Ok(None);
    };
    let taken = plugins.take(&folder)?;
    plugins.number(&taken).map(Some)
}
