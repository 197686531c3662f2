//! Serves a trigger whose queue is elsewhere: AWS's own, or a server that speaks its protocol.
//!
//! Impurity: starting an execution and deleting its message are two things. So the execution is named by its
//! message: one that was started and whose message comes again, because nobody could delete it, is the same
//! execution. (Those of express machines have no names that count: there a message may start two.)

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    MappingError, NotStarted, Refused, Seat, Trigger, came_of, hidden_for, mapping::named,
};
use crate::{
    payload::Failure,
    runtime::{
        Begun, Engine,
        queue_elsewhere::{MESSAGES_MAX, POLL_S, QueueElsewhere, RETRY_AFTER},
    },
};

/// The task of one trigger.
pub(super) struct Elsewhere {
    engine: Engine,
    trigger: Arc<Trigger>,
    queue: String,
}

impl Elsewhere {
    pub(super) fn new(engine: Engine, trigger: Arc<Trigger>, queue: &str) -> Self {
        Self {
            engine,
            trigger,
            queue: queue.to_owned(),
        }
    }

    /// Works until it is told to stop, and stops behind the messages that it has.
    pub(super) async fn work(self, mut stop: watch::Receiver<bool>) {
        let mut room = self.engine.triggers().seats().stirred();
        let mut reached = None;
        loop {
            room.borrow_and_update();
            let seats: Vec<Option<Seat>> = (0..MESSAGES_MAX)
                .map_while(|_| self.trigger.seat(&self.engine).ok())
                .collect();
            if seats.is_empty() {
                tokio::select! {
                    // Why ok: it lives as long as the engine.
                    _ = room.changed() => continue,
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            let able = match self.trigger.can_start(&self.engine) {
                Ok(able) => able,
                Err(error) => {
                    self.troubled(&format!(
                        "the queue {} cannot be served: {error}",
                        self.queue
                    ));
                    false
                }
            };
            if !able {
                drop(seats);
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => continue,
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            let received = tokio::select! {
                received = self.receive(&mut reached, seats.len()) => received,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let served = match (received, &reached) {
                (Ok(messages), Some(reached)) => self.serve(reached, messages, seats).await,
                (Ok(_), None) => Ok(()),
                (Err(failure), _) => Err(failure.cause),
            };
            let Err(why) = served else {
                // Why also where nothing came: the queue can be served again.
                let triggers = self.engine.triggers();
                triggers.is_well(&self.trigger.name, self.engine.now());
                continue;
            };
            self.troubled(&format!("the queue {} cannot be served: {why}", self.queue));
            reached = None;
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn troubled(&self, why: &str) {
        let trigger = &self.trigger.name;
        if self.engine.triggers().is_troubled(trigger, why, None) {
            tracing::warn!(trigger, why, "a trigger starts nothing for now");
        }
    }

    async fn receive(
        &self,
        reached: &mut Option<QueueElsewhere>,
        most: usize,
    ) -> Result<Vec<Value>, Failure> {
        let reached = match reached {
            Some(reached) => reached,
            None => reached.insert(QueueElsewhere::reach(&self.engine, &self.queue).await?),
        };
        reached.receive(most, POLL_S).await
    }

    /// Starts an execution for each message, and deletes those; what goes wrong with all of them is answered.
    async fn serve(
        &self,
        reached: &QueueElsewhere,
        messages: Vec<Value>,
        seats: Vec<Option<Seat>>,
    ) -> Result<(), String> {
        let each = messages.iter().zip(seats);
        let each = each.map(|(message, seat)| self.serve_one(reached, message, seat));
        join_all(each).await.into_iter().collect()
    }

    async fn serve_one(
        &self,
        reached: &QueueElsewhere,
        message: &Value,
        seat: Option<Seat>,
    ) -> Result<(), String> {
        match self.start(message, seat).await {
            Ok(()) => {
                // Crash: the message comes again, and finds its execution.
                let deleted = reached.delete(message).await;
                deleted.map_err(|failure| failure.cause)
            }
            Err(NotStarted::Broken(error)) => Err(error.to_string()),
            Err(NotStarted::Refused(why)) => {
                let received = message["Attributes"]["ApproximateReceiveCount"].as_str();
                let times = received.and_then(|times| times.parse().ok()).unwrap_or(1);
                let hidden = hidden_for(times);
                let id = message["MessageId"].as_str().unwrap_or_default();
                let refused = Refused {
                    what: &format!("the message {id}"),
                    why: &why,
                    times,
                    again: self.engine.now().after(hidden),
                    within: Duration::from_secs(2 * u64::from(POLL_S)),
                };
                self.trigger.tell_refused(&self.engine, &refused);
                let put_off = reached.hide(message, hidden.as_secs()).await;
                put_off.map_err(|failure| failure.cause)
            }
        }
    }

    async fn start(&self, message: &Value, seat: Option<Seat>) -> Result<(), NotStarted> {
        let refused = |error: MappingError| NotStarted::Refused(error.to_string());
        let came = came_of(message, self.engine.now());
        let (given, input) = self.trigger.map(&came).map_err(refused)?;
        let is_given = given.is_some();
        let name = match given {
            Some(name) => name,
            None => named(&message["MessageId"]).map_err(refused)?,
        };
        let asked = self.trigger.asked(&self.engine, Some(name), input)?;
        match self.engine.start_seated(asked, seat).await? {
            // Why only then: under the message's own name it was this one, mapped in another way.
            Begun::Exists {
                name, same: false, ..
            } if is_given => Err(NotStarted::name_taken(&name)),
            Begun::Exists { .. } | Begun::Running { .. } => Ok(()),
        }
    }
}
