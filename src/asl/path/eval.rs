//! A path's way through a value.
//!
//! Definite paths walk references and allocate nothing. Indefinite ones carry a list of matches from
//! step to step; what a step does not find is left out. Every value looked at is paid for.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::Value;

use super::{Budget, Exhausted, Path, Root, Step};

/// What a path found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'v> {
    /// A definite path's value.
    One(Cow<'v, Value>),
    /// An indefinite path's matches, in document order.
    Many(Vec<Cow<'v, Value>>),
}

/// Why a path gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathFailure {
    /// The last step of a definite path finds nothing.
    #[error("No results for path: {0}")]
    NoResults(String),
    /// A step before the last one finds nothing.
    #[error("Missing property in path {0}")]
    MissingProperty(String),
    /// The evaluation was given up.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

impl Found<'_> {
    /// A value of its own: the match, or the list of them.
    pub(crate) fn into_value(self, budget: &mut Budget) -> Result<Value, Exhausted> {
        let mut own = |found: Cow<'_, Value>| match found {
            Cow::Borrowed(value) => budget.copy(value),
            Cow::Owned(value) => Ok(value),
        };
        match self {
            Self::One(value) => own(value),
            Self::Many(values) => values
                .into_iter()
                .map(own)
                .collect::<Result<_, _>>()
                .map(Value::Array),
        }
    }
}

impl Path {
    /// Follows the path through the value that its root stands for.
    ///
    /// # Errors
    /// A definite path finds nothing, or the budget is used up.
    pub fn find<'v>(&self, root: &'v Value, budget: &mut Budget) -> Result<Found<'v>, PathFailure> {
        if self.definite {
            return self.find_one(root, budget).map(Found::One);
        }
        Ok(Found::Many(self.find_many(root, root, budget)?))
    }

    fn find_one<'v>(
        &self,
        root: &'v Value,
        budget: &mut Budget,
    ) -> Result<Cow<'v, Value>, PathFailure> {
        budget.visit(self.steps.len())?;
        let mut value = root;
        for (place, step) in self.steps.iter().enumerate() {
            let next = match step {
                Step::Field(name) => value.get(&**name),
                Step::Index(index) => at(value, *index),
                Step::Fields(names) if value.is_object() => {
                    return Ok(Cow::Owned(merge(value, names, budget)?));
                }
                Step::Fields(_)
                | Step::Indexes(_)
                | Step::Slice(..)
                | Step::Every
                | Step::Filter(_)
                | Step::Descend => None,
            };
            value = next.ok_or_else(|| self.missing(place))?;
        }
        Ok(Cow::Borrowed(value))
    }

    /// In the words of AWS: the steps up to the one that found nothing, in brackets.
    fn missing(&self, place: usize) -> PathFailure {
        let mut at = String::from("$");
        for step in self.steps.iter().take(place + 1) {
            match step {
                Step::Field(name) => at.extend(["['", name, "']"]),
                Step::Index(index) => {
                    // Writing into a String does not fail.
                    write!(at, "[{index}]").ok();
                }
                Step::Fields(_)
                | Step::Indexes(_)
                | Step::Slice(..)
                | Step::Every
                | Step::Filter(_)
                | Step::Descend => {}
            }
        }
        if place + 1 == self.steps.len() {
            PathFailure::NoResults(at)
        } else {
            PathFailure::MissingProperty(at)
        }
    }

    /// Within a filter: a definite path's value, or an indefinite one's list.
    pub(super) fn find_within<'v>(
        &self,
        item: &'v Value,
        input: &'v Value,
        budget: &mut Budget,
    ) -> Result<Option<Cow<'v, Value>>, Exhausted> {
        let root = match self.root {
            Root::Item => item,
            Root::Input | Root::Context | Root::Variable => input,
        };
        if self.definite {
            return match self.find_one(root, budget) {
                Ok(value) => Ok(Some(value)),
                Err(PathFailure::Exhausted(exhausted)) => Err(exhausted),
                Err(PathFailure::NoResults(_) | PathFailure::MissingProperty(_)) => Ok(None),
            };
        }
        let found = self.find_many(root, input, budget)?;
        if found.is_empty() {
            return Ok(None);
        }
        Ok(Some(Cow::Owned(Found::Many(found).into_value(budget)?)))
    }

    fn find_many<'v>(
        &self,
        root: &'v Value,
        input: &'v Value,
        budget: &mut Budget,
    ) -> Result<Vec<Cow<'v, Value>>, Exhausted> {
        let mut matches = vec![root];
        let mut descended = false;
        let mut steps = self.steps.iter().peekable();
        while let Some(step) = steps.next() {
            if let Step::Fields(names) = step
                && steps.peek().is_none()
            {
                return matches
                    .into_iter()
                    .filter(|value| value.is_object())
                    .map(|value| Ok(Cow::Owned(merge(value, names, budget)?)))
                    .collect();
            }
            let mut next = Vec::new();
            for value in matches {
                match step {
                    // After `..` a filter tests the values themselves; their items come by anyway.
                    Step::Filter(filter) if descended => {
                        if filter.passes(value, input, budget)? {
                            next.push(value);
                        }
                    }
                    Step::Descend => descend(value, &mut next, budget)?,
                    Step::Field(_)
                    | Step::Fields(_)
                    | Step::Index(_)
                    | Step::Indexes(_)
                    | Step::Slice(..)
                    | Step::Every
                    | Step::Filter(_) => apply(step, value, input, &mut next, budget)?,
                }
            }
            matches = next;
            descended = *step == Step::Descend;
        }
        Ok(matches.into_iter().map(Cow::Borrowed).collect())
    }
}

