//! Frames that run side by side within one state: iterations of an inline Map, branches of a Parallel.
//!
//! Owns their beginning, their results and their end; what is iterated over is the Map's. Invariant:
//! the results of one fork together hold no more bytes than a payload may, and a frame that fails
//! drops the others.

use std::mem;

use serde_json::Value;

use super::{
    Event,
    data::Exit,
    failure::Raised,
    frame::{Fork, Frame, Phase},
    states,
    step::Stepper,
};
use crate::{
    asl::{
        StateId,
        states::{Kind, State},
    },
    ids::FrameId,
    payload::Payload,
};

/// Begins with the fork's next frame, with the fork's own input unless it is given another; `event`
/// is what led to it.
pub(super) fn begin(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    start: StateId,
    data: Option<Payload>,
    event: u64,
) -> Result<(), Raised> {
    let frames = step.execution.counters.frames.checked_add(1);
    let frames =
        frames.ok_or_else(|| Raised::runtime("the execution began too many iterations"))?;
    let index = change(step, id, |fork| {
        let index = fork.next;
        fork.next += 1;
        fork.running += 1;
        (index, fork.input.clone())
    });
    let (index, input) = index.ok_or_else(|| Raised::runtime("the state is gone"))?;
    let inherited = data.is_none();
    step.execution.counters.frames = frames;
    let mut frame = Frame::new(
        FrameId(frames),
        Some((id, index)),
        start,
        data.unwrap_or(input),
    );
    frame.inherited = inherited;
    frame.last_event = event;
    step.execution.add(frame);
    Ok(())
}

fn change<T>(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    change: impl FnOnce(&mut Fork) -> T,
) -> Option<T> {
    match &mut step.execution.frame_mut(id)?.phase {
        Phase::Forked(fork) => Some(change(fork)),
        Phase::Ready { .. } | Phase::Task | Phase::Waiting | Phase::BackingOff | Phase::Run => None,
    }
}

/// A frame has its output: the next one begins, or the state is done.
pub(super) fn done(
    step: &mut Stepper<'_, '_>,
    child: FrameId,
    id: FrameId,
    index: u32,
    output: Payload,
) -> Option<FrameId> {
    let last = step.execution.remove(child)?.last_event;
    let state = step.execution.frame(id)?.state;
    let state = step.machine.definition().state(state);
    let map = state.map();
    let event = match map {
        None => last,
        Some(_) => step.note(last, || Event::MapIterationSucceeded {
            name: state.name.clone(),
            index,
        }),
    };
    step.execution.dirty.results.push((id, index));
    let bytes = output.text().len();
    let (sum, rest) = change(step, id, |fork| {
        if let Some(place) = fork.results.get_mut(index as usize) {
            *place = Some(output);
        }
        fork.running = fork.running.saturating_sub(1);
        fork.result_bytes = fork.result_bytes.saturating_add(bytes);
        (fork.result_bytes, fork.running)
    })?;
    if sum > step.machine.options().payload_bytes_max {
        return step.fail(id, Raised::too_large(&state.name));
    }
    let next = map.map_or(Ok(false), |map| {
        states::map::begin_next(step, id, state, map, last)
    });
    match next {
        Ok(false) if rest == 0 => {}
        Ok(_) => return None,
        Err(raised) => return step.fail(id, raised),
    }
    let results = change(step, id, |fork| mem::take(&mut fork.results))?;
    step.execution.end_fork(id);
    step.execution.frame_mut(id)?.last_event = event;
    match succeeded(step, id, state, &results) {
        Ok(exit) => step.leave(id, state, exit, state.next),
        Err(raised) => step.fail(id, raised),
    }
}

/// How the state is left, of the results of all frames; each keeps its text.
pub(super) fn succeeded(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    results: &[Option<Payload>],
) -> Result<Exit, Raised> {
    let last = step.execution.frame(id).map_or(0, |frame| frame.last_event);
    // Recorded: what follows names the event before this one.
    step.note(last, || match state.map() {
        Some(_) => Event::MapStateSucceeded,
        None => Event::ParallelStateSucceeded,
    });
    let null = Payload::from(Value::Null);
    let mut text = String::from("[");
    for (place, result) in results.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(result.as_ref().unwrap_or(&null).text());
    }
    text.push(']');
    // Texts of payloads in brackets are a payload, unless it nests too deep.
    let result = Payload::parse(text).map_err(|_| Raised::too_large(&state.name))?;
    step.exit(id, state, result)
}

/// A frame has failed and is taken out; its state is next to be asked.
pub(super) fn failed(step: &mut Stepper<'_, '_>, child: FrameId, id: FrameId, index: u32) {
    let frame = step.execution.remove(child);
    let last = frame.as_ref().map_or(0, |frame| frame.last_event);
    let Some(state) = step.execution.frame(id).map(|frame| frame.state) else {
        return;
    };
    let state = step.machine.definition().state(state);
    if state.map().is_some() {
        let name = state.name.clone();
        step.note(last, || Event::MapIterationFailed { name, index });
    }
    if let Some(frame) = &frame {
        aborted(step, frame, last);
    }
    if let Some(frame) = step.execution.frame_mut(id) {
        // Recorded: what follows names the event that made the frame fail.
        frame.last_event = last;
    }
}

/// Takes out all frames of a fork under way, and theirs.
pub(super) fn drop_all(step: &mut Stepper<'_, '_>, id: FrameId) {
    let Some(frame) = step.execution.frame(id) else {
        return;
    };
    if !matches!(frame.phase, Phase::Forked(_)) {
        return;
    }
    let state = step.machine.definition().state(frame.state);
    // Recorded: what is dropped names the event of the failure.
    let failure = frame.last_event;
    for child in step.execution.descendants(id) {
        let Some(frame) = step.drop_frame(child) else {
            continue;
        };
        if let Some((parent, index)) = frame.parent
            && parent == id
            && state.map().is_some()
        {
            let name = state.name.clone();
            step.note(failure, || Event::MapIterationAborted { name, index });
        }
        aborted(step, &frame, failure);
    }
    step.execution.end_fork(id);
}

/// Notes that the state a frame was in is given up, where AWS has an event for that.
fn aborted(step: &mut Stepper<'_, '_>, frame: &Frame, failure: u64) {
    let kind = &step.machine.definition().state(frame.state).kind;
    let entered = frame.phase != (Phase::Ready { again: false }) || frame.entered_event > 0;
    match kind {
        Kind::Task(_) | Kind::Wait(_) | Kind::Map(_) | Kind::Parallel(_) if entered => {
            step.note(failure, || Event::StateAborted { kind: kind.name() });
        }
        Kind::Pass(_)
        | Kind::Task(_)
        | Kind::Choice(_)
        | Kind::Wait(_)
        | Kind::Succeed
        | Kind::Fail(_)
        | Kind::Map(_)
        | Kind::Parallel(_) => {}
    }
}
