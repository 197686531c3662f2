//! What others may see of a run while it goes on.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    ids::VersionNumber,
    iteration::{Course, Figures, Guess, PauseReason, Run, RunStatus, WakeReason},
    plugin::Tally,
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
    /// What it waits for in its queue, where that has nothing for it.
    pub source_waits: Option<Arc<str>>,
    /// The disk is too full to dispatch anything.
    pub disk_full: bool,
    /// No worker is ready yet, or none any more.
    pub starting: bool,
    /// The plugin's version that new calls go to.
    pub version: VersionNumber,
    /// The version that proves itself, and what it has shown, where there is one.
    pub canary: Option<(VersionNumber, Tally)>,
    /// Until when its schedule lets it dispatch nothing, if that is so now.
    pub off_hours: Option<Timestamp>,
    /// When the oldest of the calls under way set out.
    pub oldest_call: Option<Timestamp>,
    /// Since when an outcome could have come and none did; `None` where one came just now, or none can:
    /// the run holds, or waits for something that it knows.
    pub idle_since: Option<Timestamp>,
    /// Calls a second that handlers manage when nothing else holds them back, as far as they ever were
    /// what held the run up.
    pub capacity: Option<Guess>,
    /// What a forecast has to know of the job.
    pub course: Arc<Course>,
}

impl RunView {
    /// Before the first step.
    pub(super) fn first(run: &Run, version: VersionNumber, course: Arc<Course>) -> Self {
        Self {
            figures: run.figures(),
            pause: run.pause_reason().cloned(),
            rate: None,
            source_share: None,
            source_waits: None,
            disk_full: false,
            starting: false,
            version,
            canary: None,
            off_hours: None,
            oldest_call: None,
            idle_since: None,
            capacity: None,
            course,
        }
    }
}

/// Remembers how many items had ended when, to tell a rate.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    samples: VecDeque<(Timestamp, u64)>,
    /// As of the last note: when, how many calls were made, and whether only handlers held it up.
    last: Option<(Timestamp, u64, bool)>,
    short: Speed,
    long: Speed,
}

/// How fast handlers are, from the time in which nothing else held the run up.
#[derive(Debug, Default)]
struct Speed {
    busy_s: f64,
    calls: f64,
}

/// What the short memory of a speed forgets by: a minute of work and 200 calls, whichever takes longer.
const SHORT: (f64, f64) = (60.0, 200.0);
/// The same of the long one.
const LONG: (f64, f64) = (3600.0, 10_000.0);

impl Speed {
    fn add(&mut self, busy_s: f64, calls: f64, (seconds, count): (f64, f64)) {
        let keep = (-(busy_s / seconds).min(calls / count)).exp();
        self.busy_s = self.busy_s * keep + busy_s;
        self.calls = self.calls * keep + calls;
    }

    /// Calls a second, once there were some.
    fn per_s(&self) -> Option<f64> {
        (self.busy_s >= 1.0 && self.calls >= 5.0).then(|| self.calls / self.busy_s)
    }
}

/// How far back the rate looks: long enough to smooth a quick run, short enough to follow an outage.
const LOOK_BACK_SECONDS: u64 = 60;

impl Pulse {
    /// Takes note: of what ended once a second at most, of the speed always.
    pub(super) fn note(&mut self, now: Timestamp, ended: u64, figures: &Figures) {
        self.note_speed(now, figures);
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

    /// Counts the time since the last note to the handlers, if only they held the run up in it.
    #[expect(clippy::cast_precision_loss, reason = "calls since the last step")]
    fn note_speed(&mut self, now: Timestamp, figures: &Figures) {
        // Why those that came back: a call sets out when a permit comes, which is nobody's speed.
        let calls = figures.counters.first_tries + figures.counters.retries;
        let calls = calls.saturating_sub(figures.in_flight as u64);
        let throttled = matches!(figures.wake, Some((_, WakeReason::Throttled(_))));
        let busy = figures.status == RunStatus::Running && figures.in_flight > 0 && !throttled;
        if let Some((at, before, true)) = self.last {
            let (busy_s, calls) = (
                now.since(at).as_secs_f64(),
                (calls - before.min(calls)) as f64,
            );
            self.short.add(busy_s, calls, SHORT);
            self.long.add(busy_s, calls, LONG);
        }
        self.last = Some((now, calls, busy));
    }

    /// Calls a second that handlers manage, where they ever were what held the run up.
    pub(super) fn capacity(&self) -> Option<Guess> {
        let (short, long) = (self.short.per_s()?, self.long.per_s()?);
        Some(Guess {
            low: short.min(long) * 0.8,
            likely: f64::midpoint(short, long),
            high: short.max(long) * 1.2,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        iteration::{Counters, Run},
        limiter::Throttle,
    };

    /// One slot, calls of 100 ms; a permit comes that long after the call before was sent.
    fn speed_at(permit_every_ms: i64) -> Guess {
        let mut figures = Run::new(crate::iteration::Options {
            slots: 1,
            order: crate::iteration::Order::Relaxed,
            on_interrupt: crate::iteration::OnInterrupt::Retry,
            window_items_max: 1,
            parked_items_max: 1,
            tolerance: crate::iteration::Tolerance::EVERYTHING,
            pause_when: crate::iteration::BreakerLimits::default(),
        })
        .figures();
        let mut pulse = Pulse::default();
        for n in 0..600_u32 {
            let sent = Timestamp::from_millis(i64::from(n) * permit_every_ms);
            figures.counters = Counters {
                first_tries: u64::from(n) + 1,
                ..Counters::default()
            };
            (figures.in_flight, figures.wake) = (1, None);
            pulse.note_speed(sent, &figures);
            figures.in_flight = 0;
            if permit_every_ms > 100 {
                let next = Timestamp::from_millis(i64::from(n + 1) * permit_every_ms);
                figures.wake = Some((next, WakeReason::Throttled(Throttle::Pace)));
            }
            let answered = Timestamp::from_millis(sent.as_millis() + 100);
            pulse.note_speed(answered, &figures);
        }
        pulse.capacity().unwrap()
    }

    #[test]
    fn the_speed_of_handlers_is_told_from_the_limiter_s() {
        for permit_every_ms in [100, 150, 1000] {
            let speed = speed_at(permit_every_ms).likely;
            assert!((9.0..11.0).contains(&speed), "{permit_every_ms}: {speed}");
        }
    }
}
