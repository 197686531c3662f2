//! Ends what workers leave behind outside of their process groups.
//!
//! A process that forks twice or calls `setsid` is out of reach of its worker's group. The daemon
//! [adopts](adopt) such processes: the kernel makes it their parent, wherever they were started beneath
//! it, and a sweep after the end of a worker kills those that belong to no living one. Whom a process
//! belongs to says a mark in its environment, or its group; one that has lost both belongs to
//! nobody.
//!
//! Invariant: a child that this process started itself is neither killed nor reaped here. Whoever
//! starts one does so through [`start`], which sweeps cannot interleave with.
//! ([why so](../../docs/decisions/0031-what-leaves-its-group-is-adopted.md))

use std::{
    collections::HashMap,
    io,
    os::unix::ffi::OsStrExt as _,
    sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, set_child_subreaper,
    waitpid,
};

use super::{procfs, rescuer::ends_within, spawner::WorkerRecord};

/// The variable that every worker has and passes on to what it starts: whose it is.
pub(crate) const MARK: &str = "ITERD_ORIGIN";

/// Longest sweep; what forks faster than it is killed is met again in the next one.
const SWEEP_MAX: Duration = Duration::from_secs(1);

/// While workers live, what they left behind is looked for this often: what has ended of it is a
/// process number less until then, and a look costs as much as `ps`.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// Sweeps at the end of the daemon at most. After these the service manager has the word.
const LAST_SWEEPS: u32 = 5;

/// Whether this process adopts.
static ADOPTS: OnceLock<()> = OnceLock::new();

/// The children that this process started itself, with the mark of what these start.
static OWN: LazyLock<Mutex<HashMap<u32, String>>> = LazyLock::new(Mutex::default);

/// The mark of what may outlive its parent: nothing that a worker could read or guess.
static SPARED: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::random::<u128>()));

/// From now on this process is the parent of all that loses its own beneath it.
///
/// Only for a process that starts its children through [`start`] alone: others would be taken for
/// strangers, and killed. Where it has children already (of a script that became this process by
/// `exec`), nothing is adopted.
pub fn adopt() -> io::Result<()> {
    let me = std::process::id();
    if procfs::all()?.iter().any(|process| process.parent == me) {
        tracing::warn!(
            "this process had children before it began, so what leaves a worker's group is not adopted"
        );
        return Ok(());
    }
    set_child_subreaper(Some(rustix::process::getpid()))?;
    ADOPTS.set(()).ok();
    Ok(())
}

/// Whether it does.
pub(crate) fn adopts() -> bool {
    ADOPTS.get().is_some()
}

/// The mark of what a worker starts.
pub(crate) fn mark_of(pid: u32, start_time: u64) -> String {
    format!("{pid}.{start_time}")
}

/// The variable, and its value for programs that are no workers: what they leave running lives on.
#[must_use]
pub fn spared() -> (&'static str, &'static str) {
    (MARK, &SPARED)
}

/// A child that this process started itself, until this is dropped: not before it is reaped.
#[derive(Debug)]
pub struct Own {
    pid: u32,
}

/// Starts a child that sweeps leave alone; `pid` is its number.
pub fn start<T>(
    start: impl FnOnce() -> io::Result<T>,
    pid: impl FnOnce(&T) -> Option<u32>,
) -> io::Result<(T, Own)> {
    let mut own = own();
    let child = start()?;
    // Why 0: one without a number has ended and was reaped.
    let pid = pid(&child).unwrap_or(0);
    own.insert(pid, SPARED.clone());
    drop(own);
    Ok((child, Own { pid }))
}

impl Own {
    /// It is a worker: what it starts belongs to it.
    pub(crate) fn marks(&self, record: &WorkerRecord) {
        own().insert(self.pid, mark_of(record.pid, record.start_time));
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        own().remove(&self.pid);
    }
}

