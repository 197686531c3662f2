//! JSONata: the expressions between `{%` and `%}`, parsed once and kept as trees.
//!
//! `jsonata-core` parses and evaluates; here is what surrounds it: which of `$states` and of the variables
//! an expression looks at (nothing else is converted for it), the functions that AWS adds, its bounds, and
//! what AWS says where an expression gives no value. Impurity: the time bound reads a clock within the
//! crate, as the last resort against an expression without end; a count of steps would remove it.

mod functions;
mod guard;
mod url;
mod uses;
mod value;

use jsonata_core::{
    ast::AstNode,
    evaluator::{Context, Evaluator, EvaluatorOptions},
    parser,
    value::JValue,
};
use serde_json::Value;

use super::{
    path::PathError,
    template::{EvalError, Scope},
};
use crate::payload::Payload;
use uses::{Uses, Wanted};

/// Longest time that one expression may take. Whole playbooks of sorting and grouping over 256 KiB take
/// a few milliseconds.
const MILLIS_MAX: u64 = 1000;

/// Deepest recursion of functions within an expression, in levels of evaluation.
const DEPTH_MAX: usize = 3000;

/// Longest sequence that an expression may make. A payload of 256 KiB has no more items.
const SEQUENCE_MAX: usize = 200_000;

/// What an expression is written with that may take long: functions of its own, and what does something
/// over and over; patterns and filters within filters are seen in its tree. Any other is done in time that
/// grows with its text and its input.
const HEAVY: [&str; 13] = [
    "function",
    "λ",
    "..",
    "@",
    "**",
    "$map",
    "$filter",
    "$reduce",
    "$sift",
    "$each",
    "$single",
    "$sort",
    "$distinct",
];

/// What calling something else than a function throws.
const NO_FUNCTION: &str = "T1006: Attempted to invoke a non-function";

/// An expression, ready to be evaluated any number of times, by any thread.
#[derive(Debug)]
pub struct Jsonata {
    text: Box<str>,
    tree: AstNode,
    uses: Uses,
    /// Whether functions that measure stand in the tree.
    guarded: bool,
    /// Whether it may use up its time.
    heavy: bool,
}

/// Two expressions of the same text are the same.
impl PartialEq for Jsonata {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Why an expression gives no value, in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonataFailure {
    /// There is nothing.
    #[error("returned nothing (undefined).")]
    Undefined,
    /// Something went wrong on the way.
    #[error("threw an error during evaluation. {0}")]
    Threw(String),
    /// The value has no form in JSON: a function.
    #[error("returned an unsupported result type.")]
    Unsupported,
    /// The field wants another kind of value.
    #[error(
        "returned an unexpected result type. Expected '{expected}', but was '{found}' for value: {value}"
    )]
    Unexpected {
        /// What the field wants.
        expected: &'static str,
        /// What it is.
        found: &'static str,
        /// Its JSON.
        value: String,
    },
}

/// The expression within a text of a definition; `None` where the text is to be taken as it stands.
///
/// Spec: the text begins with `{%` and ends with `%}`, exactly.
pub(crate) fn within(text: &str) -> Option<&str> {
    text.strip_prefix("{%")?.strip_suffix("%}").map(str::trim)
}

/// Whether a text was meant to be an expression and is none. Spec: never `{%` without `%}`, nor the other
/// way round. Recorded: with space on both sides it is a text like any other.
pub(crate) fn is_broken(text: &str) -> bool {
    within(text).is_none() && (text.starts_with("{%") || text.ends_with("%}"))
}

/// What kind of value this is, in JSONata's words.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Jsonata {
    /// Parses an expression, without the `{%` and `%}` around it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut tree =
            parser::parse(text).map_err(|error| PathError::new(0, error.display_message()))?;
        let uses = Uses::of(&tree);
        let heavy = HEAVY.iter().any(|part| text.contains(part)) || guard::is_heavy(&mut tree);
        let guarded = guard::guard(&mut tree);
        Ok(Self {
            text: text.into(),
            tree,
            uses,
            guarded,
            heavy,
        })
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it may take all the time it has, instead of microseconds.
    #[must_use]
    pub const fn is_heavy(&self) -> bool {
        self.heavy
    }

    /// Whether it reads the context object.
    #[must_use]
    pub fn uses_context(&self) -> bool {
        self.uses.context.is_something()
    }

    /// The variables of the execution that it reads.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let names = self.uses.variables.iter().map(|name| &**name);
        names.filter(|name| !uses::FUNCTIONS.contains(name))
    }

    /// Its value.
    ///
    /// # Errors
    /// It has none, or the bounds are reached.
    pub fn evaluate(&self, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
        let options = EvaluatorOptions {
            timeout_ms: Some(MILLIS_MAX),
            max_stack_depth: Some(DEPTH_MAX),
            max_sequence_length: Some(SEQUENCE_MAX),
            cancel: None,
        };
        if self.heavy {
            scope.budget.take_time()?;
        }
        let mut evaluator = Evaluator::with_options(self.bindings(scope), options);
        functions::register(&mut evaluator, &self.uses, scope)
            .map_err(|error| self.threw(error))?;
        if self.guarded {
            let registered = guard::register(&mut evaluator);
            registered.map_err(|error| self.threw(error.message()))?;
        }
        let result = evaluator
            .evaluate(&self.tree, &JValue::Undefined)
            .map_err(|error| self.threw(error.message()))?;
        value::from_jsonata(&result, &mut scope.budget).map_err(|problem| match problem {
            value::Problem::Undefined => self.failed(JsonataFailure::Undefined),
            value::Problem::Unsupported => self.failed(JsonataFailure::Unsupported),
            value::Problem::Exhausted => EvalError::Exhausted,
        })
    }

    /// `$states` and the variables, as far as the expression looks at them.
    fn bindings(&self, scope: &mut Scope<'_>) -> Context {
        let mut context = Context::new();
        let uses = &self.uses;
        if uses.states() {
            let mut states = indexmap(4);
            let mut put = |name: &str, payload: Option<&Payload>, wanted: &Wanted| {
                if let Some(payload) = payload.filter(|_| wanted.is_something()) {
                    states.insert(name.to_owned(), value::part_of(payload.value(), wanted));
                }
            };
            put("input", Some(scope.input), &uses.input);
            put("result", scope.result, &uses.result);
            put("errorOutput", scope.error_output, &uses.error);
            if uses.context.is_something() {
                let object: &Value = scope.context;
                let part = value::part_of(object, &uses.context);
                states.insert("context".to_owned(), part);
            }
            context.bind("states".to_owned(), JValue::object(states));
        }
        for name in &uses.variables {
            if let Some(payload) = (scope.variables)(name) {
                context.bind(name.to_string(), value::to_jsonata(payload.value()));
            }
        }
        context
    }

    fn threw(&self, message: impl Into<String>) -> EvalError {
        let mut message = message.into();
        // The crate says which one; AWS does not.
        if message.starts_with(NO_FUNCTION) {
            message.truncate(NO_FUNCTION.len());
        }
        self.failed(JsonataFailure::Threw(message))
    }

    /// The error of this expression, for this reason.
    pub(crate) fn failed(&self, failure: JsonataFailure) -> EvalError {
        EvalError::Jsonata {
            expression: self.text.to_string(),
            location: String::new(),
            failure,
        }
    }
}

/// An empty map of the crate's own kind.
fn indexmap(capacity: usize) -> value::Fields {
    value::Fields::with_capacity(capacity)
}

#[cfg(test)]
mod tests;
