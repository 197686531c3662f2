//! Runs a handler once for one record, outside of any run.
//!
//! Owns a directory of its own in the state directory, with the copy, the scratch directory and the
//! record of its worker; takes no lock, writes no row, and shares nothing with the workers of a daemon
//! beside it. The worker is started, confined and timed as those are.
//!
//! Crash: the worker dies with this process; what it had started is killed, and the directory removed,
//! by the next tester.

use std::{
    fs::{self, File},
    io,
    num::NonZeroU32,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::FlockOperation;
use tokio::sync::mpsc;

use super::{
    RuntimeError, StatePaths,
    plugins::{manifest_of, secrets},
    request::Requests,
};
use crate::{
    arn::Place,
    config::{Config, Sandbox},
    ids::{Generation, Index, VersionNumber},
    payload::{Failure, Payload},
    plugin::{
        self, Call, Environments, Event, Events, HostKind, Launcher, Manifest, NoAccess, Outcome,
        Pool, PoolSpec, SandboxMode, Snapshot, SnapshotLimits, Spawner, Stream, Version, WorkerLog,
        WorkerLogError, WorkerRecord, rescuer,
    },
    store::Store,
    time::SystemClock,
};

/// Log lines that are kept for the answer; a handler that prints more is told that it did.
const LINES_MAX: usize = 1000;

/// How long what a killed tester left has to be gone.
const RESCUE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the worker has to end when the answer is there.
const WORKER_GRACE: Duration = Duration::from_secs(2);

const LOCK: &str = "lock";
const WORKER: &str = "worker-";
const FRESH: &str = ".new-";

/// A directory that was begun and is not locked after this long was left by a crash.
const FRESH_MAX: Duration = Duration::from_mins(1);

/// A place to run handlers in, removed when dropped.
pub struct Tester {
    root: PathBuf,
    hidden: Vec<PathBuf>,
    confined: bool,
    place: Place,
    /// The copies of the state directory.
    installed: PathBuf,
    _lock: File,
}

/// What a handler is called with.
#[derive(Debug, Clone)]
pub struct TestCall {
    /// The record.
    pub record: Payload,
    /// Its place in its dataset.
    pub index: Index,
    /// Its own identity, where it has one.
    pub id: Option<String>,
    /// Which try the handler is told that this is.
    pub attempt: u32,
    /// From the hand-over to the worker; `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub struct Tested {
    /// The handler's result, or why there is none.
    pub outcome: Result<Payload, Failure>,
    /// What it printed: where, and the line.
    pub log: Vec<(Stream, String)>,
    /// Lines that were not kept.
    pub lines_dropped: u64,
    /// Why the worker was not fully confined, if it was not.
    pub unconfined: Option<String>,
    /// From the start of the worker until it was ready.
    pub start: Option<Duration>,
    /// From the hand-over to the answer.
    pub took: Duration,
}

impl Tester {
    /// A place under this state directory; where there is none, one for temporary files. Ends what
    /// killed testers left. Blocks.
    pub fn open(paths: &StatePaths, config: &Config) -> Result<Self, RuntimeError> {
        let (home, hidden) = if paths.root().is_dir() {
            (paths.tests(), vec![paths.root().to_owned()])
        } else {
            let home = std::env::temp_dir().join(format!("iterd-tests-{}", std::process::id()));
            (home, Vec::new())
        };
        let io = |error| RuntimeError::Io {
            what: format!("cannot prepare {}", home.display()),
            error,
        };
        make_dir(&home).map_err(io)?;
        sweep(&home);
        let random: u64 = rand::random();
        let name = format!("{}-{random:016x}", std::process::id());
        // Why first under another name: one without a lock is taken for what a crash left.
        let (fresh, root) = (home.join(format!("{FRESH}{name}")), home.join(name));
        make_dir(&fresh).map_err(io)?;
        let lock = File::create(fresh.join(LOCK)).map_err(io)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| io(errno.into()))?;
        fs::rename(&fresh, &root).map_err(io)?;
        Ok(Self {
            root,
            hidden,
            confined: config.sandbox == Sandbox::On,
            installed: paths.plugins(),
            place: Place {
                region: config.region.clone(),
                account: config.account.clone(),
            },
            _lock: lock,
        })
    }

    /// What a folder holds now, under number 0: it has none before it is deployed. Blocks.
    pub fn folder(&self, folder: &Path) -> Result<Version, RuntimeError> {
        let manifest = manifest_of(folder)?;
        let limits = SnapshotLimits::default();
        let copies = self.root.join("plugins");
        let snapshot =
            plugin::snapshot(folder, &copies, &manifest.name, limits).map_err(|error| {
                RuntimeError::Plugin {
                    plugin: folder.display().to_string(),
                    cause: error.to_string(),
                }
            })?;
        Ok(self.version(0, snapshot.path, manifest))
    }

    /// A version that is kept in the state directory. Blocks.
    pub fn stored(
        &self,
        paths: &StatePaths,
        store: &Store,
        plugin: &str,
        number: u32,
    ) -> Result<Version, RuntimeError> {
        let hash = store.version_hash(plugin, number)?;
        let copy = hash.map(|hash| paths.plugins().join(plugin).join(hash));
        let Some(copy) = copy.filter(|copy| copy.is_dir()) else {
            return Err(RuntimeError::Plugin {
                plugin: plugin.to_owned(),
                cause: format!(
                    "no copy of version {number} is kept; iterd plugin list {plugin} shows which are"
                ),
            });
        };
        let manifest = manifest_of(&copy)?;
        Ok(self.version(number, copy, manifest))
    }

    fn version(&self, number: u32, folder: PathBuf, mut manifest: Manifest) -> Version {
        if self.confined {
            manifest.sandbox = SandboxMode::On;
        }
        manifest.workers = Some(NonZeroU32::MIN);
        Version {
            number: VersionNumber(number),
            folder,
            manifest,
            environment: None,
        }
    }

    /// A version with what it requires: as it is installed in the state directory, else for this test.
    async fn equipped(
        &self,
        mut version: Version,
        spawner: Spawner,
    ) -> Result<Version, RuntimeError> {
        let hidden = self.hidden.clone();
        let here = self.root.join("plugins");
        let environments = Environments::beside(&here, &self.installed, hidden, spawner);
        let hash = version.folder.file_name().unwrap_or_default();
        let snapshot = Snapshot {
            hash: hash.to_string_lossy().into_owned(),
            path: version.folder.clone(),
        };
        let manifest = version.manifest.clone();
        let making = tokio::task::spawn_blocking(move || environments.of(&snapshot, &manifest));
        let made = making.await.map_err(|_| RuntimeError::Closed)?;
        version.environment = made.map_err(|error| RuntimeError::Plugin {
            plugin: version.manifest.name.clone(),
            cause: error.to_string(),
        })?;
        Ok(version)
    }

    /// Runs a version's handler once. Takes as long as its start and its timeout.
    pub async fn call(&self, version: Version, call: TestCall) -> Result<Tested, RuntimeError> {
        let plugin = version.manifest.name.clone();
        let refuse = |cause: String| RuntimeError::Plugin {
            plugin: plugin.clone(),
            cause,
        };
        if version.manifest.host == HostKind::Identity {
            return Err(refuse(
                "the built-in plugin has no handler to test".to_owned(),
            ));
        }
        let log = Records(self.root.clone());
        let spawner = Spawner::start(Launcher::default(), Arc::new(log))
            .map_err(|error| refuse(format!("no thread that starts workers: {error}")))?;
        let (told, mut events) = mpsc::unbounded_channel();
        let (sender, mut answers) = mpsc::unbounded_channel();
        let version = self.equipped(version, spawner.clone()).await?;
        let spec = PoolSpec {
            version,
            concurrency: NonZeroU32::MIN,
            scratch: self.root.join("scratch"),
            runtime_dir: self.root.join("shims"),
            hidden: self.hidden.clone(),
            secrets: secrets(),
            access: Arc::new(NoAccess),
            spawner,
            composer: Arc::new(Requests::new(Arc::new(SystemClock))),
            events: Arc::new(Told(told)),
            place: self.place.clone(),
        };
        let pool = Pool::start(spec, sender).map_err(|error| refuse(error.to_string()))?;
        let mut watched = Watched::new(call);
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => {
                    if let Some(failure) = watched.take(event, &pool) {
                        break Err(failure);
                    }
                }
                Some(answer) = answers.recv() => {
                    // Why not where it is: somebody who tries a handler out waits for what comes of it.
                    if !matches!(answer.outcome, Outcome::Reached(_)) {
                        break watched.outcome(answer.outcome);
                    }
                }
            }
        };
        let took = watched
            .handed_over
            .map_or(Duration::ZERO, |at| at.elapsed());
        pool.shutdown(Duration::ZERO, WORKER_GRACE).await;
        drop(pool);
        while let Ok(event) = events.try_recv() {
            watched.note(event);
        }
        Ok(Tested {
            outcome,
            log: watched.log,
            lines_dropped: watched.lines_dropped,
            unconfined: watched.unconfined,
            start: watched.start,
            took,
        })
    }
}

