//! Starts jobs and ends them.
//!
//! What a run needs beside its rows is found out before anything is written; what a start changes is
//! one commit; then the run gets its keeper. Invariant: all of that happens in the job's turn.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    Engine, Notifier, RuntimeError, chronicler,
    control::was_told,
    edit::difference,
    engine::{Gone, Turn},
    executions,
    exporter::Export,
    items::Opening,
    keeper::Keeper,
    overrides::in_force,
    plan::{Plan, StoredPlan},
    run::{Days, Order, Origin, OriginSetup, Reconfigured, SPOOL_BYTES_MAX, Tap},
};
use crate::{
    config::job::JobFile,
    ids::RunId,
    integration::source::{
        self, Fingerprint, Messages, OpenContext, Source, SourceSpec, WhenEmpty,
    },
    iteration::{Input, RunStatus},
    limiter::Limits,
    plugin::Version,
    store::{Change, EventKind, ExportRow, JobRow, RunRow, SourceRow},
};

/// How long an actor has to end at once: its workers get two seconds from SIGTERM to SIGKILL, and a
/// page of its output may be on its way to the disk. One that takes longer waits for a disk that
/// takes nothing, and everything durable is durable already.
const QUIT_MAX: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the state file to be left tidy: writing back a WAL of the
/// default bound takes a fraction of it.
const TIDY_MAX: Duration = Duration::from_secs(5);

