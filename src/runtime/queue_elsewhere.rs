//! A queue that is elsewhere: AWS's own, or a server that speaks its protocol. How it is reached and asked;
//! what becomes of its messages is the askers' business.

use serde_json::{Value, json};

use crate::{
    config::{Config, Environment},
    integration::service::{Pattern, ServiceTask, remote::Services},
    payload::Failure,
};

/// Messages of one answer. Spec: `MaxNumberOfMessages`.
pub(super) const MESSAGES_MAX: usize = 10;

/// What is wrong with a queue of ours that is not there, and the mend.
#[must_use]
pub fn missing_queue(name: &str) -> String {
    format!("there is no such queue; make it: aws sqs create-queue --queue-name {name}")
}

/// Whether queues are elsewhere than here.
#[must_use]
pub fn queues_are_elsewhere(config: &Config) -> bool {
    let services = &config.services;
    let own = services.named.get("sqs");
    let own = own.and_then(|own| own.endpoint.as_ref());
    own.or(services.endpoint.as_ref()).is_some()
}

/// A queue, and how it is reached.
pub(super) struct QueueElsewhere {
    services: Services,
    url: String,
}

impl QueueElsewhere {
    /// By its name or its URL.
    pub(super) async fn reach(config: &Config, queue: &str) -> Result<Self, Failure> {
        let environment = Environment::of_process();
        let services = Services::new(&config.services, &config.region, &environment)
            .map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
        let url = if queue.contains("://") {
            queue.to_owned()
        } else {
            let asked = json!({ "QueueName": queue });
            let told = ask(&services, "getQueueUrl", &asked).await?;
            told["QueueUrl"].as_str().unwrap_or_default().to_owned()
        };
        Ok(Self { services, url })
    }

    /// So many messages at most, which are hidden from others for a while; the server may wait for the first
    /// one for so many seconds.
    pub(super) async fn receive(&self, most: usize, wait_s: u32) -> Result<Vec<Value>, Failure> {
        let asked = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": most.min(MESSAGES_MAX),
            "WaitTimeSeconds": wait_s,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let mut told = ask(&self.services, "receiveMessage", &asked).await?;
        Ok(match told["Messages"].take() {
            Value::Array(messages) => messages,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => Vec::new(),
        })
    }

    /// Takes a message that was received out of the queue.
    pub(super) async fn delete(&self, message: &Value) -> Result<(), Failure> {
        let asked = self.about(message);
        let told = ask(&self.services, "deleteMessage", &asked).await;
        told.map(drop)
    }

    /// Shows a message that was received to nobody for so many seconds.
    pub(super) async fn hide(&self, message: &Value, seconds: u64) -> Result<(), Failure> {
        let mut asked = self.about(message);
        asked["VisibilityTimeout"] = seconds.into();
        let told = ask(&self.services, "changeMessageVisibility", &asked).await;
        told.map(drop)
    }

    fn about(&self, message: &Value) -> Value {
        json!({ "QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"] })
    }
}

async fn ask(services: &Services, action: &'static str, asked: &Value) -> Result<Value, Failure> {
    let task = ServiceTask {
        service: "sqs",
        action,
        sdk: true,
        pattern: Pattern::RequestResponse,
    };
    let told = services.call(task, asked, None).await?;
    Ok(told.value().clone())
}
