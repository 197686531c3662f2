//! Starts jobs by their schedules.
//!
//! tokio-cron-scheduler ticks, in UTC; when a job is due is worked out by croner in the job's own
//! time zone, since the ticker's is an hour off around the days on which clocks are set. It runs
//! only where a job has a schedule, because it wakes twice a second.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler};

mod agenda;

use super::{Engine, Opening, RuntimeError, Started};
use crate::{
    config::job::{CatchUp, JobFile, Overlap},
    store::{Change, EventKind, JobRow, StoreError},
    time::Timestamp,
};
use agenda::{Agenda, Due, due};

/// Once a second: the finest a cron expression can say.
const TICK: &str = "* * * * * *";

/// A look that comes this long after the one before means that nobody looked in between: the machine
/// slept. Longer than any tick is late, shorter than the shortest nap that matters to a schedule.
const ABSENCE_MIN: Duration = Duration::from_mins(1);

/// Starts what is due.
pub struct Scheduler {
    engine: Engine,
    ticker: Option<JobScheduler>,
    desk: Arc<Mutex<Desk>>,
}

/// What a tick looks at.
struct Desk {
    watch: Watch,
    agenda: Agenda,
}

/// Since when somebody looks at the clock without a gap. What was due before was missed.
#[derive(Debug, Clone, Copy)]
struct Watch {
    since: Timestamp,
    looked: Timestamp,
}

impl Watch {
    const fn from(now: Timestamp) -> Self {
        Self {
            since: now,
            looked: now,
        }
    }

    fn look(&mut self, now: Timestamp) {
        if now.since(self.looked) > ABSENCE_MIN {
            self.since = now;
        }
        self.looked = now;
    }
}

impl Scheduler {
    /// Begins to tick where a known job has a schedule.
    pub async fn start(engine: Engine) -> Self {
        let desk = Desk {
            watch: Watch::from(engine.now()),
            agenda: Agenda::default(),
        };
        let mut scheduler = Self {
            desk: Arc::new(Mutex::new(desk)),
            engine,
            ticker: None,
        };
        scheduler.reload().await;
        scheduler
    }

    /// The known jobs have changed: begins or ceases to tick.
    pub async fn reload(&mut self) {
        let wanted = {
            let mut desk = self.desk.lock().await;
            if let Err(error) = desk.agenda.refresh(&self.engine) {
                tracing::error!(%error, "cannot look for schedules");
                return;
            }
            !desk.agenda.is_empty()
        };
        if wanted && self.ticker.is_none() {
            match self.tick().await {
                Ok(ticker) => self.ticker = Some(ticker),
                Err(error) => tracing::error!(%error, "schedules are not kept"),
            }
        } else if !wanted
            && let Some(mut ticker) = self.ticker.take()
            && let Err(error) = ticker.shutdown().await
        {
            tracing::warn!(%error, "the ticker does not end");
        }
    }

    async fn tick(&self) -> Result<JobScheduler, tokio_cron_scheduler::JobSchedulerError> {
        let ticker = JobScheduler::new().await?;
        let (engine, desk) = (self.engine.clone(), Arc::clone(&self.desk));
        let job = Job::new_async(TICK, move |_, _| {
            let (engine, desk) = (engine.clone(), Arc::clone(&desk));
            Box::pin(async move {
                // Why: a look that takes longer than a second must not meet the next.
                if let Ok(mut desk) = desk.try_lock()
                    && let Err(error) = desk.look(&engine).await
                {
                    tracing::error!(%error, "cannot look for what is due");
                }
            })
        })?;
        ticker.add(job).await?;
        ticker.start().await?;
        Ok(ticker)
    }
}

impl Desk {
    /// Starts what is due now.
    async fn look(&mut self, engine: &Engine) -> Result<(), StoreError> {
        let now = engine.now();
        self.watch.look(now);
        let names = self.agenda.due(now, |job| engine.view(job).is_some());
        for name in &names {
            if let Some(job) = engine.store().job(name)? {
                start_due(engine, &job, self.watch.since).await;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        self.agenda.refresh(engine)
    }
}

async fn start_due(engine: &Engine, job: &JobRow, watched_since: Timestamp) {
    let Ok(file) = engine.job_file(job) else {
        return;
    };
    let Some(due) = due(job, &file, engine.now(), watched_since) else {
        return;
    };
    if let Err(error) = act(engine, job, &file, &due).await {
        tracing::error!(job = job.name, %error, "a scheduled start failed");
        let failed = engine.event(
            &job.name,
            EventKind::NotStarted,
            format!("the start of {}: {error}", due.at),
        );
        drop(engine.store().commit(vec![failed]).await);
    }
}

/// What becomes of a start that is due.
async fn act(engine: &Engine, job: &JobRow, file: &JobFile, due: &Due) -> Result<(), RuntimeError> {
    let scheduled = Change::Scheduled {
        name: job.name.clone(),
        at: due.at,
    };
    let note = |kind: EventKind, detail: String| engine.event(&job.name, kind, detail);
    if due.missed && due.catch_up == CatchUp::None {
        let missed = note(
            EventKind::Missed,
            format!("the start of {}: nobody was here", due.at),
        );
        return Ok(engine.store().commit(vec![scheduled, missed]).await.await?);
    }
    if engine.view(&job.name).is_some() {
        // Why what was missed waits: it is made up for one after the other.
        if due.overlap == Overlap::Skip && !due.missed {
            let skipped = note(
                EventKind::Skipped,
                format!("the start of {}: still running", due.at),
            );
            return Ok(engine
                .store()
                .commit(vec![scheduled, skipped])
                .await
                .await?);
        }
        return Ok(());
    }
    // Crash: the fire time counts as acted on in the commit that starts the run, not before.
    match engine
        .start_with(file, true, &Opening::default(), vec![scheduled.clone()])
        .await
    {
        Ok(Started::New) | Err(RuntimeError::Closed) => Ok(()),
        Ok(Started::Resumed | Started::Running | Started::Finished) => {
            tracing::info!(
                job = job.name,
                "the scheduled start goes on with the unfinished run"
            );
            Ok(())
        }
        Err(error) => {
            // Why acted on: else it would be tried each second until the source is there again.
            let failed = note(EventKind::NotStarted, error.to_string());
            engine.store().commit(vec![scheduled, failed]).await.await?;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_between_two_looks_is_an_absence() {
        let start = Timestamp::from_millis(1_778_371_200_000);
        let mut watch = Watch::from(start);
        watch.look(start.after(Duration::from_secs(1)));
        watch.look(start.after(Duration::from_secs(50)));
        assert_eq!(watch.since, start);
        let woken = start.after(Duration::from_hours(7));
        watch.look(woken);
        assert_eq!(watch.since, woken);
    }
}
