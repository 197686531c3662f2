//! The pure interpreter of one execution.
//!
//! [`step()`] takes what happened ([`Input`]), the instant, random numbers and the context, changes
//! the [`Execution`], and answers what is to be done ([`Effect`]). It does no I/O, reads no clock,
//! draws nothing, and is total: late, stale and senseless inputs have no effect. What must be stored
//! is asked for by [`Execution::take_changes`]; rows that were stored give an equal execution back.
//! Invariant: an effect is carried out only after the changes of its step are durable.

mod changes;
mod context;
mod data;
mod effect;
mod event;
mod event_stored;
pub mod event_told;
mod execution;
mod failure;
mod fork;
mod frame;
mod hearsay;
mod input;
mod redrive;
mod rehearsal;
mod retry;
mod run;
mod states;
mod status;
mod step;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use changes::{Changes, Part, Row, RowKey};
pub use context::{Context, MapItem, StepContext, no_token};
pub use effect::{Effect, Outcome, WakeReason};
pub use event::{Assigned, Event, Record};
pub use event_stored::StoredEvent;
pub use execution::Execution;
pub use input::Input;
pub use rehearsal::{Ending, Finding, Mock, RehearsalError, Rehearsed, Script, rehearse};
pub use retry::delay;
pub use run::{Batch, RunRequest, Source, Tolerance, WriteTo};
pub use states::task::is_activity;
pub use status::{Status, TRANSITIONS};
pub use step::{EFFECT_BYTES_MAX, TRANSITIONS_MAX, step};
pub use stored::RestoreError;

use crate::asl::Definition;

/// Largest payload of AWS: input or output of a state, in bytes of JSON.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// A definition and how it is run; cheap to clone.
#[derive(Debug, Clone)]
pub struct Machine {
    definition: Arc<Definition>,
    options: Options,
}

/// How a machine is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Largest input or output of a state, in bytes of JSON; beyond it the state fails with
    /// `States.DataLimitExceeded`.
    pub payload_bytes_max: usize,
    /// Whether effects tell the history ([`Effect::Record`]).
    pub records: bool,
    /// Whether an unsuccessful end leaves what a redrive goes on from.
    pub redrivable: bool,
}

impl Default for Options {
    /// As AWS runs a standard workflow.
    fn default() -> Self {
        Self {
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            records: true,
            redrivable: true,
        }
    }
}

impl Machine {
    /// A machine of this definition.
    #[must_use]
    pub const fn new(definition: Arc<Definition>, options: Options) -> Self {
        Self {
            definition,
            options,
        }
    }

    /// What is run.
    #[must_use]
    pub const fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// How it is run.
    #[must_use]
    pub const fn options(&self) -> Options {
        self.options
    }

    /// The machine that the children of a distributed Map run, by the Map state's name.
    #[must_use]
    pub fn processor(&self, map: &str, options: Options) -> Option<Self> {
        let definition = self.definition.processor(map)?;
        Some(Self::new(definition, options))
    }
}
