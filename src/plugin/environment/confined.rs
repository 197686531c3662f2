//! One command that is locked in like a worker and run to its end.
//!
//! Owns its time and its output. It is started by the spawner, as workers are: tied to the daemon, in a
//! recorded process group of its own, of which nothing outlives it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{ChildStderr, ChildStdout, ExitStatus},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::{
    Limits, SandboxMode, SpawnError, Spawner,
    host::{Role, own_path},
    launch::{self, Report, WorkerSpec},
    lines::Tail,
    process::{Process, describe},
    sandbox::SandboxSpec,
};

/// Most that a command may print: pip says a line for each file that it compiles, at the worst.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ConfinedError {
    /// It was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It could not be locked in or executed.
    #[error("{0}")]
    Refused(String),
    /// Its pipes are broken.
    #[error("it cannot be heard")]
    Io(#[from] io::Error),
    /// Its orders cannot be written.
    #[error("it cannot be told what to do")]
    Orders(#[from] serde_json::Error),
    /// It ended, and not well.
    #[error("{how}{}", spoken(words))]
    Ended {
        /// How, for people.
        how: String,
        /// What it printed last.
        words: String,
    },
    /// It took too long, and was killed.
    #[error("it took too long{}", spoken(words))]
    Late {
        /// What it printed last.
        words: String,
    },
    /// It printed without end, and was killed.
    #[error("it printed more than {OUTPUT_BYTES_MAX} bytes{}", spoken(words))]
    Loud {
        /// What it printed last.
        words: String,
    },
}

fn spoken(words: &str) -> String {
    if words.is_empty() {
        return String::new();
    }
    format!("; its last words: {words}")
}

/// See the module.
pub(super) struct Confined<'a> {
    pub(super) command: Vec<String>,
    /// Where it runs, and what it may read.
    pub(super) folder: &'a Path,
    /// What it may write.
    pub(super) writable: &'a Path,
    /// Its home, in there.
    pub(super) scratch: &'a Path,
    pub(super) mode: SandboxMode,
    pub(super) hidden: &'a [PathBuf],
    /// Beside the usual ones.
    pub(super) variables: BTreeMap<String, String>,
    pub(super) deadline: Instant,
}

impl Confined<'_> {
    /// Runs it to its end; what it printed to standard output at last. Blocks.
    pub(super) fn run(self, spawner: &Spawner) -> Result<String, ConfinedError> {
        let deadline = self.deadline;
        let orders = launch::encode(&self.spec())?;
        let mut process = futures::executor::block_on(spawner.spawn())?;
        let pipes = process.take_pipes();
        let (mut stdin, stdout, stderr) =
            pipes.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        // Why it may block: the launcher reads all of it before anything else.
        stdin.write_all(&orders)?;
        drop(stdin);
        let mut heard = Heard::default();
        let status = listen(&mut process, (stdout, stderr), deadline, &mut heard)?;
        heard.judge(status)
    }

    fn spec(self) -> WorkerSpec {
        let scratch = self.scratch.to_string_lossy();
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), own_path()),
            ("HOME".to_owned(), scratch.to_string()),
            ("TMPDIR".to_owned(), scratch.to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PIP_NO_INPUT".to_owned(), "1".to_owned()),
            // Why: a cache that plugins share is a way from one to another.
            ("PIP_NO_CACHE_DIR".to_owned(), "1".to_owned()),
            ("PIP_DISABLE_PIP_VERSION_CHECK".to_owned(), "1".to_owned()),
        ]);
        let read = self.variables.values().flat_map(|value| paths(value));
        let read = read
            .filter(|path| !self.hidden.iter().any(|hidden| path.starts_with(hidden)))
            .collect();
        env.extend(self.variables);
        WorkerSpec {
            parent: std::process::id(),
            role: Role::Program,
            command: self.command,
            folder: self.folder.to_owned(),
            env,
            limits: Limits::default(),
            sandbox: SandboxSpec {
                mode: self.mode,
                own: vec![self.folder.to_owned()],
                scratch: self.writable.to_owned(),
                compiled: None,
                read,
                write: Vec::new(),
                hidden: self.hidden.to_owned(),
            },
        }
    }
}

