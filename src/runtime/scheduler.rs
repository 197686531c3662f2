//! Starts jobs by their schedules.
//!
//! tokio-cron-scheduler ticks, in UTC; when a job is due is worked out by croner in the job's own
//! time zone, since the ticker's is an hour off around the days on which clocks are set. It runs
//! only where a job has a schedule, because it wakes twice a second.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler};

use super::{Engine, RuntimeError, Started};
use crate::{
    config::job::{CatchUp, JobFile, Overlap},
    store::{Change, JobRow},
    time::Timestamp,
};

/// Once a second: the finest a cron expression can say.
const TICK: &str = "* * * * * *";

/// Fire times that are looked through for those that were missed; beyond it the latest count.
const MISSED_MAX: usize = 10_000;

/// Starts what is due.
pub struct Scheduler {
    engine: Engine,
    ticker: Option<JobScheduler>,
    turn: Arc<Mutex<()>>,
}

impl Scheduler {
    /// Begins to tick where a known job has a schedule.
    pub async fn start(engine: Engine) -> Result<Self, RuntimeError> {
        let mut scheduler = Self {
            engine,
            ticker: None,
            turn: Arc::default(),
        };
        scheduler.reload().await;
        Ok(scheduler)
    }

    /// The known jobs have changed: begins or ceases to tick.
    pub async fn reload(&mut self) {
        let wanted = match self.engine.store().jobs() {
            Ok(jobs) => jobs.iter().any(|job| {
                self.engine.job_file(job).is_ok_and(|file| {
                    file.schedule
                        .is_some_and(|schedule| schedule.cron.is_some())
                })
            }),
            Err(error) => {
                tracing::error!(%error, "cannot look for schedules");
                return;
            }
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
        let (engine, turn) = (self.engine.clone(), Arc::clone(&self.turn));
        let job = Job::new_async(TICK, move |_, _| {
            let (engine, turn) = (engine.clone(), Arc::clone(&turn));
            Box::pin(async move {
                // Why: a look that takes longer than a second must not meet the next.
                if let Ok(_turn) = turn.try_lock() {
                    start_due(&engine).await;
                }
            })
        })?;
        ticker.add(job).await?;
        ticker.start().await?;
        Ok(ticker)
    }
}

async fn start_due(engine: &Engine) {
    let jobs = match engine.store().jobs() {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::error!(%error, "cannot look for what is due");
            return;
        }
    };
    for job in jobs {
        let Ok(file) = engine.job_file(&job) else {
            continue;
        };
        if let Err(error) = start_if_due(engine, &job, &file).await {
            tracing::error!(job = job.name, %error, "a scheduled start failed");
        }
    }
}

async fn start_if_due(engine: &Engine, job: &JobRow, file: &JobFile) -> Result<(), RuntimeError> {
    let now = engine.now();
    let Some(due) = latest_due(job, file, now) else {
        return Ok(());
    };
    let scheduled = Change::Scheduled {
        name: job.name.clone(),
        at: due.at,
    };
    let note = |kind: &str, detail: String| engine.event(&job.name, kind, detail);
    let catch_up = file
        .schedule
        .as_ref()
        .map_or(CatchUp::One, |schedule| schedule.catch_up);
    let overlap = file
        .schedule
        .as_ref()
        .map_or(Overlap::Skip, |schedule| schedule.overlap);
    if due.late && catch_up == CatchUp::None {
        let missed = note("missed", format!("the start of {} was missed", due.at));
        return Ok(engine.store().commit(vec![scheduled, missed]).await.await?);
    }
    if engine.view(&job.name).is_some() {
        if overlap == Overlap::Skip {
            let skipped = note("skipped", format!("the start of {}: still running", due.at));
            return Ok(engine
                .store()
                .commit(vec![scheduled, skipped])
                .await
                .await?);
        }
        // Queued: it stays due until the run has ended.
        return Ok(());
    }
    engine.store().commit(vec![scheduled]).await.await?;
    let started = engine.start(file, true).await?;
    if started != Started::New {
        tracing::info!(
            job = job.name,
            "the scheduled start goes on with the unfinished run"
        );
    }
    Ok(())
}

struct Due {
    at: Timestamp,
    /// It should have been started while nobody was here to do it.
    late: bool,
}

/// How late a start may be without counting as missed: longer than a tick, shorter than a restart
/// goes unnoticed.
const LATE_SECONDS: u64 = 60;

/// The latest fire time that has passed and was not acted on.
fn latest_due(job: &JobRow, file: &JobFile, now: Timestamp) -> Option<Due> {
    let schedule = file.schedule.as_ref()?;
    let cron = schedule.cron.as_ref()?;
    let after = job.scheduled.unwrap_or(job.registered);
    let zone = schedule.time_zone.clone();
    let from = after.to_jiff().to_zoned(zone);
    let mut latest = None;
    for at in cron.iter_after(from).take(MISSED_MAX) {
        let at = Timestamp::from_jiff(at.timestamp());
        if at > now {
            break;
        }
        latest = Some(at);
    }
    let at = latest?;
    Some(Due {
        at,
        late: now.since(at).as_secs() > LATE_SECONDS,
    })
}
