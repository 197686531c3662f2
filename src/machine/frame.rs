//! A frame: one thread of an execution, with the state it is in and that state's data.
//!
//! There is the top frame, and one for each iteration of an inline Map and each branch of a Parallel
//! under way. A frame is what is
//! stored: it holds nothing that could not be written down.

use std::sync::Arc;

use super::status::{FRAME_TRANSITIONS, FrameStatus};
use crate::{
    asl::StateId,
    ids::{FrameId, Generation},
    payload::Payload,
    time::Timestamp,
};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub(super) id: FrameId,
    /// The frame it is an iteration or a branch of, and which one; none for the top frame.
    pub(super) parent: Option<(FrameId, u32)>,
    pub(super) state: StateId,
    /// The state's input.
    pub(super) data: Payload,
    /// Whether `data` is what the frame's surroundings hold already: the execution's input for the top
    /// frame, the fork's for a branch. Then it is not stored again.
    pub(super) inherited: bool,
    /// Counts the entries into states of the execution.
    pub(super) entry: u64,
    pub(super) entered: Timestamp,
    /// The history event of the entry, which error messages name.
    pub(super) entered_event: u64,
    /// The frame's latest event before that.
    pub(super) entered_after: u64,
    /// The variables of its scope, each in its place for good.
    pub(super) variables: Vec<(Arc<str>, Payload)>,
    /// The frame's latest event.
    pub(super) last_event: u64,
    /// Counts what the frame asked for; answers to older ones are stale.
    pub(super) generation: Generation,
    /// Retries so far by each retrier of the state, since it was entered; empty: none.
    pub(super) retries: Vec<u32>,
    pub(super) phase: Phase,
    /// Whoever does the task has it, and its answer comes from outside.
    pub(super) submitted: bool,
    /// Whether a row of it was written, so that its end has something to remove.
    pub(super) stored: bool,
}

/// What a frame waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// For the interpreter. `again`: the state was entered before and is retried.
    Ready { again: bool },
    /// For a task.
    Task,
    /// For a Wait state's instant.
    Waiting,
    /// For a retry's delay.
    BackingOff,
    /// For a Map Run.
    Run,
    /// For the frames of its iterations or branches.
    Forked(Box<Fork>),
}

/// The progress of an inline Map or of a Parallel: frames that run side by side, and their results.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fork {
    /// The effective input: what a Map's item selector reads, what each branch is given.
    pub(super) input: Payload,
    /// The array of a Map; nothing for a Parallel.
    pub(super) items: Payload,
    /// A place for each item or branch.
    pub(super) results: Vec<Option<Payload>>,
    /// Bytes of the results so far.
    pub(super) result_bytes: usize,
    /// The next item or branch to begin with.
    pub(super) next: u32,
    /// Frames under way.
    pub(super) running: u32,
    /// Whether the row of the items was written.
    pub(super) stored: bool,
}

impl Fork {
    /// One that has not begun with anything.
    pub(super) fn new(input: Payload, items: Payload, length: usize) -> Self {
        Self {
            input,
            items,
            results: vec![None; length],
            result_bytes: 0,
            next: 0,
            running: 0,
            stored: false,
        }
    }
}

impl Phase {
    pub(super) const fn status(&self) -> FrameStatus {
        match self {
            Self::Ready { .. } => FrameStatus::Ready,
            Self::Task => FrameStatus::Task,
            Self::Waiting => FrameStatus::Waiting,
            Self::BackingOff => FrameStatus::BackingOff,
            Self::Run => FrameStatus::Run,
            Self::Forked(_) => FrameStatus::Forked,
        }
    }
}

impl Frame {
    /// A frame about to enter a state.
    pub(super) fn new(
        id: FrameId,
        parent: Option<(FrameId, u32)>,
        state: StateId,
        data: Payload,
    ) -> Self {
        Self {
            id,
            parent,
            state,
            data,
            inherited: parent.is_none(),
            entry: 0,
            entered: Timestamp::default(),
            entered_event: 0,
            entered_after: 0,
            variables: Vec::new(),
            last_event: 0,
            generation: Generation(0),
            retries: Vec::new(),
            phase: Phase::Ready { again: false },
            submitted: false,
            stored: false,
        }
    }

    /// Changes what the frame waits for. Invariant: the change stands in [`FRAME_TRANSITIONS`].
    pub(super) fn enter(&mut self, phase: Phase) {
        debug_assert!(
            FRAME_TRANSITIONS
                .iter()
                .any(|(from, to, _)| *from == self.phase.status() && *to == phase.status()),
            "no transition from {:?} to {:?}",
            self.phase.status(),
            phase.status()
        );
        self.phase = phase;
    }

    /// The generation of what the frame asks for next.
    pub(super) fn ask(&mut self) -> Generation {
        self.submitted = false;
        self.generation = Generation(self.generation.0.wrapping_add(1));
        self.generation
    }

    /// What the frame asks for next goes by the generation of what it asked for before.
    pub(super) fn ask_the_same(&mut self) {
        self.generation = Generation(self.generation.0.wrapping_sub(1));
    }

    /// Whether the items of its fork were written, if it has any.
    pub(super) fn items_stored(&self) -> bool {
        match &self.phase {
            Phase::Forked(fork) => fork.stored,
            Phase::Ready { .. } | Phase::Task | Phase::Waiting | Phase::BackingOff | Phase::Run => {
                true
            }
        }
    }

    /// Retries since the state was entered.
    pub(super) fn retry_count(&self) -> u32 {
        self.retries
            .iter()
            .fold(0, |sum, retries| sum.saturating_add(*retries))
    }
}