impl Drop for Tester {
    fn drop(&mut self) {
        // Why ok: what is left, the next tester removes.
        fs::remove_dir_all(&self.root).ok();
        if let Some(home) = self.root.parent() {
            // Only where no other tester is in it.
            fs::remove_dir(home).ok();
        }
    }
}

/// What one call has told so far.
struct Watched {
    call: Option<TestCall>,
    began: Instant,
    start: Option<Duration>,
    handed_over: Option<Instant>,
    log: Vec<(Stream, String)>,
    lines_dropped: u64,
    unconfined: Option<String>,
    ended: Option<String>,
}

impl Watched {
    fn new(call: TestCall) -> Self {
        Self {
            call: Some(call),
            began: Instant::now(),
            start: None,
            handed_over: None,
            log: Vec::new(),
            lines_dropped: 0,
            unconfined: None,
            ended: None,
        }
    }

    /// Takes an event in, and hands the call over once the worker is ready; a failure where it will
    /// not be.
    fn take(&mut self, event: Event, pool: &Pool) -> Option<Failure> {
        if matches!(event, Event::WorkerStarted { .. }) && self.start.is_none() {
            self.start = Some(self.began.elapsed());
            self.handed_over = Some(Instant::now());
            pool.submit(self.call.take().map(handed).into_iter().collect());
        }
        self.note(event);
        let ended = self.ended.take_if(|_| self.start.is_none())?;
        Some(Failure::new("Iterd.CannotStart", ended))
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Log { stream, line, .. } if self.log.len() < LINES_MAX => {
                self.log.push((stream, line));
            }
            Event::Log { .. } => self.lines_dropped += 1,
            Event::LogsDropped { lines, .. } => self.lines_dropped += lines,
            Event::Unconfined { why, .. } => self.unconfined = Some(why),
            Event::WorkerEnded {
                how,
                expected: false,
                ..
            } => self.ended = Some(how),
            Event::WorkerEnded { .. }
            | Event::WorkerStarted { .. }
            | Event::CanaryStarted { .. }
            | Event::Deployed { .. }
            | Event::Refuted { .. }
            | Event::Renewed { .. }
            | Event::NotRenewed { .. }
            | Event::SecretUnreadable { .. }
            | Event::CannotStart { .. } => {}
        }
    }

    fn outcome(&mut self, outcome: Outcome) -> Result<Payload, Failure> {
        match outcome {
            Outcome::Done(result) => Ok(result),
            Outcome::Failed(failure) | Outcome::FailedCanary(failure) => Err(failure),
            Outcome::Reached(_) | Outcome::Interrupted => {
                let how = self.ended.take().unwrap_or_default();
                Err(Failure::new(
                    "Iterd.WorkerExited",
                    format!("the worker ended before it took the record: {how}"),
                ))
            }
        }
    }
}

