//! Where an execution and its frames stand, and every legal change of it with its reason.

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// Not begun.
    #[default]
    New,
    /// Begun and not ended.
    Running,
    /// Ended with an output.
    Succeeded,
    /// Ended in an error.
    Failed,
    /// Ended because its time was over.
    TimedOut,
    /// Ended because somebody stopped it.
    Aborted,
}

/// Every legal change of an execution's status, and its reason.
pub const TRANSITIONS: &[(Status, Status, &str)] = &[
    (Status::New, Status::Running, "Start came"),
    (Status::New, Status::Aborted, "stopped before it began"),
    (
        Status::New,
        Status::TimedOut,
        "its time was over before it began",
    ),
    (
        Status::Running,
        Status::Succeeded,
        "the top frame reached an end",
    ),
    (
        Status::Running,
        Status::Failed,
        "an error in the top frame was not caught",
    ),
    (
        Status::Running,
        Status::TimedOut,
        "TimeoutSeconds of the machine were over",
    ),
    (Status::Running, Status::Aborted, "somebody stopped it"),
];

impl Status {
    /// Whether nothing can happen any more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::New | Self::Running)
    }

    /// Why the status may become the next one; `None` where it may not.
    #[must_use]
    pub fn reason(self, next: Self) -> Option<&'static str> {
        TRANSITIONS
            .iter()
            .find(|(from, to, _)| *from == self && *to == next)
            .map(|(_, _, reason)| *reason)
    }

    /// As AWS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Aborted => "ABORTED",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::New,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::TimedOut,
            Self::Aborted,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// Where a frame stands. A frame that ends is gone, so there is no status for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameStatus {
    /// Its state is to be executed.
    Ready,
    /// A task is under way.
    Task,
    /// A Wait state waits.
    Waiting,
    /// A failed state waits for its retry.
    BackingOff,
    /// A Map Run is under way.
    Run,
    /// Iterations of an inline Map, or branches of a Parallel, are under way.
    Forked,
}

/// Every legal change of a frame's status, and its reason.
pub(crate) const FRAME_TRANSITIONS: &[(FrameStatus, FrameStatus, &str)] = {
    use FrameStatus::{BackingOff, Forked, Ready, Run, Task, Waiting};
    &[
        (Ready, Ready, "a state was left for the next one"),
        (Ready, Task, "a Task state asked for its work"),
        (Ready, Waiting, "the instant of a Wait state lies ahead"),
        (Ready, Run, "a distributed Map asked for its run"),
        (
            Ready,
            Forked,
            "an inline Map or a Parallel began its frames",
        ),
        (Ready, BackingOff, "the state failed and is retried"),
        (Task, Ready, "the task was answered"),
        (Waiting, Ready, "the instant came"),
        (BackingOff, Ready, "the delay is over"),
        (Run, Ready, "the run ended"),
        (
            Forked,
            Ready,
            "all its frames ended, or the error of one was caught",
        ),
        (
            Forked,
            BackingOff,
            "one of its frames failed and the state is retried",
        ),
    ]
};
