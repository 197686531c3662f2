//! How a state's resource names a function, and how its result becomes the task's.
//!
//! Pure: text in, text out. Spec: the ARN of a function, and the `lambda:invoke` integration.

use serde_json::{Value, json};

use crate::payload::Payload;

/// Which function, with what, and how its result is told.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::runtime::conductor) struct How {
    pub(super) name: String,
    pub(super) payload: Payload,
    pub(super) told: Told,
}

/// How a function's result becomes the task's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is the task's.
    Bare,
    /// As the Lambda service answers an invocation.
    Wrapped,
    /// It only says that the function has taken the task's token.
    Submitted,
}

impl How {
    /// What a resource and its parameters ask for; `None` where that is no function.
    pub(in crate::runtime::conductor) fn of(resource: &str, payload: &Payload) -> Option<Self> {
        let integration = resource.strip_prefix("arn:aws:states:::lambda:invoke");
        let told = match integration {
            Some("") => Told::Wrapped,
            Some(".waitForTaskToken") => Told::Submitted,
            Some(_) => return None,
            None => Told::Bare,
        };
        if told == Told::Bare {
            return Some(Self {
                name: function_name(resource)?.to_owned(),
                payload: payload.clone(),
                told,
            });
        }
        let parameters = payload.value();
        let name = parameters.get("FunctionName")?.as_str()?;
        let given = parameters.get("Payload").cloned();
        Some(Self {
            name: function_name(name).unwrap_or(name).to_owned(),
            payload: given.unwrap_or_else(|| json!({})).into(),
            told,
        })
    }
}

/// The name in a function's ARN: `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`.
fn function_name(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let service = parts.nth(2)?;
    let kind = parts.nth(2)?;
    let name = parts.next()?;
    (service == "lambda" && kind == "function" && !name.is_empty()).then_some(name)
}

/// As the Lambda service answers an invocation.
pub(super) fn wrapped(output: &Payload) -> Payload {
    let payload: Value = output.value().clone();
    json!({ "ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200 }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(resource: &str, parameters: Value) -> Option<(String, String, Told)> {
        let how = How::of(resource, &parameters.into())?;
        Some((how.name, how.payload.text().to_owned(), how.told))
    }

    #[test]
    fn a_function_is_known_by_its_arn_or_by_its_name_in_an_invocation() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:pay";
        let bare = |told| Some(("pay".to_owned(), "{\"a\":1}".to_owned(), told));
        assert_eq!(how(arn, json!({"a": 1})), bare(Told::Bare));
        assert_eq!(
            how(&format!("{arn}:live"), json!({"a": 1})),
            bare(Told::Bare)
        );
        for name in ["pay", arn] {
            let parameters = json!({"FunctionName": name, "Payload": {"a": 1}});
            let resource = "arn:aws:states:::lambda:invoke";
            assert_eq!(how(resource, parameters.clone()), bare(Told::Wrapped));
            let waits = format!("{resource}.waitForTaskToken");
            assert_eq!(how(&waits, parameters), bare(Told::Submitted));
        }
        for other in [
            "arn:aws:states:::sqs:sendMessage",
            "arn:aws:states:us-east-1:000000000000:activity:pay",
            "pay",
            "",
        ] {
            assert_eq!(how(other, json!({})), None, "{other}");
        }
    }
}
