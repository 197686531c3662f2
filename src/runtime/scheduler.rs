//! Starts jobs by their schedules.
//!
//! tokio-cron-scheduler ticks, in UTC; when a job is due is worked out by croner in the job's own
//! time zone, since the ticker's is an hour off around the days on which clocks are set. It runs
//! only where a job has a schedule, because it wakes twice a second.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler};

use super::{Engine, RuntimeError, Started};
use crate::{
    config::job::{CatchUp, JobFile, Overlap},
    store::{Change, EventKind, JobRow},
    time::Timestamp,
};

/// Once a second: the finest a cron expression can say.
const TICK: &str = "* * * * * *";

/// Fire times that are looked through for those that were missed; beyond it the latest count.
const MISSED_MAX: usize = 10_000;

/// A look that comes this long after the one before means that nobody looked in between: the machine
/// slept. Longer than any tick is late, shorter than the shortest nap that matters to a schedule.
const ABSENCE_MIN: Duration = Duration::from_mins(1);

/// Starts what is due.
pub struct Scheduler {
    engine: Engine,
    ticker: Option<JobScheduler>,
    watch: Arc<Mutex<Watch>>,
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
        let mut scheduler = Self {
            watch: Arc::new(Mutex::new(Watch::from(engine.now()))),
            engine,
            ticker: None,
        };
        scheduler.reload().await;
        scheduler
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
        let (engine, watch) = (self.engine.clone(), Arc::clone(&self.watch));
        let job = Job::new_async(TICK, move |_, _| {
            let (engine, watch) = (engine.clone(), Arc::clone(&watch));
            Box::pin(async move {
                // Why: a look that takes longer than a second must not meet the next.
                if let Ok(mut watch) = watch.try_lock() {
                    watch.look(engine.now());
                    start_due(&engine, watch.since).await;
                }
            })
        })?;
        ticker.add(job).await?;
        ticker.start().await?;
        Ok(ticker)
    }
}

async fn start_due(engine: &Engine, watched_since: Timestamp) {
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
        let Some(due) = due(&job, &file, engine.now(), watched_since) else {
            continue;
        };
        if let Err(error) = act(engine, &job, &file, &due).await {
            tracing::error!(job = job.name, %error, "a scheduled start failed");
            let failed = engine.event(
                &job.name,
                EventKind::NotStarted,
                format!("the start of {}: {error}", due.at),
            );
            drop(engine.store().commit(vec![failed]).await);
        }
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
            let failed = note(EventKind::NotStarted, error.to_string());
            engine.store().commit(vec![scheduled, failed]).await.await?;
            Err(error)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Timestamp,
    /// Nobody was here to start it in time.
    missed: bool,
    overlap: Overlap,
    catch_up: CatchUp,
}

