//! A message of a topic: how it is taken from a request, and how it is told to those who get it.
//!
//! Pure. Spec: `Publish` in the API reference of SNS, and "Parsing Amazon SNS message formats" of its
//! guide, without the signature that only AWS can make.

use serde_json::{Map, Value, json};

use super::{WORDS, named::topic_arn};
use crate::{
    config::Config,
    integration::service::{
        kept::Notice,
        request::{Moment, Parameters, Refusal},
        sqs::{Attributes, uuid},
    },
};

/// Spec: the longest message, with its subject and attributes.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Spec: the longest subject.
const SUBJECT_CHARS_MAX: usize = 100;

/// What a request publishes to a topic; `place` tells it from others of the same request.
pub(super) fn notice(
    topic: &str,
    given: &mut Parameters<'_>,
    moment: Moment,
    place: u32,
) -> Result<Notice, Refusal> {
    let body = match given.take("Message") {
        None => return Err(WORDS.invalid("Invalid parameter: Empty message")),
        Some(Value::String(body)) if body.is_empty() => {
            return Err(WORDS.invalid("Invalid parameter: Empty message"));
        }
        Some(Value::String(body)) => body.clone(),
        // As states publish it: a message that is JSON is sent as its text.
        Some(other) => other.to_string(),
    };
    let subject = given.text("Subject", &WORDS)?.map(str::to_owned);
    let plain = |subject: &String| {
        !subject.is_empty()
            && subject.chars().count() <= SUBJECT_CHARS_MAX
            && !subject.contains(char::is_control)
    };
    if subject.as_ref().is_some_and(|subject| !plain(subject)) {
        return Err(WORDS.invalid(format!(
            "Invalid parameter: Subject: one line of 1 to {SUBJECT_CHARS_MAX} characters"
        )));
    }
    let structured = match given.text("MessageStructure", &WORDS)? {
        None => false,
        Some("json") => true,
        Some(_) => {
            return Err(WORDS.invalid(
                "Invalid parameter: MessageStructure: \"json\" is the only one that there is",
            ));
        }
    };
    if structured {
        check_structure(&body)?;
    }
    let attributes = match given.take("MessageAttributes") {
        None => None,
        Some(Value::Object(fields)) if fields.is_empty() => None,
        Some(value) => Some(Attributes::of(value)?.text),
    };
    let bytes = body.len()
        + subject.as_ref().map_or(0, String::len)
        + attributes.as_ref().map_or(0, String::len);
    if bytes > MESSAGE_BYTES_MAX {
        return Err(WORDS.invalid(format!(
            "Invalid parameter: Message too long: {bytes} bytes, at most {MESSAGE_BYTES_MAX}"
        )));
    }
    Ok(Notice {
        message_id: uuid(moment.random.wrapping_add(u128::from(place))),
        topic: topic.to_owned(),
        subject,
        body,
        structured,
        attributes,
        published: moment.now,
    })
}

fn check_structure(body: &str) -> Result<(), Refusal> {
    let parsed: Option<Map<String, Value>> = serde_json::from_str(body).ok();
    let Some(parsed) = parsed else {
        return Err(WORDS
            .invalid("Invalid parameter: Message Structure - JSON message body failed to parse"));
    };
    if !parsed.get("default").is_some_and(Value::is_string) {
        return Err(WORDS.invalid(
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ));
    }
    Ok(())
}

impl Notice {
    /// The message for whoever is reached by a protocol.
    #[must_use]
    pub fn text(&self, protocol: &str) -> String {
        if !self.structured {
            return self.body.clone();
        }
        let texts: Map<String, Value> = serde_json::from_str(&self.body).unwrap_or_default();
        let own = texts.get(protocol).and_then(Value::as_str);
        // Invariant: there is a default, or it would not have been taken.
        let default = texts.get("default").and_then(Value::as_str);
        own.or(default).unwrap_or_default().to_owned()
    }

