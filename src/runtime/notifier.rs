//! Tells people's commands what happened: delivers the notifications that the store owes.
//!
//! What is owed is durable with the event that it tells; a command is told at least once, always with
//! the same id. Crash: between a command's success and its commit it is told again by the next
//! process. Invariant: whatever a command does, no run is held up or changed by it.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Engine, RuntimeError,
    telling::{Program, Said, failed},
};
use crate::{
    config::job::{JobFile, Notify, Occasion},
    payload::gist,
    store::{Change, Delivery, EventKind, EventRow, NotificationRow},
    time::Timestamp,
};

/// Tries of one notification: with the delays between them, some nine hours.
const TRIES_MAX: u32 = 20;

/// How long the end of the process waits for commands; what they are not told is still owed.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// Notifications that are told beside one another: one command that hangs holds up few others.
const AT_ONCE_MAX: u32 = 8;

/// The longest sleep: what is due comes also if a wake-up was lost or the clock was set.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// What came of telling a command.
#[derive(Debug)]
pub struct Tried {
    /// What went wrong; `None`: it was told.
    pub failure: Option<String>,
    /// What it said, on both of its outputs.
    pub output: String,
    /// How long it took.
    pub took: Duration,
    /// The command, for people.
    pub command: String,
    /// What it was told.
    pub event: Value,
}

/// The service.
pub struct Notifier {
    engine: Engine,
}

