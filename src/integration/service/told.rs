//! How an answer of an embedded service becomes the result of a task, and a refusal its failure: as those
//! of services elsewhere do.

use serde_json::Value;

use super::{
    remote::{self, Refused, Told},
    request::{Refusal, UNREACHABLE},
    resource::ServiceTask,
};
use crate::{
    payload::{Failure, Payload},
    time::Timestamp,
};

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

/// The failure of a task whose service refuses.
#[must_use]
pub fn failure(asked: &Asked<'_>, refusal: &Refusal) -> Failure {
    let Refusal { code, message } = refusal;
    if *code == UNREACHABLE {
        return remote::unreachable(asked.task, message);
    }
    let refused = Refused {
        code: (*code).to_owned(),
        shape: Refusal::kind(code).map(str::to_owned),
        message: message.clone(),
        status: Refusal::status(code),
        request_id: asked.request.clone(),
        // Spec: Amazon S3 tells a second id.
        extended_id: (asked.task.service == "s3").then(|| asked.request.clone()),
        attempts: 1,
    };
    remote::failure(asked.task, &refused)
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
///
/// # Errors
/// If it is larger than a task's result may be.
pub fn result(asked: &Asked<'_>, answer: Value) -> Result<Payload, Failure> {
    let task = asked.task;
    remote::told(
        task,
        Told::of_ours(task, answer, asked.request.clone(), asked.now),
    )
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
}
