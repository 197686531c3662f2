//! From what came to the execution's input and name: templates and paths over one object.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    arn::is_name,
    asl::{
        path::Budget,
        template::{EvalError, Expression, Scope, Template},
    },
    config::TriggerSpec,
    machine::PAYLOAD_BYTES_MAX,
    payload::Payload,
    time::Timestamp,
};

/// Characters of an execution's name at the most. Spec: `Name` in the model.
const NAME_CHARS_MAX: usize = 80;

/// What one mapping may produce on its way, in bytes: what is left of it at the end is an input.
const PRODUCED_BYTES_MAX: u64 = 16 * PAYLOAD_BYTES_MAX as u64 + 1024 * 1024;

/// Something that came in from outside.
#[derive(Debug)]
pub struct Came {
    /// What mappings look at.
    pub facts: Payload,
    /// What the input is where nothing is mapped.
    pub whole: Payload,
    /// When.
    pub now: Timestamp,
    /// What tells it from all else that comes, also when it comes again: then mappings draw the same by chance,
    /// and its input is the same. `None`: it comes once.
    pub identity: Option<String>,
}

/// Why what came makes no execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// An expression gives nothing.
    #[error("{key}: {error}")]
    Eval {
        /// `input` or `name`.
        key: &'static str,
        /// In the language's words.
        error: EvalError,
    },
    /// What it gives is no name.
    #[error(
        "name: {0} names no execution; take 1 to {NAME_CHARS_MAX} letters, digits, \"-\", \"_\" or \".\""
    )]
    Name(String),
    /// What it gives is no payload.
    #[error("input: {0}")]
    Payload(String),
    /// The input is longer than any may be.
    #[error("input: it has {0} bytes, at most {PAYLOAD_BYTES_MAX} are allowed")]
    TooLong(usize),
}

/// The mapping of a trigger.
#[derive(Debug)]
pub(super) struct Mapping {
    input: Option<Template>,
    name: Option<Expression>,
}

impl Mapping {
    /// Compiles what the settings say; answers which key is wrong, and why.
    pub(super) fn parse(spec: &TriggerSpec) -> Result<Self, (&'static str, String)> {
        let input = match &spec.input {
            None => None,
            Some(Value::String(text)) => {
                let expression = expression(text).map_err(|why| ("input", why))?;
                Some(Template::Expression(expression))
            }
            Some(template) => Some(self::template(template).map_err(|why| ("input", why))?),
        };
        let name = spec.name.as_deref().map(expression).transpose();
        Ok(Self {
            input,
            name: name.map_err(|why| ("name", why))?,
        })
    }

    /// The execution's name, where one is asked for, and its input; of the trigger of that name.
    pub(super) fn apply(
        &self,
        trigger: &str,
        came: &Came,
    ) -> Result<(Option<String>, Payload), MappingError> {
        let mut random = chance(trigger, came);
        let name = match &self.name {
            None => None,
            Some(name) => {
                let value = evaluate(came, &mut random, |scope| name.evaluate(scope));
                Some(named(&value.map_err(|error| MappingError::Eval {
                    key: "name",
                    error,
                })?)?)
            }
        };
        let input = match &self.input {
            None => came.whole.clone(),
            Some(template) => {
                let value = evaluate(came, &mut random, |scope| template.evaluate(scope));
                let value = value.map_err(|error| MappingError::Eval {
                    key: "input",
                    error,
                })?;
                // Why as text: a template round what came may nest deeper than can be read again.
                Payload::parse(value.to_string())
                    .map_err(|error| MappingError::Payload(error.to_string()))?
            }
        };
        Ok((name, input))
    }
}

fn template(template: &Value) -> Result<Template, String> {
    let compiled = Template::parse(&template.to_string()).map_err(|error| {
        // Why without their places: those are of a text that nobody wrote.
        let told: Vec<String> = error.diagnostics.into_iter().map(|it| it.message).collect();
        told.join("; ")
    })?;
    check(compiled.uses_context(), &compiled.variable_names())?;
    Ok(compiled)
}

fn expression(text: &str) -> Result<Expression, String> {
    let expression = Expression::parse(text).map_err(|error| {
        format!(
            "{text:?} is no path and no intrinsic call: {error}; write for example \"$.body.id\""
        )
    })?;
    let mut variables = Vec::new();
    expression.variables(&mut variables);
    check(expression.uses_context(), &variables)?;
    Ok(expression)
}

/// Refuses what only a state sees.
fn check(uses_context: bool, variables: &[&str]) -> Result<(), String> {
    if uses_context {
        return Err("there is no context object ($$) before an execution has begun".to_owned());
    }
    match variables.first() {
        Some(name) => Err(format!(
            "there is no variable ${name}; a path begins with \"$.\""
        )),
        None => Ok(()),
    }
}

