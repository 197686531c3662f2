//! Machines as they were read last, for whoever starts their executions over and over.
//!
//! Invariant: what is answered is what a read would answer. A change of machines makes all that was read
//! before worth nothing, before whoever asked for the change learns that it is durable.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{MachineRow, StoreError};

/// Machines that are kept, some kilobytes each; beyond them all are let go of.
const KEPT_MAX: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct MachineCache {
    /// How often machines were changed.
    changes: AtomicU64,
    /// What was read, also that there is none of a name; and after which change.
    kept: Mutex<(u64, HashMap<String, Option<MachineRow>>)>,
}

impl MachineCache {
    /// Machines have changed, durably.
    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// A machine by its name; `read` reads it.
    pub(super) fn get(
        &self,
        name: &str,
        read: impl FnOnce() -> Result<Option<MachineRow>, StoreError>,
    ) -> Result<Option<MachineRow>, StoreError> {
        // Why before the read: what changes meanwhile makes it worth nothing.
        let changes = self.changes.load(Ordering::SeqCst);
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut kept = lock();
            if kept.0 != changes {
                *kept = (changes, HashMap::new());
            }
            if let Some(row) = kept.1.get(name) {
                return Ok(row.clone());
            }
        }
        let row = read()?;
        // Why not one that is to go: it goes with the end of an execution, which changes nothing else.
        if row.as_ref().is_none_or(|row| !row.deleting) {
            let mut kept = lock();
            if kept.0 == changes {
                if kept.1.len() >= KEPT_MAX {
                    kept.1.clear();
                }
                kept.1.insert(name.to_owned(), row.clone());
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_was_read_is_worth_nothing_behind_a_change() {
        let cache = MachineCache::default();
        let reads = Cell::new(0);
        let get = |name: &str, meanwhile: &dyn Fn()| {
            let read = || {
                reads.set(reads.get() + 1);
                meanwhile();
                Ok(None)
            };
            assert_eq!(cache.get(name, read).unwrap(), None);
            reads.get()
        };
        let nothing = || {};
        assert_eq!(get("a", &nothing), 1);
        assert_eq!(get("a", &nothing), 1, "kept");
        assert_eq!(get("b", &nothing), 2);
        cache.forget();
        assert_eq!(get("a", &nothing), 3);
        assert_eq!(get("c", &|| cache.forget()), 4);
        assert_eq!(get("c", &nothing), 5, "it changed while it was read");
        for number in 0..2 * KEPT_MAX {
            get(&number.to_string(), &nothing);
        }
        assert!(cache.kept.lock().unwrap().1.len() <= KEPT_MAX, "bounded");
    }
}
