//! The names of topics and subscriptions.
//!
//! A name is known by its last part, whatever stands before: a definition that was written for AWS needs no
//! change. Answers have the region and the account of the settings.

use super::WORDS;
use crate::{config::Config, integration::service::request::Refusal};

/// The name of a topic of this daemon.
#[must_use]
pub fn topic_arn(settings: &Config, topic: &str) -> String {
    let Config {
        region, account, ..
    } = settings;
    format!("arn:aws:sns:{region}:{account}:{topic}")
}

/// That of a subscription.
pub(super) fn subscription_arn(settings: &Config, topic: &str, id: &str) -> String {
    format!("{}:{id}", topic_arn(settings, topic))
}

/// Spec: parts of a topic's name, and of a subscription's.
const TOPIC_PARTS: usize = 6;
const SUBSCRIPTION_PARTS: usize = 7;

/// The topic that an ARN means.
pub(super) fn topic_of<'a>(arn: &'a str, parameter: &str) -> Result<&'a str, Refusal> {
    last_of(arn, "sns", TOPIC_PARTS, parameter)
}

/// The subscription that one means.
pub(super) fn subscription_of(arn: &str) -> Result<&str, Refusal> {
    last_of(arn, "sns", SUBSCRIPTION_PARTS, "SubscriptionArn")
}

/// The queue that one means.
pub(super) fn queue_of(arn: &str) -> Result<&str, Refusal> {
    last_of(arn, "sqs", TOPIC_PARTS, "Endpoint")
}

fn last_of<'a>(
    arn: &'a str,
    service: &str,
    count: usize,
    parameter: &str,
) -> Result<&'a str, Refusal> {
    let parts: Vec<&str> = arn.split(':').collect();
    let known = parts.len() == count && parts[0] == "arn" && parts[2] == service;
    match parts.last().filter(|last| known && !last.is_empty()) {
        Some(last) => Ok(last),
        None => Err(WORDS.invalid(format!(
            "Invalid parameter: {parameter} Reason: {arn:?} is no such name; write for example \"arn:aws:{service}:us-east-1:000000000000:NAME\""
        ))),
    }
}
