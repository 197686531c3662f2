//! Takes a run over from another state directory, with all that belongs to it.
//!
//! Owns the order in which that is done. Rows are copied while nobody reads them yet; then the other
//! directory says that the run has gone; then one commit makes it this directory's. Crash: before
//! the second step the run is still the other's, and what was copied is removed by the next try;
//! behind it nobody goes on with the run before the adoption is repeated, which then ends it.
//! Invariant: nothing is removed from the other directory, and a run never goes on in both.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Engine, Plan, RuntimeError, StateDir, StatePaths, StoredPlan, adopted_output::Output,
    engine::rescue, plugins::plugin_manifest, unknown_job,
};
use crate::{
    config::job::JobFile,
    ids::RunId,
    iteration::RunStatus,
    limiter::{Limiter, LimiterState},
    plugin::{self, SnapshotLimits},
    store::{
        AdoptionRow, Change, CopiedValue, Copying, DepartureRow, DeployedVersion, EventKind,
        ExportRow, JobRow, RunRow, Store, StoreError, StoreSettings, VersionRow,
    },
};

/// Rows of an adoption that was not done, removed in one commit from each table.
const DROP_ROWS_MAX: u32 = 10_000;

/// Of a job's events, the newest so many come along: they are written in one commit.
const EVENTS_MAX: u32 = 10_000;

/// What was taken over.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The run's number here.
    pub run: RunId,
    /// Where it stands.
    pub status: RunStatus,
    /// Items with a result.
    pub done: u64,
    /// Items that failed for good.
    pub failed: u64,
    /// The record at which it goes on.
    pub next: u64,
    /// What a person should know: where the output goes on, what did not come along.
    pub notes: Vec<String>,
}

impl Engine {
    /// Takes over the newest run of a job from another state directory, which nobody may own; `file`
    /// is its job file from now on, where it is not the one that is known.
    pub async fn adopt(
        &self,
        job: &str,
        from: &Path,
        file: Option<&Path>,
        author: &str,
    ) -> Result<Adopted, RuntimeError> {
        let turn = self.turn(job).await;
        let work = Adopter {
            engine: self.clone(),
            job: job.to_owned(),
            from: from.to_owned(),
            file: file.map(Path::to_owned),
            author: author.to_owned(),
        };
        let working = tokio::task::spawn_blocking(move || work.work());
        let mut adopted = working.await.map_err(|_| RuntimeError::Closed)??;
        drop(turn);
        self.tell_jobs_changed();
        if let Err(error) = self.go_on_with(job).await {
            adopted.notes.push(format!("it cannot go on yet: {error}"));
        }
        Ok(adopted)
    }

    /// Refuses what would make a run go on that went to another state directory.
    pub(super) fn refuse_departed(&self, job: &str) -> Result<(), RuntimeError> {
        let Some(gone) = self.store().departure(job)? else {
            return Ok(());
        };
        let DepartureRow {
            directory,
            author,
            at,
            ..
        } = gone;
        Err(RuntimeError::Conflict(format!(
            "job {job:?} was taken over into {directory} by {author} at {at}; go on with it there: iterd --state {directory} start {job}"
        )))
    }
}

struct Adopter {
    engine: Engine,
    job: String,
    from: PathBuf,
    file: Option<PathBuf>,
    author: String,
}

/// The other directory, which is ours for as long as this lives.
struct There {
    store: Store,
    job: JobRow,
    run: RunRow,
    /// It says already that the run has gone to us.
    departed: bool,
    root: PathBuf,
    _state: StateDir,
}

/// Everything that is found out before anything is written.
struct Intent {
    file: JobFile,
    plan: Plan,
    plugin: String,
    output: Output,
}

impl Adopter {
    fn work(&self) -> Result<Adopted, RuntimeError> {
        self.refuse_unfinished()?;
        let there = self.there()?;
        let intent = self.intent(&there)?;
        let run = self.begin(&there)?;
        let versions = self.versions(&there, &intent.plugin)?;
        self.copy_rows(&there, &intent, run, &versions)?;
        let mut notes = intent.output.carry()?;
        if !intent.plan.stored.has_source_of(&intent.file) {
            notes.push(
                "the job file names another [source]; the run goes on with the one it began with"
                    .to_owned(),
            );
        }
        if !there.departed {
            self.depart(&there)?;
        }
        self.finish(&there, &intent, run, &versions, &mut notes)?;
        let checkpoint = &there.run.checkpoint;
        Ok(Adopted {
            run,
            status: checkpoint.status,
            done: checkpoint.counters.done,
            failed: checkpoint.counters.failed,
            next: checkpoint.watermark,
            notes,
        })
    }

