//! How an answer of a service becomes the result of a task, and a refusal its failure.
//!
//! Pure. Source of the names and sentences: recordings of tasks.

use serde_json::{Map, Value, json};

use super::{
    request::{Refusal, UNREACHABLE},
    resource::ServiceTask,
};
use crate::{payload::Failure, time::Timestamp};

/// A request to a service.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The task that it is made for.
    pub task: ServiceTask<'a>,
    /// Its id.
    pub request: String,
    /// When it is answered.
    pub now: Timestamp,
}

/// What an error is named after.
struct Names {
    /// Before the dot.
    prefix: &'static str,
    /// As causes name the service.
    service: &'static str,
    /// An error without a class of its own; `None`: all have one.
    other: Option<&'static str>,
}

fn names(task: ServiceTask<'_>) -> Names {
    let (prefix, service, other) = match (task.service, task.sdk) {
        ("dynamodb", false) => (
            "DynamoDB",
            "AmazonDynamoDBv2",
            Some("AmazonDynamoDBException"),
        ),
        ("dynamodb", true) => ("DynamoDb", "DynamoDb", Some("DynamoDbException")),
        ("sqs", false) => ("SQS", "AmazonSQS", Some("AmazonSQSException")),
        ("sqs", true) => ("Sqs", "Sqs", Some("SqsException")),
        (_, false) => ("StepFunctions", "AWSStepFunctions", None),
        (_, true) => ("Sfn", "Sfn", None),
    };
    Names {
        prefix,
        service,
        other,
    }
}

/// The class of an error in AWS's SDKs, where it has one.
fn class(code: &str) -> Option<String> {
    match Refusal::kind(code) {
        Some(kind) => Some(format!("{kind}Exception")),
        None if code == "ResourceNotFoundException" || code == "ResourceInUseException" => {
            Some(code.to_owned())
        }
        None => None,
    }
}

/// The failure of a task whose service refuses.
#[must_use]
pub fn failure(asked: &Asked<'_>, refusal: &Refusal) -> Failure {
    let Refusal { code, message } = refusal;
    let Names {
        prefix,
        service,
        other,
    } = names(asked.task);
    let class = match (class(code), other) {
        (Some(class), _) => class,
        _ if *code == UNREACHABLE => return Failure::new(format!("{prefix}.{code}"), message),
        (None, Some(class)) => class.to_owned(),
        (None, None) if code.ends_with("Exception") => (*code).to_owned(),
        (None, None) => format!("{code}Exception"),
    };
    let request = &asked.request;
    let cause = if !asked.task.sdk {
        format!(
            "{message} (Service: {service}; Status Code: 400; Error Code: {code}; Request ID: {request}; Proxy: null)"
        )
    } else if other.is_some() {
        format!("{message} (Service: {service}, Status Code: 400, Request ID: {request})")
    } else {
        format!(
            "{message} (Service: {service}, Status Code: 400, Request ID: {request}) (SDK Attempt Count: 1)"
        )
    };
    Failure::new(format!("{prefix}.{class}"), cause)
}

/// The action as the API names it: `putItem` is `PutItem`.
#[must_use]
pub fn action(task: ServiceTask<'_>) -> String {
    let mut letters = task.action.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}

