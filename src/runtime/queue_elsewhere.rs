//! A queue that is elsewhere: AWS's own, or a server that speaks its protocol. How it is reached and asked;
//! what becomes of its messages is the askers' business.

use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use crate::{
    config::Config,
    integration::service::{Pattern, ServiceTask, remote::Services},
    payload::Failure,
};

/// Messages of one answer. Spec: `MaxNumberOfMessages`.
pub(super) const MESSAGES_MAX: usize = 10;

/// Most bytes of an answer. Spec: so many messages of 1 MiB each, with their attributes; where a server
/// escapes all that is not ASCII, a byte is three.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a server may wait for a message before it answers that there is none. Spec: `WaitTimeSeconds`.
pub(super) const POLL_S: u32 = 20;

/// An answer without messages takes as long at the least, so that a server that does not wait is not asked
/// without end.
const EMPTY_MIN: Duration = Duration::from_secs(1);

/// How long a queue is left alone that cannot be asked.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What is wrong with a queue of ours that is not there, and the mend.
#[must_use]
pub fn missing_queue(name: &str) -> String {
    format!("there is no such queue; make it: aws sqs create-queue --queue-name {name}")
}

/// Whether queues are elsewhere than here.
#[must_use]
pub fn queues_are_elsewhere(config: &Config) -> bool {
    config.services.endpoint_of("sqs").is_some()
}

/// A queue, and how it is reached.
pub(super) struct QueueElsewhere {
    services: Services,
    url: String,
}

impl QueueElsewhere {
    /// By its name or its URL.
    pub(super) async fn reach(engine: &Engine, queue: &str) -> Result<Self, Failure> {
        let refused = |why: String| Failure::new("States.Runtime", why);
        let services = engine.reach().services(&engine.config());
        let services = services
            .map_err(|error| refused(error.to_string()))?
            .ok_or_else(|| refused("queues are here, not elsewhere".to_owned()))?;
        Self::of(services, queue).await
    }

    async fn of(services: Services, queue: &str) -> Result<Self, Failure> {
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
        let least = tokio::time::sleep(EMPTY_MIN);
        let mut told = ask(&self.services, "receiveMessage", &asked).await?;
        if let Value::Array(messages) = told["Messages"].take()
            && !messages.is_empty()
        {
            return Ok(messages);
        }
        least.await;
        Ok(Vec::new())
    }

    /// How many messages it has, with those that are hidden or come later, as far as the server knows.
    pub(super) async fn messages(&self) -> Result<u64, Failure> {
        const COUNTS: [&str; 3] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ];
        let asked = json!({ "QueueUrl": self.url, "AttributeNames": COUNTS });
        let told = ask(&self.services, "getQueueAttributes", &asked).await?;
        let counts = COUNTS.iter().filter_map(|count| {
            let told = told["Attributes"][*count].as_str();
            told.and_then(|told| told.parse::<u64>().ok())
        });
        Ok(counts.fold(0, u64::saturating_add))
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
    services.answer(task, asked, ANSWER_BYTES_MAX).await
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        time::Instant,
    };

    use super::*;
    use crate::config::{Endpoint, Environment, ServiceSettings};

    /// A server that answers each request with the next of these.
    async fn queue(answers: Vec<String>) -> QueueElsewhere {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let begun = stream.read(&mut [0; 8192]);
                assert!(begun.is_ok_and(|bytes| bytes > 0));
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let settings = ServiceSettings {
            endpoint: Some(Endpoint::Url(place)),
            ..ServiceSettings::default()
        };
        let none: [(&str, &str); 0] = [];
        let none: Environment = none.into_iter().collect();
        let services = Services::new(&settings, "us-east-1", &none).unwrap();
        QueueElsewhere::of(services, "http://sqs/1/q")
            .await
            .unwrap()
    }

    /// A task's result would be 256 KiB at the most.
    #[tokio::test]
    async fn an_answer_may_have_ten_of_the_largest_messages() {
        let body = "\"".repeat(1024 * 1024);
        let message = json!({ "MessageId": "m", "ReceiptHandle": "r", "Body": body });
        let messages = vec![message; MESSAGES_MAX];
        let queue = queue(vec![json!({ "Messages": messages }).to_string()]).await;
        assert_eq!(queue.receive(MESSAGES_MAX, 0).await.unwrap(), messages);
    }

    #[tokio::test]
    async fn a_queue_is_empty_once_nothing_of_it_is_hidden_either() {
        let counts = json!({ "Attributes": {
            "ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesNotVisible": "3",
            "ApproximateNumberOfMessagesDelayed": "1",
        }});
        let queue = queue(vec![counts.to_string(), "{}".to_owned()]).await;
        assert_eq!(queue.messages().await.unwrap(), 4);
        assert_eq!(queue.messages().await.unwrap(), 0);
    }

    /// Impurity: it waits for that second.
    #[tokio::test]
    async fn a_server_that_does_not_wait_is_waited_for() {
        let queue = queue(vec!["{}".to_owned()]).await;
        let begun = Instant::now();
        assert_eq!(queue.receive(1, POLL_S).await.unwrap(), [] as [Value; 0]);
        assert!(begun.elapsed() >= EMPTY_MIN);
    }
}
