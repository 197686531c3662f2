//! The limiters by name: one for each job that has its own, and the shared ones.
//!
//! Owns who shares which. A permit taken here is durable only with the [`Change`] that
//! [`SharedLimiter::unsaved`] gives for the commit before the permitted work.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::RuntimeError;
use crate::{
    limiter::{Ask, Grant, Limiter, LimiterState, Limits, Try, Usage},
    store::{Change, Store},
    time::Timestamp,
};

/// Every limiter of the daemon.
#[derive(Clone)]
pub struct Limiters {
    store: Store,
    by_name: Arc<Mutex<BTreeMap<String, Arc<SharedLimiter>>>>,
}

impl std::fmt::Debug for SharedLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedLimiter")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A limiter that several runs may use.
pub struct SharedLimiter {
    name: String,
    limiter: Mutex<Limiter>,
    changed: watch::Sender<()>,
}

impl Limiters {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            by_name: Arc::default(),
        }
    }

    /// The limiter of that name as it is, where it is known.
    pub(super) fn known(&self, name: &str) -> Option<Arc<SharedLimiter>> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).map(Arc::clone)
    }

    /// The limiter of that name with these limits from now on; what was spent before is kept, also
    /// from former processes.
    pub fn get(
        &self,
        name: &str,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Arc<SharedLimiter>, RuntimeError> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_name.get(name) {
            known.lock().change(limits, now);
            known.changed.send_replace(());
            return Ok(Arc::clone(known));
        }
        let limiter = match self.store.limiter(name)? {
            Some(state) => {
                let state: LimiterState =
                    serde_json::from_str(&state).map_err(|error| RuntimeError::Damaged {
                        what: format!("the state of limiter {name:?}"),
                        cause: error.to_string(),
                    })?;
                Limiter::restore(limits, state, now).map_err(|error| RuntimeError::Damaged {
                    what: format!("the state of limiter {name:?}"),
                    cause: error.to_string(),
                })?
            }
            None => Limiter::new(limits, now),
        };
        let shared = Arc::new(SharedLimiter {
            name: name.to_owned(),
            limiter: Mutex::new(limiter),
            changed: watch::Sender::new(()),
        });
        by_name.insert(name.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }

    /// What a limiter has spent and has left, where it is known.
    #[must_use]
    pub fn usage(&self, name: &str, now: Timestamp) -> Option<Usage> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).map(|limiter| limiter.usage(now))
    }
}

impl SharedLimiter {
    /// Takes permits for items that are ready to go.
    pub(super) fn ask(
        &self,
        user: u64,
        kind: Try,
        count: NonZeroU32,
        weight: NonZeroU32,
        first_waiting: bool,
        now: Timestamp,
    ) -> Grant {
        let ask = Ask {
            user,
            kind,
            count,
            weight,
            first_waiting,
        };
        self.lock().ask(&ask, now)
    }

    /// The user wants nothing more for now; its place goes to others.
    pub(super) fn leave(&self, user: u64) {
        self.lock().leave(user);
        self.changed.send_replace(());
    }

    /// Closes it for everybody who shares it; for how much longer than it was closed anyway.
    pub(super) fn close(&self, duration: Duration, now: Timestamp) -> Duration {
        let mut limiter = self.lock();
        let before = limiter.usage(now).closed_until.unwrap_or(now);
        limiter.close(duration, now);
        let until = limiter.usage(now).closed_until.unwrap_or(now);
        drop(limiter);
        self.changed.send_replace(());
        until.since(before)
    }

    /// What has to be stored, where anything was spent or changed since `saved`, which is then
    /// brought up to date.
    pub(super) fn unsaved(&self, saved: &mut u64) -> Option<Change> {
        let limiter = self.lock();
        let state = limiter.state();
        let sequence = state.sequence();
        if sequence <= *saved {
            return None;
        }
        *saved = sequence;
        Some(Change::Limiter {
            name: self.name.clone(),
            sequence,
            // Invariant: numbers and strings alone, which always serialise.
            state: serde_json::to_string(state).unwrap_or_default(),
        })
    }

    /// What it has spent and has left.
    #[must_use]
    pub fn usage(&self, now: Timestamp) -> Usage {
        self.lock().usage(now)
    }

    /// What it allows.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.lock().limits().clone()
    }

    /// Tells when somebody changes, closes or leaves it.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
