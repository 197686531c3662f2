//! Proves that a version of a plugin starts, before anything depends on it.
//!
//! Owns one worker of the version, beside all others, until it is ready or gone. It is given no item:
//! what a version does with records, its runs show.

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
use crate::plugin::{Event, Events, HostKind, Version};

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
    /// Starts a worker of a version and ends it again; an error where it does not get ready. Takes as
    /// long as the start does, five minutes at most.
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
        let (answer, _answers) = mpsc::unbounded_channel();
        let events = Arc::new(Told(sender));
        let pool =
            self.plugins()
                .pool(version, NonZeroU32::MIN, scratch.clone(), events, answer)?;
        let outcome = match told.recv().await {
            Some(Event::WorkerEnded { how, .. }) => Err(how),
            Some(_) => Ok(()),
            None => Err("its worker was lost".to_owned()),
        };
        pool.shutdown(Duration::ZERO, Duration::ZERO).await;
        drop(pool);
        // Why ok: what is left is emptied with all scratch directories at the next start.
        std::fs::remove_dir_all(&scratch).ok();
        outcome.map_err(|how| RuntimeError::Plugin {
            plugin,
            cause: format!("the new version does not start: {how}"),
        })
    }
}