impl Notifier {
    /// The notifier of this engine.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Works until the engine closes.
    pub async fn work(self) {
        let mut closing = self.engine.closing();
        loop {
            let next = self.tell_due().await.unwrap_or_else(|error| {
                tracing::error!(%error, "cannot tell what is owed");
                None
            });
            let now = self.engine.now();
            let sleep = next.map_or(SLEEP_MAX, |due| due.since(now).min(SLEEP_MAX));
            tokio::select! {
                () = self.engine.clock().wait_until(now.after(sleep)) => {}
                () = self.engine.store().news() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    /// Before the process ends: tells what the ends of its runs have made due.
    pub(super) async fn last_words(&self) {
        match tokio::time::timeout(LAST_WORDS_MAX, self.tell_due()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot tell what is owed"),
            Err(_) => tracing::warn!("not everything is told in time; the next start tells it"),
        }
    }

    /// Tells what is due, and answers when something is due next.
    async fn tell_due(&self) -> Result<Option<Timestamp>, RuntimeError> {
        let _telling = self.engine.telling().await;
        loop {
            let now = self.engine.now();
            let owed = self.engine.store().owed_notifications(AT_ONCE_MAX)?;
            let (due, later): (Vec<_>, Vec<_>) = owed.into_iter().partition(|row| row.due <= now);
            if due.is_empty() {
                return Ok(later.first().map(|row| row.due));
            }
            let mut telling = JoinSet::new();
            for row in due {
                let engine = self.engine.clone();
                telling.spawn(async move { tell(&engine, row).await });
            }
            while let Some(told) = telling.join_next().await {
                told.map_err(|_| RuntimeError::Closed)??;
            }
        }
    }
}

/// Tells one notification, and writes down what became of it.
async fn tell(engine: &Engine, row: NotificationRow) -> Result<(), RuntimeError> {
    let event = &row.event;
    let job = engine.store().job(&event.job)?;
    let file = job.as_ref().and_then(|job| engine.job_file(job).ok());
    let notify = file.as_ref().and_then(|file| file.notify.as_ref());
    let wanted = notify.filter(|notify| notify.on.iter().any(|on| is_about(*on, event)));
    let (Some(file), Some(notify)) = (&file, wanted) else {
        return settle(engine, event.id, Delivery::Unwanted, None).await;
    };
    let body = body(engine, event, row.attempts + 1)?;
    let tried = run(notify, file, body).await;
    let at = engine.now();
    let word = occasion(event);
    let (delivery, kind, detail) = match tried.failure {
        None => {
            let said = gist(&tried.output);
            let said = if said.is_empty() {
                String::new()
            } else {
                format!(": {said}")
            };
            (
                Delivery::Told,
                EventKind::Told,
                format!("{word}, to {}{said}", tried.command),
            )
        }
        Some(error) => {
            let (delivery, rest) = failed(row.attempts + 1, TRIES_MAX, at, error.clone());
            let detail = format!("{word}, to {}: {error}; {rest}", tried.command);
            (delivery, EventKind::NotTold, detail)
        }
    };
    // Why not each try: twenty lines about one page would hide everything else.
    let shown = row.attempts == 0 || !matches!(delivery, Delivery::TryAgain { .. });
    if kind == EventKind::NotTold {
        tracing::warn!(
            job = event.job,
            detail,
            "the command of [notify] was not told"
        );
    }
    let told = shown.then(|| Change::Event(EventRow::new(at, &event.job, kind, detail)));
    settle(engine, event.id, delivery, told).await
}

async fn settle(
    engine: &Engine,
    event: i64,
    delivery: Delivery,
    told: Option<Change>,
) -> Result<(), RuntimeError> {
    let at = engine.now();
    let mut changes = vec![Change::Notified {
        event,
        delivery,
        at,
    }];
    changes.extend(told);
    Ok(engine.store().commit(changes).await.await?)
}

/// Whether a job that wants to be told on such an occasion wants this event.
fn is_about(on: Occasion, event: &EventRow) -> bool {
    let succeeded = event.reason.as_deref() == Some("succeeded");
    match on {
        Occasion::Paused => event.kind == EventKind::Paused,
        Occasion::Finished => event.kind == EventKind::Ended && succeeded,
        Occasion::Failed => event.kind == EventKind::Ended && !succeeded,
        Occasion::Stalled(_) => event.kind == EventKind::Stalled,
    }
}

/// The occasion in a word, as `[notify] on` has it.
fn occasion(event: &EventRow) -> &'static str {
    match (event.kind, event.reason.as_deref()) {
        (EventKind::Ended, Some("succeeded")) => "finished",
        (EventKind::Ended, _) => "failed",
        (kind, _) => kind.as_str(),
    }
}

/// What a command reads: which event, in words and in figures.
fn body(engine: &Engine, event: &EventRow, attempt: u32) -> Result<Value, RuntimeError> {
    let store = engine.store();
    let by = event
        .author
        .as_ref()
        .map_or_else(String::new, |author| format!(" by {author}"));
    let detail = if event.detail.is_empty() {
        String::new()
    } else {
        format!(": {}", event.detail)
    };
    let word = occasion(event);
    let mut body = json!({
        "id": format!("{}-{}", store.identity()?, event.id),
        "event": word,
        "job": event.job,
        "at": event.at.to_string(),
        "reason": event.reason,
        "author": event.author,
        "detail": event.detail,
        "message": format!("{} {word}{by}{detail}", event.job),
        "attempt": attempt,
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "state_dir": engine.paths().root().display().to_string(),
    });
    if let Some(run) = store.newest_run(&event.job)? {
        let checkpoint = &run.checkpoint;
        body["run"] = json!({
            "number": run.id.0,
            "status": checkpoint.status.as_str(),
            "done": checkpoint.counters.done,
            "failed": checkpoint.counters.failed,
            "total": checkpoint.total,
        });
    }
    Ok(body)
}

impl Engine {
    /// Tells a job's `[notify]` command a test, now and once; nothing is written down.
    pub async fn test_notification(&self, job: &str) -> Result<Tried, RuntimeError> {
        let Some(row) = self.store().job(job)? else {
            return Err(super::unknown_job(self.store(), job));
        };
        let file = self.job_file(&row)?;
        let Some(notify) = &file.notify else {
            return Err(RuntimeError::Conflict(format!(
                "job {job:?} has no [notify]; add one to {} and hand it over with iterd start, or a reload",
                row.path
            )));
        };
        let detail = "this is a test; nothing has happened";
        let event = EventRow::new(self.now(), job, EventKind::Told, detail);
        let mut body = body(self, &event, 1)?;
        body["id"] = format!("test-{}", self.now().0).into();
        body["event"] = "test".into();
        body["message"] = format!("{job}: {detail}").into();
        Ok(run(notify, &file, body).await)
    }
}

/// Runs a job's command to its end, or to its time-out.
async fn run(notify: &Notify, file: &JobFile, event: Value) -> Tried {
    let program = Program {
        path: &notify.program,
        arguments: &notify.arguments,
        folder: &file.base_dir,
        place: "the job file's folder",
    };
    let Said {
        failure,
        output,
        took,
    } = program.tell(&event).await;
    Tried {
        failure,
        output,
        took,
        command: notify.program.display().to_string(),
        event,
    }
}

/// The jobs that want to be told when they stall, and after how long.
pub(super) fn stall_limits(engine: &Engine) -> Result<HashMap<String, Duration>, RuntimeError> {
    let mut limits = HashMap::new();
    for job in engine.store().jobs()? {
        let Ok(file) = engine.job_file(&job) else {
            continue;
        };
        let on = file.notify.iter().flat_map(|notify| &notify.on);
        let stalled = on.filter_map(|on| match on {
            Occasion::Stalled(limit) => Some(*limit),
            Occasion::Paused | Occasion::Failed | Occasion::Finished => None,
        });
        limits.extend(stalled.min().map(|limit| (job.name.clone(), limit)));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_finished_or_failed() {
        let ended = |reason: &str| {
            EventRow::new(Timestamp(0), "j", EventKind::Ended, reason).because(reason)
        };
        for (reason, word, finished) in [
            ("succeeded", "finished", true),
            ("failed", "failed", false),
            ("aborted", "failed", false),
        ] {
            let event = ended(reason);
            assert_eq!(occasion(&event), word);
            assert_eq!(is_about(Occasion::Finished, &event), finished);
            assert_eq!(is_about(Occasion::Failed, &event), !finished);
            assert!(!is_about(Occasion::Paused, &event));
        }
    }
}
