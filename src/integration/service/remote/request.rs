//! What is sent: the parameters of a task as a request of the service's protocol.
//!
//! Pure. Invariant: parameters say what is asked, never whom: scheme, host and port are nobody's but the
//! settings' and AWS's.

use serde_json::{Map, Value};

use super::{
    catalogue::{Protocol, Service},
    gateway, members, s3,
};
use crate::{integration::service::ServiceTask, payload::Failure};

/// Longest path with its query. AWS's own servers take some 8 KiB.
pub(super) const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a body: a task's parameters are 256 KiB at most, and forms encode a byte as three.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Most headers of a request; what a service defines is some dozens.
pub(super) const HEADERS_MAX: usize = 100;

/// A request without whom it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// `POST`.
    pub(super) method: &'static str,
    /// What is put in front of AWS's own host, where there is nothing else in the way: a bucket.
    pub(super) bucket: Option<String>,
    /// Percent-encoded, from its first slash on.
    pub(super) path: String,
    /// Names and values as they are, before they are encoded.
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Vec<u8>,
    /// It is signed.
    pub(super) signed: bool,
}

impl Request {
    pub(super) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            bucket: None,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            signed: true,
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The query as it is sent, without `?`.
    pub(super) fn query_string(&self) -> String {
        let pairs = self.query.iter();
        let encoded = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        encoded.collect::<Vec<_>>().join("&")
    }
}

/// The request of a task; why there is none, else.
pub(super) fn request(
    task: ServiceTask<'_>,
    service: &Service,
    parameters: &Value,
) -> Result<Request, Failure> {
    let Value::Object(_) = parameters else {
        return Err(refuse(
            "the parameters of a task of a service are an object",
        ));
    };
    let whole = parameters;
    // Why in this order: documents that are texts for the service are the user's, and keep their nulls.
    let parameters = members::without_nulls(&texts(task, parameters.clone()));
    let operation = members::large(task.action);
    let request = match &service.protocol {
        Protocol::Json {
            target,
            version,
            small,
        } => {
            let parameters = match small {
                Some(users) => members::renamed(parameters, members::small, users),
                None => parameters,
            };
            let mut request = Request::new("POST", "/")
                .header("content-type", format!("application/x-amz-json-{version}"))
                .header("x-amz-target", format!("{target}.{operation}"));
            request.body = parameters.to_string().into_bytes();
            request
        }
        Protocol::Query { version } => {
            let mut form = vec![
                ("Action".to_owned(), operation),
                ("Version".to_owned(), (*version).to_owned()),
            ];
            flatten(&mut form, "", &parameters);
            let pairs = form
                .iter()
                .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
            let mut request = Request::new("POST", "/").header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            );
            request.body = pairs.collect::<Vec<_>>().join("&").into_bytes();
            request
        }
        Protocol::S3 => s3::request(task.action, &parameters, whole)?,
        Protocol::Lambda => lambda(task.action, &parameters, whole)?,
        Protocol::Gateway => gateway::request(task.action, &parameters, whole)?,
    };
    bounded(request)
}

fn bounded(request: Request) -> Result<Request, Failure> {
    let target = request.path.len() + request.query_string().len();
    let headers: usize = request
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if target > TARGET_BYTES_MAX || headers > TARGET_BYTES_MAX {
        return Err(refuse(format!(
            "the parameters make a URL or headers of more than {TARGET_BYTES_MAX} bytes"
        )));
    }
    if request.headers.len() > HEADERS_MAX || request.body.len() > BODY_BYTES_MAX {
        return Err(refuse(format!(
            "the parameters make more than {HEADERS_MAX} headers, or a body of more than {BODY_BYTES_MAX} bytes"
        )));
    }
    Ok(request)
}

/// A request that cannot be made of the parameters.
pub(super) fn refuse(why: impl Into<String>) -> Failure {
    // Spec: what Step Functions says of parameters that its SDK does not take.
    Failure {
        retry: Some(false),
        ..Failure::new("States.Runtime", why)
    }
}

/// Members that are texts for the service and may be JSON for a task: (service, action, member).
const TEXTS: [(&str, &str, &str); 7] = [
    ("sqs", "sendMessage", "MessageBody"),
    ("sns", "publish", "Message"),
    ("events", "putEvents", "Detail"),
    ("eventbridge", "putEvents", "Detail"),
    ("states", "startExecution", "Input"),
    ("sfn", "startExecution", "Input"),
    ("sfn", "startSyncExecution", "Input"),
];

/// Writes out what a task may say as JSON where the service wants its text.
fn texts(task: ServiceTask<'_>, mut parameters: Value) -> Value {
    for (service, action, member) in TEXTS {
        if service != task.service || action != task.action {
            continue;
        }
        text(&mut parameters, member);
        if let Some(Value::Array(entries)) = parameters.get_mut("Entries") {
            for entry in entries {
                text(entry, member);
            }
        }
    }
    if task.service == "dynamodb" {
        return numbers(parameters);
    }
    parameters
}

