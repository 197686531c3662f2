//! What plugins there are, which version of each is in force, and pools for them.
//!
//! A version is an immutable copy of the plugin's folder with a number. The one *in force* is a row:
//! it is written when a plugin is first used, when somebody deploys, and in a run that takes edits up
//! at once. Invariant: what runs is the copy, and unless edits are taken up at once, the folder is
//! looked at by a deploy alone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroU32,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio::sync::mpsc;

use super::{
    RuntimeError,
    plugin_events::PoolEvents,
    request::{self, Requests},
    state_dir::StatePaths,
};
use crate::{
    arn::Place,
    config::{Config, Sandbox, job::PluginRef},
    ids::VersionNumber,
    payload::Failure,
    plugin::{
        self, Access, Answer, CallerRole, Environments, Events, Launcher, Manifest, NoAccess, Pool,
        PoolSpec, Reload, SandboxMode, SecretSource, Snapshot, SnapshotLimits, Spawner, Version,
        WorkerLog, WorkerLogError, WorkerRecord,
    },
    store::{Change, InForceRow, Store, VersionRow, WorkerRow},
    time::Clock,
};

/// The built-in plugin that answers what it is given, for measuring.
pub const IDENTITY: &str = "identity";

/// Who put a version in force where nobody did by name: the first run that used the plugin.
pub const FIRST_USE: &str = "first use";

/// As [`FIRST_USE`], of a plugin whose edits are taken up at once.
pub(super) const WATCH: &str = "watch";

/// Opens plugins for runs.
pub struct Plugins {
    store: Store,
    paths: StatePaths,
    spawner: Spawner,
    environments: Environments,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    sandbox: Sandbox,
    hidden: Vec<PathBuf>,
    /// What functions are told of where they run.
    place_of_arns: Place,
    /// Held from the look for a version's number to the commit that gives it one.
    numbering: Mutex<()>,
    /// What handlers with a role are given.
    access: Arc<Doorway>,
    /// Held while it is written down what a version has come to.
    concluding: Mutex<()>,
    /// Held by a deploy.
    pub(super) deploying: tokio::sync::Mutex<()>,
    /// The places of plugins that executions call as functions.
    functions: Mutex<HashSet<String>>,
    /// What canaries have come to, by place: the last one's version, and how it was refuted.
    pub(super) verdicts: tokio::sync::watch::Sender<Verdicts>,
}

/// See [`Plugins::verdicts`].
pub(super) type Verdicts = HashMap<String, (VersionNumber, Option<String>)>;

/// What a folder holds, copied and not numbered yet.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) snapshot: Snapshot,
    pub(super) manifest: Manifest,
    /// What its requirements are installed in.
    pub(super) environment: Option<PathBuf>,
}

impl Taken {
    pub(super) fn version(&self, number: u32) -> Version {
        Version {
            number: VersionNumber(number),
            folder: self.snapshot.path.clone(),
            manifest: self.manifest.clone(),
            environment: self.environment.clone(),
        }
    }
}

/// What a run is to know of its pool beside the answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PluginNews {
    /// This version proves itself on some calls.
    Canary {
        /// Which.
        version: VersionNumber,
    },
    /// New calls go to this version.
    Deployed {
        /// Which.
        version: VersionNumber,
        /// Its copy.
        folder: PathBuf,
        /// Whether it has proved itself.
        proven: bool,
    },
    /// This version has failed where the one in force does not.
    Refuted {
        /// Which.
        version: VersionNumber,
        /// How it failed.
        cause: String,
    },
    /// A version does not start.
    CannotStart {
        /// Which.
        version: VersionNumber,
        /// What it said.
        cause: String,
        /// The same in the handler's own words, where it had some.
        failure: Option<Failure>,
        /// Whether no older one runs in its place.
        first: bool,
    },
}

/// The access of handlers, once there is one: who listens is known only when all else is there.
#[derive(Default)]
struct Doorway(OnceLock<Arc<dyn Access>>);

impl Access for Doorway {
    fn variables(
        &self,
        plugin: &str,
        role: CallerRole,
    ) -> Result<BTreeMap<String, String>, String> {
        match self.0.get() {
            Some(access) => access.variables(plugin, role),
            None => NoAccess.variables(plugin, role),
        }
    }
}

