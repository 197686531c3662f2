//! Queues, as Amazon SQS answers for them: what one file can serve. Messages are received in the order of
//! their coming, at least once. First-in-first-out groups, dead-letter queues and policies are refused with
//! the name of the setting that leads to a service which has them.
//!
//! Spec: the API reference of SQS, version 2012-11-05, in its JSON protocol.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use super::{
    kept::{EXPIRED_MAX, Message, Queue, QueueFigures, Queues},
    request::{Answer, Moment, Parameters, Refusal, UNREACHABLE, Words, granted},
};
use crate::{config::Config, time::Timestamp};

/// Spec: the longest message, attributes included.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Spec: attributes of a message.
const ATTRIBUTES_MAX: usize = 10;

/// Spec: entries of a batch, and messages in an answer.
const BATCH_MAX: usize = 10;

/// Spec: the default of how long a received message is hidden, and the longest.
const VISIBILITY_S: u32 = 30;
const VISIBILITY_MAX_S: u32 = 43_200;

/// Spec: how long a message may be delayed.
const DELAY_MAX_S: u32 = 900;

/// Spec: how long messages are kept, and the bounds of it.
const RETENTION_S: u32 = 345_600;
const RETENTION_MIN_S: u32 = 60;
const RETENTION_MAX_S: u32 = 1_209_600;

/// Spec: how long a receiver may wait for a message.
pub(super) const WAIT_MAX_S: u32 = 20;

/// Spec: names in an answer of ListQueues.
const NAMES_MAX: u32 = 1000;

const WORDS: Words = Words {
    invalid: "InvalidParameterValue",
    section: "sqs",
    what: "iterd's own queues",
};

/// The actions that there are, as the API names them.
pub(super) const ACTIONS: [&str; 12] = [
    "ChangeMessageVisibility",
    "CreateQueue",
    "DeleteMessage",
    "DeleteMessageBatch",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
    "SendMessageBatch",
];

/// Does what an action asks for; see [`dynamodb::call`](super::dynamodb::call). `base` is what the URLs
/// of queues begin with, `settings` say where their names lie.
pub(super) fn call<K: Queues>(
    kept: &K,
    action: &str,
    parameters: &Value,
    moment: Moment,
    (base, settings): (&str, &Config),
) -> Answer<K::Error> {
    let mut given = granted!(Parameters::of(parameters, &WORDS));
    match action {
        "CreateQueue" => create(kept, given, moment.now, base),
        "ListQueues" => list(kept, given, base),
        "GetQueueUrl" => {
            let name = granted!(given.text("QueueName", &WORDS)).unwrap_or_default();
            given.pass_over(&["QueueOwnerAWSAccountId"]);
            granted!(given.end(&WORDS));
            Ok(match kept.queue(name)? {
                Some(queue) => Ok(json!({ "QueueUrl": url(base, &queue.name) })),
                None => Err(unknown()),
            })
        }
        "SendMessage" => {
            let queue = granted!(named(kept, &mut given)?);
            let (message, sums) = granted!(message(&queue, &mut given, moment, 0));
            granted!(given.end(&WORDS));
            kept.send(queue.id, &message)?;
            Ok(Ok(sums))
        }
        "SendMessageBatch" => send_batch(kept, given, moment),
        "ReceiveMessage" => receive(kept, given, moment.now),
        "DeleteMessage" => {
            let queue = granted!(named(kept, &mut given)?);
            let receipt = granted!(given.text("ReceiptHandle", &WORDS)).unwrap_or_default();
            granted!(given.end(&WORDS));
            let (id, _) = granted!(of_receipt(receipt));
            kept.remove_message(queue.id, id)?;
            Ok(Ok(json!({})))
        }
        "DeleteMessageBatch" => delete_batch(kept, given),
        "ChangeMessageVisibility" => change_visibility(kept, given, moment.now),
        "GetQueueAttributes" => {
            let queue = granted!(named(kept, &mut given)?);
            given.pass_over(&["AttributeNames"]);
            granted!(given.end(&WORDS));
            let figures = kept.figures(queue.id, moment.now)?;
            let mut told = attributes(&queue, figures);
            told["QueueArn"] = arn(settings, &queue.name).into();
            Ok(Ok(json!({ "Attributes": told })))
        }
        "PurgeQueue" | "DeleteQueue" => {
            let queue = granted!(named(kept, &mut given)?);
            granted!(given.end(&WORDS));
            if action == "PurgeQueue" {
                kept.empty(&queue)?;
            } else {
                kept.drop_queue(queue.id)?;
            }
            Ok(Ok(json!({})))
        }
        other => Ok(Err(WORDS.unsupported(other))),
    }
}