/// What an edit of a live job's source or output comes to.
const SOURCE_STAYS: &str = "[source] and [output] stay as they were until the run has ended";

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
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) plugin: Version,
    pub(super) origin: Origin,
    /// What the source of a new run is like.
    pub(super) fingerprint: Option<Fingerprint>,
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
        let turn = self.turn(&file.name).await;
        let known = self.store().job(&file.name)?;
        if known.as_ref().is_some_and(|known| known.text == file.text) {
            return Ok(());
        }
        let file = in_force(known.as_ref(), file)?;
        let mut changes = self.put_job(&file)?;
        if let Some(known) = &known {
            let detail = difference(&known.text, &file.text);
            changes.push(self.event(&file.name, EventKind::Edited, detail));
        }
        self.put_in_force(known.as_ref(), &file, changes, turn)
            .await
    }

    /// Makes what is said of a job durable and lets it apply to its live run, if it has one.
    pub(super) async fn put_in_force(
        &self,
        known: Option<&JobRow>,
        file: &JobFile,
        changes: Vec<Change>,
        turn: Turn,
    ) -> Result<(), RuntimeError> {
        let told = match (known, self.orders(&file.name)) {
            (Some(known), Some(orders)) => Some((orders, self.reconfigured(known, file).await?)),
            (Some(_) | None, _) => None,
        };
        self.store().commit(changes).await.await?;
        self.tell_jobs_changed();
        drop(turn);
        if let Some((orders, (new, limiter, limits))) = told {
            // Why ok: a run that has just ended needs no edit.
            orders.send(Order::Reconfigure(Box::new(new))).await.ok();
            // Why last: permits of the new limits are for calls under the new retries.
            self.limiters().get(&limiter, limits, self.now())?;
        }
        Ok(())
    }

    /// What an edit of a live job changes for its run.
    async fn reconfigured(
        &self,
        known: &JobRow,
        file: &JobFile,
    ) -> Result<(Reconfigured, String, Limits), RuntimeError> {
        let row = self
            .store()
            .newest_run(&file.name)?
            .ok_or_else(|| RuntimeError::Conflict(format!("job {:?} has no run", file.name)))?;
        let stored = StoredPlan::from_json(&row.plan)?;
        if !stored.has_source_of(file) || stored.output != file.output {
            tracing::warn!(job = file.name, "{SOURCE_STAYS}");
            let told = self.event(&file.name, EventKind::Refused, SOURCE_STAYS);
            self.store().commit(vec![told]).await.await?;
        }
        let plan = self.plan_again(file, stored)?;
        let version = self.other_plugin(known, file).await?;
        let limiter = match self.limiters().known(&plan.limiter) {
            Some(limiter) => limiter,
            None => self
                .limiters()
                .get(&plan.limiter, plan.limits.clone(), self.now())?,
        };
        if let Some(live) = self.live().get_mut(&file.name) {
            live.limiter = Arc::clone(&limiter);
        }
        let new = Reconfigured {
            options: plan.options,
            machine: plan.item,
            limiter,
            weight: plan.weight,
            days: Days::new(plan.time_zone),
            course: plan.course,
            retry_share: plan.retry_share,
            schedule: plan.schedule,
            on_change: plan.source.on_change,
            when_empty: plan
                .source
                .queue()
                .map_or_else(WhenEmpty::default, |it| it.when_empty),
            version,
        };
        Ok((new, plan.limiter, plan.limits))
    }

    /// The plugin, where the edit names another one.
    async fn other_plugin(
        &self,
        known: &JobRow,
        file: &JobFile,
    ) -> Result<Option<Version>, RuntimeError> {
        let plugin = file.process.plugin.clone();
        if self.job_file(known)?.process.plugin == plugin {
            return Ok(None);
        }
        let engine = self.clone();
        let taking = tokio::task::spawn_blocking(move || {
            engine.plugins().for_run(&plugin, engine.is_service())
        });
        Ok(Some(taking.await.map_err(|_| RuntimeError::Closed)??))
    }

    pub(super) fn plan_again(
        &self,
        file: &JobFile,
        stored: StoredPlan,
    ) -> Result<Plan, RuntimeError> {
        let config = self.config_of(file)?;
        let name = self.plugins().name(&file.process.plugin)?;
        let outputs = self.outputs();
        Plan::with(file, &name, &config, outputs.as_deref(), stored)
    }

    /// Starts a job, or goes on with its unfinished run, also where that was paused, had failed or
    /// was stopped; after a finished one a new run begins only with `again`.
    pub async fn start(&self, file: &JobFile, again: bool) -> Result<Started, RuntimeError> {
        self.start_with(file, again, &Opening::default(), Vec::new())
            .await
    }

    /// As [`Engine::start`], with some records tried first, or only from one of them on.
    pub async fn start_at(
        &self,
        file: &JobFile,
        again: bool,
        opening: &Opening,
    ) -> Result<Started, RuntimeError> {
        self.start_with(file, again, opening, Vec::new()).await
    }

    /// As [`Engine::start`], with something that has to be in the same commit.
    pub(super) async fn start_with(
        &self,
        file: &JobFile,
        again: bool,
        opening: &Opening,
        with: Vec<Change>,
    ) -> Result<Started, RuntimeError> {
        loop {
            let turn = self.turn(&file.name).await;
            let Some(orders) = self.orders(&file.name) else {
                // Why boxed: it holds all that a run is made of, and would make every caller as large.
                return Box::pin(self.start_resting(file, again, opening, with, &turn)).await;
            };
            drop(turn);
            opening.refuse_under_way(&file.name)?;
            let mut changes = vec![self.event(&file.name, EventKind::Resumed, "")];
            changes.extend(with.iter().cloned());
            let left_out = self.newest(&file.name)?.checkpoint.left_out;
            let trial = opening.trial(left_out);
            let input = trial.map_or(Input::Resume, Input::Trial);
            // Why again otherwise: it has just ended.
            if was_told(&orders, input, changes).await {
                return Ok(Started::Running);
            }
        }
    }

    async fn start_resting(
        &self,
        file: &JobFile,
        again: bool,
        opening: &Opening,
        with: Vec<Change>,
        turn: &Turn,
    ) -> Result<Started, RuntimeError> {
        self.refuse_departed(&file.name)?;
        let file = &in_force(self.store().job(&file.name)?.as_ref(), file)?;
        let newest = self.store().newest_run(&file.name)?;
        match newest {
            Some(row) if row.checkpoint.status != RunStatus::Succeeded => {
                self.go_on_from(file, row, opening, with, turn).await?;
                return Ok(Started::Resumed);
            }
            Some(row) => {
                // Crash: the process may have ended between the run's end and these two.
                self.conclude(&row).await?;
                self.deliver(&row).await;
                if !again {
                    return Ok(Started::Finished);
                }
            }
            None => {}
        }
        self.begin(file, opening, with, turn).await?;
        Ok(Started::New)
    }

    /// Goes on with a run that rests.
    async fn go_on_from(
        &self,
        file: &JobFile,
        row: RunRow,
        opening: &Opening,
        mut changes: Vec<Change>,
        turn: &Turn,
    ) -> Result<(), RuntimeError> {
        opening.refuse_under_way(&file.name)?;
        let prepared = self.prepare(file, Some(&row)).await?;
        let trial = opening.trial(row.checkpoint.left_out);
        changes.extend(self.reopen(&row, trial)?);
        self.set_going(file, row.id, EventKind::Resumed, changes, prepared, turn)
            .await
    }

    /// A new execution with its run, which takes over the job's output file.
    async fn begin(
        &self,
        file: &JobFile,
        opening: &Opening,
        mut changes: Vec<Change>,
        turn: &Turn,
    ) -> Result<(), RuntimeError> {
        let prepared = self.prepare(file, None).await?;
        let plan = &prepared.plan;
        let ids = (self.store().next_execution_id(), self.store().next_run_id());
        let (text, now) = (plan.stored.to_json(), self.now());
        let beginning = self.beginning(&file.name, ids.1, opening, plan).await?;
        let checkpoint = beginning.checkpoint;
        let begun = executions::begin(&file.name, &plan.definition, text, ids, checkpoint, now)?;
        changes.extend(begun.changes);
        changes.extend(beginning.rows);
        let run = begun.run.id;
        if plan.output.is_some() {
            let (next, bytes, late) = (0, 0, Vec::new());
            let row = ExportRow { run, next, bytes };
            changes.push(Change::Export { row, late });
        }
        if let Some(known) = &prepared.fingerprint {
            changes.push(Change::Source(SourceRow {
                run,
                fingerprint: known.to_json(),
                accepted: false,
                at: now,
            }));
        }
        let job = file.name.clone();
        changes.push(Change::SupersedeExports { job, run });
        self.set_going(file, run, EventKind::Started, changes, prepared, turn)
            .await
    }

    async fn set_going(
        &self,
        file: &JobFile,
        run: RunId,
        kind: EventKind,
        mut changes: Vec<Change>,
        prepared: Prepared,
        turn: &Turn,
    ) -> Result<(), RuntimeError> {
        changes.extend(self.put_job(file)?);
        changes.push(Change::StartJob {
            name: file.name.clone(),
            started: true,
        });
        changes.push(self.event(&file.name, kind, format!("run {run}")));
        self.store().commit(changes).await.await?;
        self.tell_jobs_changed();
        // Why not kept elsewhere: it is started for whoever keeps jobs running next.
        if self.is_working() {
            self.keep(file.clone(), run, prepared, turn)?;
        }
        Ok(())
    }

    /// Goes on with the jobs that were started and have not ended; a paused one stays paused. Those
    /// that cannot go on are told and left as they stand.
    pub async fn resume_all(&self) -> Result<(), RuntimeError> {
        for job in self.store().jobs()? {
            if !job.started {
                continue;
            }
            let turn = self.turn(&job.name).await;
            if let Err(error) = self.go_on(&job, &turn).await {
                tracing::error!(job = job.name, %error, "cannot go on with a job");
            }
        }
        Ok(())
    }

    /// Makes a job live that rests and is to run, where jobs are kept running here.
    pub(super) async fn go_on(&self, job: &JobRow, turn: &Turn) -> Result<(), RuntimeError> {
        if self.live().contains_key(&job.name) {
            return Ok(());
        }
        self.refuse_departed(&job.name)?;
        let Some(row) = self.store().newest_run(&job.name)? else {
            return Ok(());
        };
        if row.checkpoint.status.is_ended() {
            // Crash: the run had ended and its execution had not been told.
            return self.conclude(&row).await;
        }
        let file = self.job_file(job)?;
        let prepared = self.prepare(&file, Some(&row)).await?;
        self.keep(file, row.id, prepared, turn)
    }

    /// Writes what ended runs still owe to their output files: the process went away before, or the
    /// file could not be written. What cannot be written now is still owed.
    pub(super) async fn deliver_rest(&self) -> Result<(), RuntimeError> {
        for run in self.store().undelivered_runs()? {
            let _turn = self.turn(&run.job).await;
            // Why read again: it may have been taken up since.
            if !self.live().contains_key(&run.job)
                && let Some(run) = self.store().run(run.id)?
                && run.checkpoint.status.is_ended()
            {
                self.deliver(&run).await;
            }
        }
        Ok(())
    }

    /// Writes what is left of a run's output. The caller has the job's turn.
    async fn deliver(&self, row: &RunRow) {
        let closing = self.closing();
        let written = async {
            let outputs = self.outputs();
            let plan = StoredPlan::from_json(&row.plan)?;
            let Some(spec) = plan.output(outputs.as_deref())? else {
                return Ok(());
            };
            let (run, store) = (row.id, self.store().clone());
            let export = Export { run, spec, store };
            let work = move || export.catch_up(|| *closing.borrow());
            let done = tokio::task::spawn_blocking(work).await;
            let done = done.map_err(|_| RuntimeError::Closed)?;
            done.map_err(|error| RuntimeError::Conflict(error.to_string()))
        };
        if let Err(error) = written.await {
            tracing::warn!(job = row.job, %error, "the output file still lacks results; they are safe in the state");
        }
    }

    /// The job as it was last taken over, with its file's place.
    pub fn job_file(&self, job: &JobRow) -> Result<JobFile, RuntimeError> {
        job.file()
            .map_err(|problems| RuntimeError::Job(problems.to_string()))
    }

    /// Takes note of a job as its file is now.
    fn put_job(&self, file: &JobFile) -> Result<Vec<Change>, RuntimeError> {
        let mut changes = vec![Change::PutJob(self.job_row(file)?)];
        let known = self.store().job(&file.name)?;
        if let Some(known) = &known {
            changes.extend(self.outdated(known, file));
        }
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
            overrides: file.overrides.clone(),
        })
    }

    /// Everything that may be missing or wrong is found out here, before anything is written.
    pub(super) async fn prepare(
        &self,
        file: &JobFile,
        row: Option<&RunRow>,
    ) -> Result<Prepared, RuntimeError> {
        let engine = self.clone();
        let file = file.clone();
        let stored = row
            .map(|row| StoredPlan::from_json(&row.plan))
            .transpose()?;
        let known = row
            .map(|row| self.store().source(row.id))
            .transpose()?
            .flatten();
        // Why not opened then: where it is missing, the run pauses and says so.
        let goes_on = stored.is_some();
        let work = move || {
            let service = engine.is_service();
            let plugin = engine.plugins().for_run(&file.process.plugin, service)?;
            let config = engine.config_of(&file)?;
            let outputs = engine.outputs();
            let name = plugin.manifest.name.as_str();
            let plan = match stored {
                Some(stored) => Plan::with(&file, name, &config, outputs.as_deref(), stored),
                None => Plan::of(&file, name, &config, outputs.as_deref()),
            }?;
            let mut origin = engine.origin(&plan, known);
            let mut fingerprint = None;
            if !goes_on {
                let begun = origin.begin(engine.now());
                fingerprint = begun
                    .map_err(|error| RuntimeError::Job(format!("job {:?}: {error}", plan.job)))?;
            }
            Ok(Prepared {
                plan,
                plugin,
                origin,
                fingerprint,
            })
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| RuntimeError::Closed)?
    }

    /// The source once more, for whoever looks through it beside the run.
    pub(super) async fn open_again(
        &self,
        plan: &Plan,
        run: RunId,
    ) -> Result<Box<dyn Source>, RuntimeError> {
        let (engine, job, spec) = (self.clone(), plan.job.clone(), plan.source.clone());
        tokio::task::spawn_blocking(move || engine.open_source(&job, run, &spec))
            .await
            .map_err(|_| RuntimeError::Closed)?
    }

    pub(super) fn open_source(
        &self,
        job: &str,
        run: RunId,
        spec: &SourceSpec,
    ) -> Result<Box<dyn Source>, RuntimeError> {
        if spec.queue().is_some() {
            return Ok(Box::new(Messages::new(spec, self.store().intake(run))));
        }
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
            spec,
            &mut OpenContext {
                spool_dir: &spool_dir,
                spool_bytes_max: SPOOL_BYTES_MAX,
                progress: &mut progress,
            },
        )
        .map_err(|error| RuntimeError::Job(format!("job {job:?}: {error}")))
    }

    fn origin(&self, plan: &Plan, known: Option<SourceRow>) -> Origin {
        // Why a damaged one is none: what the source is like is then taken note of anew.
        let known = known.and_then(|row| {
            let known = Fingerprint::from_json(&row.fingerprint);
            Some((known.ok()?, row.at, row.accepted))
        });
        Origin::new(OriginSetup {
            job: plan.job.clone(),
            spec: plan.source.clone(),
            known,
            spool_dir: self.paths().spool(),
            closing: self.closing(),
        })
        .tapping(Tap::new(self.clone(), &plan.job, &plan.source))
    }

    /// Where relative output paths start, where that is not beside the job's file.
    fn outputs(&self) -> Option<std::path::PathBuf> {
        self.is_service().then(|| self.paths().outputs())
    }

    /// Gives a run its keeper, where jobs are kept running here; else whoever serves next does.
    fn keep(
        &self,
        file: JobFile,
        run: RunId,
        prepared: Prepared,
        _turn: &Turn,
    ) -> Result<(), RuntimeError> {
        if self.is_working() {
            return Keeper::start(self.clone(), file, run, prepared);
        }
        Ok(())
    }

    /// Ends the execution of a run that has ended, if that was not done before. The caller has the
    /// job's turn.
    pub(super) async fn conclude(&self, row: &RunRow) -> Result<(), RuntimeError> {
        if !row.checkpoint.status.is_ended() {
            return Ok(());
        }
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

    /// Writes down that the end was in good order, and leaves the file tidy.
    async fn end_session(&self, in_time: bool) {
        if self.is_working() {
            let ends = chronicler::end(self.now(), in_time);
            if let Err(error) = self.store().commit(ends).await.await {
                tracing::warn!(%error, "the next start will not know of this end");
            }
        }
        self.store().tidy().await;
    }

    /// Ends everything within `grace` and a few seconds: what is in flight may finish, nothing new is
    /// taken. Runs stay as they stand and go on when somebody opens the directory again.
    pub async fn shut_down(&self, grace: Duration) {
        self.begin_closing();
        let live: Vec<Reach> = {
            let live = self.live();
            let reach = |live: &super::engine::Live| Reach {
                orders: live.orders.clone(),
                quit: Arc::clone(&live.quit),
                gone: live.gone.clone(),
            };
            live.values().map(reach).collect()
        };
        let mut drains = JoinSet::new();
        for reach in &live {
            drains.spawn(drain(reach.orders.clone()));
        }
        let in_time = tokio::time::timeout(grace, all_gone(&live)).await.is_ok();
        if !in_time {
            tracing::warn!(
                "not everything in flight has ended in time; it is called again at the next start"
            );
            for reach in &live {
                reach.quit.notify_one();
            }
            if tokio::time::timeout(QUIT_MAX, all_gone(&live))
                .await
                .is_err()
            {
                tracing::error!("not everything has ended; it is left to the end of the process");
            }
        }
        if tokio::time::timeout(QUIT_MAX, self.conductor_gone())
            .await
            .is_err()
        {
            tracing::error!("the conductor has not ended; it is left to the end of the process");
        }
        // Why no bound: the courier has one of its own.
        self.courier_gone().await;
        if self.is_working() {
            Notifier::new(self.clone()).last_words().await;
        }
        // Why a bound: on a full disk the writer goes on trying, and nothing is lost by not waiting.
        drop(tokio::time::timeout(TIDY_MAX, self.end_session(in_time)).await);
    }
}

/// How a live job is reached when everything ends.
struct Reach {
    orders: mpsc::Sender<Order>,
    quit: Arc<Notify>,
    gone: Gone,
}

async fn all_gone(live: &[Reach]) {
    for reach in live {
        reach.gone.clone().wait().await;
    }
}

async fn drain(orders: mpsc::Sender<Order>) {
    let (done, _) = oneshot::channel();
    let order = Order::Tell {
        input: Input::Drain,
        changes: Vec::new(),
        done,
    };
    // Why dropped: an actor that is gone needs no orders.
    drop(orders.send(order).await);
}
