//! What workers of ours have in common: the worker's end of the line protocol.
//!
//! A host that is a worker of ours reads a [`Request`] from each line of standard input and writes
//! a line for each answer. The daemon's end is [`protocol`](crate::plugin::protocol).

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    payload::{Failure, Payload},
    plugin::protocol::{push_one_line, push_text},
};

/// Says that calls are taken.
pub(crate) const READY: &[u8] = b"{\"ready\":true}\n";

/// What an answer needs beside the result: the ticket, the names of the fields.
const ENVELOPE_BYTES: usize = 64;

/// Longest result where an answer may have so many bytes.
pub(crate) fn result_bytes_max(line_bytes_max: usize) -> usize {
    line_bytes_max.saturating_sub(ENVELOPE_BYTES)
}

/// A call, as its line tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Request<'a> {
    /// The ticket, which the answer names.
    pub(crate) id: u64,
    #[serde(borrow)]
    pub(crate) item: &'a RawValue,
    pub(crate) attempt: u32,
    pub(crate) key: String,
    pub(crate) index: u64,
    pub(crate) item_id: Option<String>,
    /// How long it may take from the hand-over, in seconds.
    pub(crate) timeout_s: Option<f64>,
}

/// The line of a result that is JSON.
pub(crate) fn done(ticket: u64, result: &str) -> Vec<u8> {
    let mut line = format!("{{\"id\":{ticket},\"result\":").into_bytes();
    push_one_line(result, &mut line);
    line.extend_from_slice(b"}\n");
    line
}

/// The line of a result that is JSON where it is JSON, else its text without the last newline.
pub(crate) fn done_with_text(ticket: u64, output: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(output)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if Payload::parse(text).is_ok() {
        return done(ticket, text);
    }
    let mut line = format!("{{\"id\":{ticket},\"result\":").into_bytes();
    push_text(text, &mut line);
    line.extend_from_slice(b"}\n");
    line
}

/// The line that says why no call is ever taken.
pub(crate) fn init_error(failure: &Failure) -> Vec<u8> {
    let mut line = b"{\"init_error\":{\"error\":".to_vec();
    push_text(&failure.error, &mut line);
    line.extend_from_slice(b",\"cause\":");
    push_text(&failure.cause, &mut line);
    line.extend_from_slice(b"}}\n");
    line
}

/// The line of a failure behind which this worker ends.
pub(crate) fn failed_at_last(ticket: u64, failure: &Failure) -> Vec<u8> {
    let mut line = failed(ticket, failure);
    line.truncate(line.len() - b"}\n".len());
    line.extend_from_slice(b",\"last\":true}\n");
    line
}

/// The line of a failure, with what it asks for.
pub(crate) fn failed(ticket: u64, failure: &Failure) -> Vec<u8> {
    let mut line = format!("{{\"id\":{ticket},\"error\":").into_bytes();
    push_text(&failure.error, &mut line);
    line.extend_from_slice(b",\"cause\":");
    push_text(&failure.cause, &mut line);
    if let Some(retry) = failure.retry {
        line.extend_from_slice(format!(",\"retry\":{retry}").as_bytes());
    }
    for (name, wait) in [
        ("retry_after_s", failure.retry_after),
        ("close_limiter_s", failure.close_limiter),
    ] {
        let seconds = wait.as_ref().map(Duration::as_secs_f64);
        if let Some(seconds) = seconds {
            line.extend_from_slice(format!(",\"{name}\":{seconds}").as_bytes());
        }
    }
    line.extend_from_slice(b"}\n");
    line
}
