//! Receivers of embedded queues who wait for a message: clients and states.
//!
//! Invariant: who waits takes no turn of the writer until there may be something for him: that is a turn which
//! all who write wait for, and a message of any queue wakes those who wait.

use std::time::Duration;

use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::Engine;
use crate::{
    integration::service::Embedded,
    store::{InQueue, StoreError},
};

/// How long a receiver may wait. Spec: `WaitTimeSeconds`.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// How often it is looked whether a message that was delayed or hidden can be received by now; those that are
/// sent wake by themselves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether an action may wait for messages.
#[must_use]
pub fn waits_for_messages(service: Embedded, action: &str) -> bool {
    service == Embedded::Sqs && action == "ReceiveMessage"
}

/// The name of the queue that parameters lead to: the last part of its URL.
fn queue(parameters: &Value) -> &str {
    let url = parameters["QueueUrl"].as_str().unwrap_or_default();
    url.rsplit('/').next().unwrap_or_default()
}

impl Engine {
    /// Until when a receiver waits who asks now: as long as he says, or else as his queue does.
    ///
    /// # Errors
    /// The store's.
    pub fn waits_until(&self, parameters: &Value) -> Result<Instant, StoreError> {
        let said = parameters.get("WaitTimeSeconds").and_then(Value::as_u64);
        let seconds = if let Some(seconds) = said {
            seconds
        } else {
            let of_queue = self.store().queue_wait(queue(parameters))?;
            of_queue.unwrap_or(0).into()
        };
        Ok(Instant::now() + Duration::from_secs(seconds).min(WAIT_MAX))
    }

    /// Waits until there may be a message for a receiver, or his time is over; whether it is not. `messages` is
    /// of the time before he asked.
    ///
    /// # Errors
    /// The store's.
    pub async fn wait_for_message(
        &self,
        parameters: &Value,
        messages: &mut watch::Receiver<u64>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // Why either way the same: it is looked again.
            drop(tokio::time::timeout(left.min(LOOK_EVERY), messages.changed()).await);
            match self.store().in_queue(queue(parameters))? {
                InQueue::From(at) if at > self.now() => {}
                InQueue::Nothing => {}
                InQueue::Missing | InQueue::From(_) => return Ok(true),
            }
        }
    }
}