fn text(of: &mut Value, member: &str) {
    if let Some(value) = of.get_mut(member)
        && !value.is_string()
        && !value.is_null()
    {
        *value = value.to_string().into();
    }
}

/// Spec: DynamoDB takes numbers as texts alone (`{"N": "1"}`); the SDK makes them of numbers.
fn numbers(value: Value) -> Value {
    let as_text = |value: Value| {
        if value.is_number() {
            value.to_string().into()
        } else {
            value
        }
    };
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("N", value @ Value::Number(_)) => as_text(value),
                    ("NS", Value::Array(values)) => values.into_iter().map(as_text).collect(),
                    (_, value) => numbers(value),
                };
                (name, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements.into_iter().map(numbers).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// Maps of the query protocol, whose keys are the user's: member, and what their parts are called.
const MAPS: [(&str, &str, &str); 2] = [
    ("MessageAttributes", "Name", "Value"),
    ("Attributes", "key", "value"),
];

/// Spec: the query protocol names what is nested by its way there, and counts lists from 1.
fn flatten(form: &mut Vec<(String, String)>, prefix: &str, value: &Value) {
    let below = |name: &str| match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    };
    match value {
        Value::Object(members) => {
            let last = prefix.rsplit('.').next().unwrap_or_default();
            let map = MAPS.iter().find(|(name, _, _)| *name == last);
            for (at, (name, value)) in members.iter().enumerate() {
                if let Some((_, key, part)) = map {
                    form.push((below(&format!("entry.{}.{key}", at + 1)), name.clone()));
                    flatten(form, &below(&format!("entry.{}.{part}", at + 1)), value);
                } else {
                    flatten(form, &below(name), value);
                }
            }
        }
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                flatten(form, &below(&format!("member.{}", at + 1)), element);
            }
        }
        Value::String(text) => form.push((prefix.to_owned(), text.clone())),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => {
            form.push((prefix.to_owned(), other.to_string()));
        }
    }
}

/// AWS Lambda: `invoke` alone; all its other operations are about functions, not of them. `parameters` are
/// without nulls, of which `whole` has all.
fn lambda(action: &str, parameters: &Value, whole: &Value) -> Result<Request, Failure> {
    if action != "invoke" {
        return Err(unknown("lambda", action, &["invoke"]));
    }
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let Some(function) = text("FunctionName").filter(|name| is_function(name)) else {
        return Err(refuse(
            "FunctionName is missing, or is no name of a function",
        ));
    };
    // Why as it is: a colon in a path is signed as one that was never encoded.
    let mut request = Request::new(
        "POST",
        format!("/2015-03-31/functions/{function}/invocations"),
    )
    .header("content-type", "application/json");
    if let Some(qualifier) = text("Qualifier") {
        request
            .query
            .push(("Qualifier".to_owned(), qualifier.to_owned()));
    }
    for (name, header) in [
        ("InvocationType", "x-amz-invocation-type"),
        ("LogType", "x-amz-log-type"),
        ("ClientContext", "x-amz-client-context"),
    ] {
        if let Some(value) = text(name) {
            request = request.header(header, value);
        }
    }
    request.body = match whole.get("Payload") {
        None | Some(Value::Null) => b"{}".to_vec(),
        Some(payload) => payload.to_string().into_bytes(),
    };
    Ok(request)
}

/// Spec: a name, a partial ARN or an ARN, with a version or an alias behind it.
fn is_function(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_:$".contains(&b);
    !name.is_empty() && name.len() <= 170 && name.bytes().all(plain)
}

/// An action that this client does not speak.
pub(super) fn unknown(service: &str, action: &str, known: &[&str]) -> Failure {
    refuse(format!(
        "{service}:{action} is not known here; of {service} there are {}",
        known.join(", ")
    ))
}

