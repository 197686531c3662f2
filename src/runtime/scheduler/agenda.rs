//! When each job is due next, kept so that a look at the clock costs nothing while nothing is.
//!
//! Owns which fire time of a job is acted on. Reads a job's file again only where its text has changed,
//! and its row only when the job is due.

use std::collections::BTreeMap;

use crate::{
    config::job::{CatchUp, JobFile, Overlap, Schedule},
    runtime::Engine,
    store::{JobRow, StoreError},
    time::Timestamp,
};

/// Fire times that are looked through for those that were missed; beyond it the latest count.
const MISSED_MAX: usize = 10_000;

/// The known jobs with a cron expression.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    jobs: BTreeMap<String, Entry>,
    /// The earliest of all.
    next: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    /// The file's text that the schedule was read from.
    text: String,
    /// `None`: it has no cron expression, or cannot be read.
    schedule: Option<Schedule>,
    /// The first fire time that was not acted on.
    next: Option<Timestamp>,
    /// Where that has passed already, it waits for the end of a run: when it is looked at again
    /// nevertheless, because a further one passes.
    again: Option<Timestamp>,
}

impl Agenda {
    /// Takes in the jobs as they are known now.
    pub(super) fn refresh(&mut self, engine: &Engine) -> Result<(), StoreError> {
        let now = engine.now();
        let rows = engine.store().jobs()?;
        let mut before = std::mem::take(&mut self.jobs);
        for row in rows {
            let known = before.remove(&row.name);
            let entry = Entry::of(engine, &row, known, now);
            self.jobs.insert(row.name, entry);
        }
        self.next = self.jobs.values().filter_map(|entry| entry.next).min();
        Ok(())
    }

    /// Whether any job has a schedule.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.values().all(|entry| entry.schedule.is_none())
    }

    /// The jobs with a fire time to act on; none is looked at while none has passed.
    pub(super) fn due(&self, now: Timestamp, is_live: impl Fn(&str) -> bool) -> Vec<String> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let due = self.jobs.iter().filter(|(name, entry)| {
            let passed = entry.next.is_some_and(|next| next <= now);
            let waits = entry.again.is_some_and(|again| again > now);
            passed && !(waits && is_live(name))
        });
        due.map(|(name, _)| name.clone()).collect()
    }
}

impl Entry {
    fn of(engine: &Engine, row: &JobRow, known: Option<Self>, now: Timestamp) -> Self {
        let schedule = match known {
            Some(known) if known.text == row.text => known.schedule,
            Some(_) | None => {
                let file = engine.job_file(row).ok();
                let schedule = file.and_then(|file| file.schedule);
                schedule.filter(|schedule| schedule.cron.is_some())
            }
        };
        let first_after = |after| {
            schedule
                .as_ref()
                .and_then(|it| fire_times(it, after)?.next())
        };
        let next = first_after(acted_on(row));
        let again = if next.is_some_and(|next| next <= now) {
            first_after(now)
        } else {
            None
        };
        Self {
            text: row.text.clone(),
            next,
            again,
            schedule,
        }
    }
}

/// Until when nothing is left to act on.
fn acted_on(row: &JobRow) -> Timestamp {
    row.scheduled.unwrap_or(row.registered)
}

/// The fire times of a schedule after an instant, in order.
fn fire_times(schedule: &Schedule, after: Timestamp) -> Option<impl Iterator<Item = Timestamp>> {
    let cron = schedule.cron.as_ref()?;
    let from = after.to_jiff().to_zoned(schedule.time_zone.clone());
    let times = cron.iter_after(from);
    Some(times.map(|at| Timestamp::from_jiff(at.timestamp())))
}

/// A start to act on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    /// Nobody was here to start it in time.
    pub(super) missed: bool,
    pub(super) overlap: Overlap,
    pub(super) catch_up: CatchUp,
}

/// The fire time to act on: the latest that has passed and was not acted on, which stands for those
/// before it; the first of them where each one is to be made up for.
pub(super) fn due(
    job: &JobRow,
    file: &JobFile,
    now: Timestamp,
    watched_since: Timestamp,
) -> Option<Due> {
    let schedule = file.schedule.as_ref()?;
    let mut passed = fire_times(schedule, acted_on(job))?
        .take(MISSED_MAX)
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
            overrides: crate::config::Overrides::default(),
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

    fn entry(next: &str, again: Option<&str>) -> Entry {
        Entry {
            text: String::new(),
            schedule: None,
            next: Some(at(next)),
            again: again.map(at),
        }
    }

    #[test]
    fn a_start_that_waits_for_the_end_of_a_run_is_left_alone_until_then() {
        let jobs = BTreeMap::from([
            ("later".to_owned(), entry("2026-05-11T02:00:00Z", None)),
            (
                "waits".to_owned(),
                entry("2026-05-10T02:00:00Z", Some("2026-05-11T02:00:00Z")),
            ),
        ]);
        let next = Some(at("2026-05-10T02:00:00Z"));
        let agenda = Agenda { jobs, next };
        let due = |now: &str, live: bool| agenda.due(at(now), |_| live);
        assert!(due("2026-05-10T01:59:59Z", false).is_empty());
        assert!(due("2026-05-10T02:00:01Z", true).is_empty());
        assert_eq!(due("2026-05-10T02:00:01Z", false), ["waits"]);
        assert_eq!(due("2026-05-11T02:00:00Z", true), ["later", "waits"]);
    }
}