impl Plugins {
    /// From now on handlers with a role are given this; a second call changes nothing.
    pub(super) fn grant(&self, access: Arc<dyn Access>) {
        // Why ok: the first one stays.
        self.access.0.set(access).ok();
    }

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
        let environments = Environments::new(&paths.plugins(), hidden.clone(), spawner.clone());
        Ok(Self {
            store,
            paths,
            spawner,
            environments,
            access: Arc::default(),
            clock,
            folder: config.plugins_dir.clone(),
            sandbox: config.sandbox,
            hidden,
            place_of_arns: Place {
                region: config.region.clone(),
                account: config.account.clone(),
            },
            numbering: Mutex::default(),
            concluding: Mutex::default(),
            deploying: tokio::sync::Mutex::default(),
            functions: Mutex::default(),
            verdicts: tokio::sync::watch::Sender::default(),
        })
    }

    /// The version that a run is to work with: the one in force; of a plugin that is used for the
    /// first time, or whose edits are taken up at once, what its folder holds now, which is in force
    /// from then on. Blocks.
    pub fn for_run(&self, plugin: &PluginRef, service: bool) -> Result<Version, RuntimeError> {
        let (Some(folder), Some(place)) = (find(plugin, &self.folder), self.place(plugin)) else {
            return Ok(built_in());
        };
        let in_force = match self.in_force(plugin) {
            Ok(in_force) => in_force,
            Err(error) => return self.taken_again(&folder, &place).ok_or(error),
        };
        let author = match &in_force {
            Some(version) if is_watched(&version.manifest, service) => WATCH,
            Some(version) => return Ok(version.clone()),
            None => FIRST_USE,
        };
        if !folder.is_dir() {
            return Err(no_folder(plugin, &folder));
        }
        let taken = self.take(&folder)?;
        self.put_in_force(&place, &taken, author, |_| Vec::new())
    }

    /// The version in force, where its copy is gone (a backup holds none) and the folder still holds the
    /// same.
    fn taken_again(&self, folder: &Path, place: &str) -> Option<Version> {
        let row = self.store.in_force(place).ok()??;
        let taken = self.take(folder).ok()?;
        let (plugin, hash) = (&taken.manifest.name, &taken.snapshot.hash);
        let number = self.store.version_of(plugin, hash).ok()??;
        (*plugin == row.plugin && number == row.version).then(|| taken.version(number))
    }

    /// The version in force; `None` where there is none yet. Blocks.
    pub(super) fn in_force(&self, plugin: &PluginRef) -> Result<Option<Version>, RuntimeError> {
        match self.place(plugin) {
            None => Ok(Some(built_in())),
            Some(place) => match self.store.in_force(&place)? {
                None => Ok(None),
                Some(row) => self.version(&row.plugin, row.version).map(Some),
            },
        }
    }

    /// The version that proves itself; `None` where none does. Blocks.
    pub(super) fn canary(&self, plugin: &PluginRef) -> Result<Option<Version>, RuntimeError> {
        let Some(place) = self.place(plugin) else {
            return Ok(None);
        };
        match self.store.canary(&place)? {
            None => Ok(None),
            Some(row) => self.version(&row.plugin, row.version).map(Some),
        }
    }

    /// A version by its number or an alias; `None` where there is none of that name. Blocks.
    pub(super) fn qualified(
        &self,
        plugin: &PluginRef,
        qualifier: &str,
    ) -> Result<Option<Version>, RuntimeError> {
        let name = self.name(plugin)?;
        let number = if let Ok(number) = qualifier.parse::<u32>() {
            self.store.version_hash(&name, number)?.map(|_| number)
        } else {
            let mut aliases = self.store.plugin_aliases(Some(&name))?.into_iter();
            let named = aliases.find(|row| row.alias == qualifier);
            named.map(|row| row.version)
        };
        number.map(|number| self.version(&name, number)).transpose()
    }

    /// A version by its number, from its copy. Blocks.
    pub(super) fn version(&self, plugin: &str, number: u32) -> Result<Version, RuntimeError> {
        let refuse = |cause: String| RuntimeError::Plugin {
            plugin: plugin.to_owned(),
            cause,
        };
        let Some(hash) = self.store.version_hash(plugin, number)? else {
            return Err(refuse(format!(
                "there is no version {number}; iterd plugin list {plugin} shows which there are"
            )));
        };
        let path = self.paths.plugins().join(plugin).join(&hash);
        if !path.is_dir() {
            return Err(refuse(format!(
                "the copy of version {number} is gone; put its files in a folder and deploy that: iterd deploy {plugin} --from FOLDER"
            )));
        }
        let manifest = Manifest::load(&path).map_err(|error| refuse(error.to_string()))?;
        let snapshot = Snapshot { hash, path };
        let taken = self.equipped(snapshot, self.confined(manifest))?;
        Ok(taken.version(number))
    }

    /// A copy of what a folder holds now. Blocks.
    pub(super) fn take(&self, folder: &Path) -> Result<Taken, RuntimeError> {
        let refuse = |cause: String| RuntimeError::Plugin {
            plugin: folder.display().to_string(),
            cause,
        };
        let manifest = self.confined(manifest_of(folder)?);
        let limits = SnapshotLimits::default();
        let snapshot = plugin::snapshot(folder, &self.paths.plugins(), &manifest.name, limits)
            .map_err(|error| refuse(error.to_string()))?;
        self.equipped(snapshot, manifest)
    }

    /// A copy with its environment, which is made where it is missing; that may take minutes. Blocks.
    fn equipped(&self, snapshot: Snapshot, manifest: Manifest) -> Result<Taken, RuntimeError> {
        let environment = self.environments.of(&snapshot, &manifest);
        let environment = environment.map_err(|error| RuntimeError::Plugin {
            plugin: manifest.name.clone(),
            cause: error.to_string(),
        })?;
        Ok(Taken {
            snapshot,
            manifest,
            environment,
        })
    }

    /// The turn of whoever writes down what a version has come to.
    pub(super) fn conclusion(&self) -> std::sync::MutexGuard<'_, ()> {
        self.concluding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether executions call the plugin at this place.
    pub(super) fn is_function(&self, place: &str) -> bool {
        self.functions().contains(place)
    }

    /// The places of plugins that executions call: written by who holds their workers.
    pub(super) fn functions(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn confined(&self, mut manifest: Manifest) -> Manifest {
        if self.sandbox == Sandbox::On {
            manifest.sandbox = SandboxMode::On;
        }
        manifest
    }

    /// Gives a copy its number; the same content has the same one. Blocks.
    pub(super) fn number(&self, taken: &Taken) -> Result<Version, RuntimeError> {
        let _numbering = self
            .numbering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (number, changes) = self.numbered(taken)?;
        self.store.commit_blocking(changes)?;
        Ok(taken.version(number))
    }

    /// Puts a copy in force, numbered, in one commit with what `with` makes of its number. Blocks.
    pub(super) fn put_in_force(
        &self,
        place: &str,
        taken: &Taken,
        author: &str,
        with: impl FnOnce(u32) -> Vec<Change>,
    ) -> Result<Version, RuntimeError> {
        self.write_down(place, taken, author, Change::PutInForce, with)
    }

    /// As [`Plugins::put_in_force`], and it has to prove itself first. Blocks.
    pub(super) fn begin_canary(
        &self,
        place: &str,
        taken: &Taken,
        author: &str,
        with: impl FnOnce(u32) -> Vec<Change>,
    ) -> Result<Version, RuntimeError> {
        self.write_down(place, taken, author, Change::BeginCanary, with)
    }

    fn write_down(
        &self,
        place: &str,
        taken: &Taken,
        author: &str,
        change: fn(InForceRow) -> Change,
        with: impl FnOnce(u32) -> Vec<Change>,
    ) -> Result<Version, RuntimeError> {
        let _numbering = self
            .numbering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (number, mut changes) = self.numbered(taken)?;
        changes.push(change(InForceRow {
            place: place.to_owned(),
            plugin: taken.manifest.name.clone(),
            version: number,
            author: author.to_owned(),
            at: self.clock.now(),
        }));
        changes.extend(with(number));
        self.store.commit_blocking(changes)?;
        Ok(taken.version(number))
    }

    /// The number of a copy, and what gives it one where it has none.
    fn numbered(&self, taken: &Taken) -> Result<(u32, Vec<Change>), RuntimeError> {
        let (plugin, hash) = (&taken.manifest.name, &taken.snapshot.hash);
        if let Some(known) = self.store.version_of(plugin, hash)? {
            return Ok((known, Vec::new()));
        }
        let version = self.store.newest_version(plugin)?.saturating_add(1);
        let row = VersionRow {
            plugin: plugin.clone(),
            version,
            hash: hash.clone(),
            created: self.clock.now(),
        };
        Ok((version, vec![Change::NewVersion(row)]))
    }

    /// What names a plugin in the row of its version in force: its name in the folder of plugins, or
    /// the path of its folder; `None` for what is built in.
    #[must_use]
    pub fn place(&self, plugin: &PluginRef) -> Option<String> {
        place_of(plugin, &self.folder)
    }

    /// The folder that people edit; `None` for what is built in.
    pub(super) fn folder(&self, plugin: &PluginRef) -> Option<PathBuf> {
        find(plugin, &self.folder)
    }

    /// A plugin's name in its manifest: of the version in force, else as its folder has it.
    pub(super) fn name(&self, plugin: &PluginRef) -> Result<String, RuntimeError> {
        if let Some(place) = self.place(plugin)
            && let Some(row) = self.store.in_force(&place)?
        {
            return Ok(row.plugin);
        }
        Ok(match self.folder(plugin) {
            Some(folder) => manifest_of(&folder)?.name,
            None => IDENTITY.to_owned(),
        })
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
        // Why ok: a run that is gone needs no news.
        let tell = move |told| drop(news.send(told));
        let events = PoolEvents::of_job(job.to_owned(), name.clone(), version.number, tell);
        let scratch = self.paths.scratch().join(&name);
        self.pool(version, concurrency, scratch, Arc::new(events), answers)
    }

    /// Opens a pool for a function of that name.
    pub(super) fn open_function(
        &self,
        function: &str,
        version: Version,
        concurrency: NonZeroU32,
        answers: mpsc::UnboundedSender<Answer>,
        tell: impl Fn(PluginNews) + Send + Sync + 'static,
    ) -> Result<Pool, RuntimeError> {
        let name = version.manifest.name.clone();
        let number = version.number;
        let events = PoolEvents::of_function(function.to_owned(), name.clone(), number, tell);
        let scratch = self.paths.scratch().join(&name);
        self.pool(version, concurrency, scratch, Arc::new(events), answers)
    }

    /// A pool with a scratch directory of its own.
    pub(super) fn pool(
        &self,
        version: Version,
        concurrency: NonZeroU32,
        scratch: PathBuf,
        events: Arc<dyn Events>,
        answers: mpsc::UnboundedSender<Answer>,
    ) -> Result<Pool, RuntimeError> {
        let plugin = version.manifest.name.clone();
        let spec = PoolSpec {
            scratch,
            runtime_dir: self.paths.shims(),
            hidden: self.hidden.clone(),
            secrets: secrets(),
            access: Arc::clone(&self.access) as Arc<dyn Access>,
            spawner: self.spawner.clone(),
            composer: Arc::new(Requests::new(Arc::clone(&self.clock))),
            events,
            version,
            concurrency,
            place: self.place_of_arns.clone(),
        };
        Pool::start(spec, answers).map_err(|error| RuntimeError::Plugin {
            plugin,
            cause: error.to_string(),
        })
    }
}

