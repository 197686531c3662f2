//! The language: definitions, paths, templates, intrinsic functions, JSONata, timestamps.

use std::{cell::LazyCell, sync::Arc};

use iterd::{
    asl::{
        Definition, Dialect,
        intrinsic::Call,
        jsonata::Jsonata,
        parse_timestamp,
        path::{Budget, Condition, Path, ReferencePath},
        template::Scope,
    },
    machine::{Context, Effect, Execution, Input, Machine, Options, StepContext, no_token, step},
    payload::{Failure, Payload},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::text;

/// Steps that an execution is taken; what goes on then would go on for ever.
const STEPS_MAX: usize = 64;

const DOCUMENT: &str = r#"{"a": 1, "b": "text", "l": [1, {"a": [true, null]}, "x"], "o": {"k": 2.5, "é": {}},
    "t": "2024-02-29T12:00:00Z", "n": null}"#;

/// A definition is refused with diagnostics, or runs.
pub(crate) fn definition(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for dialect in [Dialect::Aws, Dialect::AwsExpress, Dialect::Iterd] {
        match Definition::parse(text, dialect) {
            Ok(definition) => run(definition),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A template stands in a state of either language.
pub(crate) fn template(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let path = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Parameters": value, "ResultPath": "$.made", "Next": "B"},
        "B": {"Type": "Pass", "Assign": value, "End": true}}});
    let jsonata = json!({"StartAt": "A", "QueryLanguage": "JSONata", "States": {
        "A": {"Type": "Pass", "Assign": {"v": value}, "Output": value, "End": true}}});
    for machine in [path, jsonata] {
        definition(machine.to_string().as_bytes());
    }
}

/// A path is refused at a place in it, or finds the same again when its text is read again.
pub(crate) fn path(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    match Path::parse(text) {
        Ok(path) => {
            assert_eq!(Path::parse(path.text()).as_ref(), Ok(&path));
            evaluated(|scope| scope.find(&path).map(drop));
        }
        Err(error) => assert!(error.offset <= text.len(), "{error:?}"),
    }
    if let Ok(path) = ReferencePath::parse(text) {
        assert!(Path::parse(text).is_ok(), "a reference path is a path");
        if let Ok(written) = path.write(document.clone(), json!("written")) {
            assert!(written.to_string().contains("written"));
        }
    }
    if let Ok(condition) = Condition::parse(text) {
        condition
            .holds(&document, &mut Budget::of_bytes(1024 * 1024))
            .ok();
    }
}

/// A call of an intrinsic function.
pub(crate) fn intrinsic(data: &[u8]) {
    let Some(call) = text(data).and_then(|text| Call::parse(text).ok()) else {
        return;
    };
    evaluated(|scope| call.evaluate(scope).map(drop));
}

/// An expression of JSONata within its bounds.
pub(crate) fn jsonata(data: &[u8]) {
    let Some(expression) = text(data).and_then(|text| Jsonata::parse(text).ok()) else {
        return;
    };
    assert!(expression.variables().all(|name| !name.is_empty()));
    evaluated(|scope| expression.evaluate(scope).map(drop));
}

/// A timestamp is the same one when it is written and read again.
pub(crate) fn timestamp(data: &[u8]) {
    let Some(at) = text(data).and_then(parse_timestamp) else {
        return;
    };
    // An offset may lead to before the year 0, which has no such text.
    let written = at.to_string();
    assert!(written.starts_with('-') || parse_timestamp(&written) == Some(at));
}

fn evaluated<E: std::fmt::Display>(evaluate: impl Fn(&mut Scope<'_>) -> Result<(), E>) {
    let Ok(input) = Payload::parse(DOCUMENT) else {
        return;
    };
    let context = LazyCell::new(|| json!({"Execution": {"Name": "n"}}));
    let mut random = || 7;
    let mut scope = Scope {
        input: &input,
        result: None,
        error_output: None,
        context: &context,
        variables: &|name| (name == "v").then_some(&input),
        now: Timestamp(0),
        random: &mut random,
        budget: Budget::of_bytes(1024 * 1024),
    };
    if let Err(error) = evaluate(&mut scope) {
        assert!(!error.to_string().is_empty());
    }
}

/// Runs an execution as long as it asks for something that can be answered.
fn run(definition: Definition) {
    let machine = Machine::new(Arc::new(definition), Options::default());
    let Ok(input) = Payload::parse(DOCUMENT) else {
        return;
    };
    let mut execution = Execution::new();
    let mut inputs = vec![Input::Start {
        input: input.clone(),
    }];
    let mut random = || 7;
    for _ in 0..STEPS_MAX {
        let Some(next) = inputs.pop() else { return };
        let effects = step(
            &machine,
            &mut execution,
            next,
            &mut StepContext {
                now: Timestamp(0),
                random: &mut random,
                token: &no_token,
                context: Context {
                    execution_id: "e",
                    execution_name: "e",
                    role_arn: None,
                    started: Timestamp(0),
                    redrive_count: 0,
                    redriven: None,
                    input: &input,
                    machine_id: "m",
                    machine_name: "m",
                    version_arn: None,
                    alias_arn: None,
                    item: None,
                },
            },
        );
        inputs.extend(
            effects
                .into_iter()
                .filter_map(|effect| answer(effect, &input)),
        );
        execution.take_changes(&machine);
    }
}

fn answer(effect: Effect, output: &Payload) -> Option<Input> {
    match effect {
        Effect::Invoke {
            frame,
            generation,
            payload,
            ..
        } if payload.text().len() % 3 == 0 => Some(Input::TaskFailed {
            frame,
            generation,
            failure: Failure::new("Some.Error", "as it happens"),
        }),
        Effect::Invoke {
            frame, generation, ..
        } => Some(Input::TaskDone {
            frame,
            generation,
            output: output.clone(),
        }),
        Effect::StartRun {
            frame,
            generation,
            request,
        } => {
            assert!(!request.to_text().is_empty());
            Some(Input::RunEnded {
                frame,
                generation,
                outcome: Ok(output.clone()),
            })
        }
        Effect::Wake {
            frame, generation, ..
        } => Some(Input::Woken { frame, generation }),
        Effect::Continue => Some(Input::Continue),
        Effect::RedriveRun { .. }
        | Effect::Record(_)
        | Effect::Cancel { .. }
        | Effect::Ended { .. } => None,
    }
}
