//! What came back: the answer of a service as the value of a task's result, or as its refusal.
//!
//! Pure. Invariant: whatever a server sends is an answer, a refusal or a failure; the bounds of its size
//! were kept by whoever read it.

use serde_json::{Map, Value};

use super::{
    catalogue::{Protocol, Service},
    gateway, members, s3,
    told::{Refused, Told, UNKNOWN, client_failure, cut},
    xml::Element,
};
use crate::{integration::service::ServiceTask, payload::Failure};

/// A response, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::integration) struct Response {
    /// The HTTP status.
    pub(in crate::integration) status: u16,
    /// In the order in which they came.
    pub(in crate::integration) headers: Vec<(String, String)>,
    /// Its body, decoded.
    pub(in crate::integration) body: Vec<u8>,
}

impl Response {
    /// The first header of a name.
    pub(in crate::integration) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn request_id(&self) -> String {
        let names = ["x-amzn-requestid", "x-amz-request-id"];
        let found = names.iter().find_map(|name| self.header(name));
        found.unwrap_or_default().to_owned()
    }
}

/// What a response is.
#[derive(Debug)]
pub(super) enum Answer {
    /// What was asked for.
    Told(Told),
    /// The service refuses.
    Refused(Refused),
    /// It is neither, or the task has failed by it.
    Failed(Failure),
}

/// Reads a response.
pub(super) fn answer(task: ServiceTask<'_>, service: &Service, response: Response) -> Answer {
    if matches!(service.protocol, Protocol::Gateway) {
        return match gateway::value(&response) {
            Ok(value) => Answer::Told(Told {
                value,
                status: response.status,
                request_id: response.request_id(),
                headers: response.headers,
            }),
            Err(failure) => Answer::Failed(failure),
        };
    }
    let refuses = matches!(service.protocol, Protocol::S3) && s3::refuses(task.action, &response);
    if refuses || !(200..300).contains(&response.status) {
        return Answer::Refused(refused(task, service, &response));
    }
    let read = match &service.protocol {
        Protocol::Json { small, .. } => of_json(&response, *small),
        Protocol::Query { .. } => of_query(task, &response),
        Protocol::S3 => s3::value(task.action, &response).map(|value| (value, None)),
        Protocol::Lambda => match of_lambda(task, &response) {
            Ok(value) => Some((value, None)),
            Err(failure) => return Answer::Failed(failure),
        },
        Protocol::Gateway => None,
    };
    let Some((value, request_id)) = read else {
        let cause = format!(
            "Unable to unmarshall response: it is not what the service's protocol has. Response Code: {}",
            response.status
        );
        return Answer::Failed(client_failure(task, &cause));
    };
    Answer::Told(Told {
        value,
        status: response.status,
        request_id: request_id.unwrap_or_else(|| response.request_id()),
        headers: response.headers,
    })
}

/// What was read, and the id of the request where the body tells it.
type Read = Option<(Value, Option<String>)>;

fn of_json(response: &Response, small: Option<&[&str]>) -> Read {
    // Spec: an operation without an answer has an empty body.
    if response.body.is_empty() {
        return Some((Map::new().into(), None));
    }
    let value: Value = serde_json::from_slice(&response.body).ok()?;
    if !value.is_object() {
        return None;
    }
    let value = match small {
        Some(users) => members::renamed(value, members::large, users),
        None => value,
    };
    // Spec: what the SDK reads as null is not there.
    let value = members::without_nulls(&value);
    Some((members::with_dates(value), None))
}

fn of_query(task: ServiceTask<'_>, response: &Response) -> Read {
    let root = Element::parse(&String::from_utf8_lossy(&response.body))?;
    let operation = members::large(task.action);
    if root.name != format!("{operation}Response") {
        return None;
    }
    let metadata = root.child("ResponseMetadata");
    let request_id = metadata.and_then(|metadata| metadata.text_of("RequestId"));
    let result = root.child(&format!("{operation}Result"));
    let value = result.map(|result| result.value(&[], |_, text| text.into()));
    let value = value.filter(Value::is_object);
    Some((
        value.unwrap_or_else(|| Map::new().into()),
        request_id.map(str::to_owned),
    ))
}