/// Paths in a variable's value, such as `PIP_FIND_LINKS`, that are there.
fn paths(value: &str) -> impl Iterator<Item = PathBuf> {
    value
        .split_whitespace()
        .map(|word| Path::new(word.strip_prefix("file://").unwrap_or(word)))
        .filter(|path| path.is_absolute() && path.exists())
        .filter_map(|path| path.canonicalize().ok())
}

/// What a command printed.
#[derive(Default)]
struct Heard {
    /// The beginning of standard output, up to the launcher's report.
    report: Vec<u8>,
    reported: bool,
    out: Tail,
    all: Tail,
    bytes: usize,
    late: bool,
}

impl Heard {
    fn out(&mut self, mut bytes: &[u8]) {
        if !self.reported {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (head, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.report.extend_from_slice(head);
            self.reported = end.is_some();
            bytes = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        let text = String::from_utf8_lossy(bytes);
        self.out.push_part(&text);
        self.all.push_part(&text);
    }

    fn judge(self, status: Option<ExitStatus>) -> Result<String, ConfinedError> {
        if let Ok(Report::Refused { cause }) = serde_json::from_slice(&self.report) {
            return Err(ConfinedError::Refused(cause));
        }
        let words = self.all.text().to_owned();
        if self.late {
            return Err(ConfinedError::Late { words });
        }
        if self.bytes > OUTPUT_BYTES_MAX {
            return Err(ConfinedError::Loud { words });
        }
        match status {
            Some(status) if status.success() => Ok(self.out.text().to_owned()),
            Some(status) => Err(ConfinedError::Ended {
                how: describe(status),
                words,
            }),
            None => Err(ConfinedError::Late { words }),
        }
    }
}

/// Reads what a process prints until it ends, or is killed because it took or printed too much.
fn listen(
    process: &mut Process,
    (mut stdout, mut stderr): (ChildStdout, ChildStderr),
    deadline: Instant,
    heard: &mut Heard,
) -> io::Result<Option<ExitStatus>> {
    for pipe in [stdout.as_fd(), stderr.as_fd()] {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let end = process.end_descriptor()?;
    let (mut out_open, mut err_open) = (true, true);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = {
            let mut watched = vec![PollFd::new(&end, PollFlags::IN)];
            if out_open {
                watched.push(PollFd::new(&stdout, PollFlags::IN));
            }
            if err_open {
                watched.push(PollFd::new(&stderr, PollFlags::IN));
            }
            wait(&mut watched, left)?;
            !watched[0].revents().is_empty()
        };
        out_open = out_open && take(&mut stdout, heard, Heard::out)?;
        err_open = err_open
            && take(&mut stderr, heard, |heard, bytes| {
                heard.all.push_part(&String::from_utf8_lossy(bytes));
            })?;
        heard.late = left.is_zero() && !ended;
        if ended || heard.late || heard.bytes > OUTPUT_BYTES_MAX {
            // Why dropped with it: a process that is killed is reaped by whoever buries it.
            return Ok(process.reap());
        }
    }
}

fn wait(watched: &mut [PollFd<'_>], left: Duration) -> io::Result<()> {
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(watched, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Reads what is there; whether there may be more later.
fn take(
    pipe: &mut impl Read,
    heard: &mut Heard,
    keep: impl Fn(&mut Heard, &[u8]),
) -> io::Result<bool> {
    let mut room = vec![0; READ_BYTES];
    loop {
        match pipe.read(&mut room) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                heard.bytes = heard.bytes.saturating_add(count);
                keep(heard, &room[..count]);
                if heard.bytes > OUTPUT_BYTES_MAX {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
