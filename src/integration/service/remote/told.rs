//! How a task's result and its failure are told, whoever the service is: AWS, a server that speaks its
//! protocol, or this daemon.
//!
//! Pure. Spec: recordings of AWS Step Functions. Its own tasks (`dynamodb:putItem`) carry what the
//! transport said beside the service's answer, and their errors are worded by the SDK of 2010; those of
//! `aws-sdk:` are the answer alone, and worded by its successor.

use serde_json::{Map, Value, json};

use super::catalogue::{self, Service};
use crate::{
    integration::service::ServiceTask,
    payload::{Failure, Payload},
    time::Timestamp,
};

/// Most bytes of a result. Spec: the quota of a task's output, 256 KiB.
pub const RESULT_BYTES_MAX: usize = 256 * 1024;

/// Longest cause that is told. Spec: of `SendTaskFailure`, 32,768 characters.
const CAUSE_CHARS_MAX: usize = 32_768;

/// The code of a refusal that has none.
pub(super) const UNKNOWN: &str = "Unknown";

/// An answer that came over a connection, or that is told as if it had.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What the service says, with members as the task's result has them.
    pub value: Value,
    /// The HTTP status.
    pub status: u16,
    /// Headers in the order in which they came; the case of their names does not matter.
    pub headers: Vec<(String, String)>,
    /// What identifies the request.
    pub request_id: String,
}

impl Told {
    /// An answer of this daemon's own, in the clothes of a web server.
    #[must_use]
    pub fn of_ours(
        task: ServiceTask<'_>,
        value: Value,
        request_id: String,
        now: Timestamp,
    ) -> Self {
        let kind = match catalogue::find(task.service).map(|service| &service.protocol) {
            Some(catalogue::Protocol::Query { .. }) => "text/xml".to_owned(),
            Some(catalogue::Protocol::Json { version, .. }) => {
                format!("application/x-amz-json-{version}")
            }
            Some(
                catalogue::Protocol::S3
                | catalogue::Protocol::Lambda
                | catalogue::Protocol::Gateway,
            )
            | None => "application/json".to_owned(),
        };
        let date = now.to_jiff().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let headers = [
            ("x-amzn-RequestId", request_id.clone()),
            ("connection", "keep-alive".to_owned()),
            ("Content-Length", value.to_string().len().to_string()),
            ("Date", date.to_string()),
            ("Content-Type", kind),
        ];
        Self {
            value,
            status: 200,
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            request_id,
        }
    }
}

/// A refusal of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code of the error, as the service names it: `ResourceNotFoundException`.
    pub code: String,
    /// The name of the error in its model, where its code is another.
    pub shape: Option<String>,
    /// Why, for people.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
    /// What identifies the request.
    pub request_id: String,
    /// What identifies it to Amazon S3 beside that.
    pub extended_id: Option<String>,
    /// How often it was asked; from 1.
    pub attempts: u32,
}

/// The result of a task.
///
/// # Errors
/// If it is larger than [`RESULT_BYTES_MAX`], or is an answer of `putEvents` that some events are refused
/// with.
pub fn told(task: ServiceTask<'_>, told: Told) -> Result<Payload, Failure> {
    if !task.sdk && matches!(task.service, "events" | "eventbridge") {
        return events(task, told.value);
    }
    // Spec: an API's answer tells of its transport by itself.
    let value = if task.sdk || task.service == "apigateway" {
        told.value
    } else {
        with_transport(task, told)
    };
    sized(task, value)
}

fn sized(task: ServiceTask<'_>, value: Value) -> Result<Payload, Failure> {
    let payload = Payload::from(value);
    if payload.text().len() > RESULT_BYTES_MAX {
        return Err(too_large(task));
    }
    Ok(payload)
}

