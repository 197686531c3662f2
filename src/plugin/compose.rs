//! The port through which the expressions of a manifest get their values.
//!
//! A worker takes no part in it: what it is handed is finished. The language is the runtime's business.

use super::{Call, Version};
use crate::payload::{Failure, Payload};

/// Evaluates the expressions of a version's manifest for a call.
///
/// Called from a worker's task when the call is handed over: it may take as long as the bounds of the
/// language allow, and must not panic.
pub trait Composer: Send + Sync {
    /// The values of [`Manifest::templates`](super::Manifest::templates), an array in their order; a
    /// failure where one has none, which is the call's.
    fn compose(&self, version: &Version, call: &Call) -> Result<Payload, Failure>;
}
