//! Parallel: a frame for each branch, all at once; each is given the state's own input.

use serde_json::Value;

use super::{
    Entered, Raised, Stepper, Turn,
    frame::{Fork, Phase},
};
use crate::{
    asl::states::{Parallel, State},
    ids::FrameId,
    machine::{Event, fork},
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    parallel: &Parallel,
) -> Entered {
    let input = step.parameters(id, state)?;
    if step.exceeds(&input) {
        return Err(Raised::too_large(&state.name));
    }
    if step.is_rehearsal() {
        step.await_mock(id);
        return Ok(Turn::Blocked);
    }
    let started = step.record(id, || Event::ParallelStateStarted);
    let progress = Fork::new(input, Value::Null.into(), parallel.branches.len());
    let Some(frame) = step.execution.frame_mut(id) else {
        return Ok(Turn::Blocked);
    };
    frame.enter(Phase::Forked(Box::new(progress)));
    for start in &parallel.branches {
        fork::begin(step, id, *start, None, started)?;
    }
    Ok(Turn::Blocked)
}
