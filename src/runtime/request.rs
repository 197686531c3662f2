//! The expressions of a manifest, evaluated for each call that is handed to a worker.
//!
//! They see the record as `$item`, and key, attempt, index and id of the call as `$call`; of a batch the
//! records as `$items` and what is told of the calls as `$calls`, both in one order. What they give is data and never read as an expression again. Parsed once for each version.
//!
//! Impurity: a worker's task evaluates in place. An expression that may use up its time does so where
//! others are not kept waiting, and all of a call's have two seconds; a thread of their own would
//! remove it.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::RuntimeError;
use crate::{
    asl::{jsonata::Jsonata, path::Budget, template::EvalError, template::Scope},
    payload::{Failure, Payload},
    plugin::{self, Call, Composer, Manifest, Template, Version},
    time::{Clock, SystemClock},
};

/// Time for all expressions of a call; the one that crosses it may take another second.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Versions whose expressions are kept parsed: a pool works with two, or a few while it is tried.
const VERSIONS_MAX: usize = 8;

/// What expressions may look at beside JSONata's functions: the data, and what is told of it.
const ONE: [&str; 2] = ["item", "call"];

/// As [`ONE`], where they are evaluated for a batch.
const SEVERAL: [&str; 2] = ["items", "calls"];

/// Evaluates expressions, for any number of pools.
pub struct Requests {
    clock: Arc<dyn Clock>,
    /// By the folder of the version's copy, whose content never changes.
    parsed: Mutex<HashMap<PathBuf, Arc<[Expression]>>>,
}

/// An expression and the key it stands under.
#[derive(Debug)]
struct Expression {
    place: String,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The record as it is, with its text, or those of a batch.
    Data,
    Value(Box<Jsonata>),
}

impl Requests {
    /// With the clock that `$now()` and `$millis()` tell.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            parsed: Mutex::default(),
        }
    }

    fn expressions(&self, version: &Version) -> Result<Arc<[Expression]>, String> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(&version.folder) {
            return Ok(Arc::clone(known));
        }
        let expressions: Arc<[Expression]> = parse(&version.manifest)?.into();
        if parsed.len() >= VERSIONS_MAX {
            parsed.clear();
        }
        parsed.insert(version.folder.clone(), Arc::clone(&expressions));
        Ok(expressions)
    }
}

impl Composer for Requests {
    fn compose(&self, version: &Version, calls: &[Call]) -> Result<Payload, Failure> {
        let expressions = self.expressions(version).map_err(failure)?;
        let is_heavy = expressions.iter().any(Expression::is_heavy);
        let evaluate = || evaluate(&expressions, &version.manifest, calls, self.clock.as_ref());
        let elsewhere = Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if is_heavy && elsewhere {
            return tokio::task::block_in_place(evaluate);
        }
        evaluate()
    }
}

/// Refuses a manifest with an expression that is none, or looks at something that is not there.
pub(super) fn check(manifest: &Manifest) -> Result<(), RuntimeError> {
    let parsed = parse(manifest);
    parsed.map(drop).map_err(|cause| RuntimeError::Plugin {
        plugin: manifest.name.clone(),
        cause: format!("plugin.toml: {cause}"),
    })
}

/// The request that a web service would be sent for a call, for people: secrets by their names. `None`
/// of a plugin that has no web service.
pub fn preview_request(manifest: &Manifest, call: &Call) -> Option<Result<Value, Failure>> {
    manifest.http.as_ref()?;
    let calls = std::slice::from_ref(call);
    let values = parse(manifest)
        .map_err(failure)
        .and_then(|parsed| evaluate(&parsed, manifest, calls, &SystemClock));
    Some(values.and_then(|values| plugin::preview_request(manifest, call, &values)))
}

fn variables(manifest: &Manifest) -> [&'static str; 2] {
    if manifest.batch.get() > 1 {
        SEVERAL
    } else {
        ONE
    }
}

fn parse(manifest: &Manifest) -> Result<Vec<Expression>, String> {
    let [data, about] = variables(manifest);
    let parse = |template: &Template| {
        let Template { place, text } = template;
        if text.strip_prefix('$') == Some(data) {
            let (place, what) = (place.clone(), What::Data);
            return Ok(Expression { place, what });
        }
        let jsonata =
            Jsonata::parse(text).map_err(|error| format!("`{place}`: {}", error.message))?;
        let is_strange = |name: &&str| *name != data && *name != about;
        if let Some(name) = jsonata.variables().find(is_strange) {
            return Err(format!(
                "`{place}` looks at ${name}; there are ${data} and ${about}"
            ));
        }
        Ok(Expression {
            place: place.clone(),
            what: What::Value(Box::new(jsonata)),
        })
    };
    manifest.templates().iter().map(parse).collect()
}

fn failure(cause: String) -> Failure {
    Failure {
        // Why: it would be the same the next time.
        retry: Some(false),
        ..Failure::new("States.QueryEvaluationError", cause)
    }
}

