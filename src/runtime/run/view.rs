//! What others may see of a run while it goes on.

use std::{collections::VecDeque, time::Duration};

use crate::{
    ids::VersionNumber,
    iteration::{Figures, PauseReason},
    time::Timestamp,
};

/// The figures of a run as its actor last published them. The channel closes when the actor has ended.
#[derive(Debug, Clone)]
pub struct RunView {
    /// What the core counts.
    pub figures: Figures,
    /// Why it is paused, if it is.
    pub pause: Option<PauseReason>,
    /// Items that ended a second, over the last minute; `None` before there was one.
    pub rate: Option<f64>,
    /// How much of the source lies before the next record to be read, 0 to 1, where it is known.
    pub source_share: Option<f64>,
    /// The disk is too full to dispatch anything.
    pub disk_full: bool,
    /// No worker is ready yet, or none any more.
    pub starting: bool,
    /// The plugin's version that new calls go to.
    pub version: VersionNumber,
    /// Until when its schedule lets it dispatch nothing, if that is so now.
    pub off_hours: Option<Timestamp>,
    /// When the oldest of the calls under way set out.
    pub oldest_call: Option<Timestamp>,
    /// Since when an outcome could have come and none did; `None` where one came just now, or none can:
    /// the run holds, or waits for something that it knows.
    pub idle_since: Option<Timestamp>,
}

/// A step that comes this long after the one before means that nobody looked in between: the machine
/// slept. Longer than an actor ever sleeps.
const ABSENCE_MIN: Duration = Duration::from_mins(5);

/// Remembers since when a run that should work has had no answer.
#[derive(Debug, Default)]
pub(super) struct Patience {
    answered: u64,
    since: Option<Timestamp>,
    looked: Timestamp,
}

impl Patience {
    /// Takes note of how many answers there were, and of whether one could come now: a call is under
    /// way, or something could set out.
    pub(super) fn note(&mut self, now: Timestamp, answered: u64, works: bool) {
        let slept = now < self.looked || now.since(self.looked) > ABSENCE_MIN;
        if answered != self.answered || slept || !works {
            self.since = None;
        }
        if works {
            self.since = self.since.or(Some(now));
        }
        self.answered = answered;
        self.looked = now;
    }

    /// Since when an answer could have come and none did.
    pub(super) const fn idle_since(&self) -> Option<Timestamp> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes in turn (minute, answers, works), and since which minute it waits at the end.
    fn check(notes: &[(i64, u64, bool)], since: Option<i64>) {
        let minute = |at: i64| Timestamp(at * 60_000_000);
        let mut patience = Patience::default();
        for (at, answered, works) in notes {
            patience.note(minute(*at), *answered, *works);
        }
        assert_eq!(patience.idle_since(), since.map(minute), "{notes:?}");
    }

    #[test]
    fn a_run_is_idle_since_it_could_have_had_an_answer() {
        check(&[(10, 0, true), (11, 0, true), (12, 0, true)], Some(10));
        check(&[(10, 0, true), (11, 1, true), (12, 1, true)], Some(11));
    }

    #[test]
    fn a_run_that_waits_for_what_it_knows_is_not_idle() {
        check(&[(10, 0, true), (11, 0, false)], None);
        check(&[(10, 0, false), (11, 0, false), (12, 0, true)], Some(12));
    }

    #[test]
    fn a_machine_that_slept_begins_anew() {
        check(&[(10, 0, true), (11, 0, true), (500, 0, true)], Some(500));
        check(&[(10, 0, true), (9, 0, true), (10, 0, true)], Some(9));
    }
}

/// Remembers how many items had ended when, to tell a rate.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    samples: VecDeque<(Timestamp, u64)>,
}

/// How far back the rate looks: long enough to smooth a quick run, short enough to follow an outage.
const LOOK_BACK_SECONDS: u64 = 60;

impl Pulse {
    /// Takes note, once a second at most.
    pub(super) fn note(&mut self, now: Timestamp, ended: u64) {
        let fresh = self
            .samples
            .back()
            .is_none_or(|(at, _)| now < *at || now.since(*at).as_secs() >= 1);
        if fresh {
            self.samples.push_back((now, ended));
        }
        while self
            .samples
            .front()
            .is_some_and(|(at, _)| now.since(*at).as_secs() > LOOK_BACK_SECONDS)
            && self.samples.len() > 2
        {
            self.samples.pop_front();
        }
    }

    /// Items a second.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of items in a minute, for people"
    )]
    pub(super) fn rate(&self, now: Timestamp, ended: u64) -> Option<f64> {
        let (at, before) = self.samples.front()?;
        let seconds = now.since(*at).as_secs_f64();
        (seconds >= 1.0).then(|| ended.saturating_sub(*before) as f64 / seconds)
    }
}
