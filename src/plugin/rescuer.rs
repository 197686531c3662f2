//! Kills what is left of a killed daemon's workers, before its successor dispatches anything.
//!
//! A worker itself dies with the daemon (its launcher asked the kernel for that); what it had
//! started may live on in its process group, or with its mark in any other, and is what
//! is looked for here. It never hits a stranger who was given a dead worker's process number.
//!
//! Crash: run again at the next start, it finds the same records and finishes the work.

use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};

use super::{WorkerRecord, orphans, procfs};

/// Why the workers of the last daemon are not known to be gone. Nothing may be dispatched then.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// `/proc` could not be read.
    #[error("cannot look for workers of the last daemon in /proc")]
    Proc(#[source] io::Error),
    /// They were killed and did not go; a process in uninterruptible sleep (a dead network file
    /// system) is the usual reason.
    #[error(
        "workers of the last daemon do not end although killed: processes {pids:?}; look at them with ps, and start again when they are gone"
    )]
    Unkillable {
        /// The processes.
        pids: Vec<u32>,
    },
    /// The kernel refused to kill them.
    #[error("cannot kill process group {group}, left by the last daemon")]
    Refused {
        /// The group's number.
        group: u32,
        /// Why not.
        source: io::Error,
    },
}

/// Kills what is left of the recorded workers and of what they had started, and waits until they are gone,
/// at most `patience`. Returns how many processes it killed. Blocks.
pub fn rescue(records: &[WorkerRecord], patience: Duration) -> Result<usize, RescueError> {
    let deadline = Instant::now() + patience;
    let boot = procfs::boot().map_err(RescueError::Proc)?;
    // Why one look before: mostly nothing is left, and then many records cost no more than one.
    let groups: HashSet<u32> = procfs::living()
        .map_err(RescueError::Proc)?
        .into_iter()
        .map(|process| process.group)
        .collect();
    let mut killed = 0;
    let mut marks = HashSet::new();
    for record in records {
        if record.boot == boot {
            marks.insert(orphans::mark_of(record.pid, record.start_time));
        }
        if record.boot == boot && groups.contains(&record.pid) {
            killed += end_group(record, deadline)?;
        }
    }
    if !marks.is_empty() {
        killed += end_marked(&marks, deadline)?;
    }
    Ok(killed)
}

/// Kills what carries one of these marks, in whatever group it is.
fn end_marked(marks: &HashSet<String>, deadline: Instant) -> Result<usize, RescueError> {
    let carries = |pid: u32| orphans::mark(pid).is_some_and(|mark| marks.contains(&mark));
    let mut killed = 0;
    loop {
        let living = procfs::living().map_err(RescueError::Proc)?.into_iter();
        let pids = living.map(|process| process.pid);
        // Why not itself: somebody may have started this daemon out of a worker of the last one.
        let found: Vec<_> = pids
            .filter(|pid| *pid != std::process::id() && carries(*pid))
            .filter_map(|pid| Some((pid, pidfd_open(raw_pid(pid)?, PidfdFlags::empty()).ok()?)))
            // Why again: the first look may have been at another process of that number.
            .filter(|(pid, _)| carries(*pid))
            .collect();
        if found.is_empty() {
            return Ok(killed);
        }
        killed += found.len();
        for (pid, descriptor) in &found {
            match pidfd_send_signal(descriptor, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => {
                    return Err(RescueError::Refused {
                        group: *pid,
                        source: errno.into(),
                    });
                }
            }
        }
        for (_, descriptor) in &found {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !ends_within(descriptor, left) {
                let pids = found.iter().map(|(pid, _)| *pid).collect();
                return Err(RescueError::Unkillable { pids });
            }
        }
    }
}

fn end_group(record: &WorkerRecord, deadline: Instant) -> Result<usize, RescueError> {
    let mut killed = 0;
    loop {
        let members = left_of(record).map_err(RescueError::Proc)?;
        if members.is_empty() {
            return Ok(killed);
        }
        killed = killed.max(members.len());
        // Why before the kill: a descriptor of a process that is gone cannot be had, and one that
        // is gone needs no waiting for.
        let descriptors: Vec<_> = members
            .iter()
            .filter_map(|pid| pidfd_open(raw_pid(*pid)?, PidfdFlags::empty()).ok())
            .collect();
        if let Some(group) = raw_pid(record.pid) {
            match kill_process_group(group, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => {
                    return Err(RescueError::Refused {
                        group: record.pid,
                        source: errno.into(),
                    });
                }
            }
        }
        for descriptor in &descriptors {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !ends_within(descriptor, left) {
                return Err(RescueError::Unkillable { pids: members });
            }
        }
    }
}