/// The values of all expressions, as an array.
fn evaluate(
    expressions: &[Expression],
    manifest: &Manifest,
    calls: &[Call],
    clock: &dyn Clock,
) -> Result<Payload, Failure> {
    let began = Instant::now();
    let (data, about) = match calls {
        [call] if manifest.batch.get() == 1 => (call.payload.clone(), told(call)),
        calls => (
            list_of(calls)?,
            Value::Array(calls.iter().map(told).collect()),
        ),
    };
    let about = Payload::from(about);
    let bytes_max = manifest.line_bytes_max.saturating_mul(calls.len());
    let names = variables(manifest);
    let variables = |name: &str| match names.iter().position(|known| *known == name) {
        Some(0) => Some(&data),
        Some(_) => Some(&about),
        None => None,
    };
    let nothing = Box::new(Value::Null);
    let mut random = rand::random::<u64>;
    let mut scope = Scope {
        input: &data,
        result: None,
        error_output: None,
        variables: &variables,
        now: clock.now(),
        context: &nothing,
        random: &mut random,
        budget: Budget::of_bytes(u64::try_from(bytes_max).unwrap_or(u64::MAX)),
    };
    let mut values = String::from("[");
    for (at, expression) in expressions.iter().enumerate() {
        if began.elapsed() > TIME_MAX {
            let place = &expression.place;
            return Err(failure(format!(
                "the expressions before `{place}` took longer than {TIME_MAX:?}"
            )));
        }
        if at > 0 {
            values.push(',');
        }
        values.push_str(&expression.value(&mut scope)?);
    }
    values.push(']');
    Payload::parse(values).map_err(|error| failure(format!("the values are no JSON: {error}")))
}

/// What expressions are told of a call.
fn told(call: &Call) -> Value {
    json!({
        "key": call.key,
        "attempt": call.attempt,
        "index": call.index,
        "id": call.id,
    })
}

/// The records of a batch, each with its text.
fn list_of(calls: &[Call]) -> Result<Payload, Failure> {
    let texts: Vec<&str> = calls.iter().map(|call| call.payload.text()).collect();
    Payload::parse(format!("[{}]", texts.join(",")))
        .map_err(|error| failure(format!("the batch is no JSON: {error}")))
}

impl Expression {
    fn is_heavy(&self) -> bool {
        match &self.what {
            What::Data => false,
            What::Value(jsonata) => jsonata.is_heavy(),
        }
    }

    /// The value's JSON.
    fn value(&self, scope: &mut Scope<'_>) -> Result<String, Failure> {
        match &self.what {
            What::Data => Ok(scope.input.text().to_owned()),
            What::Value(jsonata) => match jsonata.evaluate(scope) {
                Ok(value) => Ok(value.to_string()),
                Err(EvalError::Jsonata {
                    expression,
                    failure: why,
                    ..
                }) => Err(failure(
                    EvalError::Jsonata {
                        expression,
                        location: self.place.clone(),
                        failure: why,
                    }
                    .to_string(),
                )),
                Err(error) => Err(failure(format!("`{}`: {error}", self.place))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, VersionNumber};

    fn composed(url: &str, item: &str) -> Result<String, String> {
        let manifest = format!(
            "name = \"a\"\nhost = \"http\"\nhttp = {{ url = '{{% {url} %}}', body = '{{% $item %}}' }}"
        );
        let manifest = Manifest::parse(&manifest).unwrap();
        check(&manifest).map_err(|error| error.to_string())?;
        let version = Version {
            number: VersionNumber(1),
            folder: PathBuf::from("/v"),
            environment: None,
            manifest,
        };
        let call = Call {
            ticket: 1,
            index: 7,
            id: Some("C 1".into()),
            generation: Generation(1),
            payload: Payload::parse(item).unwrap(),
            attempt: 2,
            key: "k".into(),
            timeout: None,
            cursor: None,
        };
        match Requests::new(Arc::new(SystemClock)).compose(&version, &[call]) {
            Ok(values) => Ok(values.text().to_owned()),
            Err(failure) => {
                assert_eq!(failure.error, "States.QueryEvaluationError");
                assert_eq!(failure.retry, Some(false));
                Err(failure.cause)
            }
        }
    }

    #[test]
    fn expressions_see_the_record_and_the_call() {
        let url = r#""https://a/" & $encodeUrlComponent($item.id) & "?" & $call.attempt & $call.index & $call.id & $call.key"#;
        assert_eq!(
            composed(url, r#"{"id": "a/b ?", "n": 1.50}"#).unwrap(),
            r#"["https://a/a%2Fb%20%3F?27C 1k",{"id": "a/b ?", "n": 1.50}]"#
        );
        assert_eq!(
            composed(
                "($x := $item.a; $x[0])",
                r#"{"a": ["${secret:X}", "{% 1 %}"]}"#
            )
            .unwrap(),
            r#"["${secret:X}",{"a": ["${secret:X}", "{% 1 %}"]}]"#
        );
    }

    #[test]
    fn what_is_optional_may_be_null() {
        let optional = "$exists($item.tag) ? $item.tag : null";
        assert_eq!(composed(optional, "{}").unwrap(), "[null,{}]");
        let null = r#"{"tag": null}"#;
        assert_eq!(
            composed("$item.tag", null).unwrap(),
            format!("[null,{null}]")
        );
    }

    #[test]
    fn an_expression_without_a_value_fails_its_call_and_names_its_place() {
        for (url, expected) in [
            (
                "$item.none",
                "specified for the field 'http.url' returned nothing (undefined).",
            ),
            (
                r#"$exists($item.id) ? "https://a/" & $item.id : $error("no id")"#,
                "no id",
            ),
            ("$uppercase(1)", "'http.url' threw an error"),
            (
                "$itm.id",
                "`http.url` looks at $itm; there are $item and $call",
            ),
            ("$item.(", "`http.url`: "),
            ("$string", "returned an unsupported result type"),
        ] {
            let cause = composed(url, "{}").unwrap_err();
            assert!(cause.contains(expected), "{url}: {cause}");
        }
    }

    #[test]
    fn an_expression_without_end_is_bounded() {
        let cause = composed("($f := function() { $f() }; $f())", "{}").unwrap_err();
        assert!(cause.contains("http.url"), "{cause}");
    }
}
