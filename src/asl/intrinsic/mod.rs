//! The intrinsic functions (`States.Format(..)` and 17 more): compiled from a template's text,
//! evaluated against a `template::Scope`.
//!
//! A file per family holds the functions; this one their names, their numbers of arguments and the
//! calls. Random ones draw from the scope, so the same draw gives the same value.

mod array;
mod encoding;
mod format;
mod json;
mod math;
mod parse;
mod string;
#[cfg(test)]
mod tests;

use std::{fmt, ops::RangeInclusive};

use serde_json::Value;

pub(crate) use crate::ids::uuid_of;
pub(crate) use encoding::digest;

use super::{
    path::{Exhausted, Path},
    template::{EvalError, Scope},
};

/// A compiled call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    function: &'static Function,
    arguments: Box<[Argument]>,
    text: Box<str>,
}

#[derive(Debug, Clone, PartialEq)]
enum Argument {
    Literal(Value),
    Path(Path),
    Call(Call),
}

/// Why a function gives no value: a sentence for the error's cause.
#[derive(Debug)]
enum Refusal {
    Because(String),
    Exhausted,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Because(reason.to_owned())
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

type Outcome = Result<Value, Refusal>;

struct Function {
    name: &'static str,
    /// How many arguments it takes.
    arity: RangeInclusive<usize>,
    run: fn(&[Value], &mut Scope<'_>) -> Outcome,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Arguments of `States.Array` and `States.Format`; a definition is no place for more.
const ARGUMENTS_MAX: usize = 1000;

/// The whole set, by name.
static FUNCTIONS: &[Function] = &[
    function("States.Array", 0..=ARGUMENTS_MAX, array::array),
    function("States.ArrayContains", 2..=2, array::contains),
    function("States.ArrayGetItem", 2..=2, array::get_item),
    function("States.ArrayLength", 1..=1, array::length),
    function("States.ArrayPartition", 2..=2, array::partition),
    function("States.ArrayRange", 3..=3, array::range),
    function("States.ArrayUnique", 1..=1, array::unique),
    function("States.Base64Decode", 1..=1, encoding::base64_decode),
    function("States.Base64Encode", 1..=1, encoding::base64_encode),
    function("States.Format", 1..=ARGUMENTS_MAX, format::format),
    function("States.Hash", 2..=2, encoding::hash),
    function("States.JsonMerge", 3..=3, json::merge),
    function("States.JsonToString", 1..=1, json::to_text),
    function("States.MathAdd", 2..=2, math::add),
    function("States.MathRandom", 2..=3, math::random),
    function("States.StringSplit", 2..=2, string::split),
    function("States.StringToJson", 1..=1, json::from_text),
    function("States.UUID", 0..=0, string::uuid),
];

const fn function(
    name: &'static str,
    arity: RangeInclusive<usize>,
    run: fn(&[Value], &mut Scope<'_>) -> Outcome,
) -> Function {
    Function { name, arity, run }
}

impl Call {
    /// Compiles a call such as `States.Format('{}', $.name)`.
    ///
    /// # Errors
    /// What is wrong, and at which byte of the text.
    pub fn parse(text: &str) -> Result<Self, super::path::PathError> {
        parse::call(text)
    }

    /// Whether an argument, however deep, reads the context object.
    #[must_use]
    pub fn uses_context(&self) -> bool {
        self.arguments.iter().any(|argument| match argument {
            Argument::Literal(_) => false,
            Argument::Path(path) => path.root() == super::path::Root::Context,
            Argument::Call(call) => call.uses_context(),
        })
    }

    /// The variables that its arguments read.
    pub(crate) fn variables<'c>(&'c self, found: &mut Vec<&'c str>) {
        for argument in &self.arguments {
            match argument {
                Argument::Literal(_) => {}
                Argument::Path(path) => found.extend(path.variable()),
                Argument::Call(call) => call.variables(found),
            }
        }
    }

    /// The function's value.
    ///
    /// # Errors
    /// A path finds nothing, or the function refuses its arguments.
    pub fn evaluate(&self, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
        let arguments = self
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Literal(value) => Ok(value.clone()),
                Argument::Path(path) => scope.find(path),
                Argument::Call(call) => call.evaluate(scope),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let outcome = (self.function.run)(&arguments, scope);
        let value = outcome.map_err(|refusal| match refusal {
            Refusal::Because(reason) => EvalError::Intrinsic {
                call: self.text.to_string(),
                reason,
            },
            Refusal::Exhausted => EvalError::Exhausted,
        })?;
        // Why: quotes and backslashes double with each time that a text is made JSON.
        if let Value::String(text) = &value {
            scope.budget.produce(text.len())?;
        }
        Ok(value)
    }
}
