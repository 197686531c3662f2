//! The kinds of events, in one place: what `iterd log --kind` takes, and what a notification is about.
//!
//! Invariant: a kind that was ever written stays in the list, so that old logs can be read.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $text:literal,)+) => {
        /// What kind of thing happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $($(#[$doc])* $kind,)+ }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// As it is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $text,)+ }
            }
        }
    };
}

kinds! {
    /// A run of a job began.
    Started = "started",
    /// A run goes on after a pause, or after its end.
    Resumed = "resumed",
    /// A run holds; the reason is the pause's.
    Paused = "paused",
    /// A run ended; the reason is how.
    Ended = "ended",
    /// Somebody stopped a run.
    Stopped = "stopped",
    /// Failed items were put back.
    Retried = "retried",
    /// The job's file was edited.
    Edited = "edited",
    /// A part of an edit does not apply.
    Refused = "refused",
    /// An operator set something over the job's file.
    Set = "set",
    /// An override was cleared, by an operator or by an edit of its key.
    Cleared = "cleared",
    /// An operator ordered something about the job's limiter.
    Limiter = "limiter",
    /// Somebody wants finished records done again.
    Redo = "redo",
    /// Finished records were put back.
    PutBack = "put back",
    /// Somebody ended items as failed.
    ItemSkipped = "item skipped",
    /// Somebody decided on items in doubt.
    Resolved = "resolved",
    /// Somebody replaced the record of an item.
    ItemEdited = "item edited",
    /// A version of a plugin was put in force.
    InForce = "in force",
    /// A version of the plugin proves itself on some records.
    Canary = "canary",
    /// A version of the plugin has failed where the one in force does not, and is withdrawn.
    RolledBack = "rolled back",
    /// A version of the plugin is in use.
    Deployed = "deployed",
    /// A version of the plugin is not in use.
    NotDeployed = "not deployed",
    /// A handler closed the limiter for a while.
    Closed = "closed",
    /// Records were appended to the source.
    SourceGrew = "source grew",
    /// Somebody let the run go on with a source that is not what it was.
    SourceAccepted = "source accepted",
    /// A run was taken over from another state directory.
    Adopted = "adopted",
    /// A run went to another state directory.
    Departed = "adopted away",
    /// A start of the schedule was missed.
    Missed = "missed",
    /// A start of the schedule met the unfinished run.
    Skipped = "skipped",
    /// A start of the schedule failed.
    NotStarted = "not started",
    /// The machine or the daemon went away without an orderly end; the reason is which.
    Away = "away",
    /// The disk has no room: nothing is dispatched.
    DiskFull = "disk full",
    /// The disk has room again.
    DiskFree = "disk free",
    /// The run should work, and nothing comes.
    Stalled = "stalled",
    /// The command of `[notify]` was told.
    Told = "told",
    /// The command of `[notify]` could not be told.
    NotTold = "not told",
    /// A message of a topic whose messages the log tells.
    Message = "message",
    /// A message of a topic could not be delivered, and is not tried again.
    NotDelivered = "not delivered",
    /// The daemon began.
    DaemonStarted = "daemon started",
    /// The daemon came to an orderly end.
    DaemonEnded = "daemon ended",
}

impl EventKind {
    /// From what was stored, or typed: `not deployed`, `not-deployed`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace(['-', '_'], " ");
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// Whether somebody outside may want to be told; such an event is written with its notification.
    #[must_use]
    pub const fn is_news(self) -> bool {
        matches!(self, Self::Paused | Self::Ended | Self::Stalled)
    }
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_as_it_was_written_and_as_it_is_typed() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(*kind));
            let typed = kind.as_str().replace(' ', "-");
            assert_eq!(EventKind::parse(&typed), Some(*kind));
        }
        assert_eq!(EventKind::parse("exploded"), None);
    }
}
