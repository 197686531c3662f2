//! Deploys plugins: takes an immutable copy of a plugin's folder, gives it a number, opens pools,
//! and tells what happens in them.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;

use super::{RuntimeError, state_dir::StatePaths};
use crate::{
    config::{Config, Sandbox, job::PluginRef},
    ids::VersionNumber,
    plugin::{
        self, Answer, Event, Events, ItemRef, Launcher, Manifest, Pool, PoolSpec, SandboxMode,
        SecretSource, SnapshotLimits, Spawner, Version, WorkerLog, WorkerLogError, WorkerRecord,
    },
    store::{Change, Store, VersionRow, WorkerRow},
    time::Clock,
};

/// The built-in plugin that answers what it is given, for measuring.
pub const IDENTITY: &str = "identity";

/// Opens plugins for runs.
pub struct Plugins {
    store: Store,
    paths: StatePaths,
    spawner: Spawner,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    sandbox: Sandbox,
    hidden: Vec<PathBuf>,
}

/// Where a run's plugin lies and what stands there now.
#[derive(Debug, Clone)]
pub struct Found {
    /// The folder that people edit; `None` for what is built in.
    pub folder: Option<PathBuf>,
    /// Its version.
    pub version: Version,
}

/// What a run is to know of its pool beside the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PluginNews {
    /// New calls go to this version.
    Deployed(VersionNumber),
    /// A version does not start.
    CannotStart {
        /// Which.
        version: VersionNumber,
        /// What it said.
        cause: String,
        /// Whether no older one runs in its place.
        first: bool,
    },
}

impl Plugins {
    pub(super) fn new(
        store: Store,
        paths: StatePaths,
        clock: Arc<dyn Clock>,
        config: &Config,
        hidden: Vec<PathBuf>,
    ) -> Result<Self, RuntimeError> {
        let log = StoredWorkers {
            store: store.clone(),
        };
        let spawner = Spawner::start(Launcher::default(), Arc::new(log)).map_err(|error| {
            RuntimeError::Io {
                what: "cannot start the thread that starts workers".to_owned(),
                error,
            }
        })?;
        Ok(Self {
            store,
            paths,
            spawner,
            clock,
            folder: config.plugins_dir.clone(),
            sandbox: config.sandbox,
            hidden,
        })
    }

    /// Takes a copy of what a plugin's folder holds now, as a version with a number of its own; the
    /// same content has the same number. Blocks.
    pub fn take(&self, plugin: &PluginRef) -> Result<Found, RuntimeError> {
        let Some(folder) = find(plugin, &self.folder) else {
            let version = Version {
                number: VersionNumber(1),
                folder: PathBuf::new(),
                manifest: Manifest::identity(),
            };
            return Ok(Found {
                folder: None,
                version,
            });
        };
        let refuse = |cause: String| RuntimeError::Plugin {
            plugin: folder.display().to_string(),
            cause,
        };
        let mut manifest = Manifest::load(&folder).map_err(|error| refuse(error.to_string()))?;
        if self.sandbox == Sandbox::On {
            manifest.sandbox = SandboxMode::On;
        }
        let limits = SnapshotLimits::default();
        let snapshot = plugin::snapshot(&folder, &self.paths.plugins(), &manifest.name, limits)
            .map_err(|error| refuse(error.to_string()))?;
        let number = self.number(&manifest.name, &snapshot.hash)?;
        Ok(Found {
            folder: Some(folder),
            version: Version {
                number,
                folder: snapshot.path,
                manifest,
            },
        })
    }

    fn number(&self, plugin: &str, hash: &str) -> Result<VersionNumber, RuntimeError> {
        if let Some(known) = self.store.version_of(plugin, hash)? {
            return Ok(VersionNumber(known));
        }
        let version = self.store.newest_version(plugin)?.saturating_add(1);
        self.store
            .commit_blocking(vec![Change::NewVersion(VersionRow {
                plugin: plugin.to_owned(),
                version,
                hash: hash.to_owned(),
                created: self.clock.now(),
            })])?;
        Ok(VersionNumber(version))
    }

    /// Opens a pool for a run.
    pub(super) fn open(
        &self,
        job: &str,
        version: Version,
        concurrency: NonZeroU32,
        answers: mpsc::UnboundedSender<Answer>,
        news: mpsc::UnboundedSender<PluginNews>,
    ) -> Result<Pool, RuntimeError> {
        let name = version.manifest.name.clone();
        let spec = PoolSpec {
            scratch: self.paths.scratch().join(&name),
            runtime_dir: self.paths.shims(),
            hidden: self.hidden.clone(),
            secrets: SecretSource {
                credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            },
            spawner: self.spawner.clone(),
            events: Arc::new(PoolEvents {
                job: job.to_owned(),
                plugin: name.clone(),
                version: version.number,
                first: AtomicBool::new(true),
                news,
            }),
            version,
            concurrency,
        };
        Pool::start(spec, answers).map_err(|error| RuntimeError::Plugin {
            plugin: name,
            cause: error.to_string(),
        })
    }
}

