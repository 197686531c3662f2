//! How programs of people are told something, and how often it is tried: for the notifier and the courier.
//!
//! A program is started without a shell, in a process group of its own, with nothing of this process's
//! environment. Invariant: whatever it does, it is gone within its time, or with whoever tells it, and what is
//! kept of its words is bounded. What it leaves behind when it ends by itself is its own business.

use std::{
    path::Path,
    pin::pin,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use crate::{payload::gist, plugin::orphans, store::Delivery, time::Timestamp};

/// How long a command may take: it hands something over, it does not wait for people.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Between SIGTERM and SIGKILL of a command that takes longer.
const GRACE: Duration = Duration::from_secs(2);

/// How long the last words of a command are waited for once it has ended: what it has started may hold its
/// outputs open for good.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// The delay before the second try; it doubles from there.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_hours(1);

/// Of what a command says, so much is kept.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// A program that is told something.
pub(super) struct Program<'a> {
    /// Which.
    pub(super) path: &'a Path,
    /// With what.
    pub(super) arguments: &'a [String],
    /// Where it is started.
    pub(super) folder: &'a Path,
    /// What that place is, for people.
    pub(super) place: &'static str,
}

/// What a program said.
pub(super) struct Said {
    /// What went wrong; `None`: it was told.
    pub(super) failure: Option<String>,
    /// What it said, on both of its outputs.
    pub(super) output: String,
    /// How long it took.
    pub(super) took: Duration,
}

/// What becomes of something that could not be told at its `attempt`th try, and that in words.
pub(super) fn failed(
    attempt: u32,
    tries_max: u32,
    now: Timestamp,
    error: String,
) -> (Delivery, String) {
    if attempt >= tries_max {
        let rest = format!("given up after {attempt} tries");
        return (Delivery::GivenUp { error }, rest);
    }
    let factor = 1_u32
        .checked_shl(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let delay = FIRST_DELAY.saturating_mul(factor).min(DELAY_MAX);
    let due = now.after(delay);
    let rest = format!("it is tried {} times more", tries_max - attempt);
    (Delivery::TryAgain { due, error }, rest)
}

impl Program<'_> {
    /// Runs it to its end, or to its time-out.
    pub(super) async fn tell(&self, event: &Value) -> Said {
        let begun = Instant::now();
        let (failure, output) = match self.start() {
            Ok((child, _own)) => converse(child, event).await,
            Err(error) => {
                let hint = format!("it is started without a shell, from {}", self.place);
                let failure = format!("it does not start: {error}; {hint}");
                (Some(failure), String::new())
            }
        };
        Said {
            failure,
            output,
            took: begun.elapsed(),
        }
    }

    fn start(&self) -> std::io::Result<(Child, orphans::Own)> {
        let (mark, spared) = orphans::spared();
        let mut command = Command::new(self.path);
        command
            .args(self.arguments)
            .current_dir(self.folder)
            // Why cleared: what the daemon was started with, credentials among it, is no business of it.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(mark, spared)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        orphans::start(|| command.spawn(), Child::id)
    }
}

/// The group of a command that has not ended. Dropped, as with a process that goes away, it is killed.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // Why ok: it may have ended just now.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// Hands the event over, and waits; what went wrong, and what it said.
async fn converse(mut child: Child, event: &Value) -> (Option<String>, String) {
    let group = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let mut group = Group(group);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let line = format!("{event}\n");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let whole = {
        let write = async {
            if let Some(mut stdin) = stdin {
                // Why ok: a command need not read what it is told.
                stdin.write_all(line.as_bytes()).await.ok();
            }
        };
        let mut talk = pin!(async {
            tokio::join!(write, read(stdout, &mut out), read(stderr, &mut err));
        });
        let whole = async {
            let mut ended = pin!(child.wait());
            let status = tokio::select! {
                status = &mut ended => status,
                () = &mut talk => return ended.await,
            };
            // Why either way: it is judged by how it ended.
            drop(tokio::time::timeout(LAST_WORDS_MAX, talk).await);
            status
        };
        tokio::time::timeout(TIMEOUT, whole).await
    };
    let Ok(status) = whole else {
        end(&mut child, group.0).await;
        group.0 = None;
        let failure = format!(
            "it took longer than {} s, and was killed",
            TIMEOUT.as_secs()
        );
        return (Some(failure), String::new());
    };
    group.0 = None;
    let output = String::from_utf8_lossy(&out) + String::from_utf8_lossy(&err);
    let failure = match status {
        Ok(status) if status.success() => None,
        Ok(status) => {
            let said = gist(&output);
            let said = if said.is_empty() {
                String::new()
            } else {
                format!(": {said}")
            };
            Some(format!("{status}{said}"))
        }
        Err(error) => Some(error.to_string()),
    };
    (failure, output.into_owned())
}

