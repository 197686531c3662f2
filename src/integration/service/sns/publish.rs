//! Publishing: a message goes into the queues that want it, and into the outbox for everybody else.
//!
//! Invariant: all of that is one commit with the answer, so a message is there for all who get it, once
//! each, or for nobody.

use serde_json::{Value, json};

use super::{
    Destination, SUBSCRIPTIONS_MAX, WORDS, exists, message,
    named::{queue_of, topic_of},
    unknown,
};
use crate::{
    config::Config,
    integration::service::{
        embedded::Call,
        kept::{Message, Notice, Queues, Topics},
        request::{Answer, Moment, Parameters, Refusal, granted},
        sqs,
    },
};

/// Messages that may wait to be delivered to one destination; beyond it a publisher is told to come again.
/// A webhook that is down for a day at a message in two seconds; counting them takes some milliseconds.
const OWED_MAX: u32 = 50_000;

/// Spec: entries of a batch.
const BATCH_MAX: usize = 10;

pub(super) fn publish<E, K>(kept: &K, mut given: Parameters<'_>, call: &Call) -> Answer<E>
where
    K: Queues<Error = E> + Topics<Error = E>,
{
    let (topic, target) = (
        granted!(given.text("TopicArn", &WORDS)),
        granted!(given.text("TargetArn", &WORDS)),
    );
    let Some(arn) = topic.or(target) else {
        let other = if granted!(given.text("PhoneNumber", &WORDS)).is_some() {
            WORDS.unsupported("PhoneNumber")
        } else {
            WORDS.invalid(
                "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter",
            )
        };
        return Ok(Err(other));
    };
    if arn.contains(":endpoint/") {
        return Ok(Err(WORDS.unsupported("endpoints of mobile applications")));
    }
    let topic = granted!(topic_of(arn, "TopicArn"));
    if topic.strip_suffix(".fifo").is_some() {
        return Ok(Err(WORDS.unsupported("topics whose names end with .fifo")));
    }
    if !exists(kept, topic, &call.settings)? {
        return Ok(Err(unknown(topic)));
    }
    let notice = granted!(message::notice(topic, &mut given, call.moment, 0));
    granted!(given.end(&WORDS));
    granted!(send(kept, &notice, call, 0)?);
    Ok(Ok(json!({ "MessageId": notice.message_id })))
}

pub(super) fn publish_batch<E, K>(kept: &K, mut given: Parameters<'_>, call: &Call) -> Answer<E>
where
    K: Queues<Error = E> + Topics<Error = E>,
{
    let topic = granted!(super::named(kept, &mut given, &call.settings)?);
    let entries = granted!(entries(given.take("PublishBatchRequestEntries")));
    granted!(given.end(&WORDS));
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for ((id, entry), place) in entries.into_iter().zip(0..) {
        let taken = Parameters::of(entry, &WORDS).and_then(|mut entry| {
            entry.pass_over(&["Id"]);
            let notice = message::notice(topic, &mut entry, call.moment, place)?;
            entry.end(&WORDS)?;
            Ok(notice)
        });
        let sent = match taken {
            Ok(notice) => send(kept, &notice, call, place)?.map(|()| notice.message_id),
            Err(refusal) => Err(refusal),
        };
        match sent {
            Ok(message_id) => done.push(json!({ "Id": id, "MessageId": message_id })),
            Err(Refusal { code, message }) => refused.push(
                json!({ "Id": id, "Code": code, "Message": message, "SenderFault": code != "Throttled" }),
            ),
        }
    }
    Ok(Ok(json!({ "Successful": done, "Failed": refused })))
}

/// The entries of a batch, each with its `Id`.
fn entries(given: Option<&Value>) -> Result<Vec<(&str, &Value)>, Refusal> {
    let list = given.and_then(Value::as_array);
    let list = list.map_or(&[] as &[Value], Vec::as_slice);
    if list.is_empty() {
        let message = "The batch request doesn't contain any entries.";
        return Err(Refusal::new("EmptyBatchRequest", message));
    }
    if list.len() > BATCH_MAX {
        let message =
            format!("The batch request contains more entries than permissible: {BATCH_MAX}.");
        return Err(Refusal::new("TooManyEntriesInBatchRequest", message));
    }
    let mut entries: Vec<(&str, &Value)> = Vec::new();
    for entry in list {
        let id = entry["Id"].as_str().filter(|id| !id.is_empty());
        let id =
            id.ok_or_else(|| Refusal::new("InvalidBatchEntryId", "an entry of a batch has no Id"))?;
        if entries.iter().any(|(known, _)| *known == id) {
            let message =
                format!("Two or more batch entries in the request have the same Id: {id}");
            return Err(Refusal::new("BatchEntryIdsNotDistinct", message));
        }
        entries.push((id, entry));
    }
    Ok(entries)
}

/// Where a message goes.
#[derive(Default)]
struct Goes {
    /// Queues, and whether they get the message alone; what the settings name is made where it is not.
    queues: Vec<(String, bool)>,
    /// Of the outbox.
    destinations: Vec<String>,
}

/// Sends a message to all who get it. Why judged first: of a batch, what is refused must not be half sent.
fn send<E, K>(kept: &K, notice: &Notice, call: &Call, place: u32) -> Result<Result<(), Refusal>, E>
where
    K: Queues<Error = E> + Topics<Error = E>,
{
    let mut goes = settled(&notice.topic, &call.settings);
    for subscription in kept.subscriptions(Some(&notice.topic), 0, SUBSCRIPTIONS_MAX)? {
        if subscription.protocol == "sqs" {
            if let Ok(queue) = queue_of(&subscription.endpoint) {
                goes.queues.push((queue.to_owned(), subscription.raw));
            }
        } else {
            let destination = Destination::Subscription(subscription.id);
            goes.destinations.push(destination.to_stored());
        }
    }
    for destination in &goes.destinations {
        if kept.owes(destination, OWED_MAX)? {
            let message = format!(
                "{OWED_MAX} messages of the topic {} wait to be delivered to one place ({destination}); mend or remove it, and publish again",
                notice.topic
            );
            return Ok(Err(Refusal::new("Throttled", message)));
        }
    }
    if goes.queues.is_empty() && goes.destinations.is_empty() {
        tracing::debug!(topic = notice.topic, "a message goes nowhere");
    }
    for ((queue, raw), at) in goes.queues.into_iter().zip(1_u128..) {
        let moment = Moment {
            now: call.moment.now,
            // Why: a message in a queue has a name of its own, as on AWS.
            random: call.moment.random ^ (at << 96) ^ (u128::from(place) << 80),
        };
        enqueue(kept, notice, &queue, raw, &call.settings, moment)?;
    }
    if !goes.destinations.is_empty() {
        kept.post(notice, &goes.destinations)?;
    }
    kept.count(&notice.topic)?;
    Ok(Ok(()))
}

/// Where the settings want a topic's messages to go.
fn settled(topic: &str, settings: &Config) -> Goes {
    let Some(place) = settings.topics.get(topic) else {
        return Goes::default();
    };
    let own = || topic.to_owned();
    let single = [
        place.webhook.as_ref().map(|_| Destination::Webhook(own())),
        place.command.as_ref().map(|_| Destination::Command(own())),
        place.log.then(|| Destination::Log(own())),
    ];
    let email = place.email.iter().map(|address| Destination::Email {
        topic: own(),
        address: address.clone(),
    });
    let all = single.into_iter().flatten().chain(email);
    Goes {
        queues: place
            .queue
            .iter()
            .map(|queue| (queue.clone(), false))
            .collect(),
        destinations: all.map(|destination| destination.to_stored()).collect(),
    }
}

fn enqueue<E, K: Queues<Error = E>>(
    kept: &K,
    notice: &Notice,
    name: &str,
    raw: bool,
    settings: &Config,
    moment: Moment,
) -> Result<(), E> {
    let topic = &notice.topic;
    let wanted = settings.topics.get(topic);
    let wanted = wanted.is_some_and(|place| place.queue.as_deref() == Some(name));
    let found = match kept.queue(name)? {
        // What the settings name is there once something is to go into it.
        None if wanted => {
            kept.create_queue(&sqs::plain(name, moment.now))?;
            kept.queue(name)?
        }
        found => found,
    };
    let Some(queue) = found else {
        tracing::warn!(
            topic,
            queue = name,
            "a queue that subscribed is gone; its message is dropped"
        );
        return Ok(());
    };
    let (body, attributes) = if raw {
        (notice.text("sqs"), notice.attributes.clone())
    } else {
        (notice.envelope(settings, "sqs").to_string(), None)
    };
    let message = Message {
        id: 0,
        message_id: sqs::uuid(moment.random),
        body,
        attributes,
        sent: moment.now,
        visible: sqs::after(moment.now, queue.delay_s),
        receives: 0,
        first: None,
    };
    kept.send(queue.id, &message)
}
