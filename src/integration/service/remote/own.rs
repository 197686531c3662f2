//! AWS Step Functions, where this daemon is it: what a task asks is read, and what it is answered told, as
//! if both had gone over a line.

use async_trait::async_trait;
use serde_json::Value;

use super::{
    answer::{Answer, Response, answer},
    catalogue, request,
    told::{failure, told},
};
use crate::{
    integration::service::ServiceTask,
    payload::{Failure, Payload},
};

/// The daemon's own API: a port, because it stands above those who ask it.
#[async_trait]
pub trait StatesApi: Send + Sync {
    /// Carries an operation (`SendTaskSuccess`) out: the HTTP status, and what is answered with it.
    async fn call(&self, operation: String, input: Value) -> (u16, Value);
}

/// Asks the daemon itself, and answers the task's result as [`Services::call`](super::Services::call) does.
///
/// # Errors
/// As there.
pub async fn ask_own(
    api: &dyn StatesApi,
    task: ServiceTask<'_>,
    parameters: &Value,
    request_id: String,
) -> Result<Payload, Failure> {
    let Some(service) = catalogue::find(task.service) else {
        return Err(request::refuse(format!(
            "no service {} is known",
            task.service
        )));
    };
    let request = request::request(task, service, parameters)?;
    let mut target = request.headers.iter();
    let target = target.rfind(|(name, _)| name == "x-amz-target");
    let operation = target.and_then(|(_, target)| target.split_once('.'));
    let operation = operation.map_or(String::new(), |(_, operation)| operation.to_owned());
    let input = serde_json::from_slice(&request.body)
        .map_err(|error| request::refuse(format!("the parameters are no JSON: {error}")))?;
    let (status, body) = api.call(operation, input).await;
    let response = Response {
        status,
        headers: vec![("x-amzn-RequestId".to_owned(), request_id)],
        body: body.to_string().into_bytes(),
    };
    match answer(task, service, response) {
        Answer::Told(it) => told(task, it),
        Answer::Failed(failure) => Err(failure),
        Answer::Refused(mut refused) => {
            refused.attempts = 1;
            Err(failure(task, &refused))
        }
    }
}
