//! What AWS says, word for word: identities, errors, messages.
//!
//! Pure functions; what they are said about is the desk's.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{payload::Failure, plugin::version::hex, time::Timestamp};

/// What an error says of itself, as runtimes write it.
#[derive(Deserialize, Default)]
struct Told {
    #[serde(rename = "errorType")]
    kind: Option<String>,
    #[serde(rename = "errorMessage")]
    message: Option<String>,
}

/// The name of an error that has none.
const UNKNOWN: &str = "Lambda.Unknown";

/// The request id of a call: a UUID of its key's hash, the same over retries and crashes.
pub(crate) fn request_id(key: &str) -> String {
    uuid(&Sha256::digest(key))
}

/// A UUID of 16 bytes, of the version that leaves their meaning to whoever makes it (RFC 9562, 8).
pub(super) fn uuid(bytes: &[u8]) -> String {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let text = hex(&id);
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    parts.join("-")
}

/// A trace id of X-Ray's form, of a call that began now. Nobody collects traces, so it is not sampled.
pub(crate) fn trace_id(key: &str, now: Timestamp) -> String {
    let seconds = u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX);
    let random = hex(&Sha256::digest(key)[16..]);
    let (root, parent) = (&random[..24], hex(&now.0.to_be_bytes()));
    format!("Root=1-{seconds:08x}-{root};Parent={parent};Sampled=0")
}

/// The message of an error's text, else the text.
pub(super) fn message(text: &str) -> String {
    let told: Told = serde_json::from_str(text).unwrap_or_default();
    told.message.unwrap_or_else(|| text.to_owned())
}

/// A failure of what a runtime posted: its type, or the one that a header names, and the whole text.
pub(super) fn posted(text: String, header: Option<&str>) -> Failure {
    let told: Told = serde_json::from_str(&text).unwrap_or_default();
    let kind = told.kind.filter(|kind| !kind.is_empty());
    let kind = kind.as_deref().or(header).unwrap_or(UNKNOWN);
    if text.is_empty() {
        return failure(kind, "");
    }
    Failure::new(kind, text)
}

/// A failure in the form of AWS.
pub(super) fn failure(kind: &str, message: &str) -> Failure {
    let cause = json!({ "errorMessage": message, "errorType": kind });
    Failure::new(kind, cause.to_string())
}

/// A runtime that ended while it was needed.
pub(super) fn exited(request: &str, status: ExitStatus) -> Failure {
    let message = format!("RequestId: {request} Error: {}", how_exited(status));
    failure("Runtime.ExitError", &message)
}

/// How a runtime ended.
pub(super) fn how_exited(status: ExitStatus) -> String {
    const WITH: &str = "Runtime exited with error:";
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("{WITH} exit status {code}"),
        (None, signal) => format!("{WITH} signal: {}", signal_words(signal.unwrap_or(0))),
    }
}

/// An invocation that took longer than its function may.
pub(super) fn timed_out(request: &str, after: Duration) -> Failure {
    let message = format!("RequestId: {request} Error: {}", how_timed_out(after));
    failure("Sandbox.Timedout", &message)
}

/// How an invocation ended that took too long.
pub(super) fn how_timed_out(after: Duration) -> String {
    format!("Task timed out after {:.2} seconds", after.as_secs_f64())
}

/// A result that is too long.
pub(super) fn too_large(bytes_max: usize) -> Failure {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({bytes_max} bytes).");
    failure("Function.ResponseSizeTooLarge", &message)
}

/// A signal as AWS names it, which is as Go does.
fn signal_words(signal: i32) -> String {
    use rustix::process::Signal;

    let known = [
        (Signal::HUP, "hangup"),
        (Signal::INT, "interrupt"),
        (Signal::QUIT, "quit"),
        (Signal::ILL, "illegal instruction"),
        (Signal::TRAP, "trace/breakpoint trap"),
        (Signal::ABORT, "aborted"),
        (Signal::BUS, "bus error"),
        (Signal::FPE, "floating point exception"),
        (Signal::KILL, "killed"),
        (Signal::USR1, "user defined signal 1"),
        (Signal::SEGV, "segmentation fault"),
        (Signal::USR2, "user defined signal 2"),
        (Signal::PIPE, "broken pipe"),
        (Signal::ALARM, "alarm clock"),
        (Signal::TERM, "terminated"),
        (Signal::XCPU, "CPU time limit exceeded"),
        (Signal::XFSZ, "file size limit exceeded"),
        (Signal::SYS, "bad system call"),
    ];
    known
        .iter()
        .find(|(known, _)| known.as_raw() == signal)
        .map_or_else(
            || format!("signal {signal}"),
            |(_, words)| (*words).to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_uuid_and_stays_the_same() {
        let id = request_id("7-0-1");
        assert_eq!(id, request_id("7-0-1"));
        assert_ne!(id, request_id("7-0-2"));
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "8");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        let trace = trace_id("k", Timestamp(1_700_000_000_000_000));
        assert!(trace.starts_with("Root=1-6553f100-"), "{trace}");
        assert_eq!(
            trace.len(),
            "Root=1-".len() + 8 + 1 + 24 + ";Parent=".len() + 16 + 10
        );
    }

    #[test]
    fn ends_are_told_in_the_words_of_aws() {
        for (raw, words) in [
            (
                1 << 8,
                "RequestId: r Error: Runtime exited with error: exit status 1",
            ),
            (
                9,
                "RequestId: r Error: Runtime exited with error: signal: killed",
            ),
            (
                0,
                "RequestId: r Error: Runtime exited without providing a reason",
            ),
        ] {
            let failure = exited("r", ExitStatus::from_raw(raw));
            assert_eq!(failure.error, "Runtime.ExitError");
            let cause =
                format!("{{\"errorMessage\":\"{words}\",\"errorType\":\"Runtime.ExitError\"}}");
            assert_eq!(failure.cause, cause);
        }
        let late = timed_out("r", Duration::from_secs(3));
        assert!(
            late.cause.contains("Task timed out after 3.00 seconds"),
            "{late:?}"
        );
    }

    #[test]
    fn a_posted_error_has_its_own_name_or_that_of_the_header() {
        for (text, header, error) in [
            (r#"{"errorType":"E","errorMessage":"m"}"#, Some("H"), "E"),
            (r#"{"errorMessage":"m"}"#, Some("H"), "H"),
            ("oops", None, UNKNOWN),
        ] {
            let failure = posted(text.to_owned(), header);
            assert_eq!(
                (failure.error.as_str(), failure.cause.as_str()),
                (error, text)
            );
        }
        assert_eq!(
            posted(String::new(), Some("H")).cause,
            r#"{"errorMessage":"","errorType":"H"}"#
        );
    }
}