/// Percent-encodes all but what RFC 3986 calls unreserved, as signatures want it.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integration::service::remote::catalogue;

    fn of(resource: &str, parameters: &Value) -> Result<Request, Failure> {
        let task = ServiceTask::of(resource).unwrap();
        request(task, catalogue::find(task.service).unwrap(), parameters)
    }

    fn body(resource: &str, parameters: &Value) -> String {
        String::from_utf8(of(resource, parameters).unwrap().body).unwrap()
    }

    #[test]
    fn json_services_get_a_document_and_the_name_of_the_operation() {
        let request = of(
            "arn:aws:states:::dynamodb:putItem",
            &json!({"TableName": "t", "Item": {"id": {"N": 1.50}, "s": {"NS": [1, "2"]}}, "ReturnValues": null}),
        )
        .unwrap();
        assert_eq!(
            request.headers[1],
            (
                "x-amz-target".to_owned(),
                "DynamoDB_20120810.PutItem".to_owned()
            )
        );
        assert_eq!(
            String::from_utf8(request.body).unwrap(),
            r#"{"TableName":"t","Item":{"id":{"N":"1.5"},"s":{"NS":["1","2"]}}}"#
        );
        assert_eq!(
            body(
                "arn:aws:states:::aws-sdk:ecs:runTask",
                &json!({"Cluster": "c", "Overrides": {"ContainerOverrides": [{"Name": "n"}]}})
            ),
            r#"{"cluster":"c","overrides":{"containerOverrides":[{"name":"n"}]}}"#
        );
    }

    #[test]
    fn what_is_text_for_the_service_may_be_json_for_the_task() {
        assert_eq!(
            body(
                "arn:aws:states:::sqs:sendMessage",
                &json!({"QueueUrl": "u", "MessageBody": {"a": [1]}})
            ),
            r#"{"QueueUrl":"u","MessageBody":"{\"a\":[1]}"}"#
        );
        assert_eq!(
            body(
                "arn:aws:states:::events:putEvents",
                &json!({"Entries": [{"Detail": {"a": 1}}, {"Detail": "\"x\""}]})
            ),
            r#"{"Entries":[{"Detail":"{\"a\":1}"},{"Detail":"\"x\""}]}"#
        );
    }

    /// Nulls of what the user sends are the user's.
    #[test]
    fn documents_of_the_user_keep_their_nulls() {
        let document = json!({"a": null, "b": [null, {"c": null}]});
        let text = document.to_string();
        for (resource, parameters, sent) in [
            (
                "lambda:invoke",
                json!({"FunctionName": "f", "Qualifier": null, "Payload": document}),
                text.clone(),
            ),
            (
                "lambda:invoke",
                json!({"FunctionName": "f", "Payload": null}),
                "{}".to_owned(),
            ),
            (
                "aws-sdk:s3:putObject",
                json!({"Bucket": "b", "Key": "k", "CacheControl": null, "Body": document}),
                text.clone(),
            ),
            (
                "sqs:sendMessage",
                json!({"QueueUrl": "u", "DelaySeconds": null, "MessageBody": document}),
                json!({"QueueUrl": "u", "MessageBody": text}).to_string(),
            ),
            (
                "events:putEvents",
                json!({"Entries": [{"Detail": document, "Source": null}]}),
                json!({"Entries": [{"Detail": text}]}).to_string(),
            ),
            (
                "aws-sdk:sfn:startSyncExecution",
                json!({"Input": document, "Name": null}),
                json!({"input": text}).to_string(),
            ),
            (
                "states:startExecution",
                json!({"Input": null}),
                "{}".to_owned(),
            ),
        ] {
            let resource = format!("arn:aws:states:::{resource}");
            assert_eq!(body(&resource, &parameters), sent, "{resource}");
        }
    }

    #[test]
    fn the_query_protocol_flattens_lists_and_maps() {
        assert_eq!(
            body(
                "arn:aws:states:::sns:publish",
                &json!({"TopicArn": "arn:x", "Message": {"a": "b c"}, "MessageAttributes": {"n": {"DataType": "String", "StringValue": "v&"}}})
            ),
            "Action=Publish&Version=2010-03-31&TopicArn=arn%3Ax&Message=%7B%22a%22%3A%22b%20c%22%7D&MessageAttributes.entry.1.Name=n&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=v%26"
        );
        assert_eq!(
            body(
                "arn:aws:states:::aws-sdk:sns:untagResource",
                &json!({"TagKeys": ["a", true]})
            ),
            "Action=UntagResource&Version=2010-03-31&TagKeys.member.1=a&TagKeys.member.2=true"
        );
    }

    #[test]
    fn what_makes_no_request_is_refused() {
        for (resource, parameters) in [
            ("arn:aws:states:::dynamodb:putItem", json!("text")),
            ("arn:aws:states:::lambda:invoke", json!({})),
            (
                "arn:aws:states:::lambda:invoke",
                json!({"FunctionName": "a/../b"}),
            ),
            ("arn:aws:states:::aws-sdk:lambda:listFunctions", json!({})),
            (
                "arn:aws:states:::aws-sdk:s3:getObject",
                json!({"Bucket": "b", "Key": "k".repeat(9000)}),
            ),
            (
                "arn:aws:states:::sns:publish",
                json!({"Message": "ä".repeat(BODY_BYTES_MAX / 6 + 1)}),
            ),
        ] {
            let failure = of(resource, &parameters).unwrap_err();
            assert_eq!(failure.error, "States.Runtime", "{resource}");
            assert_eq!(failure.retry, Some(false));
        }
    }
}
