//! Where a run stands, and every change of it that is legal, each with its reason.

use serde::{Deserialize, Serialize};

/// Where a run stands. Written by the run alone, in the commit of the step that changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It dispatches as limits and slots allow. The run moves it.
    Running,
    /// It holds its position and takes nothing new. An operator, or a mended cause, moves it.
    Paused,
    /// Every item has an outcome.
    Succeeded,
    /// More items failed than it bears.
    Failed,
    /// Somebody stopped it for good.
    Aborted,
}

impl RunStatus {
    /// Every status, for the schema's CHECK and for reading them back.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Aborted,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// From what was stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the run is over, unless somebody puts items back.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Aborted)
    }
}

/// One legal change of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: RunStatus,
    /// After.
    pub to: RunStatus,
    /// Why it is legal.
    pub reason: &'static str,
}

const fn may(from: RunStatus, to: RunStatus, reason: &'static str) -> Transition {
    Transition { from, to, reason }
}

/// Every legal change of a run's status; [`super::Run`] makes no other.
pub const TRANSITIONS: &[Transition] = {
    use RunStatus::{Aborted, Failed, Paused, Running, Succeeded};
    &[
        may(
            Running,
            Paused,
            "an operator or the breaker holds it, or its trial is over",
        ),
        may(
            Paused,
            Running,
            "an operator resumes it, or decides on what it held",
        ),
        may(Running, Succeeded, "every item has an outcome"),
        may(
            Paused,
            Succeeded,
            "what was in flight when it paused was all that was left",
        ),
        may(
            Running,
            Failed,
            "more items failed than it bears, or its source cannot be read",
        ),
        may(
            Paused,
            Failed,
            "what was in flight when it paused failed beyond what it bears",
        ),
        may(Running, Aborted, "an operator stops it"),
        may(Paused, Aborted, "an operator stops it"),
        may(Succeeded, Running, "items are put back to be done again"),
        may(Failed, Running, "an operator restarts it where it stood"),
        may(Aborted, Running, "an operator restarts it where it stood"),
    ]
};

/// Whether the change stands in [`TRANSITIONS`].
pub(super) fn is_legal(from: RunStatus, to: RunStatus) -> bool {
    TRANSITIONS.iter().any(|t| t.from == from && t.to == to)
}

/// Why a run paused, as it is stored and told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody asked for it.
    Operator {
        /// Who, as far as is known.
        author: String,
        /// What they said, or empty.
        note: String,
    },
    /// Too many of the last calls failed.
    Failing {
        /// So many failed ..
        failed: u32,
        /// .. of the last so many.
        of_last: u32,
    },
    /// Too many calls failed one after another.
    InARow {
        /// So many.
        failed: u32,
    },
    /// Too many of all items have failed for good.
    FailedShare {
        /// So many failed ..
        failed: u64,
        /// .. of so many.
        of: u64,
    },
    /// Nothing is left but items in doubt, which somebody has to decide on.
    Held {
        /// So many.
        items: u64,
    },
    /// What was to be tried first has been; the rest waits until somebody has looked.
    Trial {
        /// So many records.
        records: u64,
        /// Spread over the dataset; else the first ones.
        sample: bool,
    },
    /// The source could not be read or is not what it was.
    Source {
        /// What happened, and the mend.
        cause: String,
    },
    /// The plugin cannot be run.
    Plugin {
        /// What happened, and the mend.
        cause: String,
    },
}

impl PauseReason {
    /// Whether it is what the handler did: calls that kept failing, or a plugin that does not run.
    #[must_use]
    pub const fn is_of_failures(&self) -> bool {
        match self {
            Self::Failing { .. }
            | Self::InARow { .. }
            | Self::FailedShare { .. }
            | Self::Plugin { .. } => true,
            Self::Operator { .. }
            | Self::Held { .. }
            | Self::Trial { .. }
            | Self::Source { .. } => false,
        }
    }
}

impl PauseReason {
    /// The reason in one word, for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Operator { .. } => "operator",
            Self::Failing { .. } | Self::InARow { .. } | Self::FailedShare { .. } => "failures",
            Self::Held { .. } => "held",
            Self::Source { .. } => "source",
            Self::Plugin { .. } => "plugin",
            Self::Trial { .. } => "trial",
        }
    }

    /// Who paused it, where somebody did.
    #[must_use]
    pub fn author(&self) -> Option<&str> {
        match self {
            Self::Operator { author, .. } => Some(author),
            Self::Failing { .. }
            | Self::InARow { .. }
            | Self::FailedShare { .. }
            | Self::Held { .. }
            | Self::Source { .. }
            | Self::Trial { .. }
            | Self::Plugin { .. } => None,
        }
    }
}

impl std::fmt::Display for PauseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator { author, note } if note.is_empty() => write!(f, "paused by {author}"),
            Self::Operator { author, note } => write!(f, "paused by {author}: {note}"),
            Self::Failing { failed, of_last } => {
                write!(f, "{failed} of the last {of_last} calls failed")
            }
            Self::InARow { failed } => write!(f, "{failed} calls failed in a row"),
            Self::FailedShare { failed, of } => write!(f, "{failed} of {of} items have failed"),
            Self::Held { items } => {
                write!(f, "{items} items are in doubt and wait for a decision")
            }
            Self::Trial { records, sample } => {
                match (records, sample) {
                    (1, true) => f.write_str("a sample of one record was tried"),
                    (records, true) => write!(f, "a sample of {records} records was tried"),
                    (1, false) => f.write_str("the first record was tried"),
                    (records, false) => write!(f, "the first {records} records were tried"),
                }?;
                f.write_str("; all others wait until it is resumed")
            }
            Self::Source { cause } => write!(f, "the source: {cause}"),
            Self::Plugin { cause } => write!(f, "the plugin: {cause}"),
        }
    }
}
