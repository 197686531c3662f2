//! JSONata against its official implementation: the same expressions, the same input, the same values and
//! the same error codes.
//!
//! `tests/run` installs the npm package that `tests/jsonata/package.json` pins into `target/npm`; here
//! it runs within QuickJS. Each line of `corpus.txt` is an expression; `input.json` is `$states.input`.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test ends the test"
)]

use std::{cell::LazyCell, fs, path::Path};

use iterd::{
    asl::{
        jsonata::{Jsonata, JsonataFailure},
        path::Budget,
        template::{EvalError, Scope},
    },
    payload::Payload,
    time::Timestamp,
};
use rquickjs::{Context, Runtime};
use serde_json::{Value, json};

/// Where a value of ours may differ from the official one: (expression, why).
const KNOWN: &[(&str, &str)] = &[
    (
        "$states.input.orders[0..1].id",
        "the crate takes a range for a filter",
    ),
    ("[1,", "both refuse it, by another code"),
    ("$states.input.orders[", "both refuse it, by another code"),
    ("$base64encode(\"hello\")", "QuickJS has no Buffer"),
    ("$base64decode(\"aGVsbG8=\")", "QuickJS has no Buffer"),
    ("$number(\" 1 \")", "the crate takes spaces around a number"),
    (
        "$reduce([], function($a, $b){$a + $b})",
        "null where there is nothing",
    ),
    (
        "(function($x)<q:x>{$x})(1)",
        "both refuse it, by another code",
    ),
];

/// What both are reduced to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Value(Value),
    Nothing,
    Function,
    /// The code, `T2001`.
    Error(String),
}

#[test]
fn every_expression_gives_what_the_official_implementation_gives() {
    let corpus = read("corpus.txt");
    let input: Value = serde_json::from_str(&read("input.json")).unwrap();
    let official = Official::new();
    let mut broken = Vec::new();
    let mut count = 0;
    let lines = corpus
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "));
    for expression in lines {
        count += 1;
        let wanted = official.evaluate(expression, &input);
        let found = ours(expression, &input);
        if !same(&wanted, &found) && !KNOWN.iter().any(|(known, _)| *known == expression) {
            broken.push(format!(
                "{expression}\n    official {wanted:?}\n    ours     {found:?}"
            ));
        }
    }
    assert!(count >= 300, "only {count} expressions were found");
    assert!(
        broken.is_empty(),
        "{} of {count} differ:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/jsonata")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn same(wanted: &Outcome, found: &Outcome) -> bool {
    match (wanted, found) {
        (Outcome::Value(wanted), Outcome::Value(found)) => equal(wanted, found),
        (Outcome::Error(code), Outcome::Error(message)) => message.contains(code.as_str()),
        (wanted, found) => wanted == found,
    }
}

/// Numbers are equal where they are, whichever way they are written.
fn equal(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Number(wanted), Value::Number(found)) => wanted.as_f64() == found.as_f64(),
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(a, b)| equal(a, b))
        }
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.len() == found.len()
                && wanted
                    .iter()
                    .all(|(key, a)| found.get(key).is_some_and(|b| equal(a, b)))
        }
        (wanted, found) => wanted == found,
    }
}

fn ours(expression: &str, input: &Value) -> Outcome {
    let compiled = match Jsonata::parse(expression) {
        Ok(compiled) => compiled,
        Err(error) => return Outcome::Error(error.message),
    };
    let input = Payload::from(input.clone());
    let context = LazyCell::new(|| Value::Null);
    let mut random = || 7;
    let mut scope = Scope {
        input: &input,
        result: None,
        error_output: None,
        context: &context,
        variables: &|_| None,
        now: Timestamp(0),
        random: &mut random,
        budget: Budget::of_bytes(1024 * 1024),
    };
    match compiled.evaluate(&mut scope) {
        Ok(value) => Outcome::Value(value),
        Err(EvalError::Jsonata { failure, .. }) => match failure {
            JsonataFailure::Undefined => Outcome::Nothing,
            JsonataFailure::Unsupported => Outcome::Function,
            JsonataFailure::Threw(message) => Outcome::Error(message),
            other @ JsonataFailure::Unexpected { .. } => panic!("{other:?}"),
        },
        Err(other) => panic!("{expression}: {other}"),
    }
}

/// The official implementation.
struct Official {
    runtime: Runtime,
    context: Context,
}

/// Evaluates, and leaves what came of it in a global variable.
const DRIVER: &str = r"
globalThis.jsonata = module.exports;
globalThis.run = function (expression, input) {
    globalThis.outcome = null;
    const failed = (error) => { globalThis.outcome = JSON.stringify({ error: String(error.code || error) }); };
    try {
        jsonata(expression).evaluate(undefined, { states: { input: JSON.parse(input) } }).then((value) => {
            const kind = typeof value === 'function' || (value && (value._jsonata_lambda || value._jsonata_function))
                ? 'function' : 'value';
            globalThis.outcome = JSON.stringify(value === undefined ? { nothing: true }
                : kind === 'function' ? { function: true } : { value: value });
        }, failed);
    } catch (error) { failed(error); }
};
";

impl Official {
    fn new() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/npm/node_modules/jsonata/jsonata.js");
        let source = fs::read_to_string(&package).unwrap_or_else(|error| {
            panic!("{}: {error}; tests/run installs it", package.display())
        });
        let runtime = Runtime::new().unwrap();
        runtime.set_max_stack_size(16 * 1024 * 1024);
        let context = Context::full(&runtime).unwrap();
        context.with(|context| {
            let before =
                "globalThis.module = { exports: {} }; globalThis.exports = module.exports;";
            for script in [before, source.as_str(), DRIVER] {
                context.eval::<(), _>(script).unwrap();
            }
        });
        Self { runtime, context }
    }

    fn evaluate(&self, expression: &str, input: &Value) -> Outcome {
        let call = format!("run({}, {});", json!(expression), json!(input.to_string()));
        self.context
            .with(|context| context.eval::<(), _>(call.as_str()))
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        while self.runtime.is_job_pending() {
            self.runtime
                .execute_pending_job()
                .unwrap_or_else(|_| panic!("{expression}: a job failed"));
        }
        let outcome: Option<String> = self
            .context
            .with(|context| context.eval("globalThis.outcome"))
            .unwrap();
        let outcome: Value = serde_json::from_str(&outcome.unwrap_or_default())
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        if let Some(code) = outcome["error"].as_str() {
            return Outcome::Error(code.to_owned());
        }
        match (&outcome["nothing"], &outcome["function"]) {
            (Value::Bool(true), _) => Outcome::Nothing,
            (_, Value::Bool(true)) => Outcome::Function,
            _ => Outcome::Value(outcome["value"].clone()),
        }
    }
}