/// What is said of a function's error that has no type, before what it answered. Spec: recordings.
const UNKNOWN_CAUSE: &str = "The cause could not be determined because Lambda did not return an error type. Returned payload: ";

/// Spec: a function's answer is its `Payload`, its error the task's own, with the answer as the cause.
fn of_lambda(task: ServiceTask<'_>, response: &Response) -> Result<Value, Failure> {
    let text = String::from_utf8_lossy(&response.body);
    let payload: Option<Value> = serde_json::from_str(&text).ok();
    if response.header("x-amz-function-error").is_some() {
        let named = payload
            .as_ref()
            .and_then(|payload| payload.get("errorType"));
        let failure = match named.and_then(Value::as_str) {
            Some(error) => Failure::new(error, cut(text.into_owned())),
            None => Failure::new("Lambda.Unknown", cut(format!("{UNKNOWN_CAUSE}{text}"))),
        };
        return Err(failure);
    }
    let mut members = Map::new();
    for (member, header) in [
        ("ExecutedVersion", "x-amz-executed-version"),
        ("LogResult", "x-amz-log-result"),
    ] {
        if let Some(value) = response.header(header) {
            members.insert(member.to_owned(), value.into());
        }
    }
    let payload = payload.filter(|_| !task.sdk);
    if !text.is_empty() {
        let payload = payload.unwrap_or_else(|| text.into_owned().into());
        members.insert("Payload".to_owned(), payload);
    }
    members.insert("StatusCode".to_owned(), response.status.into());
    Ok(members.into())
}

fn refused(task: ServiceTask<'_>, service: &Service, response: &Response) -> Refused {
    let text = String::from_utf8_lossy(&response.body);
    let read = match service.protocol {
        Protocol::Json { .. } | Protocol::Lambda | Protocol::Gateway => refused_json(&text),
        Protocol::Query { .. } | Protocol::S3 => refused_xml(&text),
    };
    let said = read.unwrap_or_default();
    let named = response.header("x-amzn-errortype").map(shape_of);
    let shape = said.code.or(named).unwrap_or_else(|| {
        let of_status = match service.protocol {
            Protocol::S3 => s3::code_of_status(task.action, response.status),
            Protocol::Json { .. }
            | Protocol::Lambda
            | Protocol::Query { .. }
            | Protocol::Gateway => UNKNOWN,
        };
        of_status.to_owned()
    });
    // Spec: a service that spoke the query protocol before tells the codes that it had then.
    let code = response
        .header("x-amzn-query-error")
        .and_then(|error| error.split(';').next())
        .map_or_else(|| shape.clone(), str::to_owned);
    Refused {
        shape: (code != shape).then_some(shape),
        code,
        message: said.message.unwrap_or_else(|| "null".to_owned()),
        status: response.status,
        request_id: said.request_id.unwrap_or_else(|| response.request_id()),
        extended_id: said
            .extended_id
            .or_else(|| response.header("x-amz-id-2").map(str::to_owned)),
        attempts: 1,
    }
}

/// What a body says of a refusal.
#[derive(Default)]
struct Said {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    extended_id: Option<String>,
}

fn refused_json(text: &str) -> Option<Said> {
    let body: Value = serde_json::from_str(text).ok()?;
    let member = |names: &[&str]| {
        let found = names.iter().find_map(|name| body.get(*name)?.as_str());
        found.map(str::to_owned)
    };
    Some(Said {
        code: member(&["__type", "code"]).as_deref().map(shape_of),
        message: member(&["message", "Message", "errorMessage"]),
        ..Said::default()
    })
}

fn refused_xml(text: &str) -> Option<Said> {
    let root = Element::parse(text)?;
    let error = root.find("Error")?;
    let member = |name: &str| error.text_of(name).map(str::to_owned);
    let outside = || root.find("RequestId").map(|id| id.text.clone());
    Some(Said {
        code: member("Code"),
        message: member("Message"),
        request_id: member("RequestId").or_else(outside),
        extended_id: member("HostId"),
    })
}

/// `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException:http://..` is named by what is between.
fn shape_of(written: &str) -> String {
    let written = written.split(':').next().unwrap_or_default();
    let shape = written.rsplit('#').next().unwrap_or_default();
    shape.chars().take(SHAPE_CHARS_MAX).collect()
}

