//! The one thread that starts workers, and the record of every worker that is alive.
//!
//! Why one permanent thread: a worker asks the kernel to be killed when its parent ends, and the
//! kernel takes the *thread* that started it for the parent. A thread of a pool may end at any time.
//!
//! Invariant: a worker runs nothing of the user's before its record is durable. Its launcher waits
//! for its orders on a pipe, and they are written after [`WorkerLog::started`] has returned.
//! Crash: a launcher that was not recorded yet reads the end of the pipe, and ends.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    launch,
    orphans::{self, Own},
    process::Process,
    procfs,
};

/// How often processes that were killed and did not end are looked at.
const LINGERING_INTERVAL: Duration = Duration::from_secs(1);

/// The program that becomes a worker: this binary, which knows [`launch::main`].
#[derive(Debug, Clone)]
pub struct Launcher {
    /// Default `/proc/self/exe`, which is this very binary even when its file was replaced since.
    pub program: PathBuf,
}

impl Default for Launcher {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// What a successor needs to find a worker's process group, and nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// The worker's process, which leads its group.
    pub pid: u32,
    /// Clock ticks from boot to its start.
    pub start_time: u64,
    /// The session of the daemon, which the group stays in.
    pub session: u32,
    /// The boot of the machine and the space of process numbers.
    pub boot: String,
}

/// Why a record is not durable.
pub type WorkerLogError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps the records of living workers where a successor finds them.
///
/// Called from the spawner's thread, which may wait.
pub trait WorkerLog: Send + Sync {
    /// A worker was started. Returns when the record is durable; on an error the worker is killed.
    fn started(&self, record: &WorkerRecord) -> Result<(), WorkerLogError>;
    /// A worker and its group are gone. Losing this is harmless: the rescuer finds nothing.
    fn ended(&self, record: &WorkerRecord);
}

/// Why no worker process was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The launcher could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The launcher's program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its record could not be made durable, so it was killed.
    #[error("cannot record the worker's process")]
    Record(#[source] WorkerLogError),
    /// The spawner's thread is gone, which is how a daemon ends.
    #[error("the spawner has ended")]
    Ended,
}

/// Handle of the thread that starts workers; cheap to clone. One for a daemon.
///
/// Invariant: every living worker holds one, and the thread ends after the last: so it outlives
/// its workers, as it must.
#[derive(Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

enum Request {
    Start {
        spawner: Spawner,
        reply: oneshot::Sender<Result<Process, SpawnError>>,
    },
    Bury(Child, Own, WorkerRecord),
}

impl Spawner {
    /// Starts the thread.
    pub fn start(launcher: Launcher, log: Arc<dyn WorkerLog>) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || serve(&launcher, &*log, &inbox))?;
        Ok(Self { requests })
    }

    /// Starts a launcher that waits for its orders on standard input; recorded when this returns.
    pub(crate) async fn spawn(&self) -> Result<Process, SpawnError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Start {
            spawner: self.clone(),
            reply,
        };
        self.requests.send(request).map_err(|_| SpawnError::Ended)?;
        answer.await.map_err(|_| SpawnError::Ended)?
    }

    /// Reaps a killed child when it has ended, and records its end.
    pub(crate) fn bury(&self, child: Child, own: Own, record: WorkerRecord) {
        // Why nothing on an error: the thread is gone with the daemon, and the kernel reaps.
        self.requests.send(Request::Bury(child, own, record)).ok();
    }
}

fn serve(launcher: &Launcher, log: &dyn WorkerLog, inbox: &mpsc::Receiver<Request>) {
    let mut lingering: Vec<(Child, Own, WorkerRecord)> = Vec::new();
    // A worker has ended since the last sweep.
    let mut unswept = false;
    loop {
        let patience = match (unswept, lingering.is_empty()) {
            // Why not at once: when many end together, one sweep behind the last is enough.
            (true, _) => Some(Duration::ZERO),
            (false, false) => Some(LINGERING_INTERVAL),
            (false, true) => orphans::adopts().then_some(orphans::SWEEP_EVERY),
        };
        let request = match patience {
            Some(patience) => inbox.recv_timeout(patience),
            None => inbox
                .recv()
                .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match request {
            Ok(Request::Start { spawner, reply }) => {
                // A pool that is gone meanwhile drops the process, which kills it.
                reply.send(spawn(launcher, log, spawner)).ok();
            }
            Ok(Request::Bury(child, own, record)) => lingering.push((child, own, record)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // What could not be ended is met again in the next one.
                orphans::sweep();
                unswept = false;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        lingering.retain_mut(|(child, _, record)| {
            let lives = matches!(child.try_wait(), Ok(None));
            if !lives {
                unswept = true;
                log.ended(record);
            }
            lives
        });
    }
}

fn spawn(
    launcher: &Launcher,
    log: &dyn WorkerLog,
    spawner: Spawner,
) -> Result<Process, SpawnError> {
    let failed = |source| SpawnError::Start {
        program: launcher.program.clone(),
        source,
    };
    let mut command = Command::new(&launcher.program);
    command
        .arg0("iterd")
        .arg(launch::ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let started = orphans::start(|| command.spawn(), |child| Some(child.id()));
    let (mut child, own) = started.map_err(failed)?;
    let record = match identify(&child) {
        Ok(record) => record,
        Err(error) => {
            // It has no orders yet, so there is nobody but itself to kill.
            child.kill().ok();
            child.wait().ok();
            return Err(failed(error));
        }
    };
    let process = Process::new(child, own, record.clone(), spawner);
    log.started(&record).map_err(SpawnError::Record)?;
    Ok(process)
}

fn identify(child: &Child) -> io::Result<WorkerRecord> {
    let stat = procfs::stat(child.id())?.ok_or(io::ErrorKind::NotFound)?;
    Ok(WorkerRecord {
        pid: child.id(),
        start_time: stat.start_time,
        session: stat.session,
        boot: procfs::boot()?,
    })
}
