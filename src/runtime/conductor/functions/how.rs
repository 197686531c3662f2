//! How a state's resource names a function, and how its result becomes the task's.
//!
//! Pure: text in, text out. Spec: the ARN of a function, and the `lambda:invoke` integration.

use serde_json::{Map, Value, json};

use crate::{
    payload::Payload,
    plugin::{request_id, trace_id},
    time::Timestamp,
};

/// Which function, with what, and how its result is told.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::runtime::conductor) struct How {
    /// The function's name; with `:VERSION` or `:ALIAS` where one is asked for.
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
                name: function_name(resource)?,
                payload: payload.clone(),
                told,
            });
        }
        let parameters = payload.value();
        let name = parameters.get("FunctionName")?.as_str()?;
        Some(Self {
            name: invoked_name(name, parameters.get("Qualifier").and_then(Value::as_str)),
            payload: event(parameters.get("Payload")),
            told,
        })
    }
}

/// The version of a function that has no number of its own: the one in force.
const LATEST: &str = "$LATEST";

/// The name in a function's ARN: `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`.
fn function_name(arn: &str) -> Option<String> {
    let mut parts = arn.split(':');
    let service = parts.nth(2)?;
    let kind = parts.nth(2)?;
    let name = parts.next()?;
    (service == "lambda" && kind == "function" && !name.is_empty())
        .then(|| qualified(name, parts.next()))
}

/// The name in `FunctionName`: an ARN, `ACCOUNT:function:NAME`, or a name; the last two with a qualifier or
/// without. The parameter `Qualifier` wins.
fn invoked_name(given: &str, qualifier: Option<&str>) -> String {
    let name = function_name(given).unwrap_or_else(|| {
        let part = given
            .split_once(":function:")
            .map_or(given, |(_, name)| name);
        let (name, own) = parts(part);
        qualified(name, own)
    });
    match qualifier {
        Some(_) => qualified(parts(&name).0, qualifier),
        None => name,
    }
}

fn qualified(name: &str, qualifier: Option<&str>) -> String {
    match qualifier.filter(|qualifier| *qualifier != LATEST) {
        Some(qualifier) => format!("{name}:{qualifier}"),
        None => name.to_owned(),
    }
}

/// A function's name, and the version or alias that it is asked for by.
pub(super) fn parts(name: &str) -> (&str, Option<&str>) {
    name.split_once(':')
        .map_or((name, None), |(name, qualifier)| (name, Some(qualifier)))
}

/// The event of an invocation: none is an empty object, and a text is the event's own text, as AWS takes it.
fn event(given: Option<&Value>) -> Payload {
    match given {
        None | Some(Value::Null) => json!({}).into(),
        Some(Value::String(text)) => {
            let parsed = Payload::parse(text.as_str());
            // Why taken as it is where it is no JSON: what is meant is clear, and AWS only refuses it.
            parsed.unwrap_or_else(|_| Value::from(text.as_str()).into())
        }
        Some(other) => other.clone().into(),
    }
}

/// As the Lambda service answers an invocation with this key, with what its SDK adds; `version` is the one
/// that did it, where it was asked for by number or alias.
pub(super) fn wrapped(
    output: &Payload,
    key: &str,
    version: Option<u32>,
    now: Timestamp,
) -> Payload {
    let version = version.map_or_else(|| LATEST.to_owned(), |version| version.to_string());
    let request = request_id(key);
    let length = output.text().len().to_string();
    let date = now
        .to_jiff()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let trace = trace_id(key, now);
    let headers = [
        ("Connection", "keep-alive"),
        ("Content-Length", &length),
        ("Content-Type", "application/json"),
        ("Date", &date),
        ("X-Amz-Executed-Version", &version),
        ("x-amzn-Remapped-Content-Length", "0"),
        ("x-amzn-RequestId", &request),
        ("X-Amzn-Trace-Id", &trace),
    ];
    let each = |told: fn(&str) -> Value| -> Map<String, Value> {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), told(value));
        headers.into_iter().map(pair).collect()
    };
    json!({
        "ExecutedVersion": version,
        "Payload": output.value(),
        "SdkHttpMetadata": {
            "AllHttpHeaders": each(|value| json!([value])),
            "HttpHeaders": each(|value| json!(value)),
            "HttpStatusCode": 200,
        },
        "SdkResponseMetadata": { "RequestId": request },
        "StatusCode": 200,
    })
    .into()
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
        let of = |name: &str, told| Some((name.to_owned(), "{\"a\":1}".to_owned(), told));
        let bare = |told| of("pay", told);
        for (qualifier, name) in [
            ("", "pay"),
            (":$LATEST", "pay"),
            (":live", "pay:live"),
            (":3", "pay:3"),
        ] {
            assert_eq!(
                how(&format!("{arn}{qualifier}"), json!({"a": 1})),
                of(name, Told::Bare)
            );
            for given in [arn, "pay", "000000000000:function:pay"] {
                let parameters =
                    json!({"FunctionName": format!("{given}{qualifier}"), "Payload": {"a": 1}});
                assert_eq!(
                    how("arn:aws:states:::lambda:invoke", parameters),
                    of(name, Told::Wrapped)
                );
            }
        }
        let parameters =
            json!({"FunctionName": format!("{arn}:2"), "Qualifier": "3", "Payload": {"a": 1}});
        assert_eq!(
            how("arn:aws:states:::lambda:invoke", parameters),
            of("pay:3", Told::Wrapped)
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

    #[test]
    fn the_event_of_an_invocation_may_be_a_text_or_nothing() {
        for (given, event) in [
            (json!({"FunctionName": "pay"}), "{}"),
            (json!({"FunctionName": "pay", "Payload": null}), "{}"),
            (
                json!({"FunctionName": "pay", "Payload": "[1.50]"}),
                "[1.50]",
            ),
            (
                json!({"FunctionName": "pay", "Payload": "\"text\""}),
                "\"text\"",
            ),
            (
                json!({"FunctionName": "pay", "Payload": "text"}),
                "\"text\"",
            ),
            (json!({"FunctionName": "pay", "Payload": [1]}), "[1]"),
        ] {
            let (_, payload, _) = how("arn:aws:states:::lambda:invoke", given.clone()).unwrap();
            assert_eq!(payload, event, "{given}");
        }
    }

    #[test]
    fn an_answer_has_what_the_sdk_adds() {
        let now = Timestamp(1_795_687_200_000_000);
        let answer = wrapped(&Payload::parse("[1]").unwrap(), "7-0-1", None, now);
        let answer = answer.value();
        assert_eq!(answer["Payload"], json!([1]));
        assert_eq!(answer["StatusCode"], 200);
        let request = &answer["SdkResponseMetadata"]["RequestId"];
        let headers = &answer["SdkHttpMetadata"]["HttpHeaders"];
        assert_eq!(&headers["x-amzn-RequestId"], request);
        assert_eq!(headers["Content-Length"], "3");
        assert_eq!(headers["Date"], "Thu, 26 Nov 2026 10:00:00 GMT");
        let all = &answer["SdkHttpMetadata"]["AllHttpHeaders"];
        assert_eq!(all["Content-Type"], json!(["application/json"]));
    }
}
