//! What one evaluation may cost, so that a small definition over a large input ends.
//!
//! A path such as `$..*..*` visits every value many times, and a template of 50,000 `"$"` would copy
//! its input as often. Visits and produced bytes are counted down together; nothing refunds them.

use serde_json::Value;

/// Values that one evaluation may visit. A filter over an array of 8 MiB of numbers (4 million of
/// them) passes; at some 10 ns each the bound is reached within a tenth of a second.
const VISITS_MAX: u64 = 8_000_000;

/// Expressions of one evaluation (the rules of a Choice, the fields of a template) that may use up their
/// time. Written ones take microseconds, so a state has room for more than anybody writes.
const HEAVY_MAX: u64 = 64;

/// Bytes of text that are compared in the time of a visit.
const TEXT_OF_VISIT: usize = 256;

/// What is left of an evaluation's allowance.
#[derive(Debug)]
pub struct Budget {
    visits: u64,
    bytes: u64,
    /// Expressions evaluated that may have taken their time.
    heavy: u32,
}

/// The allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation visits or produces more than is allowed")]
pub struct Exhausted;

impl Budget {
    /// An allowance for results of together at most so many bytes of JSON (about).
    #[must_use]
    pub const fn of_bytes(bytes: u64) -> Self {
        Self {
            visits: VISITS_MAX,
            bytes,
            heavy: 0,
        }
    }

    /// Takes so many visits.
    pub(crate) fn visit(&mut self, values: usize) -> Result<(), Exhausted> {
        let values = u64::try_from(values).map_err(|_| Exhausted)?;
        self.visits = self.visits.checked_sub(values).ok_or(Exhausted)?;
        Ok(())
    }

    /// Takes what it costs to compare two values: the parts of the smaller one, and a visit for each
    /// [`TEXT_OF_VISIT`] bytes of texts.
    pub(crate) fn compare(&mut self, left: &Value, right: &Value) -> Result<(), Exhausted> {
        match (left, right) {
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                self.visit(left.len())?;
                let mut pairs = left.iter().zip(right);
                pairs.try_for_each(|(left, right)| self.compare(left, right))
            }
            (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
                self.visit(left.len())?;
                left.iter().try_for_each(|(key, left)| {
                    let right = right.get(key).unwrap_or(&Value::Null);
                    self.compare(left, right)
                })
            }
            (Value::String(left), Value::String(right)) if left.len() == right.len() => {
                self.visit(left.len() / TEXT_OF_VISIT)
            }
            _ => Ok(()),
        }
    }

    /// Takes what an expression costs that may use up the time that it has.
    pub(crate) fn take_time(&mut self) -> Result<(), Exhausted> {
        self.heavy = self.heavy.saturating_add(1);
        self.visits = self
            .visits
            .checked_sub(VISITS_MAX / HEAVY_MAX)
            .ok_or(Exhausted)?;
        Ok(())
    }

    /// How many expressions may have used up their time.
    pub(crate) const fn heavy(&self) -> u32 {
        self.heavy
    }

    /// Takes so many bytes of results.
    pub(crate) fn produce(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = u64::try_from(bytes).map_err(|_| Exhausted)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Exhausted)?;
        Ok(())
    }

    /// A copy of the value, paid for before it is made. Values nest at most 127 levels.
    pub(crate) fn copy(&mut self, value: &Value) -> Result<Value, Exhausted> {
        self.pay(value)?;
        Ok(value.clone())
    }

    /// Charges at most what the value's JSON text is long, so that a result within the payload limit
    /// is never refused here.
    fn pay(&mut self, value: &Value) -> Result<(), Exhausted> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.produce(1),
            Value::String(text) => self.produce(text.len() + 2),
            Value::Array(items) => {
                self.produce(1 + items.len())?;
                items.iter().try_for_each(|item| self.pay(item))
            }
            Value::Object(map) => {
                self.produce(1 + map.len())?;
                map.iter().try_for_each(|(key, item)| {
                    self.produce(key.len() + 3)?;
                    self.pay(item)
                })
            }
        }
    }
}
