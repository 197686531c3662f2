//! The hours in which a run may dispatch, by its job's schedule.
//!
//! Owns nothing durable: what is open follows from the file and the clock. Outside its hours a run
//! asks its limiter for nothing, takes in outcomes, and wakes when they begin.

use crate::{
    config::job::{Opening, Schedule},
    time::Timestamp,
};

/// The hours of one run.
pub(super) struct Hours {
    schedule: Option<Schedule>,
    /// What was found at an instant, true until the instant in it: calendars are slow beside a step.
    known: Option<(Timestamp, Opening)>,
}

impl Hours {
    /// Open at all times where there is no schedule.
    pub(super) const fn new(schedule: Option<Schedule>) -> Self {
        Self {
            schedule,
            known: None,
        }
    }

    /// Until when the run may not dispatch, if it may not now; [`Timestamp::MAX`]: ever.
    pub(super) fn closed_until(&mut self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref()?;
        let known = self.known.filter(|(found, opening)| {
            let (Opening::Open(until) | Opening::Closed(until)) = *opening;
            *found <= now && now < until
        });
        let (_, opening) = *self.known.insert(match known {
            Some(known) => known,
            None => (now, schedule.opening(now)),
        });
        match opening {
            Opening::Open(_) => None,
            Opening::Closed(until) => Some(until),
        }
    }
}