/// In AWS's words.
fn unknown() -> Refusal {
    let message = "The specified queue does not exist.";
    Refusal::new("AWS.SimpleQueueService.NonExistentQueue", message)
}

/// In AWS's words.
fn missing(name: &str) -> Refusal {
    let message = format!("The request must contain the parameter {name}.");
    Refusal::new("MissingParameter", message)
}

/// The queue that `QueueUrl` leads to: the last part of it is the name, whatever stands before.
fn named<K: Queues>(
    kept: &K,
    given: &mut Parameters<'_>,
) -> Result<Result<Queue, Refusal>, K::Error> {
    let url = granted!(given.text("QueueUrl", &WORDS));
    let Some(url) = url else {
        return Ok(Err(missing("QueueUrl")));
    };
    let name = url.rsplit('/').next().unwrap_or_default();
    // In the words of AWS's SDK, which takes it for a host.
    let nowhere = || {
        let message = format!("{url}: Name or service not known");
        Refusal::new(UNREACHABLE, message)
    };
    Ok(match kept.queue(name)? {
        Some(queue) => Ok(queue),
        None if url.contains("://") => Err(unknown()),
        None => Err(nowhere()),
    })
}

/// What those name a queue by who subscribe it to a topic.
fn arn(settings: &Config, name: &str) -> String {
    let Config {
        region, account, ..
    } = settings;
    format!("arn:aws:sqs:{region}:{account}:{name}")
}

fn url(base: &str, name: &str) -> String {
    format!("{base}/{name}")
}

pub(super) fn after(now: Timestamp, seconds: u32) -> Timestamp {
    now.after(std::time::Duration::from_secs(u64::from(seconds)))
}

/// What a receipt is of: the message's number, and which of its receipts it is.
fn of_receipt(receipt: &str) -> Result<(i64, u32), Refusal> {
    let parts = receipt.split_once('-');
    let numbers = parts.and_then(|(id, receives)| Some((id.parse().ok()?, receives.parse().ok()?)));
    numbers.ok_or_else(|| {
        let message =
            format!("The input receipt handle \"{receipt}\" is not a valid receipt handle.");
        Refusal::new("ReceiptHandleIsInvalid", message)
    })
}

/// The attributes of a queue that can be chosen, in seconds.
struct Chosen {
    visibility: u32,
    delay: u32,
    retention: u32,
    wait: u32,
}

fn chosen(given: Option<&Value>) -> Result<Chosen, Refusal> {
    let empty = Value::Object(Map::new());
    let mut given = Parameters::of(given.unwrap_or(&empty), &WORDS)?;
    let chosen = Chosen {
        visibility: given
            .number("VisibilityTimeout", (0, VISIBILITY_MAX_S), &WORDS)?
            .unwrap_or(VISIBILITY_S),
        delay: given
            .number("DelaySeconds", (0, DELAY_MAX_S), &WORDS)?
            .unwrap_or(0),
        retention: given
            .number(
                "MessageRetentionPeriod",
                (RETENTION_MIN_S, RETENTION_MAX_S),
                &WORDS,
            )?
            .unwrap_or(RETENTION_S),
        wait: given
            .number("ReceiveMessageWaitTimeSeconds", (0, WAIT_MAX_S), &WORDS)?
            .unwrap_or(0),
    };
    // The bound of messages is ours.
    given.pass_over(&["MaximumMessageSize"]);
    given.end(&WORDS)?;
    Ok(chosen)
}

/// A queue with the attributes that one has of which nothing is said.
pub(super) fn plain(name: &str, now: Timestamp) -> Queue {
    Queue {
        id: 0,
        name: name.to_owned(),
        visibility_s: VISIBILITY_S,
        delay_s: 0,
        retention_s: RETENTION_S,
        wait_s: 0,
        created: now,
    }
}

