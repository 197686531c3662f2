//! Map within the execution: a frame for each iteration, results in the order of the items.
//!
//! How iterations end is in `fork`. Invariant: at most [`CONCURRENCY_MAX`] iterations of one Map are
//! under way.

use serde_json::Value;

use super::{
    Entered, Raised, Seen, Stepper, Turn,
    frame::{Fork, Phase},
    resolve, unexpected, whole,
};
use crate::{
    asl::{
        QueryLanguage,
        path::Path,
        states::{Map, Mode, State},
        template::{Expression, Template},
    },
    ids::FrameId,
    machine::{Event, Finding, MapItem, data::located, fork, rehearsal::items_of},
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
    let length = length.ok_or_else(|| no_array(state, map, &items))?;
    tell_items_path(step, state, map, &input, &items);
    let concurrency = max_concurrency(step, id, map, &input)?;
    if step.is_rehearsal() {
        step.tell_items(id, map, &input, items_of(&items))?;
        step.await_mock(id);
        return Ok(Turn::Blocked);
    }
    let concurrency = match concurrency {
        0 => CONCURRENCY_MAX,
        most => most.min(CONCURRENCY_MAX),
    };
    let started = step.record(id, || Event::MapStateStarted {
        length: u64::try_from(length).unwrap_or(u64::MAX),
    });
    if length == 0 {
        return fork::succeeded(step, id, state, &[]).map(Turn::Leave);
    }
    let fork = Fork::new(input, items, length);
    let Some(frame) = step.execution.frame_mut(id) else {
        return Ok(Turn::Blocked);
    };
    frame.enter(Phase::Forked(Box::new(fork)));
    for _ in 0..concurrency {
        if !begin_next(step, id, state, map, started)? {
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
    if let Some(template) = &map.items {
        return step.compute(id, Seen::of(input), |scope| {
            located(template, scope, "Items")
        });
    }
    match &map.items_path {
        None => Ok(input.clone()),
        Some(path) => step.compute(id, Seen::of(input), |scope| scope.find(path)),
    }
}

/// Tells the items behind `ItemsPath`.
pub(super) fn tell_items_path(
    step: &mut Stepper<'_, '_>,
    state: &State,
    map: &Map,
    input: &Payload,
    items: &Payload,
) {
    if state.language == QueryLanguage::JsonPath && step.is_rehearsal() {
        // Recorded: what the path only finds keeps its text.
        let names = map.items_path.as_ref().map_or(Some(vec![]), Path::names);
        let found = names.and_then(|names| input.part(&names));
        let items = found.unwrap_or_else(|| items.clone());
        step.tell(|| Finding::ItemsPath(items));
    }
}

/// What an iteration is given for its item.
pub(in crate::machine) fn select(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    selector: &Template,
    input: &Payload,
    item: &MapItem,
) -> Result<Payload, Raised> {
    let seen = Seen {
        item: Some(item),
        ..Seen::of(input)
    };
    step.compute(id, seen, |scope| located(selector, scope, "ItemSelector"))
}

/// In AWS's words: what a Map is to go over is no array.
pub(super) fn no_array(state: &State, map: &Map, items: &Payload) -> Raised {
    if state.language == QueryLanguage::Jsonata {
        return match &map.items {
            Some(Template::Expression(Expression::Jsonata(expression))) => {
                let failed = |failure| expression.failed(failure);
                let error = unexpected(items.value(), "array", failed).located("Items");
                Raised::query(Some("Items"), error.to_string())
            }
            Some(_) | None => Raised::query(
                None,
                format!("Map state input must be an array but was: {}", items.text()),
            ),
        };
    }
    let path = map.items_path.as_ref().map_or("$", |path| path.text());
    // Recorded: a path into the context object is told as one into that object.
    let path = path
        .strip_prefix('$')
        .filter(|path| path.starts_with('$'))
        .unwrap_or(path);
    Raised::runtime(format!("Reference path \"{path}\" must point to array."))
}

pub(super) fn max_concurrency(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    map: &Map,
    input: &Payload,
) -> Result<u64, Raised> {
    let computed = ("MaxConcurrency", "integer", Value::as_u64);
    let most = match &map.max_concurrency {
        None => 0,
        Some(setting) => resolve(step, id, input, setting, computed, |value, path| {
            whole("MaxConcurrencyPath", value, path, || {
                "MaxConcurrency cannot be negative.".to_owned()
            })
        })?,
    };
    step.tell(|| Finding::MaxConcurrency(most));
    Ok(most)
}

/// Begins with the next item, if there is one left.
pub(in crate::machine) fn begin_next(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    map: &Map,
    previous: u64,
) -> Result<bool, Raised> {
    let Mode::Inline(start) = map.mode else {
        return Ok(false);
    };
    let Some(Phase::Forked(fork)) = step.execution.frame(id).map(|frame| &frame.phase) else {
        return Ok(false);
    };
    let index = fork.next;
    let Some(value) = fork.items.value().get(index as usize) else {
        return Ok(false);
    };
    let item = MapItem {
        index: u64::from(index),
        value: value.clone().into(),
        key: None,
        source: None,
    };
    let input = fork.input.clone();
    let data = match &map.item_selector {
        None => item.value,
        Some(selector) => select(step, id, selector, &input, &item)?,
    };
    if step.exceeds(&data) {
        return Err(Raised::too_large(&state.name));
    }
    let name = state.name.clone();
    let event = step.note(previous, || Event::MapIterationStarted { name, index });
    fork::begin(step, id, start, Some(data), event)?;
    Ok(true)
}
