//! Since when a run that should work has had no answer.
//!
//! Owns nothing durable, and decides nothing: whoever watches jobs says when that is too long.

use std::time::Duration;

use crate::time::Timestamp;

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
