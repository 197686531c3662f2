//! What is told of a tested state's data flow (`inspectionData`): of each type of state the steps that AWS
//! tells, as far as they were recorded.
//!
//! What it tells was computed by the interpreter on its way; nothing is computed here.

use serde_json::{Map, Value};

use crate::{
    asl::states::{Kind, State},
    machine::{Finding, Rehearsed},
    payload::Payload,
};

/// A rehearsal's data flow.
pub(super) fn of(state: &State, input: &Payload, rehearsed: &Rehearsed) -> Value {
    let mut told = Map::new();
    let mut errors = Map::new();
    told.insert("input".into(), input.text().into());
    for finding in &rehearsed.findings {
        tell(state, finding, &mut told, &mut errors);
    }
    if !errors.is_empty() {
        told.insert("errorDetails".into(), Value::Object(errors));
    }
    if !rehearsed.variables.is_empty() {
        let variables = rehearsed.variables.iter();
        let variables = variables.map(|(name, value)| (name.to_string(), value.value().clone()));
        let variables = Value::Object(variables.collect());
        told.insert("variables".into(), variables.to_string().into());
    }
    Value::Object(told)
}

fn tell(
    state: &State,
    finding: &Finding,
    told: &mut Map<String, Value>,
    errors: &mut Map<String, Value>,
) {
    let is_task = state.task().is_some();
    // Of a Pass with a `Result`, that is told, and not what it ignores.
    let pass = if let Kind::Pass(pass) = &state.kind {
        Some(pass)
    } else {
        None
    };
    let (is_pass, gives) = (
        pass.is_some(),
        pass.is_some_and(|pass| pass.result.is_some()),
    );
    let is_parallel = matches!(state.kind, Kind::Parallel(_));
    let mut put = |wanted: bool, key: &str, payload: &Payload| {
        if wanted {
            told.insert(key.into(), payload.text().into());
        }
    };
    let has_result = state.kind.has_result() || is_pass;
    match finding {
        Finding::InputPath(input) => put(!is_parallel && !gives, "afterInputPath", input),
        Finding::Parameters(parameters) => {
            put(is_task || is_pass && !gives, "afterParameters", parameters);
        }
        Finding::Arguments(arguments) => put(is_task, "afterArguments", arguments),
        Finding::ItemsPath(items) => put(true, "afterItemsPath", items),
        Finding::ItemsPointer(items) => put(true, "afterItemsPointer", items),
        Finding::ItemSelector(items) => put(true, "afterItemSelector", items),
        Finding::ItemBatcher(batches) => put(true, "afterItemBatcher", batches),
        Finding::Result(result) => put(is_task || gives, "result", result),
        Finding::ResultSelector(result) => put(has_result, "afterResultSelector", result),
        Finding::ResultPath(result) => put(has_result, "afterResultPath", result),
        Finding::MaxConcurrency(most) => {
            told.insert("maxConcurrency".into(), (*most).into());
        }
        Finding::Tolerance(tolerance) => {
            if let Some(count) = tolerance.count {
                told.insert("toleratedFailureCount".into(), count.into());
            }
            if let Some(percentage) = tolerance.percentage {
                told.insert("toleratedFailurePercentage".into(), percentage.into());
            }
        }
        Finding::Retrier { place, delay } => {
            errors.insert("retryIndex".into(), (*place).into());
            if let Some(delay) = delay {
                let seconds = delay.as_secs();
                errors.insert("retryBackoffIntervalSeconds".into(), seconds.into());
            }
        }
        Finding::Catcher { place } => {
            errors.insert("catchIndex".into(), (*place).into());
        }
        Finding::Items(_) | Finding::Raised { .. } | Finding::Left { .. } => {}
    }
}
