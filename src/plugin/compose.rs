//! The port through which the expressions of a manifest get their values.
//!
//! A worker takes no part in it: what it is handed is finished. The language is the runtime's business.

use super::{Call, Version};
use crate::payload::{Failure, Payload};

/// Evaluates the expressions of a version's manifest for a call, or a batch of them.
///
/// Called from a worker's task when the calls are handed over: it may take as long as the bounds of the
/// language allow, and must not panic.
pub trait Composer: Send + Sync {
    /// The values of [`Manifest::templates`](super::Manifest::templates), an array in their order; a
    /// failure where one has none, which is that of all the calls. One call, but where the manifest has
    /// a `batch`.
    fn compose(&self, version: &Version, calls: &[Call]) -> Result<Payload, Failure>;
}
