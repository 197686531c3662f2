//! The limiters by name: one for each job that has its own, and the shared ones.
//!
//! Owns who shares which, and that an operator's order takes effect only once it is durable. A permit
//! taken here is durable only with the [`Change`] that [`SharedLimiter::unsaved`] gives for the commit
//! before the permitted work. Costs nothing while nobody asks: a limiter has no task and no timer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedMutexGuard, watch};

use super::RuntimeError;
use crate::{
    limiter::{Ask, Grant, Limiter, LimiterState, Limits, Throttle, Usage},
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
    standing: Mutex<Standing>,
    changed: watch::Sender<()>,
    /// Operators order one after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The limiter, and what has to wait for an order that is on its way to the disk.
struct Standing {
    limiter: Limiter,
    /// Invariant: while there is a list nothing else changes the limiter, so what the order was worked
    /// out on is what it takes effect on.
    meanwhile: Option<Vec<Alteration>>,
}

/// Something that is done to a limiter.
type Alteration = Box<dyn FnOnce(&mut Limiter) + Send>;

/// The right to give a limiter an order, until it is dropped.
pub(super) type LimiterTurn = OwnedMutexGuard<()>;

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
            known.alter(move |limiter| limiter.change(limits, now));
            return Ok(Arc::clone(known));
        }
        let stored = self.store.limiter(name)?;
        let limiter = restored(name, stored.as_deref(), limits, now)?;
        let shared = Arc::new(SharedLimiter {
            name: name.to_owned(),
            standing: Mutex::new(Standing {
                limiter,
                meanwhile: None,
            }),
            changed: watch::Sender::new(()),
            turn: Arc::default(),
        });
        by_name.insert(name.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }

    /// The names of those that are known.
    pub(super) fn names(&self) -> Vec<String> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.keys().cloned().collect()
    }

    /// What a limiter has spent and has left, where it is known.
    #[must_use]
    pub fn usage(&self, name: &str, now: Timestamp) -> Option<Usage> {
        self.known(name).map(|limiter| limiter.usage(now))
    }
}

/// A limiter as it was stored; new where it never was.
pub(super) fn restored(
    name: &str,
    stored: Option<&str>,
    limits: Limits,
    now: Timestamp,
) -> Result<Limiter, RuntimeError> {
    let damaged = |cause: String| RuntimeError::Damaged {
        what: format!("the state of limiter {name:?}"),
        cause,
    };
    let Some(stored) = stored else {
        return Ok(Limiter::new(limits, now));
    };
    let state: LimiterState =
        serde_json::from_str(stored).map_err(|error| damaged(error.to_string()))?;
    Limiter::restore(limits, state, now).map_err(|error| damaged(error.to_string()))
}

impl SharedLimiter {
    /// Takes permits for items that are ready to go.
    pub(super) fn ask(&self, ask: &Ask, now: Timestamp) -> Grant {
        let mut standing = self.lock();
        if standing.meanwhile.is_some() {
            // Milliseconds; whoever waits is woken when the order is durable.
            return Grant::NotBefore {
                at: Timestamp::MAX,
                why: Throttle::Turn,
            };
        }
        standing.limiter.ask(ask, now)
    }

    /// The user wants nothing more for now; its place goes to others.
    pub(super) fn leave(&self, user: u64) {
        self.alter(move |limiter| limiter.leave(user));
    }

    /// Closes it for everybody who shares it; for how much longer than it was closed anyway.
    pub(super) fn close(&self, duration: Duration, now: Timestamp) -> Duration {
        let before = self.usage(now).closed_until.unwrap_or(now);
        self.alter(move |limiter| limiter.close(duration, now));
        let until = self.usage(now).closed_until.unwrap_or(now);
        until.since(before)
    }

    /// Waits until no other operator's order is on its way.
    pub(super) async fn turn(&self) -> LimiterTurn {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Works out an order. Until it takes effect, or is dropped, nothing is granted: what is durable
    /// and what is in force are then never of two minds about it.
    pub(super) fn order(
        self: &Arc<Self>,
        turn: LimiterTurn,
        order: impl FnOnce(&mut Limiter),
    ) -> OrderUnderWay {
        let mut standing = self.lock();
        standing.meanwhile = Some(Vec::new());
        let mut limiter = standing.limiter.clone();
        drop(standing);
        order(&mut limiter);
        OrderUnderWay {
            shared: Arc::clone(self),
            limiter: Some(limiter),
            _turn: turn,
        }
    }

    /// What was spent elsewhere is spent here, too; what was closed there is closed here.
    pub(super) fn add_spent(&self, there: &Usage, now: Timestamp) {
        let mut standing = self.lock();
        let limiter = &mut standing.limiter;
        let here = limiter.usage(now);
        let first = here.first.saturating_add(there.first);
        let retry = here.retry.saturating_add(there.retry);
        limiter.set_spent(first, retry, now);
        if let Some(until) = there.closed_until
            && here.closed_until.is_none_or(|known| known < until)
        {
            limiter.close(until.since(now), now);
        }
        drop(standing);
        self.changed.send_replace(());
    }

    /// What has to be stored, where anything was spent or changed since `saved`, which is then
    /// brought up to date.
    pub(super) fn unsaved(&self, saved: &mut u64) -> Option<Change> {
        let standing = self.lock();
        let sequence = standing.limiter.state().sequence();
        if sequence <= *saved {
            return None;
        }
        *saved = sequence;
        Some(self.change(&standing.limiter))
    }

    /// What it has spent and has left.
    #[must_use]
    pub fn usage(&self, now: Timestamp) -> Usage {
        self.lock().limiter.usage(now)
    }

    /// What it allows.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.lock().limiter.limits().clone()
    }

    /// Tells when somebody changes, closes or leaves it.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(&self, limiter: &Limiter) -> Change {
        let state = limiter.state();
        Change::Limiter {
            name: self.name.clone(),
            sequence: state.sequence(),
            // Invariant: numbers and strings alone, which always serialise.
            state: serde_json::to_string(state).unwrap_or_default(),
        }
    }

    /// Does something to it, at once or when the order on its way has come through.
    fn alter(&self, alteration: impl FnOnce(&mut Limiter) + Send + 'static) {
        let mut standing = self.lock();
        match &mut standing.meanwhile {
            Some(meanwhile) => meanwhile.push(Box::new(alteration)),
            None => alteration(&mut standing.limiter),
        }
        drop(standing);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operator's order that is worked out and not in force yet.
pub(super) struct OrderUnderWay {
    shared: Arc<SharedLimiter>,
    /// As it will be; none once that is so.
    limiter: Option<Limiter>,
    _turn: LimiterTurn,
}

impl OrderUnderWay {
    /// What has to be durable before it takes effect.
    pub(super) fn change(&self) -> Option<Change> {
        let limiter = self.limiter.as_ref()?;
        Some(self.shared.change(limiter))
    }

    /// It is durable: it holds from now on, and whoever waits asks again.
    pub(super) fn take_effect(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let mut standing = self.shared.lock();
        if let Some(limiter) = self.limiter.take() {
            standing.limiter = limiter;
        }
        for alteration in standing.meanwhile.take().unwrap_or_default() {
            alteration(&mut standing.limiter);
        }
        drop(standing);
        self.shared.changed.send_replace(());
    }
}

impl Drop for OrderUnderWay {
    fn drop(&mut self) {
        // Where it has not taken effect: it was not to be, and everything is as it was.
        self.limiter = None;
        self.end();
    }
}
