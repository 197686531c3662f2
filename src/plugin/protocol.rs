//! The line protocol between a pool and its workers, as pure functions.
//!
//! A call is one line, `{"id": 17, "item": {..}, "attempt": 1, "key": "..", "index": 4, "item_id":
//! "..", "timeout_s": 30}` (`item_id` where the item has one, `timeout_s` where its time is bounded:
//! so many seconds from the hand-over); an answer is one line, `{"id": 17, "result": ..}` or
//! `{"id": 17, "error": "Name", "cause": "text", "retry": true, "retry_after_s": 30,
//! "close_limiter_s": 0}`, in any order. `id` is the call's ticket; a worker that ends behind an answer
//! says so in it with `"last": true`, and gets no more calls. Where a handler takes several items at a
//! time, they come as one line, `{"batch": [{"id": 17, ..}, {"id": 18, ..}]}`, and are answered one by
//! one. A worker may say
//! `{"ready": true}` when it can take its first call, or before that, in
//! `{"init_error": {"error": "Name", "cause": "text"}}`, why there will be none. While it works on a call
//! it may say `{"id": 17, "heartbeat": true}`, or where it is, `{"id": 17, "cursor": ..}`, which the
//! call's next try is given as its `cursor`. Items and results
//! travel as the text they came in. Any other line is a log line.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Call, lines::first_bytes};
use crate::payload::{Failure, Payload};

/// Longest error name and cause that are kept, in bytes; AWS's bounds for the same fields.
const ERROR_BYTES_MAX: usize = 256;
/// As [`ERROR_BYTES_MAX`].
const CAUSE_BYTES_MAX: usize = 32 << 10;

/// Longest cursor of a handler, in bytes: it is written to disk again and again.
const CURSOR_BYTES_MAX: usize = 64 << 10;

/// Longest time that a handler may put off a retry or close a limiter for.
const WAIT_MAX: Duration = Duration::from_hours(24 * 365);

/// What a line from a worker is.
#[derive(Debug)]
pub(crate) enum Line {
    /// The worker can take calls.
    Ready,
    /// The worker says why it cannot take any.
    InitError(Failure),
    /// The answer to a call.
    Answer {
        ticket: u64,
        outcome: Result<Payload, Failure>,
        /// The worker ends behind it.
        last: bool,
    },
    /// A call goes on, and where it is, where the handler says so.
    Heartbeat {
        ticket: u64,
        cursor: Option<Payload>,
    },
    /// Nothing of the protocol: it is passed on as a log line.
    Log,
}

#[derive(Deserialize)]
struct Reply<'a> {
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    cause: Option<Cow<'a, str>>,
    retry: Option<bool>,
    retry_after_s: Option<f64>,
    close_limiter_s: Option<f64>,
    ready: Option<bool>,
    heartbeat: Option<bool>,
    #[serde(default, borrow)]
    cursor: Option<&'a RawValue>,
    #[serde(default)]
    last: Option<bool>,
}

#[derive(Deserialize)]
struct InitReply<'a> {
    #[serde(borrow)]
    init_error: InitError<'a>,
}

#[derive(Deserialize)]
struct InitError<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    cause: Cow<'a, str>,
}

/// How a line begins that says why there will be no worker.
const INIT_ERROR: &[u8] = b"{\"init_error\":";

/// Why: a result of `null` is a result.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Writes a call as a line.
pub(crate) fn encode(call: &Call, out: &mut Vec<u8>) {
    push_call(call, out);
    out.push(b'\n');
}

/// Writes calls that belong together as a line, with what was composed of all of them.
pub(crate) fn encode_batch(calls: &[Call], composed: Option<&Payload>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"batch\":[");
    for (place, call) in calls.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push_call(call, out);
    }
    out.push(b']');
    if let Some(composed) = composed {
        out.extend_from_slice(b",\"item\":");
        push_one_line(composed.text(), out);
    }
    out.extend_from_slice(b"}\n");
}

fn push_call(call: &Call, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(call.ticket.to_string().as_bytes());
    out.extend_from_slice(b",\"item\":");
    push_one_line(call.payload.text(), out);
    out.extend_from_slice(b",\"attempt\":");
    out.extend_from_slice(call.attempt.to_string().as_bytes());
    out.extend_from_slice(b",\"key\":");
    push_text(&call.key, out);
    out.extend_from_slice(b",\"index\":");
    out.extend_from_slice(call.index.to_string().as_bytes());
    if let Some(id) = &call.id {
        out.extend_from_slice(b",\"item_id\":");
        push_text(id, out);
    }
    if let Some(cursor) = &call.cursor {
        out.extend_from_slice(b",\"cursor\":");
        push_one_line(cursor.text(), out);
    }
    if let Some(timeout) = call.timeout {
        out.extend_from_slice(b",\"timeout_s\":");
        out.extend_from_slice(timeout.as_secs_f64().to_string().as_bytes());
    }
    out.push(b'}');
}

