//! The data flow of a state. In JSONPath: `InputPath`, `Parameters`, `ResultSelector`, `ResultPath`,
//! `OutputPath`; in JSONata: `Arguments`, `Output`. In both: `Assign`.
//!
//! Where a state has none of them, the payload that came in goes out, by reference and with its text
//! untouched: most records are only carried.

use std::cell::LazyCell;

use serde_json::{Map, Value};

use super::{
    context::{MapItem, StateFacts},
    event::Assigned,
    failure::Raised,
    frame::Phase,
    rehearsal::Finding,
    step::Stepper,
};
use crate::{
    asl::{
        QueryLanguage,
        path::Budget,
        states::{ResultPath, Selection, State},
        template::{EvalError, Scope, Template},
    },
    ids::{FrameId, Generation},
    payload::Payload,
};

/// Most bytes of JSON that the variables of an execution have together: AWS's bound.
pub(super) const VARIABLES_BYTES_MAX: usize = 10 * 1024 * 1024;

/// How many transitions an expression stands for that may have taken a second: sixteen of them, and the
/// step is cut short.
const HEAVY_TRANSITIONS: u32 = super::step::TRANSITIONS_MAX / 16;

/// What an expression looks at.
#[derive(Clone, Copy)]
pub(super) struct Seen<'p> {
    /// `$`, and `$states.input`.
    pub(super) input: &'p Payload,
    /// `$states.result`
    pub(super) result: Option<&'p Payload>,
    /// `$states.errorOutput`
    pub(super) error: Option<&'p Payload>,
    /// The item under way, where the state hands items out.
    pub(super) item: Option<&'p MapItem>,
}

impl<'p> Seen<'p> {
    pub(super) const fn of(input: &'p Payload) -> Self {
        Self {
            input,
            result: None,
            error: None,
            item: None,
        }
    }
}

/// What a state hands on when it is left, and the variables that it sets.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) output: Payload,
    pub(super) assigned: Option<Assigned>,
}

impl Stepper<'_, '_> {
    /// What the state looks at: `InputPath` applied to its input.
    pub(super) fn effective_input(
        &mut self,
        id: FrameId,
        state: &State,
    ) -> Result<Payload, Raised> {
        let input = self.state_input(id);
        let input = self.select(id, &state.io.input_path, input)?;
        if state.language == QueryLanguage::JsonPath {
            self.tell(|| Finding::InputPath(input.clone()));
        }
        Ok(input)
    }

    /// What the state works on: `Parameters` instead of the effective input, where there are any.
    pub(super) fn parameters(&mut self, id: FrameId, state: &State) -> Result<Payload, Raised> {
        let input = self.effective_input(id, state)?;
        let (around, finding): (_, fn(Payload) -> Finding) = match state.language {
            QueryLanguage::JsonPath => ("Parameters", Finding::Parameters),
            QueryLanguage::Jsonata => ("Arguments", Finding::Arguments),
        };
        let Some(template) = &state.io.parameters else {
            if state.language == QueryLanguage::JsonPath {
                self.tell(|| finding(input.clone()));
            }
            return Ok(input);
        };
        let parameters = self.compute(id, Seen::of(&input), |scope| {
            located(template, scope, around)
        })?;
        self.tell(|| finding(parameters.clone()));
        Ok(parameters)
    }

    /// How the state is left, given its result.
    pub(super) fn exit(
        &mut self,
        id: FrameId,
        state: &State,
        result: Payload,
    ) -> Result<Exit, Raised> {
        self.tell(|| Finding::Result(result.clone()));
        let assign = state.assign.as_ref();
        if state.language == QueryLanguage::JsonPath {
            let assigned = self.assigned(id, assign, "Assign", Seen::of(&result))?;
            let output = self.output(id, state, result)?;
            return Ok(Exit { output, assigned });
        }
        let input = self.state_input(id);
        let seen = Seen {
            result: state.kind.has_result().then_some(&result),
            ..Seen::of(&input)
        };
        let assigned = self.assigned(id, assign, "Assign", seen)?;
        let output = match &state.io.output {
            None => result,
            Some(output) => self.compute(id, seen, |scope| located(output, scope, "Output"))?,
        };
        Ok(Exit { output, assigned })
    }

