//! Watches the space on the disk under the state directory.
//!
//! Below its bound nothing is dispatched, so that a full disk stops work before it stops commits;
//! everything goes on by itself once there is room.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How often the free space is read: often enough that a fast run cannot fill the default reserve
/// of 512 MiB in between, rarely enough to cost an idle daemon nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whether there is room to work.
#[derive(Debug, Clone)]
pub struct Disk {
    full: Arc<AtomicBool>,
    changed: Arc<Notify>,
    path: Arc<PathBuf>,
    free_min: u64,
}

impl Disk {
    /// Looks once, and from then on whenever [`Disk::watch`] runs.
    #[must_use]
    pub fn new(path: PathBuf, free_min: u64) -> Self {
        let disk = Self {
            full: Arc::new(AtomicBool::new(false)),
            changed: Arc::new(Notify::new()),
            path: Arc::new(path),
            free_min,
        };
        disk.look();
        disk
    }

    /// Whether too little is free to dispatch anything.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Bytes free to us on that disk; `None` where the system does not tell.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(self.path.as_path()).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The bound below which the disk counts as full.
    #[must_use]
    pub const fn free_min(&self) -> u64 {
        self.free_min
    }

    /// Wakes when [`Disk::is_full`] has changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
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
        let full = free < self.free_min;
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::warn!(
                    free,
                    free_min = self.free_min,
                    "the disk is nearly full: nothing is dispatched until there is room"
                );
            } else {
                tracing::info!(free, "there is room on the disk again: going on");
            }
            self.changed.notify_waiters();
        }
    }
}
