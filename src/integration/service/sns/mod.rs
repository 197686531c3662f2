//! Topics, as Amazon SNS answers for them: what one file can serve. A message goes to queues of this daemon
//! in the same commit, and to all others through the outbox, which the runtime's courier empties.
//!
//! Short messages, ordered topics, filters and functions are refused with the name of the setting that
//! leads to a service which has them. Spec: the API reference of SNS, version 2010-03-31.

mod destination;
mod message;
mod named;
mod publish;
mod subscriptions;

use serde_json::{Value, json};

pub use destination::Destination;
pub use named::topic_arn;

use self::{
    named::topic_of,
    publish::{publish, publish_batch},
    subscriptions::{attributes_of, list, set_attribute, subscribe, unsubscribe},
};
use super::{
    embedded::Call,
    kept::{Queues, Topics},
    request::{Answer, Parameters, Refusal, Words, granted},
};
use crate::config::{Config, topic_name};

/// Topics that clients make; those of the settings have a bound of their own.
const TOPICS_MAX: u32 = 10_000;

/// Spec: names in an answer.
const PAGE_MAX: u32 = 100;

/// Subscriptions of a topic: each is a row for each message.
const SUBSCRIPTIONS_MAX: u32 = 100;

const WORDS: Words = Words {
    invalid: "InvalidParameter",
    section: "sns",
    what: "iterd's own topics",
};

/// The actions that there are, as the API names them.
pub(super) const ACTIONS: [&str; 12] = [
    "CreateTopic",
    "DeleteTopic",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTopics",
    "Publish",
    "PublishBatch",
    "SetSubscriptionAttributes",
    "Subscribe",
    "Unsubscribe",
];

/// Does what a call asks for; see [`dynamodb::call`](super::dynamodb::call).
pub(super) fn call<E, K>(kept: &K, call: &Call) -> Answer<E>
where
    K: Queues<Error = E> + Topics<Error = E>,
{
    let given = granted!(Parameters::of(&call.parameters, &WORDS));
    match call.action.as_str() {
        "CreateTopic" => create(kept, given, call),
        "DeleteTopic" => delete(kept, given, &call.settings),
        "ListTopics" => list_topics(kept, given, &call.settings),
        "GetTopicAttributes" => attributes(kept, given, &call.settings),
        "Publish" => publish(kept, given, call),
        "PublishBatch" => publish_batch(kept, given, call),
        "Subscribe" => subscribe(kept, given, call),
        "Unsubscribe" => unsubscribe(kept, given),
        "ListSubscriptions" => list(kept, given, &call.settings, false),
        "ListSubscriptionsByTopic" => list(kept, given, &call.settings, true),
        "GetSubscriptionAttributes" => attributes_of(kept, given, &call.settings),
        "SetSubscriptionAttributes" => set_attribute(kept, given),
        other => Ok(Err(WORDS.unsupported(other))),
    }
}

/// In AWS's words, with the mend.
fn unknown(topic: &str) -> Refusal {
    let mend = match topic_name(topic) {
        Ok(()) => format!("CreateTopic makes one, and so does [topics.{topic}] in iterd.toml"),
        Err(why) => why,
    };
    Refusal::new("NotFound", format!("Topic does not exist; {mend}"))
}

/// In AWS's words.
fn missing(name: &str) -> Refusal {
    WORDS.invalid(format!("Invalid parameter: {name} is missing"))
}

/// The topic that `TopicArn` means; there is one.
fn named<'a, E, K: Topics<Error = E>>(
    kept: &K,
    given: &mut Parameters<'a>,
    settings: &Config,
) -> Result<Result<&'a str, Refusal>, E> {
    let Some(arn) = granted!(given.text("TopicArn", &WORDS)) else {
        return Ok(Err(missing("TopicArn")));
    };
    let name = granted!(topic_of(arn, "TopicArn"));
    Ok(if exists(kept, name, settings)? {
        Ok(name)
    } else {
        Err(unknown(name))
    })
}

fn exists<E, K: Topics<Error = E>>(kept: &K, name: &str, settings: &Config) -> Result<bool, E> {
    if settings.topics.contains_key(name) {
        return Ok(true);
    }
    let made = kept.topic(name)?;
    Ok(made.is_some_and(|topic| topic.created.is_some()))
}

