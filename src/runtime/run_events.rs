//! The two events of a run that somebody outside may want to be told: it paused, it ended.
//!
//! Invariant: whoever steps a run writes these in the commit of the step, with a reason in a word.

use crate::{
    iteration::{PauseReason, RunStatus},
    store::{Change, EventKind, EventRow},
    time::Timestamp,
};

/// A run paused; `last` is the last failure of a call, where one is known.
pub(super) fn paused(at: Timestamp, job: &str, reason: &PauseReason, last: Option<&str>) -> Change {
    let mut detail = match reason {
        PauseReason::Operator { note, .. } => note.clone(),
        PauseReason::Failing { .. }
        | PauseReason::InARow { .. }
        | PauseReason::FailedShare { .. }
        | PauseReason::Held { .. }
        | PauseReason::Source { .. }
        | PauseReason::Trial { .. }
        | PauseReason::Plugin { .. } => reason.to_string(),
    };
    if reason.word() == "failures"
        && let Some(last) = last
    {
        detail.push_str("; the last: ");
        detail.push_str(last);
    }
    let event = EventRow::new(at, job, EventKind::Paused, detail);
    let author = reason.author().map(str::to_owned);
    Change::Event(event.because(reason.word()).by(author))
}

/// A run ended.
pub(super) fn ended(at: Timestamp, job: &str, status: RunStatus) -> Change {
    let event = EventRow::new(at, job, EventKind::Ended, status.as_str());
    Change::Event(event.because(status.as_str()))
}
