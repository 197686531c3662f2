//! Functions over arrays.

use serde_json::Value;

use super::{super::path::equal, Outcome, Refusal, Scope, math::integer};

/// Longest array that `States.ArrayRange` makes: AWS's bound.
const RANGE_ITEMS_MAX: i128 = 1000;

#[expect(
    clippy::unnecessary_wraps,
    reason = "every function of the table has this shape"
)]
pub(super) fn array(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    Ok(Value::Array(arguments.to_vec()))
}

pub(super) fn contains(arguments: &[Value], scope: &mut Scope<'_>) -> Outcome {
    let items = items(&arguments[0])?;
    scope.budget.visit(items.len())?;
    Ok(items.iter().any(|item| equal(item, &arguments[1])).into())
}

pub(super) fn get_item(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    let items = items(&arguments[0])?;
    let index = integer(&arguments[1])?;
    usize::try_from(index)
        .ok()
        .and_then(|index| items.get(index))
        .cloned()
        .ok_or_else(|| {
            format!(
                "the index {index} is outside the array of {} items",
                items.len()
            )
            .into()
        })
}

pub(super) fn length(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    Ok(items(&arguments[0])?.len().into())
}

pub(super) fn partition(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    let items = items(&arguments[0])?;
    let size = usize::try_from(integer(&arguments[1])?)
        .ok()
        .filter(|size| *size > 0)
        .ok_or("the size of the chunks must be positive")?;
    Ok(items.chunks(size).map(<[Value]>::to_vec).collect())
}

/// Both ends are included.
pub(super) fn range(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    let (first, last) = (integer(&arguments[0])?, integer(&arguments[1])?);
    let step = integer(&arguments[2])?;
    if step == 0 {
        return Err("the step must not be 0".into());
    }
    let steps = (i128::from(last) - i128::from(first)) / i128::from(step);
    let backwards = (last < first) != (step < 0) && last != first;
    if backwards {
        return Ok(Value::Array(Vec::new()));
    }
    if steps >= RANGE_ITEMS_MAX {
        return Err(format!("the array would have more than {RANGE_ITEMS_MAX} items").into());
    }
    let mut items = Vec::new();
    let mut next = Some(first);
    while let Some(item) = next
        && if step > 0 { item <= last } else { item >= last }
    {
        items.push(Value::from(item));
        next = item.checked_add(step);
    }
    Ok(Value::Array(items))
}

/// The first of each, in their order.
pub(super) fn unique(arguments: &[Value], scope: &mut Scope<'_>) -> Outcome {
    let mut found: Vec<Value> = Vec::new();
    for item in items(&arguments[0])? {
        scope.budget.visit(found.len())?;
        if !found.iter().any(|other| equal(other, item)) {
            found.push(item.clone());
        }
    }
    Ok(Value::Array(found))
}

fn items(value: &Value) -> Result<&[Value], Refusal> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| "the first argument must be an array".into())
}
