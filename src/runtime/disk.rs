//! Watches the space on the disk under the state directory.
//!
//! Below its bound nothing is dispatched, so that a full disk stops work before it stops commits;
//! everything goes on by itself once there is room.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// How often the free space is read: often enough that a fast run cannot fill the default reserve
/// of 512 MiB in between, rarely enough to cost an idle daemon nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whether there is room to work.
#[derive(Debug, Clone)]
pub struct Disk {
    full: Arc<watch::Sender<bool>>,
    path: Arc<PathBuf>,
    /// Written by whoever takes other settings in force.
    free_min: Arc<AtomicU64>,
}

impl Disk {
    /// Looks once, and from then on whenever [`Disk::watch`] runs.
    #[must_use]
    pub fn new(path: PathBuf, free_min: u64) -> Self {
        let disk = Self {
            full: Arc::new(watch::Sender::new(false)),
            path: Arc::new(path),
            free_min: Arc::new(AtomicU64::new(free_min)),
        };
        disk.look();
        disk
    }

    /// Whether too little is free to dispatch anything.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// Whether the same bound is kept with so many bytes more on the disk of a place, by a look now. Blocks.
    #[must_use]
    pub fn has_room(&self, place: &Path, bytes: u64) -> bool {
        let wanted = self.free_min().saturating_add(bytes);
        free_at(place).is_none_or(|free| free >= wanted)
    }

    /// Bytes free to us on that disk; `None` where the system does not tell.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        free_at(&self.path)
    }

    /// The bound below which the disk counts as full.
    #[must_use]
    pub fn free_min(&self) -> u64 {
        self.free_min.load(Ordering::Relaxed)
    }

    /// Another bound from now on.
    pub(super) fn set_free_min(&self, free_min: u64) {
        self.free_min.store(free_min, Ordering::Relaxed);
        self.look();
    }

    /// Tells when [`Disk::is_full`] changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    /// Looks from time to time while somebody works; ends with its task.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    fn look(&self) {
        let Some(free) = self.free() else { return };
        let full = free < self.free_min();
        let changed = self
            .full
            .send_if_modified(|was| std::mem::replace(was, full) != full);
        if changed {
            if full {
                tracing::warn!(
                    free,
                    free_min = self.free_min(),
                    "the disk is nearly full: nothing is dispatched until there is room"
                );
            } else {
                tracing::info!(free, "there is room on the disk again: going on");
            }
        }
    }
}

fn free_at(place: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(place).ok()?;
    // Why: a file system without blocks tells nothing, as some in user space do.
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_where_something_is_written_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_owned(), 0);
        assert!(disk.has_room(dir.path(), 1) && !disk.has_room(dir.path(), u64::MAX));
        // Nothing is told of what is free there, whatever is free here.
        let full = Disk::new(dir.path().to_owned(), u64::MAX);
        assert!(full.is_full() && !full.has_room(dir.path(), 1));
        assert!(full.has_room(Path::new("/proc"), 1));
    }
}
