//! Proves that a version of a plugin starts, before anything depends on it.
//!
//! Owns one worker of the version, beside all others, until it is ready or gone. It is given no item
//! but the health item of its manifest, where there is one: what a version does with records, its runs
//! show.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Engine, RuntimeError};
use crate::{
    ids::Generation,
    plugin::{Answer, Call, Event, Events, Health, HostKind, Outcome, Pool, Version},
};

/// How long a version may take for its health item: as long as somebody watches a deploy without doubt.
const HEALTH_MAX: Duration = Duration::from_mins(1);

/// Makes the directories of proofs differ.
static PROOFS: AtomicU64 = AtomicU64::new(0);

/// What the worker tells.
struct Told(mpsc::UnboundedSender<Event>);

impl Events for Told {
    fn event(&self, event: Event) {
        // Why the others are dropped: its log lines are in how it ended, and nobody waits for them.
        if matches!(
            event,
            Event::WorkerStarted { .. } | Event::WorkerEnded { .. }
        ) {
            // Why ok: whoever waited has an answer already.
            self.0.send(event).ok();
        }
    }
}

impl Engine {
    /// Starts a worker of a version and ends it again; an error where it does not get ready, or has
    /// no result for its health item. Takes as long as the start does, five minutes at most, and a
    /// minute for the item.
    pub(super) async fn prove(&self, mut version: Version) -> Result<(), RuntimeError> {
        if version.manifest.host == HostKind::Identity {
            return Ok(());
        }
        version.manifest.workers = Some(NonZeroU32::MIN);
        let plugin = version.manifest.name.clone();
        // Why a dot: no plugin has such a name.
        let proof = format!(".proof-{}", PROOFS.fetch_add(1, Ordering::Relaxed));
        let scratch = self.paths().scratch().join(proof);
        let (sender, mut told) = mpsc::unbounded_channel();
        let health = version.manifest.health.clone();
        let (answer, mut answers) = mpsc::unbounded_channel();
        let events = Arc::new(Told(sender));
        let pool =
            self.plugins()
                .pool(version, NonZeroU32::MIN, scratch.clone(), events, answer)?;
        let outcome = match told.recv().await {
            Some(Event::WorkerEnded { how, .. }) => Err(format!("does not start: {how}")),
            Some(_) => match health {
                Some(health) => ask(&pool, &health, &mut answers).await,
                None => Ok(()),
            },
            None => Err("does not start: its worker was lost".to_owned()),
        };
        pool.shutdown(Duration::ZERO, Duration::ZERO).await;
        drop(pool);
        // Why ok: what is left is emptied with all scratch directories at the next start.
        std::fs::remove_dir_all(&scratch).ok();
        outcome.map_err(|how| RuntimeError::Plugin {
            plugin,
            cause: format!("the new version {how}"),
        })
    }
}

/// Whether the version has a result for its health item; else why not.
async fn ask(
    pool: &Pool,
    health: &Health,
    answers: &mut mpsc::UnboundedReceiver<Answer>,
) -> Result<(), String> {
    let item = serde_json::to_value(&health.item)
        .map_err(|error| format!("has a health item that is no JSON: {error}"))?;
    pool.submit(vec![Call {
        ticket: 0,
        index: 0,
        id: None,
        generation: Generation(1),
        payload: item.into(),
        attempt: 1,
        key: format!("health:{:016x}", rand::random::<u64>()).into(),
        timeout: Some(HEALTH_MAX),
        cursor: None,
    }]);
    let mut answer = answers.recv().await;
    while let Some(Answer {
        outcome: Outcome::Reached(_),
        ..
    }) = answer
    {
        answer = answers.recv().await;
    }
    match answer.map(|answer| answer.outcome) {
        Some(Outcome::Done(_)) => Ok(()),
        Some(Outcome::Failed(failure) | Outcome::FailedCanary(failure)) => Err(format!(
            "fails its health item: {}: {}",
            failure.error, failure.cause
        )),
        Some(Outcome::Reached(_) | Outcome::Interrupted) | None => {
            Err("died over its health item, or before it came to that".to_owned())
        }
    }
}