    /// The variables that an `Assign` sets, as they will be. `around` is where it stands.
    pub(super) fn assigned(
        &mut self,
        id: FrameId,
        assign: Option<&Template>,
        around: &str,
        seen: Seen<'_>,
    ) -> Result<Option<Assigned>, Raised> {
        let Some(template) = assign else {
            return Ok(None);
        };
        let value = self.evaluate(id, seen, |scope| located(template, scope, around))?;
        let Value::Object(fields) = value else {
            return Ok(None);
        };
        let bytes_max = self.machine.options().payload_bytes_max;
        let mut assigned = Vec::with_capacity(fields.len());
        let mut bytes = 0_usize;
        for (name, value) in fields {
            let value = flat(value)?;
            bytes = bytes.saturating_add(value.text().len());
            if bytes > bytes_max {
                return Err(Raised::new(
                    super::failure::DATA_LIMIT,
                    format!(
                        "The variables assigned by the field '{around}' exceed the maximum number of bytes service limit."
                    ),
                ));
            }
            assigned.push((name.into(), value));
        }
        if self.execution.variable_bytes_with(id, &assigned) > VARIABLES_BYTES_MAX {
            return Err(Raised::new(
                super::failure::DATA_LIMIT,
                "The variables of the execution exceed the maximum number of bytes service limit.",
            ));
        }
        Ok(Some(assigned))
    }

    /// What the state hands on, given its result; JSONPath.
    fn output(&mut self, id: FrameId, state: &State, result: Payload) -> Result<Payload, Raised> {
        let result = match &state.io.result_selector {
            None => result,
            Some(template) => {
                self.compute(id, Seen::of(&result), |scope| template.evaluate(scope))?
            }
        };
        self.tell(|| Finding::ResultSelector(result.clone()));
        let placed = self.place(id, &state.io.result_path, result)?;
        self.tell(|| Finding::ResultPath(placed.clone()));
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
            Selection::Path(path) => self.compute(id, Seen::of(&payload), |scope| scope.find(path)),
        }
    }

    /// Evaluates to a payload, which can be stored and read back.
    pub(super) fn compute(
        &mut self,
        id: FrameId,
        seen: Seen<'_>,
        run: impl FnOnce(&mut Scope<'_>) -> Result<Value, EvalError>,
    ) -> Result<Payload, Raised> {
        flat(self.evaluate(id, seen, run)?)
    }

    /// Evaluates against what is seen, the variables of the frame and those around it, and the context
    /// object of the frame's state (`$$`).
    pub(super) fn evaluate<T>(
        &mut self,
        id: FrameId,
        seen: Seen<'_>,
        run: impl FnOnce(&mut Scope<'_>) -> Result<T, EvalError>,
    ) -> Result<T, Raised> {
        let Some(frame) = self.execution.frame(id) else {
            return Err(Raised::runtime("the frame is gone"));
        };
        let state = self.machine.definition().state(frame.state);
        let execution = &*self.execution;
        let (context, tokens) = (self.context.context, self.context.token);
        let watch = self.watch.as_deref();
        let object = LazyCell::new(|| {
            if let Some(watch) = watch {
                return watch.context_of(seen.item);
            }
            let done = seen.result.is_some() || seen.error.is_some();
            let token = state.task().filter(|task| task.waits_for_token());
            let token = token.map(|_| {
                let asked = frame.generation.0.wrapping_add(u32::from(!done));
                tokens(id, Generation(asked))
            });
            let facts = StateFacts {
                name: &state.name,
                entered: frame.entered,
                retry_count: state.kind.has_result().then(|| frame.retry_count()),
                token: token.as_deref(),
            };
            let own = seen.item.cloned().or_else(|| execution.item_of(frame));
            context.object(facts, own.as_ref())
        });
        let variables = |name: &str| execution.variable(id, name);
        let mut scope = Scope {
            input: seen.input,
            result: seen.result,
            error_output: seen.error,
            variables: &variables,
            now: self.context.now,
            context: &object,
            random: &mut *self.context.random,
            budget: budget(self.machine.options().payload_bytes_max),
        };
        let outcome = run(&mut scope);
        let heavy = scope.budget.heavy();
        // Why: a step of many transitions that each take a second would hold up everybody.
        self.transitions = self
            .transitions
            .saturating_add(heavy.saturating_mul(HEAVY_TRANSITIONS));
        outcome.map_err(|error| Raised::evaluation(&error, &state.name, seen.input))
    }

    pub(super) fn state_input(&self, id: FrameId) -> Payload {
        self.execution
            .frame(id)
            .map_or_else(|| Value::Null.into(), |frame| frame.data.clone())
    }
}

/// The template's value; an error within it knows the field that the template is.
pub(super) fn located(
    template: &Template,
    scope: &mut Scope<'_>,
    around: &str,
) -> Result<Value, EvalError> {
    template
        .evaluate(scope)
        .map_err(|error| error.located(around))
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