/// Where the secrets of plugins are found.
pub(super) fn secrets() -> SecretSource {
    SecretSource {
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
    }
}

/// The built-in plugin.
pub(super) fn built_in() -> Version {
    Version {
        number: VersionNumber(1),
        folder: PathBuf::new(),
        manifest: Manifest::identity(),
        environment: None,
    }
}

/// Whether edits of a plugin are taken up at once, by its manifest or as is usual there.
pub(super) fn is_watched(manifest: &Manifest, service: bool) -> bool {
    match manifest.reload {
        Some(reload) => reload == Reload::Watch,
        None => !service,
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
        Some(folder) if !folder.is_dir() => Err(no_folder(plugin, &folder)),
        Some(folder) => manifest_of(&folder),
        None => Ok(Manifest::identity()),
    }
}

fn no_folder(plugin: &PluginRef, folder: &Path) -> RuntimeError {
    let (plugin, cause) = match plugin {
        PluginRef::Name(name) => (
            name.clone(),
            format!(
                "there is no folder {}; a folder beside the job file is written \"./{name}\"",
                folder.display()
            ),
        ),
        PluginRef::Folder(folder) => (
            folder.display().to_string(),
            "there is no such folder".to_owned(),
        ),
    };
    RuntimeError::Plugin { plugin, cause }
}

