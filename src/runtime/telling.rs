//! How programs of people are told something, and how often it is tried: for the notifier and the courier.
//!
//! A program is started without a shell, in a process group of its own, with nothing of this process's
//! environment. Invariant: whatever it does, it is gone within its time, and what is kept of its words is
//! bounded.

use std::{
    path::Path,
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

/// Hands the event over, and waits; what went wrong, and what it said.
async fn converse(mut child: Child, event: &Value) -> (Option<String>, String) {
    let group = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let (mut stdin, stdout, stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let line = format!("{event}\n");
    let talk = async {
        let write = async {
            if let Some(mut stdin) = stdin.take() {
                // Why ok: a command need not read what it is told.
                stdin.write_all(line.as_bytes()).await.ok();
            }
        };
        let ((), out, err) = tokio::join!(write, read(stdout), read(stderr));
        format!("{out}{err}")
    };
    let whole = async { tokio::join!(talk, child.wait()) };
    let Ok((output, status)) = tokio::time::timeout(TIMEOUT, whole).await else {
        end(&mut child, group).await;
        let failure = format!(
            "it took longer than {} s, and was killed",
            TIMEOUT.as_secs()
        );
        return (Some(failure), String::new());
    };
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
    (failure, output)
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
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut kept = Vec::new();
    // Why ok, twice: what cannot be read was not said.
    (&mut pipe)
        .take(OUTPUT_BYTES_MAX)
        .read_to_end(&mut kept)
        .await
        .ok();
    tokio::io::copy(&mut pipe, &mut tokio::io::sink())
        .await
        .ok();
    String::from_utf8_lossy(&kept).into_owned()
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
}
