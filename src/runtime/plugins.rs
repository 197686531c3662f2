//! Deploys plugins: takes an immutable copy of a plugin's folder, gives it a number, and opens pools.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{RuntimeError, plugin_events::PoolEvents, state_dir::StatePaths};
use crate::{
    config::{Config, Sandbox, job::PluginRef},
    ids::VersionNumber,
    plugin::{
        self, Answer, Launcher, Manifest, Pool, PoolSpec, SandboxMode, SecretSource,
        SnapshotLimits, Spawner, Version, WorkerLog, WorkerLogError, WorkerRecord,
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
        launcher: Launcher,
    ) -> Result<Self, RuntimeError> {
        let log = StoredWorkers {
            store: store.clone(),
        };
        let spawner =
            Spawner::start(launcher, Arc::new(log)).map_err(|error| RuntimeError::Io {
                what: "cannot start the thread that starts workers".to_owned(),
                error,
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
        let mut manifest = manifest_of(plugin, &folder)?;
        let refuse = |cause: String| RuntimeError::Plugin {
            plugin: folder.display().to_string(),
            cause,
        };
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
            events: Arc::new(PoolEvents::new(
                job.to_owned(),
                name.clone(),
                version.number,
                news,
            )),
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

/// The manifest of a plugin as it stands in its folder; the built-in one's for what is built in.
pub fn plugin_manifest(plugin: &PluginRef, config: &Config) -> Result<Manifest, RuntimeError> {
    match plugin_folder(plugin, config) {
        Some(folder) => manifest_of(plugin, &folder),
        None => Ok(Manifest::identity()),
    }
}

fn manifest_of(plugin: &PluginRef, folder: &Path) -> Result<Manifest, RuntimeError> {
    let refuse = |cause: String| RuntimeError::Plugin {
        plugin: match plugin {
            PluginRef::Name(name) => name.clone(),
            PluginRef::Folder(folder) => folder.display().to_string(),
        },
        cause,
    };
    if !folder.is_dir() {
        return Err(refuse(match plugin {
            PluginRef::Name(name) => format!(
                "there is no folder {}; a folder beside the job file is written \"./{name}\"",
                folder.display()
            ),
            PluginRef::Folder(_) => "there is no such folder".to_owned(),
        }));
    }
    Manifest::load(folder).map_err(|error| refuse(error.to_string()))
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
