//! How many executions of each trigger run.
//!
//! Invariant: a seat is taken before its execution begins and given back when it has ended durably, or was
//! never begun. Those of executions that ran when the last process ended are taken again from their rows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// As many executions of a trigger run as may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{at_once} executions of the trigger {trigger} run, which is as many as its at_once lets; try again"
)]
pub struct Full {
    /// The trigger.
    pub trigger: String,
    /// Its bound.
    pub at_once: u32,
}

/// The seats of all triggers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Seats(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    count: Mutex<HashMap<String, u32>>,
    /// Changes when there may be room again.
    stirred: watch::Sender<u64>,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            count: Mutex::default(),
            stirred: watch::Sender::new(0),
        }
    }
}

/// Room for one execution of a trigger; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    taken: Arc<Taken>,
    trigger: String,
}

impl Seats {
    /// A seat, where fewer than `at_once` are taken.
    pub(in crate::runtime) fn take(&self, trigger: &str, at_once: u32) -> Option<Seat> {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.get(trigger).is_some_and(|taken| *taken >= at_once) {
            return None;
        }
        *count.entry(trigger.to_owned()).or_default() += 1;
        drop(count);
        Some(self.seat(trigger))
    }

    /// A seat for what runs already, whatever the bound is now.
    pub(in crate::runtime) fn take_again(&self, trigger: &str) -> Seat {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = count.entry(trigger.to_owned()).or_default();
        *taken = taken.saturating_add(1);
        drop(count);
        self.seat(trigger)
    }

    /// Changes when there may be room, or other triggers.
    pub(super) fn stirred(&self) -> watch::Receiver<u64> {
        self.0.stirred.subscribe()
    }

    /// Has everybody look again.
    pub(super) fn stir(&self) {
        self.0.stirred.send_modify(|count| *count += 1);
    }

    fn seat(&self, trigger: &str) -> Seat {
        Seat {
            taken: Arc::clone(&self.0),
            trigger: trigger.to_owned(),
        }
    }
}

impl Seat {
    /// Whose it is.
    pub(in crate::runtime) fn trigger(&self) -> &str {
        &self.trigger
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let count = &self.taken.count;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        match count.get_mut(&self.trigger) {
            Some(taken) if *taken > 1 => *taken -= 1,
            // Why removed: triggers come and go with the settings.
            Some(_) => drop(count.remove(&self.trigger)),
            None => {}
        }
        drop(count);
        self.taken.stirred.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_taken_while_there_is_room_and_given_back_when_it_is_let_go() {
        let seats = Seats::default();
        let mut stirred = seats.stirred();
        let first = seats.take("t", 2).unwrap();
        let again = seats.take_again("t");
        assert!(seats.take("t", 2).is_none());
        assert!(seats.take("other", 1).is_some());
        stirred.borrow_and_update();
        drop(first);
        assert!(stirred.has_changed().unwrap());
        let third = seats.take("t", 2).unwrap();
        assert!(seats.take("t", 2).is_none());
        drop((third, again));
        assert!(seats.0.count.lock().unwrap().is_empty());
    }
}
