//! What clients of embedded services ask for: tables, queues and topics, by the protocol of AWS's.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Api;
use crate::{
    api::{ApiError, ErrorKind, Role},
    integration::service::{Call, Embedded, Moment},
};

/// What changes topics: a subscription is a place that this daemon sends to.
const OF_ADMINS: [&str; 5] = [
    "CreateTopic",
    "DeleteTopic",
    "SetSubscriptionAttributes",
    "Subscribe",
    "Unsubscribe",
];

/// The least role of a key that may ask for an action.
pub(in crate::api) fn role_of_service(action: &str) -> Role {
    if Embedded::only_reads(action) {
        Role::ReadOnly
    } else if action.ends_with("Table")
        || action.ends_with("Queue") && action != "PurgeQueue"
        || OF_ADMINS.contains(&action)
    {
        Role::Admin
    } else {
        Role::Operator
    }
}

/// How long a caller may wait for a message. Spec: `WaitTimeSeconds`.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// How often it is looked, for a caller who waits, whether a message that was delayed or hidden can be
/// received by now; those that are sent wake by themselves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Has a service do what an action asks for. Who wants to wait for messages is answered once there are
/// some, or his time is over.
pub(in crate::api) async fn call_service(
    api: &Api,
    service: Embedded,
    action: String,
    parameters: Value,
) -> Result<Value, ApiError> {
    let wait = parameters.get("WaitTimeSeconds").and_then(Value::as_u64);
    let wait = wait.filter(|_| waits_for_messages(service, &action));
    let Some(wait) = wait.map(|s| Duration::from_secs(s).min(WAIT_MAX)) else {
        return call_once(api, service, action, parameters).await;
    };
    let over = Instant::now() + wait;
    let mut messages = api.store.messages();
    loop {
        messages.mark_unchanged();
        let answer = call_once(api, service, action.clone(), parameters.clone()).await?;
        let left = over.saturating_duration_since(Instant::now());
        if answer.get("Messages").is_some() || left.is_zero() {
            return Ok(answer);
        }
        // Why either way the same: it is looked again.
        drop(tokio::time::timeout(left.min(LOOK_EVERY), messages.changed()).await);
    }
}

/// Whether an action may wait for messages.
pub(in crate::api) fn waits_for_messages(service: Embedded, action: &str) -> bool {
    service == Embedded::Sqs && action == "ReceiveMessage"
}

async fn call_once(
    api: &Api,
    service: Embedded,
    action: String,
    parameters: Value,
) -> Result<Value, ApiError> {
    let engine = api.engine()?;
    let call = Call {
        service,
        action,
        parameters,
        moment: Moment {
            now: engine.now(),
            random: rand::random(),
        },
        base: engine.queues(),
        settings: engine.config(),
        by_task: false,
    };
    let answer = api.store.call(call).await?;
    answer.map_err(|refusal| ApiError::new(ErrorKind::Service(refusal.code), refusal.message))
}