fn create<E, K: Topics<Error = E>>(kept: &K, mut given: Parameters<'_>, call: &Call) -> Answer<E> {
    let name = granted!(given.text("Name", &WORDS)).unwrap_or_default();
    if let Some(attributes) = given.take("Attributes") {
        let mut attributes = granted!(Parameters::of(attributes, &WORDS));
        // What a topic is called in front of people, where it is, changes nothing here.
        attributes.pass_over(&["DisplayName"]);
        if granted!(attributes.text("FifoTopic", &WORDS)).is_some_and(|fifo| fifo != "false") {
            return Ok(Err(WORDS.unsupported("FifoTopic")));
        }
        granted!(attributes.end(&WORDS));
    }
    given.pass_over(&["Tags"]);
    granted!(given.end(&WORDS));
    if name.strip_suffix(".fifo").is_some() {
        return Ok(Err(WORDS.unsupported("topics whose names end with .fifo")));
    }
    if let Err(why) = topic_name(name) {
        return Ok(Err(
            WORDS.invalid(format!("Invalid parameter: Topic Name: {why}"))
        ));
    }
    let answer = json!({ "TopicArn": topic_arn(&call.settings, name) });
    if exists(kept, name, &call.settings)? {
        return Ok(Ok(answer));
    }
    let count = kept.topic_names("", TOPICS_MAX)?.len();
    if u32::try_from(count).is_ok_and(|count| count >= TOPICS_MAX) {
        let message = format!("there are {TOPICS_MAX} topics already; delete some");
        return Ok(Err(Refusal::new("TopicLimitExceeded", message)));
    }
    kept.create_topic(name, call.moment.now)?;
    Ok(Ok(answer))
}

fn delete<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
    settings: &Config,
) -> Answer<E> {
    let Some(arn) = granted!(given.text("TopicArn", &WORDS)) else {
        return Ok(Err(missing("TopicArn")));
    };
    let name = granted!(topic_of(arn, "TopicArn"));
    granted!(given.end(&WORDS));
    if settings.topics.contains_key(name) {
        return Ok(Err(WORDS.invalid(format!(
            "Invalid parameter: TopicArn: the settings name this topic; remove [topics.{name}] from iterd.toml"
        ))));
    }
    // Spec: one that is gone already is gone.
    kept.drop_topic(name)?;
    Ok(Ok(json!({})))
}

fn list_topics<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
    settings: &Config,
) -> Answer<E> {
    let after = granted!(given.text("NextToken", &WORDS)).unwrap_or_default();
    granted!(given.end(&WORDS));
    let mut names = kept.topic_names(after, PAGE_MAX + 1)?;
    let settled = settings.topics.keys().filter(|name| name.as_str() > after);
    names.extend(settled.take(PAGE_MAX as usize + 1).cloned());
    names.sort_unstable();
    names.dedup();
    let more = names.len() > PAGE_MAX as usize;
    names.truncate(PAGE_MAX as usize);
    let topics: Vec<Value> = names
        .iter()
        .map(|name| json!({ "TopicArn": topic_arn(settings, name) }))
        .collect();
    let mut answer = json!({ "Topics": topics });
    if more && let Some(last) = names.last() {
        answer["NextToken"] = last.clone().into();
    }
    Ok(Ok(answer))
}

/// What there is to know of a topic; the last three are ours.
fn attributes<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
    settings: &Config,
) -> Answer<E> {
    let name = granted!(named(kept, &mut given, settings)?);
    granted!(given.end(&WORDS));
    let subscriptions = kept.subscriptions(Some(name), 0, SUBSCRIPTIONS_MAX)?.len();
    let published = kept.topic(name)?.map_or(0, |topic| topic.published);
    let (waiting, given_up) = kept.outbox(name)?;
    Ok(Ok(json!({ "Attributes": {
        "TopicArn": topic_arn(settings, name),
        "Owner": settings.account,
        "DisplayName": "",
        "SubscriptionsConfirmed": subscriptions.to_string(),
        "SubscriptionsPending": "0",
        "SubscriptionsDeleted": "0",
        "MessagesPublished": published.to_string(),
        "DeliveriesWaiting": waiting.to_string(),
        "DeliveriesGivenUp": given_up.to_string(),
    }})))
}