    fn store(&self) -> &Store {
        self.engine.store()
    }

    fn here(&self) -> PathBuf {
        let root = self.engine.paths().root();
        std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned())
    }

    /// A run of the job that went away may come back; any other unfinished one is in the way.
    fn refuse_unfinished(&self) -> Result<(), RuntimeError> {
        let job = &self.job;
        let newest = self.store().newest_run(job)?;
        let in_the_way = newest.filter(|row| row.checkpoint.status != RunStatus::Succeeded);
        match in_the_way {
            Some(row) if self.store().departure(job)?.is_none() => {
                let (run, status) = (row.id, row.checkpoint.status.as_str());
                Err(RuntimeError::Conflict(format!(
                    "job {job:?} has an unfinished run here already (run {run}, {status}); let it finish first, or adopt into another state directory"
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Owns the other directory and finds the run in it.
    fn there(&self) -> Result<There, RuntimeError> {
        let root = std::fs::canonicalize(&self.from).map_err(|error| RuntimeError::Io {
            what: format!("cannot adopt from {}", self.from.display()),
            error,
        })?;
        let here = self.here();
        if root == here {
            let root = root.display();
            return Err(RuntimeError::Conflict(format!(
                "{root} is this state directory itself; name the one that the run is in with --from"
            )));
        }
        // Why first: a directory that holds no state must not be made one.
        Store::open_read_only(&root)?;
        let state = StateDir::own(&root)?;
        let store = Store::open(&root, StoreSettings::default())?;
        rescue(&store)?;
        let job = store
            .job(&self.job)?
            .ok_or_else(|| unknown_job(&store, &self.job))?;
        let run = store.newest_run(&self.job)?.ok_or_else(|| {
            RuntimeError::Conflict(format!("job {:?} was never started there", self.job))
        })?;
        let departed = match store.departure(&self.job)? {
            None => false,
            Some(gone)
                if Path::new(&gone.directory) == here
                    && self.store().begun_adoption(&self.job)?.is_some() =>
            {
                true
            }
            Some(gone) => {
                let (job, directory, at) = (&self.job, gone.directory, gone.at);
                return Err(RuntimeError::Conflict(format!(
                    "job {job:?} was taken over into {directory} at {at} already; adopt it from there"
                )));
            }
        };
        let needed = std::fs::metadata(store.path()).map_or(0, |file| file.len());
        let free = self.engine.disk().free().unwrap_or(u64::MAX);
        if free < needed.saturating_add(self.engine.disk().free_min()) {
            return Err(RuntimeError::Conflict(format!(
                "{needed} bytes may be copied, and {free} are free where {} lies; make room first",
                here.display()
            )));
        }
        Ok(There {
            store,
            job,
            run,
            departed,
            root,
            _state: state,
        })
    }

    fn intent(&self, there: &There) -> Result<Intent, RuntimeError> {
        let file = match (&self.file, self.store().job(&self.job)?) {
            (Some(path), _) => JobFile::read(path)?,
            (None, Some(known)) => self.engine.job_file(&known)?,
            (None, None) => self.engine.job_file(&there.job)?,
        };
        if file.name != self.job {
            let (path, name, job) = (file.file.display(), &file.name, &self.job);
            return Err(RuntimeError::Conflict(format!(
                "{path} is the file of job {name:?}, not of {job:?}"
            )));
        }
        let stored = StoredPlan::from_json(&there.run.plan)?;
        let plan = self.engine.plan_again(&file, stored)?;
        let plugin = plugin_manifest(&file.process.plugin, &self.engine.config())?.name;
        let output = Output::find(
            &plan,
            &StatePaths::new(&there.root).outputs(),
            there.store.export(there.run.id)?,
            self.engine.is_service(),
        )?;
        Ok(Intent {
            file,
            plan,
            plugin,
            output,
        })
    }

    /// Takes a number for the run, or the one of an adoption that was not done, whose copies go.
    fn begin(&self, there: &There) -> Result<RunId, RuntimeError> {
        let run = match self.store().begun_adoption(&self.job)? {
            Some(begun) => {
                while self.store().has_copied(begun.run)? {
                    self.commit(vec![Change::DropCopied {
                        run: begun.run,
                        rows_max: DROP_ROWS_MAX,
                    }])?;
                }
                begun.run
            }
            None => self.store().next_run_id(),
        };
        self.commit(vec![Change::BeginAdoption(AdoptionRow {
            run,
            job: self.job.clone(),
            directory: there.root.to_string_lossy().into_owned(),
            run_there: there.run.id,
            author: self.author.clone(),
            begun: self.engine.now(),
        })])?;
        Ok(run)
    }

    /// The plugin's versions there come along; by content, so that what is here already stays.
    fn versions(&self, there: &There, plugin: &str) -> Result<BTreeMap<i64, i64>, RuntimeError> {
        let mut numbers = BTreeMap::new();
        let folders = StatePaths::new(&there.root).plugins().join(plugin);
        // Why from the oldest on: versions that are new here keep their order.
        for DeployedVersion { row, .. } in there.store.versions(plugin)?.into_iter().rev() {
            let (version, hash) = (row.version, row.hash);
            let known = self.store().version_of(plugin, &hash)?;
            let number = match known {
                Some(known) => known,
                None => self.new_version(plugin, &hash)?,
            };
            numbers.insert(i64::from(version), i64::from(number));
            let folder = folders.join(&hash);
            let plugins = self.engine.paths().plugins();
            if folder.is_dir()
                && let Err(error) =
                    plugin::snapshot(&folder, &plugins, plugin, SnapshotLimits::default())
            {
                tracing::warn!(plugin, version, %error, "a version's files do not come along");
            }
        }
        Ok(numbers)
    }

    fn new_version(&self, plugin: &str, hash: &str) -> Result<u32, RuntimeError> {
        let version = self.store().newest_version(plugin)?.saturating_add(1);
        self.commit(vec![Change::NewVersion(VersionRow {
            plugin: plugin.to_owned(),
            version,
            hash: hash.to_owned(),
            created: self.engine.now(),
        })])?;
        Ok(version)
    }

    fn copy_rows(
        &self,
        there: &There,
        intent: &Intent,
        run: RunId,
        versions: &BTreeMap<i64, i64>,
    ) -> Result<(), RuntimeError> {
        for table in there.store.tables_of_runs()? {
            if intent.output.begins_anew() && (table == "exports" || table == "late_results") {
                continue;
            }
            let copying = Copying {
                key: ("run", there.run.id.0.into()),
                put: &[("run", run.0.into())],
                ..of_table(&table, versions)
            };
            there.store.copy(&copying, |rows| self.give(rows))?;
        }
        Ok(())
    }

    /// The other directory says that the run has gone, and starts it no more.
    fn depart(&self, there: &There) -> Result<(), RuntimeError> {
        let (here, at) = (self.here(), self.engine.now());
        let detail = format!("into {}", here.display());
        let changes = vec![
            Change::Depart(DepartureRow {
                job: self.job.clone(),
                directory: here.to_string_lossy().into_owned(),
                author: self.author.clone(),
                at,
            }),
            Change::StartJob {
                name: self.job.clone(),
                started: false,
            },
            self.engine
                .event_by(&self.author, &self.job, EventKind::Departed, detail),
        ];
        Ok(there.store.commit_blocking(changes)?)
    }

    /// One commit, with which the run is ours.
    fn finish(
        &self,
        there: &There,
        intent: &Intent,
        run: RunId,
        versions: &BTreeMap<i64, i64>,
        notes: &mut Vec<String>,
    ) -> Result<(), RuntimeError> {
        let job = &self.job;
        let mut changes = vec![Change::RemoveJob { name: job.clone() }];
        self.take_execution(there, intent, run, versions, &mut changes)?;
        self.take_job(there, intent, versions, &mut changes)?;
        changes.push(Change::SupersedeExports {
            job: job.clone(),
            run,
        });
        if intent.output.begins_anew() {
            let (next, bytes, late) = (0, 0, Vec::new());
            let row = ExportRow { run, next, bytes };
            changes.push(Change::Export { row, late });
        }
        changes.extend(self.limiter(there, &intent.plan, notes)?);
        let root = there.root.display();
        let detail = format!("from {root}: run {} there", there.run.id);
        changes.push(Change::EndAdoption {
            run,
            job: job.clone(),
            at: self.engine.now(),
        });
        changes.push(
            self.engine
                .event_by(&self.author, job, EventKind::Adopted, detail),
        );
        self.commit(changes)
    }

    /// The execution with its frames, and the run itself.
    fn take_execution(
        &self,
        there: &There,
        intent: &Intent,
        run: RunId,
        versions: &BTreeMap<i64, i64>,
        changes: &mut Vec<Change>,
    ) -> Result<(), RuntimeError> {
        let row = &there.run;
        let execution = there.store.execution(row.execution)?;
        let execution = execution.ok_or_else(|| RuntimeError::Damaged {
            what: format!("run {} in {}", row.id, there.root.display()),
            cause: "its execution is missing".to_owned(),
        })?;
        changes.push(Change::MakeWay {
            machine: execution.machine,
            name: execution.name,
        });
        let number = self.store().execution_id_from(row.execution).0;
        let plan = intent.output.pinned(&intent.plan.stored).to_json();
        let execution = CopiedValue::from(row.execution.0);
        let mut take = |table: &str, key, put: &[(&str, CopiedValue)]| {
            let copying = Copying {
                key,
                put,
                ..of_table(table, versions)
            };
            gather(&there.store, &copying, changes)
        };
        let id = [("id", number.into())];
        take("executions", ("id", execution.clone()), &id)?;
        let of_execution = [("execution", number.into())];
        take("frames", ("execution", execution), &of_execution)?;
        let of_run = [
            ("id", run.0.into()),
            ("execution", number.into()),
            ("plan", plan.into()),
        ];
        take("runs", ("id", row.id.0.into()), &of_run)?;
        Ok(())
    }

    /// The job, with its file as it is from now on, and what happened to it.
    fn take_job(
        &self,
        there: &There,
        intent: &Intent,
        versions: &BTreeMap<i64, i64>,
        changes: &mut Vec<Change>,
    ) -> Result<(), RuntimeError> {
        let path = &intent.file.file;
        let path = std::path::absolute(path).map_err(|error| RuntimeError::Io {
            what: format!("cannot tell where {} lies", path.display()),
            error,
        })?;
        let started = i64::from(!there.run.checkpoint.status.is_ended());
        let name = || CopiedValue::from(self.job.clone());
        let job = Copying {
            key: ("name", name()),
            put: &[
                ("path", path.to_string_lossy().into_owned().into()),
                ("text", intent.file.text.clone().into()),
                ("started", started.into()),
            ],
            ..of_table("jobs", versions)
        };
        gather(&there.store, &job, changes)?;
        let events = Copying {
            key: ("job", name()),
            newest: Some(EVENTS_MAX),
            ..of_table("events", versions)
        };
        gather(&there.store, &events, changes)
    }

    /// What was spent there is spent here, too.
    fn limiter(
        &self,
        there: &There,
        plan: &Plan,
        notes: &mut Vec<String>,
    ) -> Result<Option<Change>, RuntimeError> {
        let (name, now) = (&plan.limiter, self.engine.now());
        let Some(state) = there.store.limiter(name)? else {
            return Ok(None);
        };
        let damaged = |cause: String| RuntimeError::Damaged {
            what: format!("the state of limiter {name:?} in {}", there.root.display()),
            cause,
        };
        let stored: LimiterState =
            serde_json::from_str(&state).map_err(|error| damaged(error.to_string()))?;
        let limiters = self.engine.limiters();
        if limiters.known(name).is_none() && self.store().limiter(name)?.is_none() {
            return Ok(Some(Change::Limiter {
                name: name.clone(),
                sequence: stored.sequence(),
                state,
            }));
        }
        let spent = Limiter::restore(plan.limits.clone(), stored, now)
            .map_err(|error| damaged(error.to_string()))?
            .usage(now);
        let here = limiters.get(name, plan.limits.clone(), now)?;
        here.add_spent(&spent, now);
        notes.push(format!(
            "limiter {name} was used here before: {} permits of the current window are added to what it had spent",
            u64::from(spent.first) + u64::from(spent.retry)
        ));
        Ok(here.unsaved(&mut 0))
    }

    fn give(&self, rows: Change) -> Result<(), StoreError> {
        // Why: a shutdown must not wait for gigabytes; the adoption is repeated.
        if *self.engine.closing().borrow() {
            return Err(StoreError::Closed);
        }
        self.store().commit_blocking(vec![rows])
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), RuntimeError> {
        Ok(self.store().commit_blocking(changes)?)
    }
}

/// Rows for the commit at hand, which are few.
fn gather(
    store: &Store,
    copying: &Copying<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), RuntimeError> {
    store.copy(copying, |rows| {
        changes.push(rows);
        Ok(())
    })?;
    Ok(())
}

fn of_table<'a>(table: &'a str, versions: &'a BTreeMap<i64, i64>) -> Copying<'a> {
    Copying {
        table,
        key: ("run", 0.into()),
        put: &[],
        versions,
        newest: None,
    }
}