fn own() -> MutexGuard<'static, HashMap<u32, String>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills adopted processes that belong to no living worker and all that they have started, and reaps
/// what has ended. Whether nothing of that is left. Blocks, for [`SWEEP_MAX`] at most.
pub(crate) fn sweep() -> bool {
    if !adopts() {
        return true;
    }
    let deadline = Instant::now() + SWEEP_MAX;
    loop {
        match end_strangers(deadline) {
            Ok(0) => return true,
            // What it had started is ours now, and met in the next round.
            Ok(_) if Instant::now() < deadline => {}
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(%error, "cannot look for what workers have left behind");
                return true;
            }
        }
    }
}

/// The last sweeps, when all workers are gone. Blocks.
pub fn end_all() {
    for _ in 0..LAST_SWEEPS {
        if sweep() {
            return;
        }
    }
    tracing::warn!("something that workers had started does not end although killed");
}

/// One round; how many were killed, or had ended.
fn end_strangers(deadline: Instant) -> io::Result<usize> {
    let own = own();
    let me = std::process::id();
    let session = procfs::stat(me)?.map(|stat| stat.session);
    let mut ended = 0;
    let mut dying = Vec::new();
    for number in procfs::numbers()? {
        // Why one by one: what forks and ends without end has to be hit while it is there.
        let Some(child) = procfs::stat(number?)? else {
            continue;
        };
        let pid = raw(child.pid).filter(|_| child.parent == me && !own.contains_key(&child.pid));
        let Some(pid) = pid else {
            continue;
        };
        if child.zombie {
            // Why it counts: what it started in its last moment may be behind this round.
            ended += usize::from(waitpid(Some(pid), WaitOptions::NOHANG).is_ok());
        } else if !belongs(&child, &own) {
            // Why by number: nobody but this function reaps it, so it is nobody else's.
            rustix::process::kill_process(pid, Signal::KILL).ok();
            if child.group == child.session && Some(child.session) != session {
                // All in that group came out of the one that began the session.
                raw(child.group).map(|group| kill_process_group(group, Signal::KILL).ok());
            }
            dying.push((pid, pidfd_open(pid, PidfdFlags::empty())));
        }
    }
    drop(own);
    if !dying.is_empty() {
        let pids: Vec<String> = dying.iter().map(|(pid, _)| pid.to_string()).collect();
        tracing::info!(
            pids = pids.join(" "),
            "killed what a worker had left behind"
        );
    }
    for (pid, descriptor) in &dying {
        let left = deadline.saturating_duration_since(Instant::now());
        if descriptor.as_ref().is_ok_and(|it| ends_within(it, left)) {
            waitpid(Some(*pid), WaitOptions::NOHANG).ok();
        }
    }
    Ok(ended + dying.len())
}

fn raw(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Whether an adopted process may live on: its worker does, or it needs none.
fn belongs(process: &procfs::Stat, own: &HashMap<u32, String>) -> bool {
    // No worker can take this back, and all that it starts has it: what does not, came from elsewhere
    // to a daemon that is the first process of a container.
    if has_no_new_privs(process.pid) == Some(false) {
        return true;
    }
    let lives = |pid: u32| matches!(procfs::stat(pid), Ok(Some(stat)) if !stat.zombie);
    // Only what is in this session can be in such a group: its number is nobody else's.
    if own.contains_key(&process.group) && lives(process.group) {
        return true;
    }
    match mark(process.pid) {
        Some(mark) if mark == *SPARED => true,
        Some(mark) => own.iter().any(|(pid, its)| *its == mark && lives(*pid)),
        None => false,
    }
}

/// Whether a process has given up new privileges; `None` where it cannot be asked.
fn has_no_new_privs(pid: u32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("NoNewPrivs:"))?;
    Some(value.trim() == "1")
}

/// The mark that a process carries; `None` where it has none or cannot be asked.
pub(crate) fn mark(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let name = format!("{MARK}=");
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(name.as_bytes()))?;
    Some(
        std::ffi::OsStr::from_bytes(value)
            .to_string_lossy()
            .into_owned(),
    )
}
