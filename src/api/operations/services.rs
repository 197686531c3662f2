//! What clients of embedded services ask for: tables, queues and topics, by the protocol of AWS's.

use serde_json::Value;

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

/// Has a service do what an action asks for.
pub(in crate::api) async fn call_service(
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
