//! An execution: its frames, its counters, and what of them changed since it was last asked.
//!
//! Invariant: the parent of a frame lives as long as the frame and has a smaller id; `ready` holds
//! exactly the frames in phase `Ready`, but for the one that a step is working on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    changes::Dirty,
    event::Assigned,
    frame::{Frame, Phase},
    status::Status,
};
use crate::{ids::FrameId, payload::Payload};

/// The id of the top frame.
pub(super) const TOP: FrameId = FrameId(0);

/// One execution of a machine; begins with [`super::Input::Start`].
#[derive(Debug, Clone, Default)]
pub struct Execution {
    pub(super) status: Status,
    /// Kept apart from the others so that the most frequent execution, a single frame, has no map.
    pub(super) top: Option<Frame>,
    pub(super) frames: BTreeMap<FrameId, Frame>,
    pub(super) ready: BTreeSet<FrameId>,
    pub(super) counters: Counters,
    pub(super) dirty: Dirty,
    /// What a redrive goes on from, from an unsuccessful end until it is taken.
    pub(super) remains: Vec<Frame>,
}

/// What an execution counts; nothing of it is ever given twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Frames made, without the top one.
    pub(super) frames: u32,
    /// Entries into states.
    pub(super) entries: u64,
    /// Events of the history.
    pub(super) events: u64,
}

impl Execution {
    /// An execution that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it stands.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Events of its history so far, whether or not they were recorded.
    #[must_use]
    pub const fn event_count(&self) -> u64 {
        self.counters.events
    }

    /// Whether that is what a frame asked for last; an answer to anything else is late.
    #[must_use]
    pub fn is_last_asked(&self, frame: FrameId, generation: crate::ids::Generation) -> bool {
        self.frame(frame)
            .is_some_and(|frame| frame.generation == generation)
    }

    /// Whether a frame waits for the answer to what it asked for then: a task's.
    #[must_use]
    pub fn waits_for_task(&self, frame: FrameId, generation: crate::ids::Generation) -> bool {
        self.frame(frame).is_some_and(|frame| {
            frame.generation == generation && matches!(frame.phase, Phase::Task)
        })
    }

    /// The frames that wait for a Map Run, and what each asked for with it.
    pub fn frames_with_runs(&self) -> impl Iterator<Item = (FrameId, crate::ids::Generation)> {
        let waits = |frame: &&Frame| matches!(frame.phase, Phase::Run);
        let frames = self.all_frames().filter(waits);
        frames.map(|frame| (frame.id, frame.generation))
    }

    pub(super) fn frame(&self, id: FrameId) -> Option<&Frame> {
        if id == TOP {
            self.top.as_ref()
        } else {
            self.frames.get(&id)
        }
    }

    /// The frame, to be changed: it will be stored anew.
    pub(super) fn frame_mut(&mut self, id: FrameId) -> Option<&mut Frame> {
        if id == TOP {
            self.dirty.top = true;
            self.top.as_mut()
        } else {
            let frame = self.frames.get_mut(&id);
            if frame.is_some() {
                self.dirty.frames.insert(id);
            }
            frame
        }
    }

    /// Every frame, the smallest id first.
    pub(super) fn all_frames(&self) -> impl Iterator<Item = &Frame> {
        self.top.iter().chain(self.frames.values())
    }

    /// A variable as the frame sees it: its own, or one of the scopes around.
    pub(super) fn variable(&self, id: FrameId, name: &str) -> Option<&Payload> {
        let mut frame = self.frame(id)?;
        loop {
            let own = frame.variables.iter().find(|(own, _)| &**own == name);
            if let Some((_, value)) = own {
                return Some(value);
            }
            frame = self.frame(frame.parent?.0)?;
        }
    }

    /// Bytes of all variables if the frame had these, too.
    pub(super) fn variable_bytes_with(&self, id: FrameId, assigned: &Assigned) -> usize {
        let size = |variables: &[(Arc<str>, Payload)]| {
            let sizes = variables.iter().map(|(_, value)| value.text().len());
            sizes.fold(0_usize, usize::saturating_add)
        };
        let mut bytes = size(assigned);
        for frame in self.all_frames() {
            for (name, value) in &frame.variables {
                let replaced = frame.id == id && assigned.iter().any(|(other, _)| other == name);
                if !replaced {
                    bytes = bytes.saturating_add(value.text().len());
                }
            }
        }
        bytes
    }

    /// Sets variables of the frame's scope.
    pub(super) fn assign(&mut self, id: FrameId, assigned: &Assigned) {
        let mut changed = Vec::new();
        let Some(frame) = self.frame_mut(id) else {
            return;
        };
        for (name, value) in assigned {
            let place = frame.variables.iter().position(|(own, _)| own == name);
            let place = place.unwrap_or(frame.variables.len());
            match frame.variables.get_mut(place) {
                Some(variable) => variable.1 = value.clone(),
                None => frame.variables.push((name.clone(), value.clone())),
            }
            changed.push(place);
        }
        for place in changed {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            self.dirty.variables.insert((id, place));
        }
    }

    pub(super) fn set_status(&mut self, status: Status) {
        debug_assert!(
            self.status.reason(status).is_some(),
            "no transition from {:?} to {status:?}",
            self.status
        );
        self.status = status;
    }

    pub(super) fn add(&mut self, frame: Frame) {
        if frame.id == TOP {
            self.dirty.top = true;
            self.top = Some(frame);
        } else {
            self.dirty.frames.insert(frame.id);
            self.ready.insert(frame.id);
            self.frames.insert(frame.id, frame);
        }
    }

    /// Takes a frame out, with every row of it.
    pub(super) fn remove(&mut self, id: FrameId) -> Option<Frame> {
        let frame = if id == TOP {
            self.top.take()
        } else {
            self.ready.remove(&id);
            self.frames.remove(&id)
        }?;
        if frame.stored {
            self.dirty.removed.push(id);
        }
        Some(frame)
    }

    /// All frames below this one, the smallest id first.
    pub(super) fn descendants(&self, id: FrameId) -> BTreeSet<FrameId> {
        let mut found = BTreeSet::new();
        for frame in self.frames.values() {
            if let Some((parent, _)) = frame.parent
                && (parent == id || found.contains(&parent))
            {
                found.insert(frame.id);
            }
        }
        found
    }

    /// The progress of a Map or a Parallel is over: its rows go, the frame stays.
    pub(super) fn end_fork(&mut self, id: FrameId) {
        // Why: the next Map of the frame has results at the same places.
        self.dirty.results.retain(|(frame, _)| *frame != id);
        if let Some(frame) = self.frame_mut(id)
            && matches!(frame.phase, Phase::Forked(_))
            && frame.stored
        {
            frame.stored = false;
            // Its variables live on, so their rows are written anew.
            let places = 0..u32::try_from(frame.variables.len()).unwrap_or(u32::MAX);
            self.dirty.variables.extend(places.map(|place| (id, place)));
            self.dirty.removed.push(id);
        }
    }
}

/// As they would be stored: what changed since the last time is no part of it.
impl PartialEq for Execution {
    fn eq(&self, other: &Self) -> bool {
        let plain = |frame: &Frame| {
            let mut frame = frame.clone();
            frame.stored = true;
            if let Phase::Forked(fork) = &mut frame.phase {
                fork.stored = true;
            }
            frame
        };
        self.status == other.status
            && self.counters == other.counters
            && self.ready == other.ready
            && self
                .all_frames()
                .map(plain)
                .eq(other.all_frames().map(plain))
    }
}
