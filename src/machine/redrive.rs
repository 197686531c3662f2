//! What an unsuccessful end leaves for a redrive, and how an execution goes on from there.
//!
//! Spec: it goes on at the state that failed, with the same input; what succeeded beside that, branches of
//! a Parallel and iterations of an inline Map, is not run again. Retriers and time-outs begin anew.
//! Invariant: what remains is the frames as they stood before the error was on its way up; a redrive of
//! them and of nothing else continues the execution.

use std::{collections::BTreeSet, mem};

use super::{
    Changes, Effect, Event, Execution, Machine, Status,
    failure::{DATA_LIMIT, Raised},
    frame::Phase,
    retry,
    step::Stepper,
};
use crate::ids::FrameId;

/// Keeps the frames where the error will end the execution, before they are dropped on its way up.
pub(super) fn keep_at_failure(step: &mut Stepper<'_, '_>, id: FrameId, raised: &Raised) {
    if !step.machine.options().redrivable || is_handled(step, id, raised) {
        return;
    }
    // Spec: what grew too large is run again as a whole, a run too.
    let again = if raised.of_run && !raised.is(DATA_LIMIT) {
        Phase::Run
    } else {
        Phase::Ready { again: true }
    };
    let below = step.execution.descendants(id);
    let frames = step.execution.all_frames();
    let frames = frames.filter(|frame| !below.contains(&frame.id)).cloned();
    let frames = frames.map(|mut frame| {
        if frame.id == id {
            frame.phase = again.clone();
        }
        frame
    });
    step.execution.remains = frames.collect();
}

/// Keeps the frames where the execution is ended from outside.
pub(super) fn keep_at_end(step: &mut Stepper<'_, '_>, status: Status) {
    let execution = &mut *step.execution;
    if status == Status::Succeeded {
        execution.remains.clear();
    } else if step.machine.options().redrivable && execution.remains.is_empty() {
        execution.remains = execution.all_frames().cloned().collect();
    }
}

/// Whether a retrier or a catcher takes the error on its way up.
fn is_handled(step: &Stepper<'_, '_>, mut id: FrameId, raised: &Raised) -> bool {
    while let Some(frame) = step.execution.frame(id) {
        let state = step.machine.definition().state(frame.state);
        let tries = retry::retrier(&state.retry, raised).is_some_and(|place| {
            let before = frame.retries.get(place).copied().unwrap_or(0);
            before < state.retry[place].max_attempts
        });
        if tries || retry::catcher(&state.catch, raised).is_some() {
            return true;
        }
        let Some((parent, _)) = frame.parent else {
            return false;
        };
        id = parent;
    }
    false
}

/// The execution is redriven: all that failed or was given up is ready again. `runs` are the frames whose
/// Map Run can be taken up where it stands.
pub(super) fn go_on(step: &mut Stepper<'_, '_>, count: u32, runs: &[FrameId]) -> Option<FrameId> {
    let last = step.execution.event_count();
    let event = step.note(last, || Event::ExecutionRedriven { count });
    let ids: BTreeSet<FrameId> = step.execution.all_frames().map(|frame| frame.id).collect();
    for id in ids {
        let Some(frame) = step.execution.frame_mut(id) else {
            continue;
        };
        frame.retries.clear();
        match frame.phase {
            Phase::Forked(_) | Phase::Ready { again: false } => {}
            Phase::Run if runs.contains(&id) => {
                frame.last_event = event;
                let generation = frame.ask();
                step.effects.push(Effect::RedriveRun {
                    frame: id,
                    generation,
                });
            }
            Phase::Ready { again: true }
            | Phase::Task
            | Phase::Waiting
            | Phase::BackingOff
            | Phase::Run => {
                frame.last_event = event;
                frame.submitted = false;
                frame.enter(Phase::Ready { again: true });
                step.execution.ready.insert(id);
            }
        }
    }
    None
}

impl Execution {
    /// The rows of what a redrive goes on from, where the execution has ended without success; once.
    pub fn take_remains(&mut self, machine: &Machine) -> Option<Changes> {
        let frames = mem::take(&mut self.remains);
        if frames.is_empty() {
            return None;
        }
        let mut kept = Self {
            status: Status::Running,
            counters: self.counters,
            ..Self::default()
        };
        for frame in frames {
            kept.add(frame);
        }
        Some(Changes {
            removed: Vec::new(),
            put: kept.rows(machine),
        })
    }
}