/// The value and everything within it, in document order. Values nest at most 127 levels.
fn descend<'v>(
    value: &'v Value,
    found: &mut Vec<&'v Value>,
    budget: &mut Budget,
) -> Result<(), Exhausted> {
    budget.visit(1)?;
    match value {
        Value::Array(items) => {
            found.push(value);
            items
                .iter()
                .try_for_each(|item| descend(item, found, budget))
        }
        Value::Object(map) => {
            found.push(value);
            map.values()
                .try_for_each(|item| descend(item, found, budget))
        }
        // Steps find something in containers only.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// What one step finds in one value.
fn apply<'v>(
    step: &Step,
    value: &'v Value,
    input: &Value,
    found: &mut Vec<&'v Value>,
    budget: &mut Budget,
) -> Result<(), Exhausted> {
    budget.visit(1)?;
    match (step, value) {
        (Step::Field(name), _) => found.extend(value.get(&**name)),
        (Step::Fields(names), _) => {
            budget.visit(names.len())?;
            found.extend(names.iter().filter_map(|name| value.get(&**name)));
        }
        (Step::Index(index), _) => found.extend(at(value, *index)),
        (Step::Indexes(indexes), _) => {
            budget.visit(indexes.len())?;
            found.extend(indexes.iter().filter_map(|index| at(value, *index)));
        }
        (Step::Slice(from, to), Value::Array(items)) => {
            let from = from.map_or(0, |from| place(from, items.len()));
            let to = to.map_or(items.len(), |to| place(to, items.len()));
            let slice = items.get(from..to).unwrap_or_default();
            budget.visit(slice.len())?;
            found.extend(slice);
        }
        (Step::Every, Value::Array(items)) => {
            budget.visit(items.len())?;
            found.extend(items);
        }
        (Step::Every, Value::Object(map)) => {
            budget.visit(map.len())?;
            found.extend(map.values());
        }
        (Step::Filter(filter), Value::Array(items)) => {
            for item in items {
                if filter.passes(item, input, budget)? {
                    found.push(item);
                }
            }
        }
        (Step::Filter(filter), Value::Object(_)) => {
            if filter.passes(value, input, budget)? {
                found.push(value);
            }
        }
        (Step::Slice(..) | Step::Every | Step::Filter(_) | Step::Descend, _) => {}
    }
    Ok(())
}

/// An index as it is written, negative ones from the end, clamped into `0..=length`.
fn place(index: i64, length: usize) -> usize {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 {
        length.saturating_sub(distance)
    } else {
        distance.min(length)
    }
}

fn at(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let place = if index < 0 {
        items.len().checked_sub(distance)?
    } else {
        distance
    };
    items.get(place)
}

/// The named fields that are there, as one object.
fn merge(value: &Value, names: &[Box<str>], budget: &mut Budget) -> Result<Value, Exhausted> {
    budget.visit(names.len())?;
    let mut merged = serde_json::Map::new();
    for name in names {
        if let Some(field) = value.get(&**name) {
            budget.produce(name.len() + 3)?;
            merged.insert(name.to_string(), budget.copy(field)?);
        }
    }
    Ok(Value::Object(merged))
}
