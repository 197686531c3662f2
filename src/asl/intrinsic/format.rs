//! `States.Format`: a template whose `{}` are filled in order.
//!
//! AWS writes texts bare, and objects and arrays as Java prints its collections
//! (`{Id=a, Name=b}`, `[1, 2]`), which recordings of it show.

use serde_json::Value;

use super::{Outcome, Scope};

pub(super) fn format(arguments: &[Value], scope: &mut Scope<'_>) -> Outcome {
    let template = arguments[0]
        .as_str()
        .ok_or("the template must be a string")?;
    let mut rest = arguments[1..].iter();
    let mut text = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.peek(), Some('{' | '}' | '\\')) => text.extend(chars.next()),
            '{' if chars.peek() == Some(&'}') => {
                chars.next();
                let argument = rest
                    .next()
                    .ok_or("the template has more {} than arguments")?;
                let before = text.len();
                print(argument, &mut text);
                scope.budget.produce(text.len() - before)?;
            }
            c => text.push(c),
        }
    }
    if rest.next().is_some() {
        return Err("the template has fewer {} than arguments".into());
    }
    Ok(text.into())
}

fn print(value: &Value, text: &mut String) {
    match value {
        Value::String(value) => text.push_str(value),
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                print(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (place, (key, item)) in map.iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                text.push_str(key);
                text.push('=');
                print(item, text);
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}