/// The failure of a task whose answer is too large.
pub(in crate::integration) fn too_large(task: ServiceTask<'_>) -> Failure {
    let (sdk, service) = (if task.sdk { "aws-sdk:" } else { "" }, task.service);
    let cause = format!(
        "The state/task '{sdk}{service}' returned a result with a size exceeding the maximum number of bytes service limit."
    );
    Failure::new("States.DataLimitExceeded", cause)
}

/// Spec: `putEvents` is told without its transport, and has failed where one event was refused.
fn events(task: ServiceTask<'_>, value: Value) -> Result<Payload, Failure> {
    let failed = value.get("FailedEntryCount").and_then(Value::as_u64);
    if failed.is_some_and(|failed| failed > 0) {
        return Err(Failure::new(
            "EventBridge.FailedEntry",
            cut(value.to_string()),
        ));
    }
    sized(task, value)
}

fn with_transport(task: ServiceTask<'_>, told: Told) -> Value {
    let mut shown: Vec<(String, String)> = told
        .headers
        .into_iter()
        .map(|(name, value)| (shown_header(task, &name), value))
        .collect();
    let all = shown.iter().fold(Map::new(), |mut all, (name, value)| {
        match all.get_mut(name) {
            Some(Value::Array(values)) => values.push(value.clone().into()),
            _ => drop(all.insert(name.clone(), json!([value]))),
        }
        all
    });
    shown.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
    let single: Map<String, Value> = shown
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let mut result = match told.value {
        Value::Object(members) => members,
        // Spec: an answer without members is told as its transport alone.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    result.insert(
        "SdkHttpMetadata".to_owned(),
        json!({"AllHttpHeaders": all, "HttpHeaders": single, "HttpStatusCode": told.status}),
    );
    result.insert(
        "SdkResponseMetadata".to_owned(),
        json!({"RequestId": told.request_id}),
    );
    result.sort_keys();
    result.into()
}

/// The name of a header as AWS's servers write it, which the transport does not keep.
fn shown_header(task: ServiceTask<'_>, name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "x-amzn-requestid" => "x-amzn-RequestId".to_owned(),
        "x-amzn-remapped-content-length" => "x-amzn-Remapped-Content-Length".to_owned(),
        "connection" if matches!(task.service, "sqs" | "sns" | "states") => lower,
        // Of these DynamoDB and Amazon S3 write none large, AWS Lambda all.
        other if other.starts_with("x-amz") && task.service != "lambda" => lower,
        other => {
            let words = other.split('-').map(super::members::large);
            words.collect::<Vec<_>>().join("-")
        }
    }
}

/// The failure of a task that the service refuses.
#[must_use]
pub fn failure(task: ServiceTask<'_>, refused: &Refused) -> Failure {
    let known = catalogue::find(task.service);
    let (prefix, label, base) = words(task, known);
    let shape = refused.shape.as_deref().unwrap_or(&refused.code);
    let own = shape != UNKNOWN && known.is_none_or(|service| service.errors.has(shape));
    let name = match (own, task.sdk) {
        (false, _) => base,
        (true, true) => class_of(&pascal(shape)),
        (true, false) => class_of(shape),
    };
    let Refused {
        code,
        message,
        status,
        request_id,
        ..
    } = refused;
    let cause = if task.sdk {
        let extended = refused.extended_id.as_ref();
        let extended =
            extended.map_or_else(String::new, |id| format!(", Extended Request ID: {id}"));
        // Spec: recordings of these are older than the attempts in causes; both are AWS's own words.
        let attempts = match prefix.as_str() {
            "DynamoDb" | "S3" | "SecretsManager" => String::new(),
            _ => format!(" (SDK Attempt Count: {})", refused.attempts),
        };
        format!(
            "{message} (Service: {label}, Status Code: {status}, Request ID: {request_id}{extended}){attempts}"
        )
    } else {
        format!(
            "{message} (Service: {label}; Status Code: {status}; Error Code: {code}; Request ID: {request_id}; Proxy: null)"
        )
    };
    Failure::new(format!("{prefix}.{name}"), cut(cause))
}