/// The result of a task that a service has answered: the answer, to which those that are no SDK's add
/// what they know of the response.
#[must_use]
pub fn result(asked: &Asked<'_>, answer: Value) -> Value {
    if asked.task.sdk {
        return answer;
    }
    let length = answer.to_string().len().to_string();
    let date = asked.now.to_jiff().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let date = date.to_string();
    let headers = [
        ("connection", "keep-alive"),
        ("Content-Length", &length),
        ("Content-Type", "application/x-amz-json-1.0"),
        ("Date", &date),
        ("x-amzn-RequestId", &asked.request),
    ];
    let all = |value: &dyn Fn(&str) -> Value| -> Map<String, Value> {
        let headers = headers.iter();
        headers
            .map(|(name, text)| ((*name).to_owned(), value(text)))
            .collect()
    };
    let Value::Object(mut fields) = answer else {
        return answer;
    };
    let metadata = json!({
        "AllHttpHeaders": all(&|text| json!([text])),
        "HttpHeaders": all(&|text| text.into()),
        "HttpStatusCode": 200,
    });
    fields.insert("SdkHttpMetadata".to_owned(), metadata);
    fields.insert(
        "SdkResponseMetadata".to_owned(),
        json!({ "RequestId": asked.request }),
    );
    fields.sort_keys();
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(resource: &str) -> Asked<'_> {
        Asked {
            task: ServiceTask::of(resource).unwrap(),
            request: "r".to_owned(),
            now: Timestamp(0),
        }
    }

    #[test]
    fn errors_are_named_as_each_integration_names_them() {
        let missing = Refusal::new("ResourceNotFoundException", "Requested resource not found");
        let invalid = Refusal::new("ValidationException", "no");
        let queue = Refusal::new("AWS.SimpleQueueService.NonExistentQueue", "none");
        let machine = Refusal::new("StateMachineDoesNotExist", "none");
        for (resource, refusal, error, cause) in [
            (
                "arn:aws:states:::dynamodb:putItem",
                &missing,
                "DynamoDB.ResourceNotFoundException",
                "Requested resource not found (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ResourceNotFoundException; Request ID: r; Proxy: null)",
            ),
            (
                "arn:aws:states:::aws-sdk:dynamodb:putItem",
                &missing,
                "DynamoDb.ResourceNotFoundException",
                "Requested resource not found (Service: DynamoDb, Status Code: 400, Request ID: r)",
            ),
            (
                "arn:aws:states:::dynamodb:putItem",
                &invalid,
                "DynamoDB.AmazonDynamoDBException",
                "no (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ValidationException; Request ID: r; Proxy: null)",
            ),
            (
                "arn:aws:states:::aws-sdk:dynamodb:putItem",
                &invalid,
                "DynamoDb.DynamoDbException",
                "no (Service: DynamoDb, Status Code: 400, Request ID: r)",
            ),
            (
                "arn:aws:states:::sqs:sendMessage",
                &queue,
                "SQS.QueueDoesNotExistException",
                "none (Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.NonExistentQueue; Request ID: r; Proxy: null)",
            ),
            (
                "arn:aws:states:::states:startExecution",
                &machine,
                "StepFunctions.StateMachineDoesNotExistException",
                "none (Service: AWSStepFunctions; Status Code: 400; Error Code: StateMachineDoesNotExist; Request ID: r; Proxy: null)",
            ),
            (
                "arn:aws:states:::aws-sdk:sfn:startExecution",
                &machine,
                "Sfn.StateMachineDoesNotExistException",
                "none (Service: Sfn, Status Code: 400, Request ID: r) (SDK Attempt Count: 1)",
            ),
        ] {
            let failure = failure(&asked(resource), refusal);
            assert_eq!((&*failure.error, &*failure.cause), (error, cause));
        }
    }

    #[test]
    fn a_result_tells_of_its_response_but_the_sdks_does_not() {
        let answer = json!({ "MessageId": "m" });
        let plain = result(
            &asked("arn:aws:states:::aws-sdk:sqs:sendMessage"),
            answer.clone(),
        );
        assert_eq!(plain, answer);
        let told = result(&asked("arn:aws:states:::sqs:sendMessage"), answer);
        let names: Vec<_> = told.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["MessageId", "SdkHttpMetadata", "SdkResponseMetadata"]
        );
        let metadata = &told["SdkHttpMetadata"];
        assert_eq!(metadata["HttpStatusCode"], 200);
        assert_eq!(metadata["AllHttpHeaders"]["x-amzn-RequestId"], json!(["r"]));
        assert_eq!(metadata["HttpHeaders"]["Content-Length"], "17");
        assert_eq!(
            metadata["HttpHeaders"]["Date"],
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }
}