fn create<K: Queues>(
    kept: &K,
    mut given: Parameters<'_>,
    now: Timestamp,
    base: &str,
) -> Answer<K::Error> {
    let name = granted!(given.text("QueueName", &WORDS)).unwrap_or_default();
    let chosen = granted!(chosen(given.take("Attributes")));
    given.pass_over(&["tags", "Tags"]);
    granted!(given.end(&WORDS));
    if name.strip_suffix(".fifo").is_some() {
        return Ok(Err(WORDS.unsupported("queues whose names end with .fifo")));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() || name.len() > 80 || !name.bytes().all(plain) {
        return Ok(Err(WORDS.invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )));
    }
    if let Some(there) = kept.queue(name)? {
        let Queue {
            visibility_s,
            delay_s,
            retention_s,
            ..
        } = there;
        let same = (visibility_s, delay_s, retention_s)
            == (chosen.visibility, chosen.delay, chosen.retention);
        // Why: queues of before that was kept have none, whatever they were made with.
        let unsaid = there.wait_s == 0;
        if same && unsaid && chosen.wait > 0 {
            kept.set_wait(there.id, chosen.wait)?;
        }
        return Ok(if same && (unsaid || there.wait_s == chosen.wait) {
            Ok(json!({ "QueueUrl": url(base, name) }))
        } else {
            let message =
                "A queue already exists with the same name and a different value for an attribute";
            Err(Refusal::new("QueueAlreadyExists", message))
        });
    }
    let queue = Queue {
        id: 0,
        name: name.to_owned(),
        visibility_s: chosen.visibility,
        delay_s: chosen.delay,
        retention_s: chosen.retention,
        wait_s: chosen.wait,
        created: now,
    };
    kept.create_queue(&queue)?;
    Ok(Ok(json!({ "QueueUrl": url(base, name) })))
}

fn list<K: Queues>(kept: &K, mut given: Parameters<'_>, base: &str) -> Answer<K::Error> {
    let prefix = granted!(given.text("QueueNamePrefix", &WORDS)).unwrap_or_default();
    let most = granted!(given.number("MaxResults", (1, NAMES_MAX), &WORDS)).unwrap_or(NAMES_MAX);
    let after = granted!(given.text("NextToken", &WORDS)).unwrap_or_default();
    granted!(given.end(&WORDS));
    let names = kept.queue_names(prefix, after, most + 1)?;
    let more = names.len() > most as usize;
    let names = &names[..names.len().min(most as usize)];
    let urls: Vec<_> = names.iter().map(|name| url(base, name)).collect();
    let mut answer = json!({ "QueueUrls": urls });
    if more && let Some(last) = names.last() {
        answer["NextToken"] = last.clone().into();
    }
    Ok(Ok(answer))
}

/// A message that is to be sent, and what is answered of it.
fn message(
    queue: &Queue,
    given: &mut Parameters<'_>,
    moment: Moment,
    place: u32,
) -> Result<(Message, Value), Refusal> {
    let body = match given.take("MessageBody") {
        None => return Err(missing("MessageBody")),
        Some(Value::String(body)) if body.is_empty() => return Err(missing("MessageBody")),
        Some(Value::String(body)) => body.clone(),
        // As states send it: a body that is JSON is sent as its text.
        Some(other) => other.to_string(),
    };
    let bounds = (0, DELAY_MAX_S);
    let delay = given.number("DelaySeconds", bounds, &WORDS)?;
    let attributes = match given.take("MessageAttributes") {
        None => None,
        Some(value) => Some(Attributes::of(value)?),
    };
    given.pass_over(&["MessageSystemAttributes"]);
    let bytes = body.len() + attributes.as_ref().map_or(0, |it| it.text.len());
    if bytes > MESSAGE_BYTES_MAX {
        return Err(WORDS.invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {MESSAGE_BYTES_MAX} bytes."
        )));
    }
    let message_id = uuid(moment.random.wrapping_add(u128::from(place)));
    let mut sums = json!({ "MD5OfMessageBody": hex_md5(body.as_bytes()), "MessageId": message_id });
    if let Some(attributes) = &attributes {
        sums["MD5OfMessageAttributes"] = attributes.sum.clone().into();
    }
    let message = Message {
        id: 0,
        message_id,
        body,
        attributes: attributes.map(|attributes| attributes.text),
        sent: moment.now,
        visible: after(moment.now, delay.unwrap_or(queue.delay_s)),
        receives: 0,
        first: None,
    };
    Ok((message, sums))
}

pub(super) fn uuid(random: u128) -> String {
    let bits = random & !(0xf000 << 64) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| &digits[from..to]).join("-")
}