/// The processes that are left of a recorded worker's group.
fn left_of(record: &WorkerRecord) -> io::Result<Vec<u32>> {
    // Invariant: the kernel gives no process number that a group still carries. So a stranger under
    // the worker's number means that its whole group is gone.
    if procfs::stat(record.pid)?.is_some_and(|leader| leader.start_time != record.start_time) {
        return Ok(Vec::new());
    }
    // Why these two: where the worker itself is gone, its number could have been a stranger's since,
    // who left a group behind in turn. A group of ours is in our session and not older than its leader.
    let ours = |process: &procfs::Stat| {
        process.group == record.pid
            && process.session == record.session
            && process.start_time >= record.start_time
    };
    let left = procfs::living()?.into_iter().filter(ours);
    Ok(left.map(|process| process.pid).collect())
}

fn raw_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Waits for the end of a process; a descriptor of one becomes readable then.
pub(crate) fn ends_within(descriptor: &impl std::os::fd::AsFd, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut waiting = [PollFd::new(descriptor, PollFlags::IN)];
    matches!(poll(&mut waiting, Some(&timeout)), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt as _,
        process::{Child, Command},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(script: &str) -> (Child, WorkerRecord) {
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .process_group(0)
            .spawn()
            .unwrap();
        let stat = procfs::stat(child.id()).unwrap().unwrap();
        let record = WorkerRecord {
            pid: child.id(),
            start_time: stat.start_time,
            session: stat.session,
            boot: procfs::boot().unwrap(),
        };
        (child, record)
    }

    fn members(record: &WorkerRecord) -> Vec<u32> {
        let living = procfs::living().unwrap().into_iter();
        let members = living.filter(|process| process.group == record.pid);
        members.map(|process| process.pid).collect()
    }

    /// Pitfall 24: what a worker had started is gone before the successor dispatches.
    #[test]
    fn a_whole_group_is_gone_when_rescue_returns() {
        let (mut child, record) = start("sleep 300 & sleep 300 & wait");
        // The shell has started both when its group has three members.
        while members(&record).len() < 3 {
            std::thread::yield_now();
        }
        assert!(rescue(std::slice::from_ref(&record), PATIENCE).unwrap() >= 3);
        assert_eq!(members(&record), [0; 0]);
        child.wait().unwrap();
        assert_eq!(rescue(&[record], PATIENCE).unwrap(), 0);
    }

    /// Pitfall 24: the worker died with the daemon, its child did not.
    #[test]
    fn what_a_dead_worker_left_behind_is_killed() {
        let (mut child, record) = start("sleep 300 & exit 0");
        child.wait().unwrap();
        assert_eq!(procfs::stat(record.pid).unwrap(), None);
        assert_eq!(members(&record).len(), 1);
        assert_eq!(rescue(std::slice::from_ref(&record), PATIENCE).unwrap(), 1);
        assert_eq!(members(&record), [0; 0]);
    }

    #[test]
    fn a_stranger_under_a_recycled_number_lives_on() {
        let (mut child, record) = start("exec sleep 300");
        for stranger in [
            WorkerRecord {
                start_time: record.start_time - 1,
                ..record.clone()
            },
            WorkerRecord {
                boot: "another boot".to_owned(),
                ..record.clone()
            },
        ] {
            assert_eq!(rescue(&[stranger], PATIENCE).unwrap(), 0);
            assert!(child.try_wait().unwrap().is_none());
        }
        assert_eq!(rescue(&[record], PATIENCE).unwrap(), 1);
        child.wait().unwrap();
    }

    #[test]
    fn a_group_that_a_stranger_left_under_a_recycled_number_lives_on() {
        let (mut child, record) = start("sleep 300 & exit 0");
        child.wait().unwrap();
        let elsewhere = WorkerRecord {
            session: record.session + 1,
            ..record.clone()
        };
        let younger = WorkerRecord {
            start_time: u64::MAX,
            ..record.clone()
        };
        assert_eq!(rescue(&[elsewhere, younger], PATIENCE).unwrap(), 0);
        assert_eq!(members(&record).len(), 1);
        assert_eq!(rescue(&[record], PATIENCE).unwrap(), 1);
    }
}
