//! Requests to APIs: `arn:aws:states:::http:invoke`, with a connection of the settings.
//!
//! Owns the way from a task's parameters to a request (`request`, `form`), what it proves itself by
//! (`token`), and what comes of it (`invoker`). Spec: AWS Step Functions, "Call HTTPS APIs". Invariant: a secret
//! goes to the hosts that its connection names, and what is told of an answer passes the mask. Nothing is sent
//! again, but with a new token where the old one was refused: whether it is, the state's Retry says.

mod form;
mod invoker;
mod request;
mod token;

use crate::payload::Failure;

pub use invoker::{Invoker, LookUp};

/// Parameters that make no request.
fn refuse(cause: impl Into<String>) -> Failure {
    Failure::new("States.Runtime", cause)
}

/// Nobody was reached, or no answer came to its end.
fn socket(cause: impl Into<String>) -> Failure {
    Failure::new("States.Http.Socket", cause)
}

/// Something is wrong with a connection. Spec: the names of AWS's errors of connections.
fn connection_failure(what: &str, cause: impl Into<String>) -> Failure {
    Failure::new(format!("Events.ConnectionResource.{what}"), cause)
}
