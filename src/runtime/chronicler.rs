//! Writes down what happens to the daemon itself: its start, its orderly end, that it went away
//! without one, that the disk is full and has room again.
//!
//! Crash: the session's row has no end then; the next start finds it, and tells each job that was live
//! from when to when nobody was here. Invariant: one process has the row, the owner of the directory.

use std::time::Duration;

use super::{Engine, RuntimeError};
use crate::{
    config::job::{JobFile, OnInterrupt},
    plugin::boot,
    store::{Change, EventKind, EventRow, JobRow, RunRow, SessionChange, SessionRow, Store},
    time::Timestamp,
};

/// How often it gives a sign of life: fine enough to tell people when the machine went away, rare
/// enough for a disk that would rather sleep.
const SIGN_EVERY: Duration = Duration::from_mins(1);

/// The service.
pub struct Chronicler {
    engine: Engine,
}

impl Chronicler {
    /// The chronicler of this engine.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Works until the engine closes.
    pub async fn work(self) {
        let mut closing = self.engine.closing();
        let mut disk = self.engine.disk().changes();
        let mut full = *disk.borrow_and_update();
        if full {
            self.tell_disk(true).await;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(SIGN_EVERY) => {}
                Ok(()) = disk.changed() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            let was = std::mem::replace(&mut full, *disk.borrow_and_update());
            if was == full {
                self.sign().await;
            } else {
                self.tell_disk(full).await;
            }
        }
    }

    async fn sign(&self) {
        let lives = session(SessionChange::Lives, self.engine.now());
        // Why not waited for: a disk that takes nothing is told elsewhere.
        drop(self.engine.store().commit(vec![lives]).await);
    }

    /// Tells the daemon's log and those of the live jobs.
    async fn tell_disk(&self, full: bool) {
        let disk = self.engine.disk();
        let free = disk.free().unwrap_or(0) >> 20;
        let min = disk.free_min() >> 20;
        let (kind, detail) = if full {
            let detail = format!("{free} MiB free, below {min} MiB nothing is dispatched");
            (EventKind::DiskFull, detail)
        } else {
            (EventKind::DiskFree, format!("{free} MiB free"))
        };
        let jobs = [String::new()].into_iter().chain(self.engine.live_jobs());
        let changes = jobs
            .map(|job| self.engine.event(&job, kind, detail.clone()))
            .collect();
        // Why not waited for: on a full disk that may take as long as it is full.
        drop(self.engine.store().commit(changes).await);
    }
}

const fn session(change: SessionChange, at: Timestamp) -> Change {
    Change::Session { change, at }
}

/// Says that this process keeps jobs running from now on, and tells the jobs where the one before it
/// went away.
pub(super) fn begin(store: &Store, now: Timestamp) -> Result<Vec<Change>, RuntimeError> {
    let boot = boot().map_err(|error| RuntimeError::Io {
        what: "cannot tell which boot of the machine this is".to_owned(),
        error,
    })?;
    let mut changes = Vec::new();
    let last = store.last_session()?;
    if let Some(last) = last.as_ref().filter(|last| last.ended.is_none()) {
        changes = away(store, last, &boot, now)?;
    }
    let version = format!("version {}", env!("CARGO_PKG_VERSION"));
    let started = EventRow::new(now, "", EventKind::DaemonStarted, version);
    changes.push(Change::Event(started));
    changes.push(session(SessionChange::Begins { boot }, now));
    Ok(changes)
}

/// What ends the session in good order.
pub(super) fn end(now: Timestamp, all_ended: bool) -> Vec<Change> {
    let detail = if all_ended {
        ""
    } else {
        "calls were still under way, and are made again at the next start"
    };
    vec![
        Change::Event(EventRow::new(now, "", EventKind::DaemonEnded, detail)),
        session(SessionChange::Ends, now),
    ]
}

