//! What a run tries first, before it pauses for somebody to look.
//!
//! Owns how far the source may be taken meanwhile, and when the trial is over: everything of it has
//! ended, or backs off. The pause ends the trial; a resume goes on with the rest.

use super::Run;
use crate::{
    ids::Index,
    iteration::{PauseReason, RunStatus},
};

impl Run {
    /// Nothing from this index on may be taken from the source for now.
    pub(super) fn trial_until(&self) -> Index {
        self.trial.map_or(Index::MAX, |trial| trial.until)
    }

    /// How many of the children that the source gave may be taken, at most.
    pub(super) fn source_waits(&self) -> usize {
        let below = self.trial_until().saturating_sub(self.window.next());
        let below = usize::try_from(below).unwrap_or(usize::MAX);
        self.source.children.len().min(below)
    }

    /// Why to pause, where the trial is over. Why not wait for retries: an hour of back-off is what
    /// somebody who tries ten records wants to see, and not to wait for.
    pub(super) fn finished_trial(&self) -> Option<PauseReason> {
        let trial = self.trial?;
        let over = self.status == RunStatus::Running
            && self.window.next() >= trial.until
            && self.flights.is_empty()
            && self.rescued.is_empty()
            && self.parked.waiting() == 0
            && self.queue.len() == 0;
        over.then_some(PauseReason::Trial {
            records: trial.records,
            sample: trial.sample,
        })
    }
}
