//! What the interpreter costs: the most frequent child of a run, a template, a large definition.

use std::{cell::LazyCell, fmt::Write as _, hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use iterd::{
    asl::{
        Definition, Dialect,
        jsonata::Jsonata,
        path::Budget,
        template::{Scope, Template},
    },
    ids::{FrameId, Generation},
    machine::{Context, Execution, Input, Machine, Options, StepContext, no_token, step},
    payload::Payload,
    time::Timestamp,
};
use serde_json::{Value, json};

/// What a job's item runs: one Task with retriers, the result passed through.
const CHILD: &str = r#"{"StartAt":"Work","States":{"Work":{
    "Type":"Task","Resource":"iterd:plugin","TimeoutSeconds":30,"End":true,
    "Retry":[{"ErrorEquals":["NotFound"],"MaxAttempts":0},
             {"ErrorEquals":["States.ALL"],"MaxAttempts":11,"IntervalSeconds":3,"JitterStrategy":"FULL"}]}}}"#;

fn parse(text: &str) -> Definition {
    match Definition::parse(text, Dialect::Iterd) {
        Ok(definition) => definition,
        Err(error) => unreachable!("{error}"),
    }
}

fn payload(text: &str) -> Payload {
    Payload::parse(text).unwrap_or_else(|_| Value::Null.into())
}

fn child(c: &mut Criterion) {
    let options = Options {
        records: false,
        ..Options::default()
    };
    let machine = Machine::new(Arc::new(parse(CHILD)), options);
    let input = payload(r#"{"customer_id":"C-1","name":"Anna","country":"DE"}"#);
    let output = payload(r#"{"vat":19}"#);
    let mut random = || 7;
    let mut context = StepContext {
        now: Timestamp(5),
        random: &mut random,
        token: &no_token,
        context: Context {
            execution_id: "",
            execution_name: "",
            role_arn: None,
            started: Timestamp(0),
            redrive_count: 0,
            redriven: None,
            input: &input,
            machine_id: "",
            machine_name: "",
            version_arn: None,
            alias_arn: None,
            item: None,
        },
    };
    let start = || Input::Start {
        input: input.clone(),
    };
    c.bench_function("a child starts", |b| {
        b.iter(|| {
            let mut execution = Execution::new();
            black_box(step(&machine, &mut execution, start(), &mut context));
            execution
        });
    });
    let mut started = Execution::new();
    step(&machine, &mut started, start(), &mut context);
    c.bench_function("a child's task is done", |b| {
        b.iter_batched(
            || started.clone(),
            |mut execution| {
                let done = Input::TaskDone {
                    frame: FrameId(0),
                    generation: Generation(1),
                    output: output.clone(),
                };
                black_box(step(&machine, &mut execution, done, &mut context));
                execution
            },
            BatchSize::SmallInput,
        );
    });
    c.bench_function("a child is parked", |b| {
        b.iter(|| started.to_blob(&machine));
    });
}

fn template(c: &mut Criterion) {
    let definition = parse(
        r#"{"StartAt":"P","States":{"P":{"Type":"Pass","Parameters":{"a.$":"$.x.y[3].z"},"End":true}}}"#,
    );
    let template: Option<&Template> = definition.states()[0].io.parameters.as_ref();
    let input = Payload::from(json!({
        "x": {"y": [1, 2, 3, {"z": "hello"}]}, "padding": vec!["0123456789"; 800],
    }));
    let context = LazyCell::new(|| Value::Null);
    let mut random = || 7;
    c.bench_function("a path in a template over 10 KiB", |b| {
        b.iter(|| {
            let mut scope = Scope {
                input: &input,
                result: None,
                error_output: None,
                variables: &|_| None,
                now: Timestamp(0),
                context: &context,
                random: &mut random,
                budget: Budget::of_bytes(1024 * 1024),
            };
            template.map(|template| template.evaluate(&mut scope))
        });
    });
}

/// An expression of JSONata as a state evaluates it, and as its crate does alone: the second parses the
/// same payload and evaluates the same tree.
fn jsonata(c: &mut Criterion) {
    let expression = "$sum($states.input.orders[price > 100].price)";
    let Ok(compiled) = Jsonata::parse(expression) else {
        unreachable!("the expression is right")
    };
    let orders: Vec<_> = (0..60).map(|n| json!({"price": n * 5, "id": n})).collect();
    let value = json!({"orders": orders, "padding": vec!["0123456789"; 700]});
    let input = Payload::from(value.clone());
    let context = LazyCell::new(|| Value::Null);
    let mut random = || 7;
    c.bench_function("an expression of JSONata over 10 KiB", |b| {
        b.iter(|| {
            let mut scope = Scope {
                input: &input,
                result: None,
                error_output: None,
                variables: &|_| None,
                now: Timestamp(0),
                context: &context,
                random: &mut random,
                budget: Budget::of_bytes(1024 * 1024),
            };
            compiled.evaluate(&mut scope)
        });
    });
    let Ok(tree) = jsonata_core::parser::parse("$sum(states.input.orders[price > 100].price)")
    else {
        unreachable!("the expression is right")
    };
    let text = json!({"states": {"input": value}}).to_string();
    c.bench_function("the same by jsonata-core alone", |b| {
        b.iter(|| {
            let data = jsonata_core::value::JValue::from_json_str(&text);
            data.map(|data| jsonata_core::evaluator::Evaluator::new().evaluate(&tree, &data))
        });
    });
}

fn definition(c: &mut Criterion) {
    // Some 240 bytes each.
    let count = 4100;
    let mut states = String::new();
    for number in 0..count {
        write!(
            states,
            r#""State {number}":{{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","Parameters":{{"a.$":"$.x.y[3].z","b":[1,{{"c.$":"States.Format('{{}}', $.a)"}}]}},"Retry":[{{"ErrorEquals":["States.ALL"]}}],"Next":"State {}"}},"#,
            number + 1
        )
        .ok();
    }
    let text = format!(
        r#"{{"StartAt":"State 0","States":{{{states}"State {count}":{{"Type":"Succeed"}}}}}}"#
    );
    c.bench_function("a definition of a megabyte", |b| b.iter(|| parse(&text)));
}

criterion_group!(benches, child, template, jsonata, definition);
criterion_main!(benches);