/// The folder of a plugin as a job names it; `None` for what is built in.
#[must_use]
pub fn plugin_folder(plugin: &PluginRef, config: &Config) -> Option<PathBuf> {
    find(plugin, &config.plugins_dir)
}

fn find(plugin: &PluginRef, plugins_dir: &Path) -> Option<PathBuf> {
    match plugin {
        PluginRef::Name(name) if name == IDENTITY => None,
        PluginRef::Name(name) => Some(plugins_dir.join(name)),
        PluginRef::Folder(folder) => Some(folder.clone()),
    }
}

/// The records of living workers, in the store.
struct StoredWorkers {
    store: Store,
}

pub(super) fn worker_row(record: &WorkerRecord) -> WorkerRow {
    WorkerRow {
        pid: record.pid,
        start_time: record.start_time,
        session: record.session,
        boot: record.boot.clone(),
    }
}

pub(super) fn worker_record(row: &WorkerRow) -> WorkerRecord {
    WorkerRecord {
        pid: row.pid,
        start_time: row.start_time,
        session: row.session,
        boot: row.boot.clone(),
    }
}

impl WorkerLog for StoredWorkers {
    fn started(&self, record: &WorkerRecord) -> Result<(), WorkerLogError> {
        self.store
            .commit_blocking(vec![Change::WorkerStarted(worker_row(record))])?;
        Ok(())
    }

    fn ended(&self, record: &WorkerRecord) {
        let ended = vec![Change::WorkerEnded(worker_row(record))];
        if let Err(error) = self.store.commit_blocking(ended) {
            tracing::debug!(%error, "the end of a worker was not recorded");
        }
    }
}

/// Turns what a pool tells into log lines and news for the run.
struct PoolEvents {
    job: String,
    plugin: String,
    /// What the pool was opened with, and whether nothing has started yet.
    version: VersionNumber,
    first: AtomicBool,
    news: mpsc::UnboundedSender<PluginNews>,
}

impl Events for PoolEvents {
    fn event(&self, event: Event) {
        let (job, plugin) = (self.job.as_str(), self.plugin.as_str());
        match event {
            Event::Log {
                pid,
                version,
                stream,
                items,
                line,
            } => {
                let (version, items) = (version.0, names(&items));
                tracing::info!(
                    target: "iterd::handler", job, plugin, version, pid, ?stream, items, line
                );
            }
            Event::LogsDropped { pid, lines } => {
                tracing::warn!(
                    job,
                    plugin,
                    pid,
                    lines,
                    "a worker prints too much; lines were dropped"
                );
            }
            Event::WorkerStarted { pid, version } => {
                self.first.store(false, Ordering::Relaxed);
                tracing::debug!(job, plugin, version = version.0, pid, "a worker is ready");
            }
            Event::WorkerEnded {
                pid,
                version,
                how,
                expected: true,
                ..
            } => tracing::debug!(job, plugin, version = version.0, pid, how, "a worker ended"),
            Event::WorkerEnded {
                pid,
                version,
                how,
                restart_after,
                ..
            } => tracing::warn!(
                job,
                plugin,
                version = version.0,
                pid,
                how,
                restart_after_ms = restart_after.as_millis(),
                "a worker ended by itself"
            ),
            Event::Unconfined { version, why } => {
                tracing::warn!(
                    job,
                    plugin,
                    version = version.0,
                    why,
                    "workers are not fully confined"
                );
            }
            Event::Deployed { version } => {
                tracing::info!(job, plugin, version = version.0, "a version is in use");
                // Why dropped: a run that is gone needs no news.
                self.first.store(false, Ordering::Relaxed);
                drop(self.news.send(PluginNews::Deployed(version)));
            }
            Event::CannotStart { version, cause } => self.cannot_start(version, cause),
        }
    }
}

impl PoolEvents {
    fn cannot_start(&self, version: VersionNumber, cause: String) {
        tracing::error!(
            job = self.job,
            plugin = self.plugin,
            version = version.0,
            cause,
            "a version does not start"
        );
        let first = version == self.version && self.first.load(Ordering::Relaxed);
        // Why dropped: a run that is gone needs no news.
        drop(self.news.send(PluginNews::CannotStart {
            version,
            cause,
            first,
        }));
    }
}

/// The items that a worker was at when it said something.
fn names(items: &[ItemRef]) -> String {
    let name = |item: &ItemRef| match &item.id {
        Some(id) => id.to_string(),
        None => item.index.to_string(),
    };
    items.iter().map(name).collect::<Vec<_>>().join(",")
}
