//! Serves the triggers that listen to queues of the daemon's own.
//!
//! Owns when a queue is looked at: when messages came, when a hidden one can be seen, when an execution has
//! ended and made room. What becomes of messages is decided by the conductor, in one commit with their
//! executions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{Came, Trigger};
use crate::{
    config::TriggerKind,
    payload::Payload,
    runtime::{
        Engine, RuntimeError,
        conductor::{Order, Receive},
        queue_elsewhere::queues_are_elsewhere,
    },
    time::Timestamp,
};

/// Messages that one commit takes at the most: each may have a mebibyte, which is held several times over,
/// and everybody who writes waits while their executions take their first step.
const MESSAGES_MAX: usize = 20;

/// The longest sleep: what is due comes also if a wake-up was lost or the clock was set.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// How long a queue is left alone that could not be served.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a message is hidden that starts no execution: the first time, and at the most. Why so short:
/// who mends a machine or a mapping does not want to wait for a quarter of an hour.
const HIDDEN_FIRST: Duration = Duration::from_secs(1);
const HIDDEN_MAX: Duration = Duration::from_mins(5);

/// How long a message is hidden that started no execution when it was received so often.
pub(in crate::runtime) fn hidden_for(receives: u32) -> Duration {
    let factor = 1_u32.checked_shl(receives.saturating_sub(1));
    HIDDEN_FIRST
        .saturating_mul(factor.unwrap_or(u32::MAX))
        .min(HIDDEN_MAX)
}

/// What a mapping sees of a message, as queues tell it: a body that is no JSON is a text.
pub(in crate::runtime) fn came_of(message: &Value, now: Timestamp) -> Came {
    let body = message["Body"].as_str().unwrap_or_default();
    let whole = Payload::parse(body).unwrap_or_else(|_| Value::from(body).into());
    let mut attributes = Map::new();
    for (name, value) in message["MessageAttributes"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let values = ["StringValue", "BinaryValue"];
        let value = values.iter().find_map(|key| value.get(key));
        attributes.insert(name.clone(), value.cloned().unwrap_or_default());
    }
    let sent = message["Attributes"]["SentTimestamp"].as_str();
    let sent = sent.and_then(|millis| millis.parse().ok());
    let facts = json!({
        "body": whole.value(),
        "attributes": attributes,
        "messageId": message["MessageId"],
        "sent": sent.map_or(now, Timestamp::from_millis).to_string(),
    });
    Came {
        facts: facts.into(),
        whole,
        now,
        identity: message["MessageId"].as_str().map(str::to_owned),
    }
}

/// The service.
pub struct Receiver {
    engine: Engine,
    /// Triggers that are left alone until then.
    resting: HashMap<String, Timestamp>,
}