fn handed(call: TestCall) -> Call {
    Call {
        ticket: 0,
        index: call.index,
        id: call.id.map(Into::into),
        generation: Generation(1),
        payload: call.record,
        attempt: call.attempt,
        // Why not the real one: what a service remembers under it must not be the test's.
        key: format!("test:{}:{:016x}", call.index, rand::random::<u64>()).into(),
        timeout: call.timeout,
        cursor: None,
    }
}

struct Told(mpsc::UnboundedSender<Event>);

impl Events for Told {
    fn event(&self, event: Event) {
        // Why ok: whoever listened has an answer.
        self.0.send(event).ok();
    }
}

/// The records of living workers, each in a file.
struct Records(PathBuf);

impl Records {
    fn file(&self, record: &WorkerRecord) -> PathBuf {
        self.0.join(format!("{WORKER}{}.json", record.pid))
    }
}

impl WorkerLog for Records {
    fn started(&self, record: &WorkerRecord) -> Result<(), WorkerLogError> {
        // Why not synced: a reboot ends the processes, too.
        fs::write(self.file(record), serde_json::to_vec(record)?)?;
        Ok(())
    }

    fn ended(&self, record: &WorkerRecord) {
        // Why ok: the rescuer finds nothing of it.
        fs::remove_file(self.file(record)).ok();
    }
}

/// Ends what testers left that were killed; one that lives holds its lock.
pub(super) fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let left = entry.path();
        let age = entry.metadata().and_then(|it| it.modified()).ok();
        let age = age.and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if entry.file_name().to_string_lossy().starts_with(FRESH) && age < FRESH_MAX {
            continue;
        }
        let free = File::open(left.join(LOCK)).is_ok_and(|lock| {
            rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        });
        if !free {
            continue;
        }
        let files = fs::read_dir(&left).into_iter().flatten().flatten();
        let records: Vec<WorkerRecord> = files
            .filter(|file| file.file_name().to_string_lossy().starts_with(WORKER))
            .filter_map(|file| serde_json::from_slice(&fs::read(file.path()).ok()?).ok())
            .collect();
        match rescuer::rescue(&records, RESCUE_PATIENCE) {
            // Why ok: the next tester tries again.
            Ok(_) => drop(fs::remove_dir_all(&left)),
            Err(error) => tracing::warn!(%error, "what a killed test left is still there"),
        }
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}