/// Longest name of an error; the longest of AWS's are some sixty characters.
const SHAPE_CHARS_MAX: usize = 128;

impl Refused {
    /// Whether the same request may succeed a moment later.
    ///
    /// Spec: the standard retry mode of AWS's SDKs.
    pub(super) fn is_transient(&self) -> bool {
        const CODES: [&str; 15] = [
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            // Of a copy that was begun with 200; others have 500.
            "InternalError",
            "LimitExceededException",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestTimeout",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TransactionInProgressException",
        ];
        let named = |code: &str| CODES.contains(&code);
        matches!(self.status, 429 | 500 | 502 | 503 | 504)
            || named(&self.code)
            || self.shape.as_deref().is_some_and(named)
            || self.code == "TooManyRequestsException"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integration::service::remote::{catalogue, told};

    fn read(resource: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let task = ServiceTask::of(resource).unwrap();
        let headers = headers.iter();
        let response = Response {
            status,
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.as_bytes().to_vec(),
        };
        answer(task, catalogue::find(task.service).unwrap(), response)
    }

    fn failure(
        resource: &str,
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (String, String) {
        let task = ServiceTask::of(resource).unwrap();
        let failure = match read(resource, status, headers, body) {
            Answer::Told(told) => told::told(task, told).unwrap_err(),
            Answer::Refused(refused) => told::failure(task, &refused),
            Answer::Failed(failure) => failure,
        };
        (failure.error, failure.cause)
    }

    fn value(resource: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Value {
        let task = ServiceTask::of(resource).unwrap();
        match read(resource, status, headers, body) {
            Answer::Told(told) => told::told(task, told).unwrap().value().clone(),
            other @ (Answer::Refused(_) | Answer::Failed(_)) => panic!("{other:?}"),
        }
    }

    /// What a service answers (task, status, headers, body), and the error and the cause of its task.
    type Recorded = (
        &'static str,
        u16,
        &'static [(&'static str, &'static str)],
        &'static str,
        &'static str,
        &'static str,
    );

    const ID: &[(&str, &str)] = &[("x-amzn-RequestId", "R1")];
    const MISSING: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}"#;
    const INVALID: &str = r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"1 validation error detected: Value null at 'item' failed to satisfy constraint: Member must not be null"}"#;
    const TOPIC: &str = "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>Invalid parameter: The MessageGroupId parameter is required for FIFO topics</Message></Error><RequestId>R1</RequestId></ErrorResponse>";
    const BUCKET: &str = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message><RequestId>R1</RequestId><HostId>H1</HostId></Error>";

    /// Spec: recordings of AWS Step Functions, with an id of a request in their place; of AWS KMS, and of
    /// what has no body, what the SDKs do.
    #[rustfmt::skip]
    const RECORDED: [Recorded; 17] = [
        ("dynamodb:putItem", 400, ID, MISSING, "DynamoDB.ResourceNotFoundException", "Requested resource not found (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ResourceNotFoundException; Request ID: R1; Proxy: null)"),
        ("dynamodb:putItem", 400, ID, INVALID, "DynamoDB.AmazonDynamoDBException", "1 validation error detected: Value null at 'item' failed to satisfy constraint: Member must not be null (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ValidationException; Request ID: R1; Proxy: null)"),
        ("aws-sdk:dynamodb:putItem", 400, ID, MISSING, "DynamoDb.ResourceNotFoundException", "Requested resource not found (Service: DynamoDb, Status Code: 400, Request ID: R1)"),
        ("aws-sdk:dynamodb:putItem", 400, ID, INVALID, "DynamoDb.DynamoDbException", "1 validation error detected: Value null at 'item' failed to satisfy constraint: Member must not be null (Service: DynamoDb, Status Code: 400, Request ID: R1)"),
        ("sqs:sendMessage", 400, &[ ("x-amzn-requestid", "R1"), ("x-amzn-query-error", "MissingParameter;Sender"), ], r#"{"__type":"com.amazon.coral.service#MissingRequiredParameterException","message":"The request must contain the parameter MessageBody."}"#, "SQS.AmazonSQSException", "The request must contain the parameter MessageBody. (Service: AmazonSQS; Status Code: 400; Error Code: MissingParameter; Request ID: R1; Proxy: null)"),
        ("sqs:sendMessage", 400, &[ ("x-amzn-requestid", "R1"), ("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender", ), ], r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#, "SQS.QueueDoesNotExistException", "The specified queue does not exist. (Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.NonExistentQueue; Request ID: R1; Proxy: null)"),
        ("sns:publish", 400, &[], TOPIC, "SNS.InvalidParameterException", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics (Service: AmazonSNS; Status Code: 400; Error Code: InvalidParameter; Request ID: R1; Proxy: null)"),
        ("aws-sdk:s3:listObjects", 404, &[], BUCKET, "S3.NoSuchBucketException", "The specified bucket does not exist (Service: S3, Status Code: 404, Request ID: R1, Extended Request ID: H1)"),
        ("aws-sdk:secretsmanager:createSecret", 400, ID, r#"{"__type":"ValidationException","Message":"Invalid name."}"#, "SecretsManager.SecretsManagerException", "Invalid name. (Service: SecretsManager, Status Code: 400, Request ID: R1)"),
        ("aws-sdk:sfn:sendTaskSuccess", 400, ID, r#"{"__type":"com.amazonaws.swf.service.v2.model#InvalidToken","message":"Invalid Token: 'Invalid token'"}"#, "Sfn.InvalidTokenException", "Invalid Token: 'Invalid token' (Service: Sfn, Status Code: 400, Request ID: R1) (SDK Attempt Count: 1)"),
        ("states:startExecution", 400, ID, r#"{"__type":"com.amazonaws.swf.service.v2.model#StateMachineDoesNotExist","message":"State Machine Does Not Exist: 'arn'"}"#, "StepFunctions.StateMachineDoesNotExistException", "State Machine Does Not Exist: 'arn' (Service: AWSStepFunctions; Status Code: 400; Error Code: StateMachineDoesNotExist; Request ID: R1; Proxy: null)"),
        ("lambda:invoke", 404, &[ ("x-amzn-RequestId", "R1"), ("x-amzn-ErrorType", "ResourceNotFoundException"), ], r#"{"Type":"User","Message":"Function not found: f"}"#, "Lambda.ResourceNotFoundException", "Function not found: f (Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; Request ID: R1; Proxy: null)"),
        ("aws-sdk:kms:decrypt", 400, ID, r#"{"__type":"KMSInvalidStateException","message":"m"}"#, "Kms.KmsInvalidStateException", "m (Service: Kms, Status Code: 400, Request ID: R1) (SDK Attempt Count: 1)"),
        ("aws-sdk:s3:headObject", 404, &[("x-amz-request-id", "R1")], "", "S3.NoSuchKeyException", "null (Service: S3, Status Code: 404, Request ID: R1)"),
        ("lambda:invoke", 200, &[("x-amz-function-error", "Unhandled")], r#"{"errorMessage":"no","errorType":"KeyError"}"#, "KeyError", r#"{"errorMessage":"no","errorType":"KeyError"}"#),
        ("lambda:invoke", 200, &[("x-amz-function-error", "Unhandled")], r#"{"errorMessage":"no"}"#, "Lambda.Unknown", r#"The cause could not be determined because Lambda did not return an error type. Returned payload: {"errorMessage":"no"}"#),
        ("aws-sdk:s3:copyObject", 200, &[], "<Error><Code>InternalError</Code><Message>m</Message><RequestId>R1</RequestId><HostId>H1</HostId></Error>", "S3.S3Exception", "m (Service: S3, Status Code: 200, Request ID: R1, Extended Request ID: H1)"),
    ];

    #[test]
    fn refusals_are_told_as_recorded() {
        for (resource, status, headers, body, error, cause) in RECORDED {
            let resource = format!("arn:aws:states:::{resource}");
            let told = failure(&resource, status, headers, body);
            assert_eq!(told, (error.to_owned(), cause.to_owned()));
        }
    }

    #[test]
    fn events_that_are_refused_fail_the_task() {
        let body = r#"{"Entries":[{"EventId":"e"},{"ErrorCode":"MalformedDetail","ErrorMessage":"Detail is malformed."}],"FailedEntryCount":1}"#;
        assert_eq!(
            failure("arn:aws:states:::events:putEvents", 200, &[], body),
            ("EventBridge.FailedEntry".to_owned(), body.to_owned())
        );
        let fine = json!({"Entries": [{"EventId": "e"}], "FailedEntryCount": 0});
        assert_eq!(
            value(
                "arn:aws:states:::events:putEvents",
                200,
                &[],
                &fine.to_string()
            ),
            fine
        );
    }

    #[test]
    fn the_transport_is_told_with_the_answer_but_of_sdk_tasks() {
        let headers = [
            ("server", "Server"),
            ("date", "Thu, 18 Apr 2024 06:27:01 GMT"),
            ("content-type", "application/x-amz-json-1.0"),
            ("content-length", "2"),
            ("x-amzn-requestid", "R1"),
            ("x-amz-crc32", "1"),
        ];
        let told = value("arn:aws:states:::dynamodb:putItem", 200, &headers, "{}");
        assert_eq!(
            told,
            json!({
                "SdkHttpMetadata": {
                    "AllHttpHeaders": {
                        "Server": ["Server"], "Date": ["Thu, 18 Apr 2024 06:27:01 GMT"],
                        "Content-Type": ["application/x-amz-json-1.0"], "Content-Length": ["2"],
                        "x-amzn-RequestId": ["R1"], "x-amz-crc32": ["1"],
                    },
                    "HttpHeaders": {
                        "Content-Length": "2", "Content-Type": "application/x-amz-json-1.0",
                        "Date": "Thu, 18 Apr 2024 06:27:01 GMT", "Server": "Server",
                        "x-amz-crc32": "1", "x-amzn-RequestId": "R1",
                    },
                    "HttpStatusCode": 200,
                },
                "SdkResponseMetadata": {"RequestId": "R1"},
            })
        );
        assert_eq!(
            value(
                "arn:aws:states:::aws-sdk:dynamodb:putItem",
                200,
                &headers,
                "{}"
            ),
            json!({})
        );
        assert_eq!(
            value(
                "arn:aws:states:::aws-sdk:sfn:startExecution",
                200,
                &[],
                r#"{"executionArn":"a","startDate":1.7E9}"#
            ),
            json!({"ExecutionArn": "a", "StartDate": "2023-11-14T22:13:20Z"})
        );
    }

    #[test]
    fn a_message_of_a_topic_is_told_in_order() {
        let body = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>m</MessageId><SequenceNumber>1</SequenceNumber></PublishResult><ResponseMetadata><RequestId>R1</RequestId></ResponseMetadata></PublishResponse>";
        let told = value("arn:aws:states:::sns:publish", 200, &[], body);
        let names: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "MessageId",
                "SdkHttpMetadata",
                "SdkResponseMetadata",
                "SequenceNumber"
            ]
        );
        assert_eq!(told["SdkResponseMetadata"], json!({"RequestId": "R1"}));
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        for (resource, body) in [
            ("dynamodb:putItem", "<html>"),
            ("dynamodb:putItem", "[]"),
            ("sns:publish", "{}"),
            ("sns:publish", "<OtherResponse/>"),
            ("aws-sdk:s3:listObjects", "nothing"),
        ] {
            let (error, cause) = failure(&format!("arn:aws:states:::{resource}"), 200, &[], body);
            assert!(error.ends_with(".SdkClientException"), "{error}");
            assert!(
                cause.starts_with("Unable to unmarshall response"),
                "{cause}"
            );
        }
    }

    #[test]
    fn a_result_has_a_bound() {
        let body = json!({"Items": ["x".repeat(told::RESULT_BYTES_MAX)]}).to_string();
        let (error, cause) = failure("arn:aws:states:::aws-sdk:dynamodb:query", 200, &[], &body);
        assert_eq!(error, "States.DataLimitExceeded");
        assert_eq!(
            cause,
            "The state/task 'aws-sdk:dynamodb' returned a result with a size exceeding the maximum number of bytes service limit."
        );
    }
}
