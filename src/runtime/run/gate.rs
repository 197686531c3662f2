//! Whether a run may dispatch at this time of the week: `[schedule]`'s hours and blackouts.
//!
//! Remembers the answer until the instant at which it changes, because looking for that instant takes
//! far longer than a step may.

use crate::{
    config::job::{Opening, Schedule},
    time::Timestamp,
};

/// The hours of a run.
#[derive(Debug)]
pub(super) struct Gate {
    schedule: Option<Schedule>,
    /// What was found out last, and when.
    known: Option<(Timestamp, Opening)>,
}

impl Gate {
    /// The hours of this schedule; without one it is always open.
    pub(super) fn new(schedule: Option<Schedule>) -> Self {
        // Why: most schedules only say when a run starts.
        let schedule = schedule.filter(|s| !s.hours.is_empty() || !s.blackout.is_empty());
        Self {
            schedule,
            known: None,
        }
    }

    /// Until when nothing may be dispatched, if so; [`Timestamp::MAX`]: ever.
    pub(super) fn closed_until(&mut self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref()?;
        let opening = match self.known {
            // Why both ends: the clock may have been set back.
            Some((since, opening)) if since <= now && now < until(opening) => opening,
            Some(_) | None => {
                let opening = schedule.opening(now);
                self.known = Some((now, opening));
                opening
            }
        };
        match opening {
            Opening::Open(_) => None,
            Opening::Closed(until) => Some(until),
        }
    }
}

const fn until(opening: Opening) -> Timestamp {
    match opening {
        Opening::Open(until) | Opening::Closed(until) => until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::job::JobFile;

    fn gate(schedule: &str) -> Gate {
        let text = format!(
            "name = \"j\"\n[source]\nkind = \"csv\"\npath = \"x\"\n[process]\nplugin = \"identity\"\n[schedule]\n{schedule}\n"
        );
        let file = JobFile::parse("job.toml".as_ref(), text).unwrap();
        Gate::new(file.schedule)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_jiff(text.parse().unwrap())
    }

    #[test]
    fn a_run_waits_for_its_hours_and_out_its_blackouts_also_when_the_clock_is_set_back() {
        let mut gate =
            gate("hours = [\"Mon-Fri 22:00-06:00\"]\nblackout = [\"2026-12-24..2026-12-26\"]");
        for (now, closed) in [
            ("2026-11-20T12:00:00Z", Some("2026-11-20T22:00:00Z")),
            ("2026-11-20T21:59:59Z", Some("2026-11-20T22:00:00Z")),
            ("2026-11-20T22:00:00Z", None),
            ("2026-11-21T05:59:59Z", None),
            ("2026-11-21T06:00:00Z", Some("2026-11-23T22:00:00Z")),
            ("2026-11-20T23:00:00Z", None),
            ("2026-11-20T21:00:00Z", Some("2026-11-20T22:00:00Z")),
            ("2026-12-24T23:00:00Z", Some("2026-12-28T22:00:00Z")),
        ] {
            assert_eq!(gate.closed_until(at(now)), closed.map(at), "{now}");
        }
    }

    #[test]
    fn without_hours_a_run_is_always_open() {
        assert_eq!(Gate::new(None).closed_until(Timestamp(0)), None);
        let cron_alone = &mut gate("cron = \"0 2 * * *\"");
        assert_eq!(cron_alone.closed_until(Timestamp(0)), None);
    }
}
