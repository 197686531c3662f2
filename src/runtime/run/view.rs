//! What others may see of a run while it goes on.

use std::collections::VecDeque;

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
