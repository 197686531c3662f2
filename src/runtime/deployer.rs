//! Puts versions of plugins in force.
//!
//! Owns the order of a deploy: the folder is copied, a worker of the copy starts, one commit writes it
//! down with its event, and then the live runs that use the plugin take it up. Where another version is
//! in force and at work, the new one [proves itself](super::canaries) on some calls first, and is in force
//! when it has; where nothing calls it, there is nothing to prove it by. What was found wrong before the
//! commit changes nothing.
//! Crash: before the commit nothing has happened; after it, a run that is made anew finds the version
//! that is in force, and the one that proves itself (`keeper`).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Engine, RuntimeError,
    canaries::rolled_back,
    control::unknown_job,
    plugins::{Taken, Verdicts, manifest_of},
    run::RunView,
};
use crate::{
    config::job::PluginRef,
    ids::VersionNumber,
    iteration::{PauseReason, RunStatus},
    plugin::Version,
    store::{Change, EventKind, RunRow},
};

/// How long a deploy waits for its runs to switch: their workers start as the proof's did, which may
/// load a model; a run that takes longer switches all the same.
const SWITCH_PATIENCE: Duration = Duration::from_secs(30);

/// What is to be put in force.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// A plugin's name, its folder (with a slash in it), or a job.
    pub what: String,
    /// The folder to take; the plugin's own where it is not named.
    pub from: Option<PathBuf>,
    /// An earlier version, instead of a folder.
    pub version: Option<u32>,
    /// Go on with the runs that were paused because their calls kept failing.
    pub resume: bool,
    /// Put it in force without a proof; an earlier version needs none.
    pub at_once: bool,
    /// Who wants that.
    pub author: String,
}

/// What a deploy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The name in the plugin's manifest.
    pub plugin: String,
    /// The version that was deployed.
    pub version: u32,
    /// The one before; `None`: there was none.
    pub before: Option<u32>,
    /// Whether it is in force.
    pub stage: Stage,
    /// The jobs that use the plugin, by name.
    pub jobs: Vec<DeployedJob>,
}

/// How far a deployed version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// New calls go to it.
    InForce,
    /// It proves itself, or will as soon as something calls it.
    Canary,
}

/// What a deploy means to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedJob {
    /// The job's name.
    pub name: String,
    /// Whether its calls go to the version already.
    pub switch: Switch,
    /// Whether it is paused, after the deploy.
    pub paused: bool,
    /// Whether the deploy has ended its pause.
    pub resumed: bool,
}

/// Whether the calls of a job go to a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// They do.
    Done,
    /// Some of them do: it proves itself.
    Canary,
    /// Its workers have not started yet.
    Pending,
    /// It is not running here; they will when it is.
    AtStart,
}

/// How long a deploy waits for what its version shows: at a brisk pace it is known by then, and at an
/// API's pace nobody wants to sit by it.
const PROOF_PATIENCE: Duration = Duration::from_secs(10);

/// What is deployed, copied and checked as far as that needs no worker.
struct Found {
    place: String,
    taken: Taken,
    /// The plugin and version in force.
    before: Option<(String, u32)>,
    /// The number that the content has already.
    known: Option<u32>,
    jobs: Vec<String>,
}