/// The process before this one went away; told to the daemon's log and to each job that was live.
fn away(
    store: &Store,
    last: &SessionRow,
    boot: &str,
    now: Timestamp,
) -> Result<Vec<Change>, RuntimeError> {
    let live = live_runs(store)?;
    // Why also the runs: each of their commits is a sign of life, and finer than the session's own.
    let signs = live.iter().map(|(_, run)| run.changed);
    let seen = signs.chain([last.seen]).max().unwrap_or(last.seen);
    let absence = Absence {
        from: seen.min(now),
        until: now,
        // Why the first word: what follows names the container, which may be a new one.
        rebooted: last.boot.split(' ').next() != boot.split(' ').next(),
    };
    let mut changes = vec![absence.event("", "")];
    for (job, run) in live {
        let items = store.in_doubt(&run)?;
        changes.push(absence.event(&job.name, &calls_in_doubt(&job, items)));
    }
    Ok(changes)
}

/// The jobs that are to run and have a run that has not ended.
fn live_runs(store: &Store) -> Result<Vec<(JobRow, RunRow)>, RuntimeError> {
    let mut live = Vec::new();
    for job in store.jobs()? {
        if job.started
            && let Some(run) = store.newest_run(&job.name)?
            && !run.checkpoint.status.is_ended()
        {
            live.push((job, run));
        }
    }
    Ok(live)
}

fn calls_in_doubt(job: &JobRow, items: u64) -> String {
    let holds = JobFile::parse(job.path.as_ref(), job.text.clone())
        .is_ok_and(|file| file.process.on_interrupt == OnInterrupt::Hold);
    match (items, holds) {
        (0, _) => "; no call was under way".to_owned(),
        (1, false) => "; 1 call in doubt is made again".to_owned(),
        (1, true) => "; 1 call in doubt waits for a decision".to_owned(),
        (items, false) => format!("; {items} calls in doubt are made again"),
        (items, true) => format!("; {items} calls in doubt wait for a decision"),
    }
}

/// When nobody was here.
struct Absence {
    from: Timestamp,
    until: Timestamp,
    rebooted: bool,
}

impl Absence {
    fn event(&self, job: &str, more: &str) -> Change {
        let (reason, who) = if self.rebooted {
            ("reboot", "the machine was restarted: it")
        } else {
            ("crash", "the daemon")
        };
        let detail = format!(
            "{who} went away between {:.0} and {:.0}, for {}{more}",
            self.from.to_jiff(),
            self.until.to_jiff(),
            span(self.until.since(self.from)),
        );
        let event = EventRow::new(self.until, job, EventKind::Away, detail);
        Change::Event(event.because(reason))
    }
}

/// `3 h 2 min`, to the minute; below one in seconds.
fn span(away: Duration) -> String {
    let (hours, minutes) = (away.as_secs() / 3600, away.as_secs() / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{} s", away.as_secs()),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EventQuery, StoreSettings};

    #[test]
    fn a_session_without_an_end_is_told_by_the_next_and_one_with_an_end_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let told = |store: &Store| {
            let query = EventQuery {
                kinds: vec![EventKind::Away],
                rows_max: 9,
                ..EventQuery::default()
            };
            store.events(&query).unwrap()
        };
        let begin = |at| store.commit_blocking(begin(&store, at).unwrap()).unwrap();
        begin(at(1000));
        store.commit_blocking(end(at(1500), true)).unwrap();
        begin(at(2000));
        assert_eq!(told(&store), []);
        begin(at(2000 + 3 * 3600 + 120));
        let events = told(&store);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].reason.as_deref(), Some("crash"));
        let detail = "the daemon went away between 1970-01-01T00:33:20Z and 1970-01-01T03:35:20Z, for 3 h 2 min";
        assert_eq!(events[0].detail, detail);
    }

    #[test]
    fn another_boot_means_that_the_machine_was_restarted() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let last = SessionRow {
            boot: "another".to_owned(),
            started: Timestamp(0),
            seen: Timestamp(0),
            ended: None,
        };
        let changes = away(&store, &last, "this", Timestamp(1_000_000)).unwrap();
        let [Change::Event(event)] = &changes[..] else {
            panic!("{changes:?}");
        };
        assert_eq!(event.reason.as_deref(), Some("reboot"));
        assert!(event.detail.starts_with("the machine was restarted"));
    }
}
