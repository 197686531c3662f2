//! Which day an instant belongs to, for what is counted by day, and the counts of one step.
//!
//! Owns nothing durable. A day is one of the limiter's time zone, as its quota's days are, so that the
//! calls of a day can be held against the quota.

use std::collections::BTreeMap;

use jiff::{ToSpan, tz::TimeZone};

use crate::{
    ids::RunId,
    iteration::{Counters, PutBack, Tally},
    plugin::Outcome,
    store::{Change, DayRow, VersionTally},
    time::Timestamp,
};

/// The days of one time zone.
#[derive(Debug)]
pub(in crate::runtime) struct Days {
    zone: TimeZone,
    /// The last day that was asked for: its beginning, its end, its name. Calendars are slow beside a
    /// step.
    known: Option<(Timestamp, Timestamp, String)>,
}

impl Days {
    pub(in crate::runtime) const fn new(zone: TimeZone) -> Self {
        Self { zone, known: None }
    }

    /// The day of an instant, `YYYY-MM-DD`.
    pub(in crate::runtime) fn of(&mut self, now: Timestamp) -> String {
        if let Some((from, to, day)) = &self.known
            && (*from..*to).contains(&now)
        {
            return day.clone();
        }
        let zoned = now.to_jiff().to_zoned(self.zone.clone());
        let day = zoned.date().to_string();
        let bounds = zoned.start_of_day().and_then(|from| {
            let to = from.checked_add(1.day())?;
            Ok((from.timestamp(), to.timestamp()))
        });
        self.known = bounds.ok().map(|(from, to)| {
            let (from, to) = (Timestamp::from_jiff(from), Timestamp::from_jiff(to));
            (from, to, day.clone())
        });
        day
    }
}

/// What one step counts beside the core: by version of the plugin.
#[derive(Debug, Default)]
pub(super) struct StepTally {
    versions: BTreeMap<u32, VersionTally>,
    pub(super) put_back: PutBack,
    /// For how long answers of this step closed the limiter.
    pub(super) closed: std::time::Duration,
}

impl StepTally {
    /// A call was answered by that version; `throttled`: it was put off because somebody limits us.
    pub(super) fn answered(&mut self, version: u32, outcome: &Outcome, throttled: bool) {
        let tally = self.of(version);
        tally.calls += 1;
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Failed(_) if throttled => tally.throttled += 1,
            Outcome::Failed(_) | Outcome::FailedCanary(_) => tally.failed_tries += 1,
            // Not an answer.
            Outcome::Reached(_) => tally.calls = tally.calls.saturating_sub(1),
            Outcome::Interrupted => tally.interrupted += 1,
        }
    }

    /// Items ended with a result.
    pub(super) fn done(&mut self, version: u32, items: u32) {
        self.of(version).done += u64::from(items);
    }

    /// Items ended with an error.
    pub(super) fn failed(&mut self, version: u32, items: u32) {
        self.of(version).failed += u64::from(items);
    }

    fn of(&mut self, version: u32) -> &mut VersionTally {
        self.versions
            .entry(version)
            .or_insert_with(|| VersionTally {
                version: version.into(),
                ..VersionTally::default()
            })
    }

    /// What the commit has to count, where anything was. `before` is what was committed last.
    pub(super) fn finish(
        mut self,
        run: RunId,
        (before, after): (&Counters, &Counters),
        day: impl FnOnce() -> String,
        at: Timestamp,
    ) -> Option<Change> {
        let mut tally = Tally::between(before, after, self.put_back);
        tally.closed = self.closed;
        let sum = |of: fn(&VersionTally) -> u64| self.versions.values().map(of).sum::<u64>();
        // Why: what ended without an answer (a damaged record, an operator's decision) is nobody's.
        let done = tally.done.saturating_sub(sum(|version| version.done));
        let failed = tally.failed.saturating_sub(sum(|version| version.failed));
        if done > 0 || failed > 0 {
            let nobody = self.of(0);
            nobody.done += done;
            nobody.failed += failed;
        }
        if tally.is_empty() && self.versions.is_empty() {
            return None;
        }
        Some(Change::Count {
            run,
            day: DayRow { day: day(), tally },
            versions: self.versions.into_values().collect(),
            at,
        })
    }
}

/// What a step of a run that rests has to count: nobody answered anything.
pub(in crate::runtime) fn count_resting(
    run: RunId,
    counters: (&Counters, &Counters),
    put_back: PutBack,
    day: impl FnOnce() -> String,
    at: Timestamp,
) -> Option<Change> {
    let tally = StepTally {
        put_back,
        ..StepTally::default()
    };
    tally.finish(run, counters, day, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_the_zone_and_follows_the_clock_both_ways() {
        let mut days = Days::new(TimeZone::get("Europe/Berlin").unwrap());
        let at = |text: &str| Timestamp::from_jiff(text.parse().unwrap());
        for (instant, day) in [
            ("2026-10-24T21:59:59Z", "2026-10-24"),
            ("2026-10-24T22:00:00Z", "2026-10-25"),
            ("2026-10-25T22:59:59Z", "2026-10-25"),
            ("2026-10-25T23:00:00Z", "2026-10-26"),
            ("2026-10-24T12:00:00Z", "2026-10-24"),
        ] {
            assert_eq!(days.of(at(instant)), day, "{instant}");
        }
    }
}
