//! Calls on their way to a worker: what the expressions of its version make of them.
//!
//! Why not sooner: which version a call goes to is known when it is handed over.

use serde_json::Value;

use super::Post;
use crate::{
    payload::{Failure, Payload},
    plugin::{Answer, Call, HostKind, Outcome},
};

/// Calls that are handed over at a time.
pub(super) struct Composed {
    pub(super) calls: Vec<Call>,
    /// What was made of all of them, where they are one batch.
    pub(super) together: Option<Payload>,
    /// Those of which nothing can be made.
    pub(super) refused: Vec<Answer>,
}

impl Composed {
    /// Has what there is to evaluate evaluated, for each call, or for all as a batch.
    pub(super) fn of(post: &Post, calls: Vec<Call>) -> Self {
        let mut composed = Self {
            calls,
            together: None,
            refused: Vec::new(),
        };
        let manifest = &post.version.manifest;
        if manifest.host != HostKind::Http {
            return composed;
        }
        if manifest.batch.get() == 1 {
            composed.keep(post, |mut call, values| {
                call.payload = values;
                call
            });
            return composed;
        }
        if composed.together(post).is_err() {
            // Whoever fails alone, too, is to blame.
            composed.keep(post, |call, _| call);
            if let Err(failure) = composed.together(post) {
                let calls = std::mem::take(&mut composed.calls);
                let refused = calls.iter().map(|call| refuse(post, call, failure.clone()));
                composed.refused.extend(refused);
            }
        }
        composed
    }

    /// Keeps those of which something can be made alone.
    fn keep(&mut self, post: &Post, made: impl Fn(Call, Payload) -> Call) {
        for call in std::mem::take(&mut self.calls) {
            match compose(post, std::slice::from_ref(&call)) {
                Ok(values) => self.calls.push(made(call, values)),
                Err(failure) => self.refused.push(refuse(post, &call, failure)),
            }
        }
    }

    fn together(&mut self, post: &Post) -> Result<(), Failure> {
        if self.calls.is_empty() {
            return Ok(());
        }
        self.together = Some(compose(post, &self.calls)?);
        for call in &mut self.calls {
            call.payload = Value::Null.into();
        }
        Ok(())
    }
}

fn compose(post: &Post, calls: &[Call]) -> Result<Payload, Failure> {
    post.shared.spec.composer.compose(&post.version, calls)
}

fn refuse(post: &Post, call: &Call, failure: Failure) -> Answer {
    Answer {
        ticket: call.ticket,
        generation: call.generation,
        version: post.version.number,
        outcome: Outcome::Failed(failure),
    }
}
