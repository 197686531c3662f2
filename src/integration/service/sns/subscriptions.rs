//! Who gets the messages of a topic, because a client said so.
//!
//! A subscription counts from the moment it is made: whoever makes one has an admin's key, so nobody is
//! asked to confirm it. A task of a state subscribes queues alone: its parameters may be anybody's, and
//! would name hosts that this daemon sends to.

use serde_json::{Value, json};

use super::{
    PAGE_MAX, SUBSCRIPTIONS_MAX, WORDS, missing, named,
    named::{queue_of, subscription_arn, subscription_of, topic_arn},
};
use crate::{
    config::{Config, is_address, webhook},
    integration::service::{
        embedded::Call,
        kept::{Queues, Subscription, Topics},
        request::{Answer, Parameters, Refusal, granted},
        sqs::uuid,
    },
};

pub(super) fn subscribe<E, K>(kept: &K, mut given: Parameters<'_>, call: &Call) -> Answer<E>
where
    K: Queues<Error = E> + Topics<Error = E>,
{
    let settings = &call.settings;
    let topic = granted!(named(kept, &mut given, settings)?);
    let protocol = granted!(given.text("Protocol", &WORDS)).unwrap_or_default();
    let endpoint = granted!(given.text("Endpoint", &WORDS)).unwrap_or_default();
    let mut raw = false;
    if let Some(attributes) = given.take("Attributes") {
        let mut attributes = granted!(Parameters::of(attributes, &WORDS));
        if let Some(written) = granted!(attributes.text("RawMessageDelivery", &WORDS)) {
            raw = granted!(raw_of(written, protocol));
        }
        granted!(attributes.end(&WORDS));
    }
    given.pass_over(&["ReturnSubscriptionArn"]);
    granted!(given.end(&WORDS));
    granted!(check(kept, protocol, endpoint, call)?);
    let subscriptions = kept.subscriptions(Some(topic), 0, SUBSCRIPTIONS_MAX)?;
    let same = |it: &&Subscription| it.protocol == protocol && it.endpoint == endpoint;
    if let Some(there) = subscriptions.iter().find(same) {
        return Ok(if there.raw == raw {
            Ok(json!({ "SubscriptionArn": subscription_arn(settings, topic, &there.id) }))
        } else {
            Err(WORDS.invalid("Invalid parameter: Attributes Reason: Subscription already exists with different attributes"))
        });
    }
    if u32::try_from(subscriptions.len()).is_ok_and(|count| count >= SUBSCRIPTIONS_MAX) {
        let message = format!("the topic {topic} has {SUBSCRIPTIONS_MAX} subscriptions already");
        return Ok(Err(Refusal::new("SubscriptionLimitExceeded", message)));
    }
    let id = uuid(call.moment.random);
    kept.subscribe(&Subscription {
        number: 0,
        id: id.clone(),
        topic: topic.to_owned(),
        protocol: protocol.to_owned(),
        endpoint: endpoint.to_owned(),
        raw,
    })?;
    Ok(Ok(
        json!({ "SubscriptionArn": subscription_arn(settings, topic, &id) }),
    ))
}

/// Whether a protocol reaches an endpoint from here.
fn check<E, K: Queues<Error = E>>(
    kept: &K,
    protocol: &str,
    endpoint: &str,
    call: &Call,
) -> Result<Result<(), Refusal>, E> {
    let invalid = |why: &str| WORDS.invalid(format!("Invalid parameter: Endpoint Reason: {why}"));
    if call.by_task && protocol != "sqs" {
        let message = "a state subscribes queues alone, because its parameters may be anybody's; a client with an admin's key subscribes others";
        return Ok(Err(Refusal::new("AuthorizationError", message)));
    }
    match protocol {
        "sqs" => {
            let name = granted!(queue_of(endpoint));
            Ok(match kept.queue(name)? {
                Some(_) => Ok(()),
                None => Err(invalid(&format!("there is no queue {name:?} here"))),
            })
        }
        "http" | "https" => Ok(match webhook(endpoint) {
            Err(why) => Err(invalid(&why)),
            Ok(()) if endpoint.split(':').next() == Some(protocol) => Ok(()),
            Ok(()) => Err(invalid("Endpoint must match the specified protocol")),
        }),
        "email" => {
            let mail = &call.settings.mail;
            Ok(if !is_address(endpoint) {
                Err(invalid("it is no address of e-mail"))
            } else if mail.server.is_none() || mail.from.is_none() {
                Err(invalid(
                    "nobody takes e-mail here; [mail] server and from in iterd.toml say who does",
                ))
            } else {
                Ok(())
            })
        }
        "" => Ok(Err(missing("Protocol"))),
        other => Ok(Err(
            WORDS.unsupported(&format!("subscriptions by {other:?}"))
        )),
    }
}

fn raw_of(written: &str, protocol: &str) -> Result<bool, Refusal> {
    let refuse = |why: &str| {
        WORDS.invalid(format!(
            "Invalid parameter: Attributes Reason: RawMessageDelivery: {why}"
        ))
    };
    match written {
        "false" => Ok(false),
        "true" if protocol == "email" => Err(refuse(
            "Delivery protocol [email] does not support raw message delivery.",
        )),
        "true" => Ok(true),
        other => Err(refuse(&format!(
            "Invalid value [{other}]. Must be true or false."
        ))),
    }
}

pub(super) fn unsubscribe<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
) -> Answer<E> {
    let Some(arn) = granted!(given.text("SubscriptionArn", &WORDS)) else {
        return Ok(Err(missing("SubscriptionArn")));
    };
    let id = granted!(subscription_of(arn));
    granted!(given.end(&WORDS));
    kept.unsubscribe(id)?;
    Ok(Ok(json!({})))
}