impl Engine {
    /// Puts a version in force; see the module. One at a time.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Deployed, RuntimeError> {
        let deploying = self.plugins().deploying.lock().await;
        let engine = self.clone();
        let order = deploy.clone();
        let found = tokio::task::spawn_blocking(move || engine.find_deploy(&order));
        let found = found.await.map_err(|_| RuntimeError::Closed)??;
        let plugin = found.taken.manifest.name.clone();
        let before = found.before.as_ref().map(|(_, version)| *version);
        let in_force = found
            .known
            .filter(|known| found.before == Some((plugin.clone(), *known)));
        let (jobs, place) = (found.jobs.clone(), found.place.clone());
        let mut canary = false;
        let version = if let Some(number) = in_force {
            // Why: who deploys what is in force wants nothing beside it.
            if let Some(row) = self.store().canary(&place)? {
                let why = format!("version {number} was deployed again by {}", deploy.author);
                let withdrawn = VersionNumber(row.version);
                self.conclude_canary(&plugin_at(&place), withdrawn, Some(&why))
                    .await?;
            }
            found.taken.version(number)
        } else {
            let asked = !deploy.at_once && deploy.version.is_none();
            canary = before.is_some() && asked && self.is_called(&place, &jobs);
            self.prove(found.taken.version(found.known.unwrap_or(0)))
                .await?;
            // Why: the same version may have been judged before.
            self.plugins().verdicts.send_modify(|verdicts| {
                verdicts.remove(&place);
            });
            let engine = self.clone();
            let author = deploy.author.clone();
            let put =
                tokio::task::spawn_blocking(move || engine.put_deploy(&found, canary, &author));
            put.await.map_err(|_| RuntimeError::Closed)??
        };
        let verdicts = self.plugins().verdicts.subscribe();
        drop(deploying);
        let jobs = self
            .switch(jobs, &place, &version, deploy.resume, canary)
            .await?;
        let stage = if canary {
            let live = jobs.iter().any(|job| job.switch == Switch::Canary);
            self.await_proof(&place, &version, verdicts, live).await?
        } else {
            Stage::InForce
        };
        let done = stage == Stage::InForce;
        let jobs = jobs.into_iter().map(|job| match job.switch {
            Switch::Canary if done => DeployedJob {
                switch: Switch::Done,
                ..job
            },
            Switch::Canary | Switch::Done | Switch::Pending | Switch::AtStart => job,
        });
        Ok(Deployed {
            plugin,
            version: version.number.0,
            before,
            stage,
            jobs: jobs.collect(),
        })
    }

    /// Whether something here calls the plugin: a live run, or executions.
    pub(super) fn is_called(&self, place: &str, jobs: &[String]) -> bool {
        // Why not where it has ended: its keeper is about to take it out.
        let works = |job: &String| {
            let view = self.view(job);
            view.is_some_and(|view| !view.borrow().figures.status.is_ended())
        };
        jobs.iter().any(works) || self.plugins().is_function(place)
    }

    /// Waits a while for what a version shows; an error where it is refuted.
    async fn await_proof(
        &self,
        place: &str,
        version: &Version,
        mut verdicts: watch::Receiver<Verdicts>,
        live: bool,
    ) -> Result<Stage, RuntimeError> {
        let known = |verdicts: &Verdicts| {
            let verdict = verdicts.get(place).filter(|(of, _)| *of == version.number);
            verdict.map(|(_, refuted)| refuted.clone())
        };
        let patience = if live { PROOF_PATIENCE } else { Duration::ZERO };
        let waiting = verdicts.wait_for(|verdicts| known(verdicts).is_some());
        let verdict = match tokio::time::timeout(patience, waiting).await {
            Ok(Ok(verdicts)) => known(&verdicts),
            Ok(Err(_)) | Err(_) => None,
        };
        match verdict {
            None => Ok(Stage::Canary),
            Some(None) => Ok(Stage::InForce),
            Some(Some(cause)) => Err(RuntimeError::Plugin {
                plugin: version.manifest.name.clone(),
                cause: rolled_back(version.number, &cause),
            }),
        }
    }

    /// Finds out what is to be deployed where, and takes a copy. Blocks.
    fn find_deploy(&self, deploy: &Deploy) -> Result<Found, RuntimeError> {
        let (plugin, place) = self.find_plugin(&deploy.what)?;
        let row = self.store().in_force(&place)?;
        let taken = match (deploy.version, &deploy.from) {
            (Some(number), _) => {
                let name = match &row {
                    Some(row) => row.plugin.clone(),
                    None => self.plugins().name(&plugin)?,
                };
                let version = self.plugins().version(&name, number)?;
                self.plugins().take(&version.folder)?
            }
            (None, Some(from)) => self.take_other(from, &plugin)?,
            (None, None) => {
                let folder = self.plugins().folder(&plugin).unwrap_or_default();
                self.plugins().take(&folder)?
            }
        };
        let known = self
            .store()
            .version_of(&taken.manifest.name, &taken.snapshot.hash)?;
        Ok(Found {
            jobs: self.jobs_at(&place)?,
            before: row.map(|row| (row.plugin, row.version)),
            place,
            taken,
            known,
        })
    }

    /// A copy of another folder than the plugin's own.
    fn take_other(&self, from: &Path, plugin: &PluginRef) -> Result<Taken, RuntimeError> {
        let found = manifest_of(from)?.name;
        let name = self.plugins().name(plugin)?;
        if found != name {
            return Err(RuntimeError::Plugin {
                plugin: name.clone(),
                cause: format!(
                    "the plugin in {} is {found:?}; write name = {name:?} into its plugin.toml if it is to take over",
                    from.display()
                ),
            });
        }
        self.plugins().take(from)
    }

    /// The one commit of a deploy. Blocks.
    fn put_deploy(
        &self,
        found: &Found,
        canary: bool,
        author: &str,
    ) -> Result<Version, RuntimeError> {
        let plugin = &found.taken.manifest.name;
        let events = |number: u32| -> Vec<Change> {
            let was = match &found.before {
                Some((_, before)) if canary => format!(" proves itself beside version {before}"),
                Some((_, before)) => format!(", after version {before}"),
                None => String::new(),
            };
            let kind = if canary {
                EventKind::Canary
            } else {
                EventKind::InForce
            };
            let detail = format!("version {number} of plugin {plugin}{was}");
            self.for_jobs(author, &found.jobs, kind, &detail)
        };
        let (place, taken) = (&found.place, &found.taken);
        if canary {
            self.plugins().begin_canary(place, taken, author, events)
        } else {
            self.plugins().put_in_force(place, taken, author, events)
        }
    }

    /// Has the calls of these jobs go to a version, and ends pauses where that is wanted.
    async fn switch(
        &self,
        jobs: Vec<String>,
        place: &str,
        version: &Version,
        resume: bool,
        canary: bool,
    ) -> Result<Vec<DeployedJob>, RuntimeError> {
        self.put_in_use(&jobs, version, canary).await;
        let deadline = tokio::time::Instant::now() + SWITCH_PATIENCE;
        let mut deployed = Vec::with_capacity(jobs.len());
        for name in jobs {
            let switch = self.has_switched(&name, place, version, deadline).await;
            let row = self.store().newest_run(&name)?;
            let mended = row.as_ref().is_some_and(is_held_by_failures);
            let mut paused = row.is_some_and(|row| row.checkpoint.status == RunStatus::Paused);
            // Why not where it is pending: it would go on with the version that made it fail.
            let resumed = resume && mended && switch != Switch::Pending;
            if resumed {
                self.resume(&name).await?;
                paused = false;
            }
            deployed.push(DeployedJob {
                name,
                switch,
                paused,
                resumed,
            });
        }
        Ok(deployed)
    }

    async fn has_switched(
        &self,
        job: &str,
        place: &str,
        version: &Version,
        deadline: tokio::time::Instant,
    ) -> Switch {
        let Some(mut view) = self.view(job) else {
            return Switch::AtStart;
        };
        let proves = |view: &RunView| view.canary.is_some_and(|(it, _)| it == version.number);
        let switched = view.wait_for(|view| view.version == version.number || proves(view));
        let mut verdicts = self.plugins().verdicts.subscribe();
        let judged = verdicts.wait_for(|verdicts| {
            let verdict = verdicts.get(place);
            verdict.is_some_and(|(of, _)| *of == version.number)
        });
        let switched = tokio::select! {
            switched = tokio::time::timeout_at(deadline, switched) => switched,
            // Why: what was judged elsewhere, or withdrawn, may never be seen here.
            _ = judged => return Switch::Canary,
        };
        match switched {
            Ok(Ok(view)) if view.version == version.number => Switch::Done,
            Ok(Ok(_)) => Switch::Canary,
            Ok(Err(_)) => Switch::AtStart,
            Err(_) => Switch::Pending,
        }
    }

    /// The plugin that somebody names by its name, its folder or a job, and its place.
    pub(super) fn find_plugin(&self, what: &str) -> Result<(PluginRef, String), RuntimeError> {
        let mut found: Vec<(PluginRef, String)> = Vec::new();
        let mut add = |plugin: PluginRef| {
            if let Some(place) = self.plugins().place(&plugin)
                && found.iter().all(|(_, known)| *known != place)
            {
                found.push((plugin, place));
            }
        };
        let used = self.plugins_of_jobs()?;
        if what.contains('/') {
            let wanted = Path::new(what);
            let real = wanted.canonicalize().ok();
            for (_, plugin) in &used {
                if let PluginRef::Folder(folder) = plugin
                    && real.is_some()
                    && folder.canonicalize().ok() == real
                {
                    add(plugin.clone());
                }
            }
            if found.is_empty() {
                let plugin = PluginRef::Folder(wanted.to_owned());
                found.extend(self.plugins().place(&plugin).map(|place| (plugin, place)));
            }
        } else {
            for (_, plugin) in used.iter().filter(|(job, _)| job == what) {
                add(plugin.clone());
            }
            for row in self.store().all_in_force()? {
                if row.plugin == what || row.place == what {
                    add(plugin_at(&row.place));
                }
            }
            let named = PluginRef::Name(what.to_owned());
            if self.plugins().folder(&named).is_some_and(|it| it.is_dir()) {
                add(named);
            }
        }
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 if used.iter().any(|(job, _)| job == what) || what == super::IDENTITY => {
                Err(RuntimeError::Conflict(format!(
                    "{what:?} names the built-in plugin, which has no versions"
                )))
            }
            0 => Err(unknown_plugin(self, what)),
            _ => {
                let places: Vec<&str> = found.iter().map(|(_, place)| place.as_str()).collect();
                Err(RuntimeError::Conflict(format!(
                    "{what:?} may be the plugin at any of these: {}; name its folder, with a slash in it",
                    places.join(", ")
                )))
            }
        }
    }

    /// The jobs whose plugin lies at a place.
    pub(super) fn jobs_at(&self, place: &str) -> Result<Vec<String>, RuntimeError> {
        let used = self.plugins_of_jobs()?.into_iter();
        let here =
            used.filter(|(_, plugin)| self.plugins().place(plugin).as_deref() == Some(place));
        Ok(here.map(|(job, _)| job).collect())
    }

    fn plugins_of_jobs(&self) -> Result<Vec<(String, PluginRef)>, RuntimeError> {
        let jobs = self.store().jobs()?.into_iter();
        // Why the others are left out: a file that does not count names no plugin.
        let plugin = |job| Some(self.job_file(&job).ok()?.process.plugin);
        Ok(jobs
            .filter_map(|job| Some((job.name.clone(), plugin(job)?)))
            .collect())
    }
}

/// Whether a run is paused because of what its handler did.
fn is_held_by_failures(row: &RunRow) -> bool {
    let reason = row.checkpoint.pause.as_ref();
    row.checkpoint.status == RunStatus::Paused && reason.is_some_and(PauseReason::is_of_failures)
}

/// The plugin at a place.
fn plugin_at(place: &str) -> PluginRef {
    if place.contains('/') {
        PluginRef::Folder(place.into())
    } else {
        PluginRef::Name(place.to_owned())
    }
}

fn unknown_plugin(engine: &Engine, what: &str) -> RuntimeError {
    if what.contains('/') {
        return RuntimeError::Plugin {
            plugin: what.to_owned(),
            cause: "there is no such folder".to_owned(),
        };
    }
    let RuntimeError::UnknownJob { name, hint } = unknown_job(engine.store(), what) else {
        return RuntimeError::Closed;
    };
    RuntimeError::UnknownJob {
        hint: format!(
            "{hint}; nor is there a plugin of that name: one that was never used is named by its folder, as ./{name}"
        ),
        name,
    }
}
