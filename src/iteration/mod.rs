//! The pure core of a run: one pass over a dataset, from the first record to the last.
//!
//! Owns which child is dispatched when, what is finished, and what a checkpoint must hold; never
//! sees a record, a frame or a result. To it a child is an index (of its first item, with a count)
//! with a status. It does no I/O and reads no clock: [`Run::step`] turns an [`Input`] and an instant
//! into [`Effect`]s, and the shell commits what the step changed before it carries any of them out.
//!
//! Invariant: everything below the watermark is finished or has a row of its own; everything from
//! the high mark on was never dispatched. What lies between is in flight or in the done set.

mod breaker;
mod checkpoint;
mod effect;
mod input;
mod options;
mod parked;
mod run;
mod status;
mod window;

#[cfg(test)]
mod tests;

pub use breaker::Breaker;
pub use checkpoint::{CHECKPOINT_FORMAT, Checkpoint, CheckpointError, Counters};
pub use effect::{Effect, WakeReason};
pub use input::{Child, Decision, Ending, Input, Parked, Row, RowStatus, Stood};
pub use options::{BreakerLimits, OnInterrupt, Options, Order, Share, Tolerance, Trial};
pub use run::{Context, Figures, Probation, Run};
pub use status::{PauseReason, RunStatus, TRANSITIONS, Transition};