/// Ends a command and what it has started.
async fn end(child: &mut Child, group: Option<Pid>) {
    let Some(group) = group else { return };
    // Why ok, twice: it may have ended just now.
    kill_process_group(group, Signal::TERM).ok();
    let gone = tokio::time::timeout(GRACE, child.wait()).await.is_ok();
    kill_process_group(group, Signal::KILL).ok();
    if !gone {
        child.wait().await.ok();
    }
}

/// The beginning of what it says; the rest is read and dropped, so that it never blocks on us.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    // Why ok, twice: what cannot be read was not said.
    (&mut pipe)
        .take(OUTPUT_BYTES_MAX)
        .read_to_end(kept)
        .await
        .ok();
    tokio::io::copy(&mut pipe, &mut tokio::io::sink())
        .await
        .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as the notifier has.
    const TRIES_MAX: u32 = 20;

    #[test]
    fn tries_are_doubled_up_to_an_hour_and_end() {
        let mut delays = Vec::new();
        for attempt in 1..TRIES_MAX {
            let (Delivery::TryAgain { due, .. }, _) =
                failed(attempt, TRIES_MAX, Timestamp(0), String::new())
            else {
                panic!("given up at {attempt}");
            };
            delays.push(due.since(Timestamp(0)).as_secs());
        }
        assert_eq!(delays[..4], [1, 2, 4, 8]);
        assert_eq!(delays[12..], [3600; 7]);
        let (last, told) = failed(TRIES_MAX, TRIES_MAX, Timestamp(0), "broken".to_owned());
        let error = "broken".to_owned();
        assert_eq!(last, Delivery::GivenUp { error });
        assert_eq!(told, "given up after 20 tries");
    }

    fn shell(script: &str) -> [String; 2] {
        ["-c".to_owned(), script.to_owned()]
    }

    fn program<'a>(arguments: &'a [String], folder: &'a Path) -> Program<'a> {
        Program {
            path: Path::new("/bin/sh"),
            arguments,
            folder,
            place: "a folder of the test",
        }
    }

    #[tokio::test]
    async fn a_command_is_judged_by_how_it_ended_whatever_holds_its_outputs_open() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = shell("sleep 20 & echo $! > left; echo told");
        let said = program(&arguments, directory.path())
            .tell(&Value::Null)
            .await;
        assert_eq!(said.failure, None);
        assert_eq!(said.output, "told\n");
        let left = std::fs::read_to_string(directory.path().join("left")).unwrap();
        let left = Path::new("/proc").join(left.trim());
        assert!(left.exists(), "what it left is its own business");
    }

    #[tokio::test]
    async fn whoever_stops_telling_takes_the_command_and_what_it_started_along() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = shell("sleep 600 & echo $! > now; mv now left; wait");
        let left = directory.path().join("left");
        let child = {
            let program = program(&arguments, directory.path());
            let mut telling = pin!(program.tell(&Value::Null));
            loop {
                let tick = Duration::from_millis(10);
                drop(tokio::time::timeout(tick, telling.as_mut()).await);
                if let Ok(pid) = std::fs::read_to_string(&left) {
                    break Path::new("/proc").join(pid.trim()).join("stat");
                }
            }
        };
        let is_there = || {
            let stat = std::fs::read_to_string(&child).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        for _ in 0..6000 {
            if !is_there() {
                return;
            }
            tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>())
                .await
                .unwrap_err();
        }
        panic!("it is there still");
    }
}
