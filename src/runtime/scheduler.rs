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
    config::job::{CatchUp, JobFile, Overlap, Schedule},
    store::{Change, JobRow},
    time::Timestamp,
};

/// Once a second: the finest a cron expression can say.
const TICK: &str = "* * * * * *";

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
    let Some(schedule) = &file.schedule else {
        return Ok(());
    };
    let Some(due) = due(job, schedule, engine.now()) else {
        return Ok(());
    };
    let scheduled = Change::Scheduled {
        name: job.name.clone(),
        at: due.at,
    };
    let note = |kind: &str, detail: String| engine.event(&job.name, kind, detail);
    if due.late && schedule.catch_up == CatchUp::None {
        let missed = note("missed", format!("the start of {} was missed", due.at));
        return Ok(engine.store().commit(vec![scheduled, missed]).await.await?);
    }
    if engine.view(&job.name).is_some() {
        let made_up_for = due.late && schedule.catch_up == CatchUp::All;
        if schedule.overlap == Overlap::Skip && !made_up_for {
            let skipped = note("skipped", format!("the start of {}: still running", due.at));
            let changes = vec![scheduled, skipped];
            return Ok(engine.store().commit(changes).await.await?);
        }
        // It stays due until the run has ended.
        return Ok(());
    }
    // Crash: the fire time counts as acted on in the commit that starts the run, not before.
    match engine.start_with(file, true, vec![scheduled.clone()]).await {
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
            let failed = note("not started", error.to_string());
            engine.store().commit(vec![scheduled, failed]).await.await?;
            Err(error)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Timestamp,
    /// It should have been started while nobody was here to do it.
    late: bool,
}

/// How late a start may be without counting as missed: longer than a tick, shorter than a restart
/// goes unnoticed.
const LATE_SECONDS: u64 = 60;

/// The fire time to be acted on: the first that was not where each of them counts, else the latest.
fn due(job: &JobRow, schedule: &Schedule, now: Timestamp) -> Option<Due> {
    let cron = schedule.cron.as_ref()?;
    let after = job.scheduled.unwrap_or(job.registered);
    let local = |at: Timestamp| at.to_jiff().to_zoned(schedule.time_zone.clone());
    let found = match schedule.catch_up {
        CatchUp::All => cron.find_next_occurrence(&local(after), false),
        CatchUp::None | CatchUp::One => cron.find_previous_occurrence(&local(now), true),
    };
    let at = Timestamp::from_jiff(found.ok()?.timestamp());
    (after < at && at <= now).then(|| Due {
        at,
        late: now.since(at).as_secs() > LATE_SECONDS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_jiff(text.parse().unwrap())
    }

    fn schedule(text: &str) -> Schedule {
        let job = format!(
            "name = \"job\"\n[source]\nkind = \"jsonl\"\npath = \"in\"\n\
             [process]\nplugin = \"identity\"\n[schedule]\n{text}\n"
        );
        let file = JobFile::parse("/job.toml".as_ref(), job).unwrap();
        file.schedule.unwrap()
    }

    fn job(scheduled: &str) -> JobRow {
        JobRow {
            name: "job".to_owned(),
            path: String::new(),
            text: String::new(),
            started: false,
            registered: Timestamp(0),
            scheduled: Some(at(scheduled)),
        }
    }

    fn check(text: &str, scheduled: &str, now: &str, expected: Option<(&str, bool)>) {
        let found = due(&job(scheduled), &schedule(text), at(now));
        let expected = expected.map(|(text, late)| Due { at: at(text), late });
        assert_eq!(found, expected, "{text} at {now}");
    }

    #[test]
    fn after_a_downtime_the_latest_start_is_due_or_each_of_them_in_turn() {
        let daily = "cron = \"0 2 * * *\"";
        let (last, now) = ("2026-03-01T02:00:00Z", "2026-03-05T02:00:30Z");
        check(daily, last, now, Some(("2026-03-05T02:00:00Z", false)));
        let all = "cron = \"0 2 * * *\"\ncatch_up = \"all\"";
        check(all, last, now, Some(("2026-03-02T02:00:00Z", true)));
        check(daily, last, "2026-03-02T01:59:59Z", None);
        check(all, last, "2026-03-02T01:59:59Z", None);
    }

    #[test]
    fn a_year_away_from_a_start_each_second_is_one_start() {
        let each = "cron = \"* * * * * *\"";
        let (last, now) = ("2025-03-01T02:00:00Z", "2026-03-05T02:00:30Z");
        check(each, last, now, Some((now, false)));
    }

    /// Pitfall 9: around the days on which clocks are set, looking back finds what looking ahead does.
    #[test]
    fn every_start_is_found_once_when_clocks_are_set() {
        for cron in ["0 2 * * *", "30 2 * * *", "15 * * * *", "0 3 * * *"] {
            for days in [
                ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"),
                ("2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z"),
            ] {
                let zone = "time_zone = \"Europe/Berlin\"";
                let one = schedule(&format!("cron = \"{cron}\"\n{zone}"));
                let all = schedule(&format!("cron = \"{cron}\"\n{zone}\ncatch_up = \"all\""));
                let fired = |schedule: &Schedule| {
                    let (mut job, mut fired) = (job(days.0), Vec::new());
                    let mut now = at(days.0);
                    while now < at(days.1) {
                        if let Some(due) = due(&job, schedule, now) {
                            job.scheduled = Some(due.at);
                            fired.push(due.at.to_string());
                        }
                        now = now + std::time::Duration::from_mins(15);
                    }
                    fired
                };
                assert_eq!(fired(&one), fired(&all), "{cron} from {}", days.0);
            }
        }
    }
}
