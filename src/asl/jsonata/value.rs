//! Values in and out of JSONata.
//!
//! JSONata knows one kind of number, as JavaScript does. On the way out a whole number becomes an integer
//! again, so that 3 stays 3 and never becomes 3.0. Recursion goes as deep as a payload may nest.

use jsonata_core::value::JValue;
use serde_json::{Map, Number, Value};

use super::{
    super::path::{Budget, Exhausted},
    uses::Wanted,
};

/// The crate's map.
pub(super) type Fields = indexmap::IndexMap<String, JValue>;

/// Deepest nesting that comes out; what is deeper is no payload.
const DEPTH_MAX: usize = 127;

/// Whole numbers up to here are exact in a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Why a value does not come out.
#[derive(Debug, PartialEq)]
pub(super) enum Problem {
    /// There is none.
    Undefined,
    /// It is or holds a function.
    Unsupported,
    /// It is larger than anything the limits allow.
    Exhausted,
}

impl From<Exhausted> for Problem {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

/// A payload's value for an expression to look at.
pub(super) fn to_jsonata(value: &Value) -> JValue {
    match value {
        Value::Null => JValue::Null,
        Value::Bool(value) => JValue::Bool(*value),
        Value::Number(number) => JValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => JValue::string(text.as_str()),
        Value::Array(items) => JValue::array(items.iter().map(to_jsonata).collect()),
        Value::Object(map) => JValue::object(
            map.iter()
                .map(|(key, value)| (key.clone(), to_jsonata(value)))
                .collect::<Fields>(),
        ),
    }
}

/// What is wanted of a payload's value.
pub(super) fn part_of(value: &Value, wanted: &Wanted) -> JValue {
    match (wanted, value) {
        (Wanted::Nothing, _) => JValue::Undefined,
        (Wanted::Fields(fields), Value::Object(map)) => {
            let parts = fields.iter().filter_map(|(name, wanted)| {
                let value = map.get(&**name)?;
                Some((name.to_string(), part_of(value, wanted)))
            });
            JValue::object(parts.collect::<Fields>())
        }
        (Wanted::Fields(_) | Wanted::Whole, _) => to_jsonata(value),
    }
}

/// What an expression gave, as a payload's value.
pub(super) fn from_jsonata(value: &JValue, budget: &mut Budget) -> Result<Value, Problem> {
    convert(value, budget, 0)
}

fn convert(value: &JValue, budget: &mut Budget, depth: usize) -> Result<Value, Problem> {
    budget.produce(1)?;
    Ok(match value {
        JValue::Null => Value::Null,
        JValue::Bool(value) => Value::Bool(*value),
        JValue::Number(number) => number_of(*number),
        JValue::String(text) => {
            budget.produce(text.len() + 1)?;
            Value::String(text.to_string())
        }
        JValue::Array(_) | JValue::Object(_) if depth == DEPTH_MAX => {
            return Err(Problem::Exhausted);
        }
        JValue::Array(items) => {
            let mut array = Vec::with_capacity(items.len().min(1024));
            for item in items {
                // As in a JSON text that JavaScript makes: what is nothing leaves its place.
                if !matches!(item, JValue::Undefined) {
                    array.push(convert(item, budget, depth + 1)?);
                }
            }
            Value::Array(array)
        }
        JValue::Object(fields) => {
            let mut map = Map::with_capacity(fields.len().min(1024));
            for (key, item) in fields.iter() {
                if !matches!(item, JValue::Undefined) {
                    budget.produce(key.len() + 3)?;
                    map.insert(key.clone(), convert(item, budget, depth + 1)?);
                }
            }
            Value::Object(map)
        }
        JValue::Undefined => return Err(Problem::Undefined),
        JValue::Lambda(_) | JValue::Builtin { .. } | JValue::Regex { .. } => {
            return Err(Problem::Unsupported);
        }
    })
}

/// A whole number as an integer; what JSON has no number for is null, as JavaScript writes it.
fn number_of(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        // Exact: the number is whole and within the range.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole, and below 2^53 either way"
        )]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
