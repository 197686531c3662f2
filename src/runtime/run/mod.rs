//! A run's actor: the shell around the pure core of one run.
//!
//! One task owns the run. It feeds the core with what came in (answers, pages, orders, time), turns
//! what the core says into one commit, and carries the effects out once that commit is durable.
//! Several commits may be on their way at a time: memory runs ahead of the file, the world outside
//! never does.
//!
//! Crash: everything here may be lost at any point; [`Actor::start`] makes it anew from the rows.

mod actor;
mod child;
mod commit;
mod days;
mod decide;
mod hours;
mod origin;
mod pages;
mod patience;
mod step;
mod tap;
mod view;

#[cfg(test)]
mod tests;

pub(super) use actor::{Actor, ActorSetup, Order, REQUEUE_PAGE_MAX, Reconfigured};
pub(super) use days::{Days, count_resting};
pub(super) use origin::{Origin, OriginSetup, SPOOL_BYTES_MAX};
pub(super) use tap::Tap;
pub use view::RunView;