    /// The message with what is about it, as SNS tells it to queues and webhooks.
    #[must_use]
    pub fn envelope(&self, settings: &Config, protocol: &str) -> Value {
        let published = self.published.to_jiff();
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": self.message_id,
            "TopicArn": topic_arn(settings, &self.topic),
        });
        if let Some(subject) = &self.subject {
            envelope["Subject"] = subject.clone().into();
        }
        envelope["Message"] = self.text(protocol).into();
        envelope["Timestamp"] = published
            .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
            .to_string()
            .into();
        let attributes = self.attributes.as_deref();
        let attributes: Option<Map<String, Value>> =
            attributes.and_then(|text| serde_json::from_str(text).ok());
        if let Some(attributes) = attributes {
            let told = attributes.into_iter().map(|(name, attribute)| {
                let value = ["StringValue", "BinaryValue"]
                    .iter()
                    .find_map(|form| attribute.get(*form).filter(|value| !value.is_null()));
                let told = json!({ "Type": attribute["DataType"], "Value": value });
                (name, told)
            });
            envelope["MessageAttributes"] = told.collect::<Map<_, _>>().into();
        }
        envelope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn taken(parameters: &Value) -> Result<Notice, Refusal> {
        let moment = Moment {
            now: Timestamp::from_millis(1_713_421_621_007),
            random: 0,
        };
        let mut given = Parameters::of(parameters, &WORDS)?;
        let notice = notice("t", &mut given, moment, 0)?;
        given.end(&WORDS)?;
        Ok(notice)
    }

    #[test]
    fn a_message_is_told_in_the_form_of_sns() {
        let attributes = json!({
            "a": {"DataType": "String", "StringValue": "x"},
            "b": {"DataType": "Binary", "BinaryValue": "AQI="},
        });
        let given =
            json!({"Message": {"n": 1}, "Subject": "Failed", "MessageAttributes": attributes});
        let notice = taken(&given).unwrap();
        assert_eq!(
            notice.envelope(&Config::default(), "sqs"),
            json!({
                "Type": "Notification",
                "MessageId": "00000000-0000-4000-8000-000000000000",
                "TopicArn": "arn:aws:sns:us-east-1:000000000000:t",
                "Subject": "Failed",
                "Message": "{\"n\":1}",
                "Timestamp": "2024-04-18T06:27:01.007Z",
                "MessageAttributes": {
                    "a": {"Type": "String", "Value": "x"},
                    "b": {"Type": "Binary", "Value": "AQI="},
                },
            })
        );
    }

    #[test]
    fn a_message_may_have_a_text_for_each_protocol() {
        let texts = json!({"default": "d", "email": "e", "http": 7}).to_string();
        let notice = taken(&json!({"Message": texts, "MessageStructure": "json"})).unwrap();
        let told = ["email", "http", "sqs"].map(|protocol| notice.text(protocol));
        assert_eq!(told, ["e", "d", "d"]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (given, words) in [
            (json!({}), "Empty message"),
            (json!({"Message": ""}), "Empty message"),
            (json!({"Message": "m", "Subject": "a\nBcc: b"}), "Subject"),
            (json!({"Message": "m", "Subject": ""}), "Subject"),
            (
                json!({"Message": "m", "MessageStructure": "json"}),
                "failed to parse",
            ),
            (
                json!({"Message": "{}", "MessageStructure": "json"}),
                "No default",
            ),
            (json!({"Message": "m", "MessageStructure": "xml"}), "json"),
            (
                json!({"Message": "m".repeat(MESSAGE_BYTES_MAX + 1)}),
                "too long",
            ),
            (
                json!({"Message": "m", "PhoneNumber": "+1"}),
                "[services.sns] endpoint",
            ),
        ] {
            let refusal = taken(&given).unwrap_err();
            assert_eq!(refusal.code, "InvalidParameter");
            assert!(refusal.message.contains(words), "{refusal}");
        }
    }
}
