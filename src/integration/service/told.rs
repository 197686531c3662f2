//! How an answer of a service becomes the result of a task, and a refusal its failure.
//!
//! Pure. Source of the names and sentences: recordings of tasks that failed.

use serde_json::Value;

use super::{embedded::Embedded, request::Refusal, resource::ServiceTask};
use crate::payload::Failure;

/// What an error is named after.
struct Names {
    /// Before the dot.
    prefix: &'static str,
    /// As causes name the service.
    service: &'static str,
    /// An error without a class of its own.
    other: &'static str,
}

fn names(service: Embedded, sdk: bool) -> Names {
    let (prefix, service, other) = match (service, sdk) {
        (Embedded::DynamoDb, false) => ("DynamoDB", "AmazonDynamoDBv2", "AmazonDynamoDBException"),
        (Embedded::DynamoDb, true) => ("DynamoDb", "DynamoDb", "DynamoDbException"),
        (Embedded::Sqs, false) => ("SQS", "AmazonSQS", "AmazonSQSException"),
        (Embedded::Sqs, true) => ("Sqs", "Sqs", "SqsException"),
    };
    Names {
        prefix,
        service,
        other,
    }
}

/// The class of an error in AWS's SDKs, where it has one.
fn class(code: &str) -> Option<&str> {
    match code {
        "AWS.SimpleQueueService.NonExistentQueue" => Some("QueueDoesNotExistException"),
        "QueueAlreadyExists" => Some("QueueNameExistsException"),
        "ReceiptHandleIsInvalid" => Some("ReceiptHandleIsInvalidException"),
        "ResourceNotFoundException" | "ResourceInUseException" => Some(code),
        _ => None,
    }
}

/// The failure of a task whose service refuses; `request` is the request's id.
#[must_use]
pub fn failure(
    service: Embedded,
    task: ServiceTask<'_>,
    refusal: &Refusal,
    request: &str,
) -> Failure {
    let names = names(service, task.sdk);
    let error = format!(
        "{}.{}",
        names.prefix,
        class(refusal.code).unwrap_or(names.other)
    );
    let (message, by) = (&refusal.message, names.service);
    let cause = if task.sdk {
        format!("{message} (Service: {by}, Status Code: 400, Request ID: {request})")
    } else {
        let code = refusal.code;
        format!(
            "{message} (Service: {by}; Status Code: 400; Error Code: {code}; Request ID: {request}; Proxy: null)"
        )
    };
    Failure::new(error, cause)
}

/// The action as the API names it: `putItem` is `PutItem`.
#[must_use]
pub fn action(task: ServiceTask<'_>) -> String {
    let mut letters = task.action.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}

/// The result of a task that a service has answered.
#[must_use]
pub fn result(_task: ServiceTask<'_>, answer: Value) -> Value {
    answer
}