/// The manifest in a folder.
pub(super) fn manifest_of(folder: &Path) -> Result<Manifest, RuntimeError> {
    let refuse = |cause: String| RuntimeError::Plugin {
        plugin: folder.display().to_string(),
        cause,
    };
    if !folder.is_dir() {
        return Err(refuse("there is no such folder".to_owned()));
    }
    let manifest = Manifest::load(folder).map_err(|error| refuse(error.to_string()))?;
    request::check(&manifest)?;
    Ok(manifest)
}

/// See [`Plugins::place`]. Why by the words alone: a place is found again when its folder is gone.
pub(super) fn place_of(plugin: &PluginRef, plugins_dir: &Path) -> Option<String> {
    match plugin {
        PluginRef::Name(name) if name == IDENTITY => None,
        PluginRef::Name(name) => Some(name.clone()),
        PluginRef::Folder(folder) => {
            let folder = without_dots(folder);
            if folder.parent() == Some(&*without_dots(plugins_dir))
                && let Some(name) = folder.file_name()
            {
                return Some(name.to_string_lossy().into_owned());
            }
            Some(folder.to_string_lossy().into_owned())
        }
    }
}

/// An absolute path without `.` and `..`.
fn without_dots(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => plain.push(part),
        }
    }
    plain
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