fn hex_md5(bytes: &[u8]) -> String {
    let digest = Md5::digest(bytes);
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Why ok: nothing goes wrong in memory.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// Attributes of a message.
pub(super) struct Attributes {
    pub(super) text: String,
    /// Spec: "MD5 message digest calculation for message attributes".
    sum: String,
}

impl Attributes {
    pub(super) fn of(value: &Value) -> Result<Self, Refusal> {
        let fields = value.as_object();
        let fields = fields.ok_or_else(|| WORDS.invalid("MessageAttributes is no map"))?;
        if fields.len() > ATTRIBUTES_MAX {
            return Err(WORDS.invalid(format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
                fields.len()
            )));
        }
        let mut names: Vec<&String> = fields.keys().collect();
        names.sort_unstable();
        let mut flat = Vec::new();
        for name in names {
            let field = &fields[name];
            let text = |name: &str| field[name].as_str();
            let binary = || {
                use base64::{Engine as _, prelude::BASE64_STANDARD};
                BASE64_STANDARD.decode(text("BinaryValue")?).ok()
            };
            let kind = text("DataType").unwrap_or_default();
            let value = match kind.split('.').next() {
                Some("String" | "Number") => {
                    text("StringValue").map(|it| (1, it.as_bytes().to_vec()))
                }
                Some("Binary") => binary().map(|it| (2, it)),
                _ => None,
            };
            let Some((form, value)) = value else {
                return Err(WORDS.invalid(format!(
                    "The message attribute '{name}' must contain a non-empty message attribute value and a type: String, Number or Binary."
                )));
            };
            flat.push((name, kind, form, value));
        }
        let mut bytes = Vec::new();
        let push = |bytes: &mut Vec<u8>, part: &[u8]| {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend(part);
        };
        for (name, kind, form, value) in &flat {
            push(&mut bytes, name.as_bytes());
            push(&mut bytes, kind.as_bytes());
            bytes.push(*form);
            push(&mut bytes, value);
        }
        Ok(Self {
            text: value.to_string(),
            sum: hex_md5(&bytes),
        })
    }
}

/// The entries of a batch, each with its `Id`.
fn entries<'a>(given: &mut Parameters<'a>) -> Result<Vec<(&'a str, &'a Value)>, Refusal> {
    let list = given.take("Entries").and_then(Value::as_array);
    let list = list.map_or(&[] as &[Value], Vec::as_slice);
    if list.is_empty() {
        let message = "There should be at least one entry in the request.";
        return Err(Refusal::new(
            "AWS.SimpleQueueService.EmptyBatchRequest",
            message,
        ));
    }
    if list.len() > BATCH_MAX {
        let message = format!("Maximum number of entries per request are {BATCH_MAX}.");
        return Err(Refusal::new(
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            message,
        ));
    }
    let mut entries: Vec<(&str, &Value)> = Vec::new();
    for entry in list {
        let id = entry["Id"].as_str().ok_or_else(|| missing("Id"))?;
        if entries.iter().any(|(known, _)| *known == id) {
            let message = format!("Id {id} repeated.");
            return Err(Refusal::new(
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                message,
            ));
        }
        entries.push((id, entry));
    }
    Ok(entries)
}

fn failed(id: &str, refusal: &Refusal) -> Value {
    json!({ "Id": id, "SenderFault": true, "Code": refusal.code, "Message": refusal.message })
}

fn change_visibility<K: Queues>(
    kept: &K,
    mut given: Parameters<'_>,
    now: Timestamp,
) -> Answer<K::Error> {
    let queue = granted!(named(kept, &mut given)?);
    let receipt = granted!(given.text("ReceiptHandle", &WORDS)).unwrap_or_default();
    let bounds = (0, VISIBILITY_MAX_S);
    let seconds = granted!(given.number("VisibilityTimeout", bounds, &WORDS));
    granted!(given.end(&WORDS));
    let (id, receives) = granted!(of_receipt(receipt));
    let Some(seconds) = seconds else {
        return Ok(Err(missing("VisibilityTimeout")));
    };
    let found = kept.message(queue.id, id)?;
    let Some(mut message) = found.filter(|found| found.receives == receives) else {
        return Ok(Err(WORDS.invalid("the receipt is of an earlier time")));
    };
    message.visible = after(now, seconds);
    kept.note(queue.id, &message)?;
    Ok(Ok(json!({})))
}

fn send_batch<K: Queues>(kept: &K, mut given: Parameters<'_>, moment: Moment) -> Answer<K::Error> {
    let queue = granted!(named(kept, &mut given)?);
    let entries = granted!(entries(&mut given));
    granted!(given.end(&WORDS));
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for ((id, entry), place) in entries.into_iter().zip(0..) {
        let outcome = Parameters::of(entry, &WORDS).and_then(|mut entry| {
            entry.pass_over(&["Id"]);
            let message = message(&queue, &mut entry, moment, place)?;
            entry.end(&WORDS)?;
            Ok(message)
        });
        match outcome {
            Ok((message, mut sums)) => {
                kept.send(queue.id, &message)?;
                sums["Id"] = id.into();
                done.push(sums);
            }
            Err(refusal) => refused.push(failed(id, &refusal)),
        }
    }
    Ok(Ok(told(done, refused)))
}