/// The failure of a task whose request does not come through, or cannot be made.
#[must_use]
pub fn unreachable(task: ServiceTask<'_>, why: &str) -> Failure {
    client_failure(task, &format!("Unable to execute HTTP request: {why}"))
}

/// The failure of a task that is this side's: of the request, or of an answer that is none.
pub(super) fn client_failure(task: ServiceTask<'_>, cause: &str) -> Failure {
    let (prefix, _, _) = words(task, catalogue::find(task.service));
    Failure::new(
        format!("{prefix}.SdkClientException"),
        cut(cause.to_owned()),
    )
}

/// What errors of a task begin with, what causes call its service, and what its errors are that have no
/// name.
fn words(task: ServiceTask<'_>, known: Option<&Service>) -> (String, String, String) {
    let (prefix, label) = match known {
        Some(service) if task.sdk => (service.id.to_owned(), service.id.to_owned()),
        Some(service) => (service.former.0.to_owned(), service.former.1.to_owned()),
        None => (pascal(task.service), pascal(task.service)),
    };
    let base = class_of(label.strip_suffix("v2").unwrap_or(&label));
    (prefix, label, base)
}

/// The class of an error in the SDKs.
fn class_of(shape: &str) -> String {
    if shape.ends_with("Exception") {
        return shape.to_owned();
    }
    format!("{}Exception", shape.strip_suffix("Fault").unwrap_or(shape))
}

/// As the newer SDK names classes: `KMSInternal` is `KmsInternal`; dots and dashes part words.
pub(super) fn pascal(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len());
    let mut begins = true;
    for (at, c) in chars.iter().copied().enumerate() {
        if !c.is_ascii_alphanumeric() {
            begins = true;
            continue;
        }
        let before = at.checked_sub(1).map(|before| chars[before]);
        let next_small = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let word = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && next_small)
            });
        out.push(if begins || word {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        });
        begins = false;
    }
    out
}

/// A cause within its bound.
pub(in crate::integration) fn cut(mut cause: String) -> String {
    if let Some((end, _)) = cause.char_indices().nth(CAUSE_CHARS_MAX) {
        cause.truncate(end);
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_the_newer_sdk_does() {
        for (name, class) in [
            ("KMSInvalidState", "KmsInvalidState"),
            ("DynamoDB", "DynamoDb"),
            ("QueueDoesNotExist", "QueueDoesNotExist"),
            ("secretsmanager", "Secretsmanager"),
            ("route53-resolver", "Route53Resolver"),
            ("", ""),
        ] {
            assert_eq!(pascal(name), class);
        }
        assert_eq!(class_of("ServiceFault"), "ServiceException");
        assert_eq!(
            class_of("InternalServerError"),
            "InternalServerErrorException"
        );
    }

    #[test]
    fn what_is_ours_is_told_as_if_it_came_over_a_connection() {
        let task = ServiceTask::of("arn:aws:states:::sqs:sendMessage").unwrap();
        let ours = Told::of_ours(
            task,
            json!({"MessageId": "m"}),
            "R1".to_owned(),
            Timestamp::from_millis(1_713_421_621_000),
        );
        let payload = told(task, ours).unwrap();
        assert_eq!(
            payload.value()["SdkHttpMetadata"]["HttpHeaders"],
            json!({
                "Content-Length": "17", "Content-Type": "application/x-amz-json-1.0",
                "Date": "Thu, 18 Apr 2024 06:27:01 GMT", "connection": "keep-alive", "x-amzn-RequestId": "R1",
            })
        );
    }

    #[test]
    fn a_service_that_nobody_knows_has_names_nevertheless() {
        let task = ServiceTask::of("arn:aws:states:::aws-sdk:newservice:do").unwrap();
        assert_eq!(
            unreachable(task, "no").error,
            "Newservice.SdkClientException"
        );
    }
}
