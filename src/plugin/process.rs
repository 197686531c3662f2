//! One worker process: its pipes, its group, its end.
//!
//! Invariant: the group is signalled only while its leader is not reaped, so that its number cannot
//! have become a stranger's; and the leader is reaped only after the group was killed, so that
//! nothing that a worker started outlives it in there (what leaves the group is ended by the
//! [sweep](super::orphans) behind it). However a `Process` goes away, its group is killed and its end recorded.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus},
};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::{Spawner, WorkerRecord, orphans::Own};

/// A started worker process; killed when dropped.
pub(crate) struct Process {
    child: Option<(Child, Own)>,
    record: WorkerRecord,
    spawner: Spawner,
    reaped: bool,
}

impl Process {
    /// Takes charge of a child that leads a process group of its own.
    pub(crate) fn new(child: Child, own: Own, record: WorkerRecord, spawner: Spawner) -> Self {
        own.marks(&record);
        Self {
            child: Some((child, own)),
            record,
            spawner,
            reaped: false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.record.pid
    }

    /// Its standard input, output and error; `None` when taken before.
    pub(crate) fn take_pipes(&mut self) -> Option<(ChildStdin, ChildStdout, ChildStderr)> {
        let (child, _) = self.child.as_mut()?;
        Some((
            child.stdin.take()?,
            child.stdout.take()?,
            child.stderr.take()?,
        ))
    }

    /// A descriptor that becomes readable when the process has ended.
    pub(crate) fn end_descriptor(&self) -> io::Result<OwnedFd> {
        let pid = self.raw_pid().ok_or(io::ErrorKind::NotFound)?;
        Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
    }

    /// Sends a signal to everything in the group.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.reaped {
            return;
        }
        if let Some(group) = self.raw_pid() {
            // Why the result is nothing: a group that is gone has got what the signal was for, and
            // one that cannot be signalled is found out by whoever waits for its end.
            kill_process_group(group, signal).ok();
        }
    }

    /// Kills what is left of the group and takes the leader's status, if it has ended.
    pub(crate) fn reap(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::KILL);
        let status = self.child.as_mut()?.0.try_wait().ok()??;
        self.reaped = true;
        Some(status)
    }

    fn raw_pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.record.pid).ok()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some((child, own)) = self.child.take() {
            self.spawner.bury(child, own, self.record.clone());
        }
    }
}

/// How a process ended, for people: `exit status 3`, `killed by SIGSEGV`.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Whether a process was asked to end by somebody who asks politely: a service manager or an
/// operator, or its own reaction to them (128 + signal).
pub(crate) fn was_asked_to_end(status: ExitStatus) -> bool {
    const ASKING: [i32; 3] = [
        Signal::HUP.as_raw(),
        Signal::INT.as_raw(),
        Signal::TERM.as_raw(),
    ];
    ASKING
        .iter()
        .any(|signal| status.signal() == Some(*signal) || status.code() == Some(128 + *signal))
}

fn signal_name(signal: i32) -> String {
    let known = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    known
        .iter()
        .find(|(known, _)| known.as_raw() == signal)
        .map_or_else(
            || format!("signal {signal}"),
            |(_, name)| (*name).to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words_and_polite_ones_are_known() {
        for (raw, words, asked) in [
            (0, "exit status 0", false),
            (3 << 8, "exit status 3", false),
            (143 << 8, "exit status 143", true),
            (15, "killed by SIGTERM", true),
            (2, "killed by SIGINT", true),
            (9, "killed by SIGKILL", false),
            (0x80 + 11, "killed by SIGSEGV", false),
            (40, "killed by signal 40", false),
        ] {
            let status = ExitStatus::from_raw(raw);
            assert_eq!(describe(status), words);
            assert_eq!(was_asked_to_end(status), asked, "{words}");
        }
    }
}