fn delete_batch<K: Queues>(kept: &K, mut given: Parameters<'_>) -> Answer<K::Error> {
    let queue = granted!(named(kept, &mut given)?);
    let entries = granted!(entries(&mut given));
    granted!(given.end(&WORDS));
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for (id, entry) in entries {
        match of_receipt(entry["ReceiptHandle"].as_str().unwrap_or_default()) {
            Ok((message, _)) => {
                kept.remove_message(queue.id, message)?;
                done.push(json!({ "Id": id }));
            }
            Err(refusal) => refused.push(failed(id, &refusal)),
        }
    }
    Ok(Ok(told(done, refused)))
}

/// What became of a batch.
fn told(done: Vec<Value>, refused: Vec<Value>) -> Value {
    let mut answer = json!({});
    for (name, list) in [("Successful", done), ("Failed", refused)] {
        if !list.is_empty() {
            answer[name] = list.into();
        }
    }
    answer
}

fn receive<K: Queues>(kept: &K, mut given: Parameters<'_>, now: Timestamp) -> Answer<K::Error> {
    let queue = granted!(named(kept, &mut given)?);
    let most = granted!(given.number("MaxNumberOfMessages", (1, 10), &WORDS)).unwrap_or(1);
    let bounds = (0, VISIBILITY_MAX_S);
    let visibility = granted!(given.number("VisibilityTimeout", bounds, &WORDS));
    // Waiting is for whoever hands the call on; everything that there is to tell is told.
    given.pass_over(&[
        "WaitTimeSeconds",
        "AttributeNames",
        "MessageSystemAttributeNames",
        "MessageAttributeNames",
        "ReceiveRequestAttemptId",
    ]);
    granted!(given.end(&WORDS));
    let oldest = Timestamp(now.0 - i64::from(queue.retention_s) * 1_000_000);
    if kept.expire(queue.id, oldest, EXPIRED_MAX)? {
        // Why nothing: what is in front may be as old. Whoever receives asks again.
        return Ok(Ok(json!({})));
    }
    let mut messages = Vec::new();
    for mut message in kept.receivable(queue.id, now, most)? {
        message.receives += 1;
        message.first.get_or_insert(now);
        message.visible = after(now, visibility.unwrap_or(queue.visibility_s));
        kept.note(queue.id, &message)?;
        messages.push(received(&message));
    }
    Ok(Ok(if messages.is_empty() {
        json!({})
    } else {
        json!({ "Messages": messages })
    }))
}

fn received(message: &Message) -> Value {
    let first = message.first.unwrap_or(message.sent);
    let mut told = json!({
        "MessageId": message.message_id,
        "ReceiptHandle": format!("{}-{}", message.id, message.receives),
        "MD5OfBody": hex_md5(message.body.as_bytes()),
        "Body": message.body,
        "Attributes": {
            "SentTimestamp": message.sent.as_millis().to_string(),
            "ApproximateReceiveCount": message.receives.to_string(),
            "ApproximateFirstReceiveTimestamp": first.as_millis().to_string(),
        },
    });
    let attributes = message.attributes.as_deref();
    let attributes = attributes.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(attributes) = attributes {
        if let Ok(known) = Attributes::of(&attributes) {
            told["MD5OfMessageAttributes"] = known.sum.into();
        }
        told["MessageAttributes"] = attributes;
    }
    told
}

fn attributes(queue: &Queue, figures: QueueFigures) -> Value {
    json!({
        "ApproximateNumberOfMessages": figures.visible.to_string(),
        "ApproximateNumberOfMessagesNotVisible": figures.in_flight.to_string(),
        "ApproximateNumberOfMessagesDelayed": figures.delayed.to_string(),
        "CreatedTimestamp": (queue.created.as_millis() / 1000).to_string(),
        "VisibilityTimeout": queue.visibility_s.to_string(),
        "DelaySeconds": queue.delay_s.to_string(),
        "MessageRetentionPeriod": queue.retention_s.to_string(),
        "MaximumMessageSize": MESSAGE_BYTES_MAX.to_string(),
        "ReceiveMessageWaitTimeSeconds": queue.wait_s.to_string(),
    })
}
