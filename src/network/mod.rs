//! What holds for requests over a network, whoever makes them: to which addresses they go, and that what
//! comes back tells no secret.
//!
//! Sends nothing itself. Below all who send, because workers and the daemon go by the same judge.

mod address;
mod mask;
mod resolver;

pub(crate) use address::{Grant, Guard, Refused, may_be_meant};
pub(crate) use mask::Mask;
pub(crate) use resolver::Resolver;
