//! The end of a call's time: interrupts a component that would go on for ever.
//!
//! Owns one thread that sleeps until the earliest deadline it knows, and then advances the engine's
//! epoch; the running component notices at its next loop or call and asks its store whether the time
//! is really over. So an alarm that was meant for a call that has ended does nothing, and setting one
//! costs two atomic operations and wakes nobody, unless it is earlier than the one before.
//!
//! Never the only bound: the pool kills a worker that has not answered in time. That is what ends a
//! component that waits inside the host, for a peer or for a clock.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Engine, EngineWeak, Store};

use super::{WasmError, guest::Guest};

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A component is stopped by this part of its time before the pool would kill the worker, whose clock
/// started a little earlier: when the call was written to the pipe.
const HEAD_START: u32 = 10;

/// Bounds of what [`HEAD_START`] gives: an interrupt and an answer take a few milliseconds on a busy
/// machine, and nobody is to lose more than a second of a long call.
const HEAD_START_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Sets deadlines; see the module. The thread ends with the process.
pub(super) struct Alarm {
    shared: Arc<Shared>,
    start: Instant,
}

struct Shared {
    /// When the call under way has to end, in microseconds since the start. Written by calls; by the
    /// thread only from a deadline that it has rung for to [`NEVER`].
    deadline: AtomicU64,
    /// When the thread looks again. Written by the thread.
    looks: AtomicU64,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Alarm {
    pub(super) fn start(engine: &Engine) -> Result<Self, WasmError> {
        let shared = Arc::new(Shared {
            deadline: AtomicU64::new(NEVER),
            looks: AtomicU64::new(NEVER),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let start = Instant::now();
        let (mine, engine) = (shared.clone(), engine.weak());
        thread::Builder::new()
            .name("alarm".to_owned())
            .spawn(move || mine.watch(start, &engine))
            .map_err(WasmError::io("cannot start a thread"))?;
        Ok(Self { shared, start })
    }

    /// A call of this instance began at `begin` and may take so long.
    pub(super) fn set(&self, store: &mut Store<Guest>, begin: Instant, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| begin.checked_add(allowed(timeout)));
        store.data_mut().deadline = deadline;
        if let Some(deadline) = deadline {
            // Why one more: an alarm that rings a moment too early would find the time not over.
            let at = micros(deadline.saturating_duration_since(self.start)) + 1;
            self.shared.deadline.store(at, SeqCst);
            // Why sound: the thread says when it looks before it reads the deadline for the last time.
            if at < self.shared.looks.load(SeqCst) {
                let guard = self.shared.lock.lock();
                drop(guard.unwrap_or_else(PoisonError::into_inner));
                self.shared.wake.notify_one();
            }
        }
    }
}

impl Shared {
    fn watch(&self, start: Instant, engine: &EngineWeak) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let deadline = self.deadline.load(SeqCst);
            self.looks.store(deadline, SeqCst);
            // A call that has come in between has seen an old `looks`, or is seen here.
            if self.deadline.load(SeqCst) < deadline {
                continue;
            }
            let left = Duration::from_micros(deadline).saturating_sub(start.elapsed());
            if deadline == NEVER {
                guard = self
                    .wake
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            } else if !left.is_zero() {
                let woken = self.wake.wait_timeout(guard, left);
                (guard, _) = woken.unwrap_or_else(PoisonError::into_inner);
            } else if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                // Fails where the next call has set its own: that one is looked at next.
                self.deadline
                    .compare_exchange(deadline, NEVER, SeqCst, SeqCst)
                    .ok();
            } else {
                return;
            }
        }
    }
}

/// How long a component may work of the time that the pool gives.
fn allowed(timeout: Duration) -> Duration {
    let (least, most) = HEAD_START_BOUNDS;
    let head_start = (timeout / HEAD_START).clamp(least, most).min(timeout / 2);
    timeout.saturating_sub(head_start)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(NEVER - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_stopped_shortly_before_the_pool_would_kill_the_worker() {
        for (timeout_ms, allowed_ms) in [
            (0, 0),
            (10, 5),
            (50, 40),
            (1_000, 900),
            (10_000, 9_000),
            (3_600_000, 3_599_000),
        ] {
            let allowed = allowed(Duration::from_millis(timeout_ms));
            assert_eq!(allowed, Duration::from_millis(allowed_ms), "{timeout_ms}");
        }
    }
}
