//! The conditions of `[?(...)]` and how Jayway compares.
//!
//! Values of different kinds are never equal and never ordered; a path that finds nothing equals
//! nothing, not even `null`.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use super::{Budget, Exhausted, Path};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    Any(Box<[Filter]>),
    All(Box<[Filter]>),
    Not(Box<Filter>),
    Exists(Path),
    Compare(Operand, Comparison, Operand),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Comparison {
    /// Longer tokens stand before the shorter ones that begin them.
    pub(super) const TOKENS: &'static [(&'static str, Self)] = &[
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
        ("in ", Self::In),
        ("nin ", Self::NotIn),
    ];

    fn holds(
        self,
        left: Option<&Value>,
        right: Option<&Value>,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let order = || compare(left?, right?);
        Ok(match self {
            Self::Equal => match (left, right) {
                (Some(left), Some(right)) => {
                    budget.compare(left, right)?;
                    equal(left, right)
                }
                _ => false,
            },
            Self::NotEqual => !Self::Equal.holds(left, right, budget)?,
            Self::Less => order().is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::Greater => order().is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Self::In => match (left, right) {
                (Some(left), Some(Value::Array(items))) => {
                    let mut found = false;
                    for item in items {
                        budget.visit(1)?;
                        budget.compare(left, item)?;
                        found |= equal(left, item);
                        if found {
                            break;
                        }
                    }
                    found
                }
                _ => false,
            },
            Self::NotIn => !Self::In.holds(left, right, budget)?,
        })
    }
}

impl Filter {
    /// Whether the item passes; `input` is what `$` means inside the filter.
    pub(super) fn passes(
        &self,
        item: &Value,
        input: &Value,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        budget.visit(1)?;
        match self {
            Self::Any(filters) => {
                for filter in filters {
                    if filter.passes(item, input, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(filters) => {
                for filter in filters {
                    if !filter.passes(item, input, budget)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(filter) => Ok(!filter.passes(item, input, budget)?),
            Self::Exists(path) => Ok(path.find_within(item, input, budget)?.is_some()),
            Self::Compare(left, comparison, right) => {
                let left = left.resolve(item, input, budget)?;
                let right = right.resolve(item, input, budget)?;
                comparison.holds(left.as_deref(), right.as_deref(), budget)
            }
        }
    }
}

impl Operand {
    fn resolve<'v>(
        &'v self,
        item: &'v Value,
        input: &'v Value,
        budget: &mut Budget,
    ) -> Result<Option<Cow<'v, Value>>, Exhausted> {
        match self {
            Self::Literal(value) => Ok(Some(Cow::Borrowed(value))),
            Self::Path(path) => path.find_within(item, input, budget),
        }
    }
}

/// Numbers by value, texts by code points; nothing else has an order.
pub(crate) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
                return Some(left.cmp(&right));
            }
            left.as_f64()?.partial_cmp(&right.as_f64()?)
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// As JSON values, numbers by value (`1` equals `1.0`).
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    left == right || compare(left, right).is_some_and(Ordering::is_eq)
}