/// The fire time to act on: the latest that has passed and was not acted on, which stands for those
/// before it; the first of them where each one is to be made up for.
fn due(job: &JobRow, file: &JobFile, now: Timestamp, watched_since: Timestamp) -> Option<Due> {
    let schedule = file.schedule.as_ref()?;
    let cron = schedule.cron.as_ref()?;
    let after = job.scheduled.unwrap_or(job.registered);
    let from = after.to_jiff().to_zoned(schedule.time_zone.clone());
    let mut passed = cron
        .iter_after(from)
        .take(MISSED_MAX)
        .map(|at| Timestamp::from_jiff(at.timestamp()))
        .take_while(|at| *at <= now);
    let at = match schedule.catch_up {
        CatchUp::All => passed.next(),
        CatchUp::None | CatchUp::One => passed.last(),
    }?;
    Some(Due {
        at,
        missed: at < watched_since,
        overlap: schedule.overlap,
        catch_up: schedule.catch_up,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_jiff(text.parse().unwrap())
    }

    fn job(schedule: &str, scheduled: &str) -> (JobRow, JobFile) {
        let text = format!(
            "name = \"j\"\n[source]\nkind = \"csv\"\npath = \"x\"\n[process]\nplugin = \"identity\"\n[schedule]\n{schedule}\n"
        );
        let file = JobFile::parse("job.toml".as_ref(), text.clone()).unwrap();
        let row = JobRow {
            name: "j".to_owned(),
            path: "/job.toml".to_owned(),
            text,
            started: false,
            registered: at("2026-01-01T00:00:00Z"),
            scheduled: Some(at(scheduled)),
        };
        (row, file)
    }

    /// Which start is acted on at `now`, and whether it was missed, if any is due.
    fn check(schedule: &str, scheduled: &str, since: &str, now: &str) -> Option<(String, bool)> {
        let (row, file) = job(schedule, scheduled);
        due(&row, &file, at(now), at(since)).map(|due| (due.at.to_string(), due.missed))
    }

    #[test]
    fn a_start_is_due_from_its_minute_on_and_once() {
        let cron = "cron = \"0 2 * * *\"";
        let since = "2026-05-01T00:00:00Z";
        let last = "2026-05-09T02:00:00Z";
        assert_eq!(check(cron, last, since, "2026-05-10T01:59:59Z"), None);
        assert_eq!(
            check(cron, last, since, "2026-05-10T02:00:00Z"),
            Some(("2026-05-10T02:00:00.000Z".to_owned(), false))
        );
        let last = "2026-05-10T02:00:00Z";
        assert_eq!(check(cron, last, since, "2026-05-10T02:00:01Z"), None);
    }

    #[test]
    fn starts_of_a_downtime_are_missed_and_those_that_waited_are_not() {
        let last = "2026-05-09T02:00:00Z";
        let (down, now) = ("2026-05-12T08:00:00Z", "2026-05-12T08:00:01Z");
        for (catch_up, found) in [
            ("none", "2026-05-12T02:00:00.000Z"),
            ("one", "2026-05-12T02:00:00.000Z"),
            ("all", "2026-05-10T02:00:00.000Z"),
        ] {
            let cron = format!("cron = \"0 2 * * *\"\ncatch_up = \"{catch_up}\"");
            assert_eq!(
                check(&cron, last, down, now),
                Some((found.to_owned(), true)),
                "{catch_up}"
            );
        }
        let queued = "cron = \"0 2 * * *\"\noverlap = \"queue\"\ncatch_up = \"none\"";
        assert_eq!(
            check(queued, last, "2026-05-01T00:00:00Z", "2026-05-10T09:00:00Z"),
            Some(("2026-05-10T02:00:00.000Z".to_owned(), false))
        );
    }

    /// Pitfall 9: a local time that a clock change skips still has its start.
    #[test]
    fn starts_follow_the_clock_of_their_zone_over_its_changes() {
        let cron = "cron = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\"";
        let since = "2026-01-01T00:00:00Z";
        for (last, now, found) in [
            // Winter and summer.
            (
                "2026-01-09T01:30:00Z",
                "2026-01-10T01:30:00Z",
                "2026-01-10T01:30:00.000Z",
            ),
            (
                "2026-07-09T00:30:00Z",
                "2026-07-10T00:30:00Z",
                "2026-07-10T00:30:00.000Z",
            ),
            // 02:30 does not exist on 29 March.
            (
                "2026-03-28T01:30:00Z",
                "2026-03-29T12:00:00Z",
                "2026-03-29T01:00:00.000Z",
            ),
        ] {
            let (at, missed) = check(cron, last, since, now).unwrap();
            assert!(!missed);
            assert_eq!(at, found, "{now}");
        }
    }

    #[test]
    fn a_gap_between_two_looks_is_an_absence() {
        let start = at("2026-05-10T00:00:00Z");
        let mut watch = Watch::from(start);
        watch.look(start.after(Duration::from_secs(1)));
        watch.look(start.after(Duration::from_secs(50)));
        assert_eq!(watch.since, start);
        let woken = start.after(Duration::from_hours(7));
        watch.look(woken);
        assert_eq!(watch.since, woken);
    }
}