impl Receiver {
    /// The receiver of this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let resting = HashMap::new();
        Self { engine, resting }
    }

    /// Works until the engine closes.
    pub async fn work(mut self) {
        let mut closing = self.engine.closing();
        let mut stirred = self.engine.triggers().seats().stirred();
        let mut messages = self.engine.store().messages();
        loop {
            stirred.borrow_and_update();
            messages.borrow_and_update();
            let next = tokio::select! {
                next = self.serve() => next,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            let latest = self.engine.now().after(SLEEP_MAX);
            let clock = Arc::clone(self.engine.clock());
            tokio::select! {
                () = clock.wait_until(next.min(latest)) => {}
                // Why ok, twice: both live as long as the engine.
                _ = stirred.changed() => {}
                _ = messages.changed() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    /// Serves all queues, one after the other, until nothing more can be done now; answers when something can.
    async fn serve(&mut self) -> Timestamp {
        loop {
            let (mut next, mut progress) = (Timestamp::MAX, false);
            let triggers = self.engine.triggers().all();
            if queues_are_elsewhere(&self.engine.config()) {
                return next;
            }
            self.resting.retain(|name, _| triggers.contains_key(name));
            for trigger in triggers.values() {
                let TriggerKind::Queue { queue } = &trigger.spec.kind else {
                    continue;
                };
                let queue = queue.rsplit('/').next().unwrap_or_default();
                match self.look(trigger, queue).await {
                    Ok(Look::Served) => progress = true,
                    Ok(Look::Later(at)) => next = next.min(at),
                    Err(error) => {
                        let why = format!("the queue {queue} cannot be served: {error}");
                        let now = self.engine.now();
                        // Why not longer: it is tried again before, and may have nothing to do then.
                        let stands = Some(now.after(2 * RETRY_AFTER));
                        let (name, triggers) = (&trigger.name, self.engine.triggers());
                        if triggers.is_troubled(name, &why, stands) {
                            tracing::warn!(trigger = name, why, "a trigger starts nothing for now");
                        }
                        let at = now.after(RETRY_AFTER);
                        self.resting.insert(name.clone(), at);
                        next = next.min(at);
                    }
                }
            }
            if !progress {
                return next;
            }
        }
    }

    async fn look(&mut self, trigger: &Arc<Trigger>, queue: &str) -> Result<Look, RuntimeError> {
        let now = self.engine.now();
        if let Some(until) = self
            .resting
            .get(&trigger.name)
            .filter(|until| **until > now)
        {
            return Ok(Look::Later(*until));
        }
        self.resting.remove(&trigger.name);
        match self.engine.store().first_message(queue)? {
            None => return Ok(Look::Later(Timestamp::MAX)),
            Some(at) if at > now => return Ok(Look::Later(at)),
            Some(_) => {}
        }
        if !trigger.can_start(&self.engine)? {
            let at = now.after(RETRY_AFTER);
            self.resting.insert(trigger.name.clone(), at);
            return Ok(Look::Later(at));
        }
        let seats: Vec<_> = (0..MESSAGES_MAX)
            .map_while(|_| trigger.seat(&self.engine).ok().flatten())
            .collect();
        if seats.is_empty() {
            // An execution that ends stirs.
            return Ok(Look::Later(Timestamp::MAX));
        }
        let (done, answer) = oneshot::channel();
        let receive = Receive {
            trigger: Arc::clone(trigger),
            queue: queue.to_owned(),
            seats,
            done,
        };
        self.engine
            .conductor(Order::Receive(Box::new(receive)))
            .await?;
        let refused =
            |_| RuntimeError::Conflict("its commit was refused; the log says why".to_owned());
        let any = answer.await.map_err(refused)?;
        // Why later where there was none: what looked like one was too old, or another has it.
        let again = Look::Later(now.after(RETRY_AFTER));
        Ok(if any { Look::Served } else { again })
    }
}

/// What came of a look at a queue.
enum Look {
    /// Messages have gone, and there may be more.
    Served,
    /// Nothing can be done before then, unless it is told.
    Later(Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_hidden_twice_as_long_each_time_up_to_five_minutes() {
        let seconds =
            [1, 2, 3, 4, 9, 10, 31, 33, u32::MAX].map(|times| hidden_for(times).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 256, 300, 300, 300, 300]);
        assert_eq!(hidden_for(0).as_secs(), 1);
    }

    #[test]
    fn a_message_is_told_by_its_body_its_attributes_and_when_it_was_sent() {
        let message = json!({
            "MessageId": "m-1", "Body": "{\"a\": 1.0}",
            "Attributes": { "SentTimestamp": "1700000000123" },
            "MessageAttributes": {
                "k": { "DataType": "String", "StringValue": "v" },
                "b": { "DataType": "Binary", "BinaryValue": "AAE=" },
            },
        });
        let came = came_of(&message, Timestamp(0));
        assert_eq!(came.whole.text(), "{\"a\": 1.0}");
        assert_eq!(came.identity.as_deref(), Some("m-1"));
        assert_eq!(
            came.facts.value(),
            &json!({
                "body": { "a": 1.0 }, "attributes": { "k": "v", "b": "AAE=" },
                "messageId": "m-1", "sent": "2023-11-14T22:13:20.123Z",
            })
        );
        let text = came_of(&json!({ "MessageId": "m", "Body": "a: b" }), Timestamp(0));
        assert_eq!(text.whole.text(), "\"a: b\"");
    }
}