/// What a mapping draws from.
fn chance(trigger: &str, came: &Came) -> impl FnMut() -> u64 {
    let known = came.identity.as_ref().map(|identity| {
        let known = Sha256::new_with_prefix(trigger);
        // Why a zero: no name of a trigger has one.
        known.chain_update([0]).chain_update(identity)
    });
    let mut drawn = 0_u64;
    move || {
        let Some(known) = &known else {
            return rand::random();
        };
        drawn += 1;
        let hash = known.clone().chain_update(drawn.to_le_bytes()).finalize();
        hash.iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

fn evaluate(
    came: &Came,
    random: &mut dyn FnMut() -> u64,
    run: impl FnOnce(&mut Scope<'_>) -> Result<Value, EvalError>,
) -> Result<Value, EvalError> {
    let context = Box::new(Value::Null);
    run(&mut Scope {
        input: &came.facts,
        result: None,
        error_output: None,
        variables: &|_| None,
        now: came.now,
        context: &context,
        random,
        budget: Budget::of_bytes(PRODUCED_BYTES_MAX),
    })
}

/// The name that a value is: a text, or a number.
pub(super) fn named(value: &Value) -> Result<String, MappingError> {
    let name = match value {
        Value::String(name) => name.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && is_name(&name);
    if fits {
        return Ok(name);
    }
    let shown: String = value.to_string().chars().take(NAME_CHARS_MAX).collect();
    Err(MappingError::Name(shown))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Proof, TriggerKind};

    fn spec(input: Option<Value>, name: Option<&str>) -> TriggerSpec {
        TriggerSpec {
            machine: "m".to_owned(),
            input,
            name: name.map(str::to_owned),
            at_once: None,
            kind: TriggerKind::Http {
                proof: Proof::Key,
                wait: false,
            },
        }
    }

    fn came(facts: &Value) -> Came {
        Came {
            facts: facts.clone().into(),
            whole: facts["body"].clone().into(),
            now: Timestamp(0),
            identity: None,
        }
    }

    fn check(spec: &TriggerSpec, facts: &Value, expected: Result<(Option<&str>, &Value), &str>) {
        let mapping = Mapping::parse(spec).unwrap();
        let mapped = mapping.apply("t", &came(facts));
        let mapped = mapped.map(|(name, input)| (name, input.value().clone()));
        match (mapped, expected) {
            (Ok((name, input)), Ok(expected)) => assert_eq!((name.as_deref(), &input), expected),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (mapped, expected) => panic!("{mapped:?} is not {expected:?}"),
        }
    }

    #[test]
    fn what_came_is_the_input_unless_a_mapping_says_otherwise() {
        let facts =
            json!({ "body": { "order": 7, "who": "a" }, "headers": { "x-request-id": "r-1" } });
        check(&spec(None, None), &facts, Ok((None, &facts["body"])));
        let template = json!({
            "order.$": "$.body.order", "from": "shop", "in": [{ "id.$": "$.headers.x-request-id" }],
            "text.$": "States.Format('{}-{}', $.body.who, $.body.order)",
        });
        let expected =
            json!({ "order": 7, "from": "shop", "in": [{ "id": "r-1" }], "text": "a-7" });
        check(
            &spec(Some(template), Some("$.headers.x-request-id")),
            &facts,
            Ok((Some("r-1"), &expected)),
        );
        check(
            &spec(Some(json!("$.body.order")), Some("$.body.order")),
            &facts,
            Ok((Some("7"), &json!(7))),
        );
    }

    #[test]
    fn a_mapping_that_finds_nothing_says_where() {
        let facts = json!({ "body": { "list": [1] }, "headers": {} });
        check(
            &spec(Some(json!({ "a": { "b.$": "$.body.none" } })), None),
            &facts,
            Err("input: Invalid path '$.body.none' : No results for path: $['body']['none']"),
        );
        check(
            &spec(None, Some("$.body.list")),
            &facts,
            Err(
                "name: [1] names no execution; take 1 to 80 letters, digits, \"-\", \"_\" or \".\"",
            ),
        );
    }

    #[test]
    fn a_mapping_that_no_execution_could_see_is_refused_when_it_is_read() {
        for (input, name, key, why) in [
            (
                Some(json!({ "a.$": "body" })),
                None,
                "input",
                "\"body\" in \"a.$\"",
            ),
            (
                Some(json!({ "a.$": "$$.Execution.Id" })),
                None,
                "input",
                "no context object",
            ),
            (
                Some(json!({ "a.$": "$x.y" })),
                None,
                "input",
                "no variable $x",
            ),
            (Some(json!({ "a.$": 1 })), None, "input", "must be a path"),
            (
                Some(json!("body")),
                None,
                "input",
                "is no path and no intrinsic call",
            ),
            (
                None,
                Some("$.["),
                "name",
                "is no path and no intrinsic call",
            ),
        ] {
            let (found, told) = Mapping::parse(&spec(input, name)).unwrap_err();
            assert!(found == key && told.contains(why), "{found}: {told}");
        }
    }

    #[test]
    fn what_comes_again_draws_the_same_and_all_else_draws_anew() {
        let template = json!({ "a.$": "States.UUID()", "b.$": "States.MathRandom(0, 1000000000)" });
        let mapping = Mapping::parse(&spec(Some(template), Some("States.UUID()"))).unwrap();
        let drawn = |trigger: &str, identity: Option<&str>| {
            let came = Came {
                identity: identity.map(str::to_owned),
                ..came(&json!({ "body": 1 }))
            };
            let (name, input) = mapping.apply(trigger, &came).unwrap();
            let [a, b] = ["a", "b"].map(|key| input.value()[key].to_string());
            assert_ne!(Some(a.trim_matches('"')), name.as_deref());
            (name, a, b)
        };
        let one = drawn("t", Some("1"));
        assert_eq!(drawn("t", Some("1")), one);
        for (trigger, identity) in [("t", Some("2")), ("u", Some("1")), ("t", None)] {
            let other = drawn(trigger, identity);
            assert!(one.0 != other.0 && one.1 != other.1 && one.2 != other.2);
        }
        assert_ne!(drawn("t", None), drawn("t", None));
    }

    #[test]
    fn an_input_that_could_not_be_read_again_is_refused() {
        let mut deep = json!(1);
        for _ in 0..126 {
            deep = json!([deep]);
        }
        let facts = json!({ "body": deep });
        let mapping =
            Mapping::parse(&spec(Some(json!({ "a": { "b.$": "$.body" } })), None)).unwrap();
        let refused = mapping.apply("t", &came(&facts)).unwrap_err();
        assert!(matches!(refused, MappingError::Payload(_)), "{refused}");
    }
}
