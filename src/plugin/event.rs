//! What a pool tells the outside about itself: log lines, starts and ends of workers, versions.
//!
//! Owns the vocabulary and the port; keeps nothing and decides nothing. An event carries no result:
//! those are [`Answer`](super::Answer)s. How many there can be in a while is bounded where they
//! are made.

use std::{path::PathBuf, time::Duration};

use compact_str::CompactString;

use crate::{
    ids::{Index, VersionNumber},
    payload::Failure,
};

/// Where events go.
///
/// Called from the pool's tasks: it must neither block nor panic, and where it hands events on it
/// must bound what it keeps.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Something that people or logs may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A line that a worker printed. At most 8 KiB (longer ones come in pieces), at most 500 lines
    /// and 256 KiB a second and worker; invalid UTF-8 is replaced.
    Log {
        /// The worker's process.
        pid: u32,
        /// What it runs.
        version: VersionNumber,
        /// Where it was printed.
        stream: Stream,
        /// The items that were in the worker at that time: with one in flight, the one.
        items: Vec<ItemRef>,
        /// Without its newline.
        line: String,
    },
    /// More lines than are passed on; their number, once a second at most.
    LogsDropped {
        /// The worker's process.
        pid: u32,
        /// How many were dropped since the last of these events.
        lines: u64,
    },
    /// A worker is ready for its first item.
    WorkerStarted {
        /// Its process.
        pid: u32,
        /// What it runs.
        version: VersionNumber,
    },
    /// A worker is gone, with everything in its process group.
    WorkerEnded {
        /// Its process; `None` where none was started.
        pid: Option<u32>,
        /// What it ran.
        version: VersionNumber,
        /// How it ended, for people: `exit status 1`, `killed by SIGKILL (timeout)`.
        how: String,
        /// Whether the pool wanted it to end.
        expected: bool,
        /// Until a successor is started, where one is needed.
        restart_after: Duration,
    },
    /// Workers run without Landlock, or with less of it than this build knows; once for each version.
    Unconfined {
        /// What runs so.
        version: VersionNumber,
        /// Why, for people.
        why: String,
    },
    /// A deployed version starts, and proves itself on some of the calls.
    CanaryStarted {
        /// The new version.
        version: VersionNumber,
        /// The copy that its workers run in.
        folder: PathBuf,
    },
    /// New calls go to a deployed version: it has proved itself, or did not have to.
    Deployed {
        /// The new version.
        version: VersionNumber,
        /// The copy that its workers run in.
        folder: PathBuf,
        /// Whether it was a canary before.
        proven: bool,
    },
    /// A canary has failed calls that the version in force has no trouble with; calls go to that one
    /// alone again.
    Refuted {
        /// The canary.
        version: VersionNumber,
        /// How it failed, for people.
        cause: String,
    },
    /// A secret was rotated, and calls go to workers that were given its new value. The others finish what
    /// they hold.
    Renewed {
        /// What they run.
        version: VersionNumber,
    },
    /// A secret was rotated, and no worker starts with its new value. Those with the former one go on,
    /// until it is changed again.
    NotRenewed {
        /// What they run.
        version: VersionNumber,
        /// What the last try said.
        cause: String,
    },
    /// A secret that workers were given cannot be read any more; they go on. Once, until it can.
    SecretUnreadable {
        /// What they run.
        version: VersionNumber,
        /// Which, where and why; not its value.
        cause: String,
    },
    /// A version failed to start several times in a row. Where an older one runs, that one goes on
    /// and this one is given up; else the pool goes on trying, at a slow pace.
    CannotStart {
        /// The version.
        version: VersionNumber,
        /// What the last try said.
        cause: String,
        /// The same in the handler's own words, where it had some: what its calls fail with.
        failure: Option<Failure>,
    },
}

/// Where a worker printed a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and the line was no protocol object.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An item, as log lines name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRef {
    /// Its place in the dataset.
    pub index: Index,
    /// Its own identity, where it has one.
    pub id: Option<CompactString>,
}