/// A call as the text of its line, for people and tools that make none.
pub(crate) fn call_line(call: &Call) -> String {
    let mut line = Vec::new();
    encode(call, &mut line);
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// Appends JSON without its newlines. Within JSON a newline can only stand between tokens, where a
/// space means the same.
pub(crate) fn push_one_line(json: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    if json.contains(['\n', '\r']) {
        for byte in &mut out[start..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Appends a JSON string.
pub(crate) fn push_text(text: &str, out: &mut Vec<u8>) {
    let plain = |b: u8| b >= b' ' && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// Reads a line. `expects` says whether a ticket is that of a call in the worker.
pub(crate) fn decode(line: &[u8], expects: impl Fn(u64) -> bool) -> Line {
    if line.first() != Some(&b'{') {
        return Line::Log;
    }
    if line.starts_with(INIT_ERROR) {
        return init_error(line);
    }
    let reply: Reply = match serde_json::from_slice(line) {
        Ok(reply) => reply,
        Err(error) => {
            // Why not a log line: a handler that answers NaN would wait for its time-out, and
            // nobody would know why.
            return match claimed_ticket(line).filter(|ticket| expects(*ticket)) {
                Some(ticket) => Line::Answer {
                    ticket,
                    outcome: Err(invalid(&error)),
                    last: false,
                },
                None => Line::Log,
            };
        }
    };
    match reply {
        Reply {
            id: Some(ticket),
            error: Some(ref error),
            ..
        } if expects(ticket) => Line::Answer {
            ticket,
            outcome: Err(failure(error, &reply)),
            last: reply.last == Some(true),
        },
        Reply {
            id: Some(ticket),
            result: Some(result),
            ..
        } if expects(ticket) => Line::Answer {
            ticket,
            outcome: Payload::parse(result.get()).map_err(|error| invalid(&error)),
            last: reply.last == Some(true),
        },
        Reply {
            id: Some(ticket),
            heartbeat,
            cursor,
            ..
        } if expects(ticket) && (heartbeat == Some(true) || cursor.is_some()) => {
            told_cursor(ticket, cursor)
        }
        Reply {
            id: None,
            ready: Some(true),
            ..
        } => Line::Ready,
        _ => Line::Log,
    }
}

/// A sign of life, or a failure where what it carries cannot be kept.
fn told_cursor(ticket: u64, cursor: Option<&RawValue>) -> Line {
    let failed = |failure| Line::Answer {
        ticket,
        outcome: Err(failure),
        last: false,
    };
    match cursor.map(|cursor| Payload::parse(cursor.get())) {
        None => Line::Heartbeat {
            ticket,
            cursor: None,
        },
        Some(Ok(cursor)) if cursor.text().len() > CURSOR_BYTES_MAX => failed(Failure::new(
            "Iterd.InvalidAnswer",
            format!(
                "a cursor has more than {CURSOR_BYTES_MAX} bytes; keep a position in it, and data elsewhere"
            ),
        )),
        Some(Ok(cursor)) => Line::Heartbeat {
            ticket,
            cursor: Some(cursor),
        },
        Some(Err(error)) => failed(invalid(&error)),
    }
}

fn init_error(line: &[u8]) -> Line {
    let Ok(reply) = serde_json::from_slice::<InitReply>(line) else {
        return Line::Log;
    };
    Line::InitError(Failure::new(
        first_bytes(&reply.init_error.error, ERROR_BYTES_MAX),
        first_bytes(&reply.init_error.cause, CAUSE_BYTES_MAX),
    ))
}

/// The ticket that the beginning of a line names, whatever follows.
pub(crate) fn claimed_ticket(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"id\"")?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

fn invalid(error: &serde_json::Error) -> Failure {
    Failure::new(
        "Iterd.InvalidAnswer",
        format!("the handler's answer is no valid JSON: {error}"),
    )
}

fn failure(error: &str, reply: &Reply) -> Failure {
    let seconds = |value: Option<f64>| {
        value.filter(|seconds| *seconds > 0.0).map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .unwrap_or(WAIT_MAX)
                .min(WAIT_MAX)
        })
    };
    Failure {
        error: first_bytes(error, ERROR_BYTES_MAX).to_owned(),
        cause: first_bytes(reply.cause.as_deref().unwrap_or_default(), CAUSE_BYTES_MAX).to_owned(),
        retry: reply.retry,
        retry_after: seconds(reply.retry_after_s),
        close_limiter: seconds(reply.close_limiter_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;

    fn encoded(payload: &str, id: Option<&str>) -> String {
        encoded_within(payload, id, None)
    }

    fn encoded_within(payload: &str, id: Option<&str>, timeout: Option<Duration>) -> String {
        let mut out = Vec::new();
        let call = Call {
            ticket: 17,
            index: 4,
            id: id.map(Into::into),
            generation: Generation(1),
            payload: Payload::parse(payload).unwrap(),
            attempt: 2,
            key: "a\"b".into(),
            timeout,
            cursor: None,
        };
        encode(&call, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_call_is_one_line_and_its_item_travels_verbatim() {
        assert_eq!(
            encoded(r#"{"n": 1.50, "s":"é"}"#, Some("C-1042")),
            "{\"id\":17,\"item\":{\"n\": 1.50, \"s\":\"é\"},\"attempt\":2,\"key\":\"a\\\"b\",\"index\":4,\"item_id\":\"C-1042\"}\n"
        );
        assert_eq!(
            encoded("[\n1,\r\n2]", None),
            "{\"id\":17,\"item\":[ 1,  2],\"attempt\":2,\"key\":\"a\\\"b\",\"index\":4}\n"
        );
    }

    #[test]
    fn a_call_says_how_long_it_may_take() {
        let line = encoded_within("1", None, Some(Duration::from_millis(2500)));
        assert!(
            line.ends_with(",\"index\":4,\"timeout_s\":2.5}\n"),
            "{line}"
        );
    }

    fn told(line: &str) -> String {
        match decode(line.as_bytes(), |ticket| ticket == 17) {
            Line::Ready => "ready".to_owned(),
            Line::InitError(failure) => format!("none: {} {}", failure.error, failure.cause),
            Line::Log => "log".to_owned(),
            Line::Heartbeat { ticket, cursor } => {
                let cursor = cursor.map_or(String::new(), |cursor| cursor.text().to_owned());
                format!("{ticket} lives {cursor}").trim_end().to_owned()
            }
            Line::Answer {
                ticket, outcome, ..
            } => match outcome {
                Ok(payload) => format!("{ticket} {}", payload.text()),
                Err(failure) => format!("{ticket} {} {}", failure.error, failure.cause),
            },
        }
    }

    /// Pitfall 26: whatever a handler prints, only an answer to a call is one.
    #[test]
    fn lines_are_what_they_look_like() {
        for (line, expected) in [
            (r#"{"id": 17, "result": {"a": 1.50}}"#, r#"17 {"a": 1.50}"#),
            (r#"{"id":17,"result":null}"#, "17 null"),
            (r#"{"result": 1, "id": 17, "more": 2}"#, "17 1"),
            (
                r#"{"id":17,"error":"Gone","cause":"it is"}"#,
                "17 Gone it is",
            ),
            (r#"{"id":17,"error":"Gone"}"#, "17 Gone "),
            (r#"{"id":17,"error":null,"result":3}"#, "17 3"),
            (r#"{"id":17,"error":"E","result":3}"#, "17 E "),
            (r#"{"id":17,"heartbeat":true}"#, "17 lives"),
            (r#"{"id":17,"cursor":{"page":3}}"#, r#"17 lives {"page":3}"#),
            (r#"{"id":17,"cursor":1,"result":2}"#, "17 2"),
            (r#"{"id":17,"heartbeat":false}"#, "log"),
            (r#"{"id":18,"cursor":1}"#, "log"),
            (r#"{"ready":true}"#, "ready"),
            (r#"{"ready":false}"#, "log"),
            (r#"{"init_error":{"error":"E","cause":"c"}}"#, "none: E c"),
            (r#"{"init_error":"E"}"#, "log"),
            (r#"{"id":17,"result":1,"init_error":"E"}"#, "17 1"),
            ("hello", "log"),
            ("", "log"),
            ("{", "log"),
            ("[1]", "log"),
            (r#"{"id": 18, "result": 1}"#, "log"),
            (r#"{"id": 17, "level": "info"}"#, "log"),
            (r#"{"id": "17", "result": 1}"#, "log"),
            (r#"{"level": "info", "id": NaN}"#, "log"),
            ("\u{feff}{}", "log"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn a_broken_answer_fails_its_call_at_once() {
        for line in [
            r#"{"id":17,"result":NaN}"#,
            r#"{"id": 17, "result": {"a": 1}"#,
            r#"{"id":17,"result":1e999}"#,
            r#"{"id":17,"error":{"code":3}}"#,
            &format!(
                r#"{{"id":17,"result":{}1{}}}"#,
                "[".repeat(300),
                "]".repeat(300)
            ),
        ] {
            assert!(told(line).starts_with("17 Iterd.InvalidAnswer"), "{line}");
        }
    }

    #[test]
    fn what_a_failure_asks_for_is_kept_within_reason() {
        let failure = |rest: &str| {
            let line = format!(r#"{{"id":17,"error":"E",{rest}}}"#);
            match decode(line.as_bytes(), |_| true) {
                Line::Answer {
                    outcome: Err(failure),
                    ..
                } => failure,
                Line::Answer { .. }
                | Line::Heartbeat { .. }
                | Line::Ready
                | Line::InitError(_)
                | Line::Log => {
                    panic!("{line}")
                }
            }
        };
        let asked = failure(r#""retry":false,"retry_after_s":30,"close_limiter_s":0"#);
        assert_eq!(asked.retry, Some(false));
        assert_eq!(asked.retry_after, Some(Duration::from_secs(30)));
        assert_eq!(asked.close_limiter, None);
        assert_eq!(failure(r#""retry_after_s":-5"#).retry_after, None);
        assert_eq!(
            failure(r#""retry_after_s":1e300"#).retry_after,
            Some(WAIT_MAX)
        );
        let long = failure(&format!(r#""cause":"{}""#, "ä".repeat(100_000)));
        assert!(long.cause.len() <= CAUSE_BYTES_MAX);
    }
}