fn found<E, K: Topics<Error = E>>(
    kept: &K,
    given: &mut Parameters<'_>,
) -> Result<Result<Subscription, Refusal>, E> {
    let Some(arn) = granted!(given.text("SubscriptionArn", &WORDS)) else {
        return Ok(Err(missing("SubscriptionArn")));
    };
    let id = granted!(subscription_of(arn));
    let found = kept.subscription(id)?;
    Ok(found.ok_or_else(|| Refusal::new("NotFound", "Subscription does not exist")))
}

pub(super) fn set_attribute<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
) -> Answer<E> {
    let there = granted!(found(kept, &mut given)?);
    let name = granted!(given.text("AttributeName", &WORDS)).unwrap_or_default();
    let value = granted!(given.text("AttributeValue", &WORDS)).unwrap_or_default();
    granted!(given.end(&WORDS));
    if name != "RawMessageDelivery" {
        return Ok(Err(
            WORDS.unsupported(&format!("attribute {name:?} of subscriptions"))
        ));
    }
    let raw = granted!(raw_of(value, &there.protocol));
    kept.set_raw(&there.id, raw)?;
    Ok(Ok(json!({})))
}

pub(super) fn attributes_of<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
    settings: &Config,
) -> Answer<E> {
    let there = granted!(found(kept, &mut given)?);
    granted!(given.end(&WORDS));
    let mut told = told(&there, settings);
    told["ConfirmationWasAuthenticated"] = "true".into();
    told["PendingConfirmation"] = "false".into();
    told["RawMessageDelivery"] = there.raw.to_string().into();
    Ok(Ok(json!({ "Attributes": told })))
}

pub(super) fn list<E, K: Topics<Error = E>>(
    kept: &K,
    mut given: Parameters<'_>,
    settings: &Config,
    of_topic: bool,
) -> Answer<E> {
    let topic = if of_topic {
        Some(granted!(named(kept, &mut given, settings)?))
    } else {
        None
    };
    let token = granted!(given.text("NextToken", &WORDS));
    granted!(given.end(&WORDS));
    let after = token.map_or(Ok(0), str::parse);
    let Ok(after) = after else {
        return Ok(Err(WORDS.invalid("Invalid parameter: NextToken")));
    };
    let mut rows = kept.subscriptions(topic, after, PAGE_MAX + 1)?;
    let more = rows.len() > PAGE_MAX as usize;
    rows.truncate(PAGE_MAX as usize);
    let listed: Vec<Value> = rows.iter().map(|row| told(row, settings)).collect();
    let mut answer = json!({ "Subscriptions": listed });
    if more && let Some(last) = rows.last() {
        answer["NextToken"] = last.number.to_string().into();
    }
    Ok(Ok(answer))
}

fn told(subscription: &Subscription, settings: &Config) -> Value {
    let Subscription {
        id,
        topic,
        protocol,
        endpoint,
        ..
    } = subscription;
    json!({
        "SubscriptionArn": subscription_arn(settings, topic, id),
        "Owner": settings.account,
        "Protocol": protocol,
        "Endpoint": endpoint,
        "TopicArn": topic_arn(settings, topic),
    })
}
