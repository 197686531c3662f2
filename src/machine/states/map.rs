//! Map within the execution: a frame for each iteration, results in the order of the items.
//!
//! Invariant: at most [`CONCURRENCY_MAX`] iterations of one Map are under way, and its results hold
//! no more bytes than a payload may. An iteration that fails drops the others.

use serde_json::Value;

use super::{
    Entered, Raised, Stepper, Turn,
    frame::{Frame, Iterations, Phase},
    resolve, whole,
};
use crate::{
    asl::states::{Kind, Map, Mode, State},
    ids::FrameId,
    machine::{Event, MapItem},
    payload::Payload,
};

/// Iterations of an inline Map under way at a time: AWS's bound, also where the Map sets none.
pub(in crate::machine) const CONCURRENCY_MAX: u64 = 40;

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    map: &Map,
) -> Entered {
    let Mode::Inline(_) = map.mode else {
        return super::run::enter(step, id, state, map);
    };
    let input = step.effective_input(id, state)?;
    let items = items(step, id, map, &input)?;
    let length = items.value().as_array().map(Vec::len);
    let length = length.ok_or_else(|| no_array(map))?;
    let concurrency = match max_concurrency(step, id, map, &input)? {
        0 => CONCURRENCY_MAX,
        most => most.min(CONCURRENCY_MAX),
    };
    let started = step.record(id, || Event::MapStateStarted {
        length: u64::try_from(length).unwrap_or(u64::MAX),
    });
    if length == 0 {
        return all_done(step, id, state, Vec::new()).map(Turn::Leave);
    }
    let Some(frame) = step.execution.frame_mut(id) else {
        return Ok(Turn::Blocked);
    };
    frame.enter(Phase::Iterating(Box::new(Iterations {
        input,
        items,
        results: vec![None; length],
        result_bytes: 0,
        next: 0,
        running: 0,
        stored: false,
    })));
    for _ in 0..concurrency {
        if !begin_next(step, id, map, started)? {
            break;
        }
    }
    Ok(Turn::Blocked)
}

/// What the items are, before anybody looks whether they are some.
pub(super) fn items(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    map: &Map,
    input: &Payload,
) -> Result<Payload, Raised> {
    match &map.items_path {
        None => Ok(input.clone()),
        Some(path) => step
            .evaluate(id, input, None, |scope| scope.find(path))
            .map(Payload::from),
    }
}

pub(super) fn no_array(map: &Map) -> Raised {
    let path = map.items_path.as_ref().map_or("$", |path| path.text());
    Raised::runtime(format!("Reference path \"{path}\" must point to array."))
}

pub(super) fn max_concurrency(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    map: &Map,
    input: &Payload,
) -> Result<u64, Raised> {
    let Some(setting) = &map.max_concurrency else {
        return Ok(0);
    };
    resolve(step, id, input, setting, |value, path| {
        whole("MaxConcurrencyPath", value, path, || {
            "MaxConcurrency cannot be negative.".to_owned()
        })
    })
}

/// Begins with the next item, if there is one left.
fn begin_next(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    map: &Map,
    previous: u64,
) -> Result<bool, Raised> {
    let Mode::Inline(start) = map.mode else {
        return Ok(false);
    };
    let Some(frame) = step.execution.frame(id) else {
        return Ok(false);
    };
    let state = frame.state;
    let Phase::Iterating(iterations) = &frame.phase else {
        return Ok(false);
    };
    let index = iterations.next;
    let Some(value) = iterations.items.value().get(index as usize) else {
        return Ok(false);
    };
    let item = MapItem {
        index: u64::from(index),
        value: value.clone().into(),
        key: None,
        source: None,
    };
    let input = iterations.input.clone();
    let data = match &map.item_selector {
        None => item.value,
        Some(template) => step
            .evaluate(id, &input, Some(&item), |scope| template.evaluate(scope))?
            .into(),
    };
    if step.exceeds(&data) {
        let name = &step.machine.definition().state(state).name;
        return Err(Raised::too_large(name));
    }
    step.execution.counters.frames = step.execution.counters.frames.wrapping_add(1);
    let child = FrameId(step.execution.counters.frames);
    let name = step.machine.definition().state(state).name.clone();
    let event = step.note(previous, || Event::MapIterationStarted { name, index });
    let mut frame = Frame::new(child, Some((id, index)), start, data);
    frame.last_event = event;
    step.execution.add(frame);
    with_iterations(step, id, |iterations| {
        iterations.next += 1;
        iterations.running += 1;
    });
    Ok(true)
}

