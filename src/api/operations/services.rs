//! What clients of embedded services ask for: tables, queues and topics, by the protocol of AWS's.

use serde_json::Value;

use super::Api;
use crate::{
    api::{ApiError, ErrorKind, Fault, Role},
    integration::service::{Call, Embedded, Moment},
    runtime::waits_for_messages,
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

/// Has a service do what an action asks for. Who wants to wait for messages is answered once there are
/// some, or his time is over.
pub(in crate::api) async fn call_service(
    api: &Api,
    service: Embedded,
    action: String,
    parameters: Value,
) -> Result<Value, ApiError> {
    check_disk(api, service, &action, &parameters)?;
    if !waits_for_messages(service, &action) {
        return call_once(api, service, action, parameters).await;
    }
    let engine = api.engine()?;
    let until = engine.waits_until(&parameters)?;
    let mut messages = api.store.messages();
    loop {
        messages.mark_unchanged();
        let answer = call_once(api, service, action.clone(), parameters.clone()).await?;
        if answer.get("Messages").is_some()
            || !engine
                .wait_for_message(&parameters, &mut messages, until)
                .await?
        {
            return Ok(answer);
        }
    }
}

/// Refuses what would add to the file while nothing is dispatched either: below `store.disk_free_min`. What makes
/// room is done.
fn check_disk(
    api: &Api,
    service: Embedded,
    action: &str,
    parameters: &Value,
) -> Result<(), ApiError> {
    if service.adds(action, parameters) && api.engine()?.disk().is_full() {
        let message = "the disk has less than store.disk_free_min; make room, and try again";
        return Err(ApiError::states(Fault::ServiceUnavailable, message));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use serde_json::json;

    use super::*;
    use crate::{
        config::Config,
        plugin::Launcher,
        runtime::{Engine, EngineSetup},
        time::SystemClock,
    };

    fn open(directory: &tempfile::TempDir) -> Engine {
        let setup = EngineSetup {
            config: Config::default(),
            clock: Arc::new(SystemClock),
            working: true,
            service: true,
            hidden: Vec::new(),
            launcher: Launcher::default(),
        };
        tokio::task::block_in_place(|| Engine::open(directory.path(), setup).unwrap())
    }

    async fn sqs(api: &Api, action: &str, parameters: Value) -> Result<Value, ApiError> {
        call_service(api, Embedded::Sqs, action.to_owned(), parameters).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_is_full_takes_nothing_more_and_gives_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let engine = open(&directory);
        let api = Api::of_engine(engine.clone());
        let queue = json!({"QueueUrl": "jobs"});
        let message = json!({"QueueUrl": "jobs", "MessageBody": "m"});
        sqs(&api, "CreateQueue", json!({"QueueName": "jobs"}))
            .await
            .unwrap();
        sqs(&api, "SendMessage", message.clone()).await.unwrap();
        let mut full = Config::default();
        full.store.disk_free_min = u64::MAX;
        engine.set_config(full);
        let refusal = sqs(&api, "SendMessage", message.clone()).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::States(Fault::ServiceUnavailable));
        assert_eq!(refusal.kind.http_status(), 503, "clients try that again");
        let received = sqs(&api, "ReceiveMessage", queue.clone()).await.unwrap();
        let receipt = &received["Messages"][0]["ReceiptHandle"];
        let done = json!({"QueueUrl": "jobs", "ReceiptHandle": receipt});
        sqs(&api, "DeleteMessage", done).await.unwrap();
        sqs(&api, "PurgeQueue", queue).await.unwrap();
        engine.set_config(Config::default());
        sqs(&api, "SendMessage", message).await.unwrap();
    }

    /// Nobody who writes waits for those who wait for messages, whatever comes into other queues.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_waits_as_long_as_its_queue_says_and_without_commits() {
        let directory = tempfile::tempdir().unwrap();
        let api = Api::of_engine(open(&directory));
        let attributes = json!({"ReceiveMessageWaitTimeSeconds": "2"});
        let waiting = json!({"QueueName": "waiting", "Attributes": attributes});
        sqs(&api, "CreateQueue", waiting).await.unwrap();
        sqs(&api, "CreateQueue", json!({"QueueName": "other"}))
            .await
            .unwrap();
        let receive = || {
            let api = api.clone();
            let queue = json!({"QueueUrl": "waiting"});
            tokio::spawn(async move { sqs(&api, "ReceiveMessage", queue).await.unwrap() })
        };
        let commits = || api.store.pulse().unwrap().commits;
        let (before, begun) = (commits(), Instant::now());
        let receiving = receive();
        for _ in 0..10 {
            let message = json!({"QueueUrl": "other", "MessageBody": "m"});
            sqs(&api, "SendMessage", message).await.unwrap();
        }
        assert_eq!(receiving.await.unwrap(), json!({}));
        assert!(begun.elapsed() >= Duration::from_secs(2));
        assert!(commits() <= before + 11, "one look, and ten that were sent");
        let receiving = receive();
        let message = json!({"QueueUrl": "waiting", "MessageBody": "m"});
        sqs(&api, "SendMessage", message).await.unwrap();
        let received = receiving.await.unwrap();
        assert_eq!(received["Messages"][0]["Body"], "m");
    }
}
