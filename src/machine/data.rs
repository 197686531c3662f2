//! The data flow of a state: `InputPath`, `Parameters`, `ResultSelector`, `ResultPath`, `OutputPath`.
//!
//! Where a state has none of them, the payload that came in goes out, by reference and with its text
//! untouched: most records are only carried.

use std::cell::LazyCell;

use serde_json::{Map, Value};

use super::{
    context::{MapItem, StateFacts},
    failure::Raised,
    frame::Phase,
    step::Stepper,
};
use crate::{
    asl::{
        path::Budget,
        states::{Kind, ResultPath, Selection, State},
        template::{EvalError, Scope},
    },
    ids::FrameId,
    payload::Payload,
};

impl Stepper<'_, '_> {
    /// What the state looks at: `InputPath` applied to its input.
    pub(super) fn effective_input(
        &mut self,
        id: FrameId,
        state: &State,
    ) -> Result<Payload, Raised> {
        let input = self.state_input(id);
        self.select(id, &state.io.input_path, input)
    }

    /// What the state works on: `Parameters` instead of the effective input, where there are any.
    pub(super) fn parameters(&mut self, id: FrameId, state: &State) -> Result<Payload, Raised> {
        let input = self.effective_input(id, state)?;
        match &state.io.parameters {
            None => Ok(input),
            Some(template) => self.compute(id, &input, None, |scope| template.evaluate(scope)),
        }
    }

    /// What the state hands on, given its result.
    pub(super) fn output(
        &mut self,
        id: FrameId,
        state: &State,
        result: Payload,
    ) -> Result<Payload, Raised> {
        let result = match &state.io.result_selector {
            None => result,
            Some(template) => self.compute(id, &result, None, |scope| template.evaluate(scope))?,
        };
        let placed = self.place(id, &state.io.result_path, result)?;
        self.select(id, &state.io.output_path, placed)
    }

    /// The result where `ResultPath` says, in the state's input.
    pub(super) fn place(
        &self,
        id: FrameId,
        path: &ResultPath,
        result: Payload,
    ) -> Result<Payload, Raised> {
        match path {
            ResultPath::Replace => Ok(result),
            ResultPath::Discard => Ok(self.state_input(id)),
            ResultPath::At(path) => {
                let input = self.state_input(id);
                let written = path
                    .write(input.value().clone(), result.value().clone())
                    .map_err(|failure| {
                        Raised::new("States.ResultPathMatchFailure", failure.to_string())
                    })?;
                flat(written)
            }
        }
    }

    /// `InputPath` or `OutputPath` applied.
    pub(super) fn select(
        &mut self,
        id: FrameId,
        selection: &Selection,
        payload: Payload,
    ) -> Result<Payload, Raised> {
        match selection {
            Selection::Whole => Ok(payload),
            Selection::Nothing => Ok(Value::Object(Map::new()).into()),
            Selection::Path(path) => self.compute(id, &payload, None, |scope| scope.find(path)),
        }
    }

    /// Evaluates to a payload, which can be stored and read back.
    pub(super) fn compute(
        &mut self,
        id: FrameId,
        input: &Payload,
        item: Option<&MapItem>,
        run: impl FnOnce(&mut Scope<'_>) -> Result<Value, EvalError>,
    ) -> Result<Payload, Raised> {
        flat(self.evaluate(id, input, item, run)?)
    }

    /// Evaluates against a payload (`$`) and the context object of the frame's state (`$$`). `item`
    /// is the item under way, where the state hands items out.
    pub(super) fn evaluate<T>(
        &mut self,
        id: FrameId,
        input: &Payload,
        item: Option<&MapItem>,
        run: impl FnOnce(&mut Scope<'_>) -> Result<T, EvalError>,
    ) -> Result<T, Raised> {
        let Some(frame) = self.execution.frame(id) else {
            return Err(Raised::runtime("the frame is gone"));
        };
        let state = self.machine.definition().state(frame.state);
        let execution = &*self.execution;
        let context = self.context.context;
        let object = LazyCell::new(|| {
            let facts = StateFacts {
                name: &state.name,
                entered: frame.entered,
                retry_count: matches!(state.kind, Kind::Task(_) | Kind::Map(_) | Kind::Parallel(_))
                    .then(|| frame.retry_count()),
            };
            let own = item.cloned().or_else(|| execution.item_of(frame));
            context.object(facts, own.as_ref())
        });
        let mut scope = Scope {
            input,
            context: &object,
            random: &mut *self.context.random,
            budget: budget(self.machine.options().payload_bytes_max),
        };
        run(&mut scope).map_err(|error| Raised::evaluation(&error, &state.name, input))
    }

    fn state_input(&self, id: FrameId) -> Payload {
        self.execution
            .frame(id)
            .map_or_else(|| Value::Null.into(), |frame| frame.data.clone())
    }
}

/// Deepest nesting of a payload: what JSON text may have to be read again.
const DEPTH_MAX: usize = 127;

/// A computed value as a payload. Why: a loop that wraps its data once more in each round would make
/// a text that no parser takes, and in the end one that no stack holds.
fn flat(value: Value) -> Result<Payload, Raised> {
    if deeper_than(&value, DEPTH_MAX) {
        let cause = format!("The data nests deeper than {DEPTH_MAX} levels");
        return Err(Raised::new(super::failure::DATA_LIMIT, cause));
    }
    Ok(value.into())
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    let below = |item: &Value| levels == 0 || deeper_than(item, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(below),
        Value::Object(map) => levels == 0 || map.values().any(below),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What one evaluation may produce. Why 16 times the limit and a megabyte: what stays below the limit
/// in the end may be larger on its way (a list whose length is all that is wanted).
pub(super) fn budget(payload_bytes_max: usize) -> Budget {
    let bytes = payload_bytes_max
        .saturating_mul(16)
        .saturating_add(1024 * 1024);
    Budget::of_bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

impl super::Execution {
    /// The item of the innermost iteration that the frame belongs to.
    fn item_of(&self, frame: &super::frame::Frame) -> Option<MapItem> {
        let (mut parent, mut index) = frame.parent?;
        let value = loop {
            let frame = self.frame(parent)?;
            let Phase::Forked(fork) = &frame.phase else {
                return None;
            };
            if let Some(value) = fork.items.value().get(index as usize) {
                break value.clone();
            }
            // A branch belongs to the iteration that its Parallel is in.
            (parent, index) = frame.parent?;
        };
        Some(MapItem {
            index: u64::from(index),
            value: value.into(),
            key: None,
            source: None,
        })
    }
}