fn with_iterations<T>(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    change: impl FnOnce(&mut Iterations) -> T,
) -> Option<T> {
    match &mut step.execution.frame_mut(id)?.phase {
        Phase::Iterating(iterations) => Some(change(iterations)),
        Phase::Ready { .. } | Phase::Task | Phase::Waiting | Phase::BackingOff | Phase::Run => None,
    }
}

/// An iteration has its output; the next one begins, or the Map is done.
pub(in crate::machine) fn iteration_done(
    step: &mut Stepper<'_, '_>,
    child: FrameId,
    id: FrameId,
    index: u32,
    output: Payload,
) -> Option<FrameId> {
    let last = step.execution.remove(child)?.last_event;
    let state = step.execution.frame(id)?.state;
    let state = step.machine.definition().state(state);
    let Kind::Map(map) = &state.kind else {
        return None;
    };
    let name = state.name.clone();
    let event = step.note(last, || Event::MapIterationSucceeded { name, index });
    step.execution.dirty.results.push((id, index));
    let bytes = output.text().len();
    let (sum, rest) = with_iterations(step, id, |iterations| {
        if let Some(place) = iterations.results.get_mut(index as usize) {
            *place = Some(output);
        }
        iterations.running = iterations.running.saturating_sub(1);
        iterations.result_bytes = iterations.result_bytes.saturating_add(bytes);
        (iterations.result_bytes, iterations.running)
    })?;
    if sum > step.machine.options().payload_bytes_max {
        return step.fail(id, Raised::too_large(&state.name));
    }
    match begin_next(step, id, map, last) {
        Ok(false) if rest == 0 => {}
        Ok(_) => return None,
        Err(raised) => return step.fail(id, raised),
    }
    let results = with_iterations(step, id, |iterations| {
        std::mem::take(&mut iterations.results)
    })?;
    step.execution.end_iterations(id);
    step.execution.frame_mut(id)?.last_event = event;
    match all_done(step, id, state, results) {
        Ok(output) => step.leave(id, state, output, state.next),
        Err(raised) => step.fail(id, raised),
    }
}

/// The Map's output, of the results of all iterations.
fn all_done(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    results: Vec<Option<Payload>>,
) -> Result<Payload, Raised> {
    let last = step.execution.frame(id).map_or(0, |frame| frame.last_event);
    // Recorded: what follows names the event before this one.
    step.note(last, || Event::MapStateSucceeded);
    let result: Value = results
        .into_iter()
        .map(|result| result.map_or(Value::Null, |result| result.value().clone()))
        .collect();
    step.output(id, state, result.into())
}

/// An iteration has failed and is taken out; the Map is next to be asked.
pub(in crate::machine) fn iteration_failed(
    step: &mut Stepper<'_, '_>,
    child: FrameId,
    id: FrameId,
    index: u32,
) {
    let last = step
        .execution
        .remove(child)
        .map_or(0, |frame| frame.last_event);
    let Some(state) = step.execution.frame(id).map(|frame| frame.state) else {
        return;
    };
    let name = step.machine.definition().state(state).name.clone();
    step.note(last, || Event::MapIterationFailed { name, index });
    if let Some(frame) = step.execution.frame_mut(id) {
        // Recorded: what follows names the event that made the iteration fail.
        frame.last_event = last;
    }
}

/// Takes out all iterations under way, and theirs.
pub(in crate::machine) fn drop_iterations(step: &mut Stepper<'_, '_>, id: FrameId) {
    let Some(frame) = step.execution.frame(id) else {
        return;
    };
    if !matches!(frame.phase, Phase::Iterating(_)) {
        return;
    }
    let name = step.machine.definition().state(frame.state).name.clone();
    for child in step.execution.descendants(id) {
        let Some(frame) = step.drop_frame(child) else {
            continue;
        };
        if let Some((parent, index)) = frame.parent
            && parent == id
        {
            let name = name.clone();
            step.note(frame.last_event, || Event::MapIterationAborted {
                name,
                index,
            });
        }
    }
    step.execution.end_iterations(id);
}
