//! Messages that start executions: a queue's trigger is served in one commit.
//!
//! Invariant: a message leaves its queue in the commit that begins its execution. So each starts one, however
//! often the machine dies; one that starts none stays, hidden for a while.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    config::Config,
    ids::ExecutionId,
    integration::service::{Call, Embedded, Moment, Refusal},
    runtime::{
        Begun, Engine, RuntimeError,
        conductor::{batch::Batch, work::Work},
        triggers::{NotStarted, Refused, Seat, Trigger, came_of, hidden_for},
    },
    store::TriggerChange,
    time::Timestamp,
};

/// How long a message is nobody else's that is being looked at, in seconds: longer than its commit takes.
/// Why said: a queue whose own time is nothing would give the second call of a commit the messages of the first.
const VISIBILITY_S: u32 = 30;

/// Messages of one call. Spec: `MaxNumberOfMessages`.
const CALL_MESSAGES_MAX: usize = 10;

/// How much later than it could a message comes again at the most.
const COMES_WITHIN: Duration = Duration::from_mins(1);

/// A trigger whose queue has messages.
pub(in crate::runtime) struct Receive {
    pub(in crate::runtime) trigger: Arc<Trigger>,
    pub(in crate::runtime) queue: String,
    /// For so many messages.
    pub(in crate::runtime) seats: Vec<Seat>,
    /// Answered when it is durable: whether there were any.
    pub(in crate::runtime) done: oneshot::Sender<bool>,
}

/// The same, with what was received for it.
pub(in crate::runtime::conductor) struct Received {
    receive: Receive,
    messages: Vec<Value>,
}

impl Receive {
    /// What the queue is asked; several calls where one does not give so many.
    pub(super) fn calls(&self, now: Timestamp, base: &str, settings: &Arc<Config>) -> Vec<Call> {
        let seats = self.seats.chunks(CALL_MESSAGES_MAX);
        let calls = seats.map(|seats| Call {
            service: Embedded::Sqs,
            action: "ReceiveMessage".to_owned(),
            parameters: json!({
                "QueueUrl": format!("{base}/{}", self.queue),
                "MaxNumberOfMessages": seats.len(),
                "VisibilityTimeout": VISIBILITY_S,
            }),
            moment: Moment {
                now,
                random: rand::random(),
            },
            base: base.to_owned(),
            settings: Arc::clone(settings),
            by_task: false,
        });
        calls.collect()
    }

    /// With what it was answered.
    pub(super) fn taken(self, answers: impl Iterator<Item = Result<Value, Refusal>>) -> Received {
        let mut messages = Vec::new();
        for answer in answers {
            // Why none where it is refused: a queue that went away a moment ago has none.
            if let Ok(Some(Value::Array(list))) =
                answer.map(|mut it| Some(it.get_mut("Messages")?.take()))
            {
                messages.extend(list);
            }
        }
        Received {
            receive: self,
            messages,
        }
    }
}

impl Work {
    /// Begins an execution for each message that was received.
    pub(in crate::runtime::conductor) fn start_received(
        &mut self,
        received: Received,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let Received { receive, messages } = received;
        let mut seats = receive.seats.into_iter();
        let any = !messages.is_empty();
        for message in messages {
            let Some((id, times)) = receipt(&message) else {
                continue;
            };
            let seat = seats.next();
            let change = match self.start_message(&receive.trigger, &message, seat, now, batch) {
                Ok(()) => {
                    self.engine.triggers().is_well(&receive.trigger.name, now);
                    TriggerChange::TakeMessage { message: id }
                }
                Err(NotStarted::Refused(why)) => {
                    let until = now.after(hidden_for(times));
                    let named = message["MessageId"].as_str().unwrap_or_default();
                    let refused = Refused {
                        what: &format!("the message {named}"),
                        why: &why,
                        times,
                        again: until,
                        within: COMES_WITHIN,
                    };
                    receive.trigger.tell_refused(&self.engine, &refused);
                    TriggerChange::HideMessage { message: id, until }
                }
                Err(NotStarted::Broken(error)) => return Err(error),
            };
            batch.changes.push(change.into());
        }
        batch.after.told.push((receive.done, any));
        Ok(())
    }

    fn start_message(
        &mut self,
        trigger: &Trigger,
        message: &Value,
        seat: Option<Seat>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), NotStarted> {
        let came = came_of(message, now);
        let (name, input) = trigger
            .map(&came)
            .map_err(|error| NotStarted::Refused(error.to_string()))?;
        let asked = trigger.asked(&self.engine, name, input)?;
        match self.begin_seated(asked, seat, false, now, batch)? {
            // Also where the same was started before: it was sent twice.
            Begun::Running { .. } | Begun::Exists { same: true, .. } => Ok(()),
            Begun::Exists { name, .. } => Err(NotStarted::name_taken(&name)),
        }
    }
}

/// The seats of what triggers with a bound have started and what runs still, as the rows have it.
pub(in crate::runtime::conductor) fn seats_taken(engine: &Engine) -> HashMap<ExecutionId, Seat> {
    let rows = engine.store().triggered().unwrap_or_else(|error| {
        tracing::error!(%error, "the bounds of triggers count only what is begun from now on");
        Vec::new()
    });
    let seats = engine.triggers().seats();
    let taken = rows.into_iter();
    taken
        .map(|(execution, trigger)| (execution, seats.take_again(&trigger)))
        .collect()
}

/// The number of a message, and how often it was received.
fn receipt(message: &Value) -> Option<(i64, u32)> {
    let (number, receives) = message["ReceiptHandle"].as_str()?.split_once('-')?;
    Some((number.parse().ok()?, receives.parse().ok()?))
}
