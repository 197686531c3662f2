//! Watches for runs that stall: they should work, and nothing comes.
//!
//! Owns the rhythm and the decision; since when a run could have had an answer is told by its actor.
//! Invariant: time alone never makes a run stall. One that waits for a limiter, its hours, room on the
//! disk, a retry that is not due or an operator has no such instant.

use std::{collections::HashMap, time::Duration};

use super::{Engine, RuntimeError, notifier::stall_limits};
use crate::{
    store::{Change, EventKind, EventRow},
    time::Timestamp,
};

/// How often it looks: half of the shortest limit that a job can name.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The service.
pub struct Lookout {
    engine: Engine,
    /// At how many ended items a run was told to stall, so that the writer is not asked again.
    told: HashMap<String, String>,
}

impl Lookout {
    /// The lookout of this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let told = HashMap::new();
        Self { engine, told }
    }

    /// Works until the engine closes.
    pub async fn work(mut self) {
        let mut closing = self.engine.closing();
        loop {
            let next = self.engine.now().after(LOOK_EVERY);
            tokio::select! {
                () = self.engine.clock().wait_until(next) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "cannot look for runs that stall");
            }
        }
    }

    async fn look(&mut self) -> Result<(), RuntimeError> {
        let live = self.engine.live_jobs();
        self.told.retain(|job, _| live.contains(job));
        // Why first: most of the time nothing is idle, and no job's file has to be read.
        let idle = live.into_iter().filter_map(|job| {
            let view = self.engine.view(&job)?;
            let view = view.borrow();
            let counters = view.figures.counters;
            Some((job, view.idle_since?, counters.done + counters.failed))
        });
        let idle: Vec<_> = idle.collect();
        if idle.is_empty() {
            return Ok(());
        }
        let (limits, now) = (stall_limits(&self.engine)?, self.engine.now());
        for (job, since, ended) in idle {
            let Some(limit) = limits.get(&job) else {
                continue;
            };
            if !is_stalled(Some(since), *limit, now) {
                continue;
            }
            let Some(run) = self.engine.store().newest_run(&job)? else {
                continue;
            };
            // Why this reason: it names the standstill, so that a restart does not tell it again.
            let reason = format!("run {} at {ended}", run.id);
            if self.told.get(&job) == Some(&reason) {
                continue;
            }
            let detail = format!(
                "nothing has come since {:.0}, although calls could have been answered",
                since.to_jiff()
            );
            let event = EventRow::new(now, &job, EventKind::Stalled, detail).because(&reason);
            self.engine
                .store()
                .commit(vec![Change::Event(event)])
                .await
                .await?;
            self.told.insert(job, reason);
        }
        Ok(())
    }
}

/// Whether a run that could have had an answer since then stalls by now.
fn is_stalled(idle_since: Option<Timestamp>, limit: Duration, now: Timestamp) -> bool {
    idle_since.is_some_and(|since| now.since(since) >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stalls_after_the_limit_and_never_while_it_waits_for_what_it_knows() {
        let hour = |hours: u64| Timestamp(0).after(Duration::from_hours(hours));
        let limit = Duration::from_hours(2);
        assert!(!is_stalled(Some(hour(1)), limit, hour(2)));
        assert!(is_stalled(Some(hour(1)), limit, hour(3)));
        assert!(!is_stalled(None, limit, hour(9000)));
        // The clock was set back.
        assert!(!is_stalled(Some(hour(9)), limit, hour(3)));
    }
}
