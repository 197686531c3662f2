//! The whole program under torture: the real binary, real handlers, `kill -9` at any moment.
//!
//! Each test has a directory of its own with jobs, plugins and a state directory, and every process
//! that it starts ends with it. Nothing sleeps: a test waits for what it wants to see, or for the
//! daemon's end. With `ITERD_LONG` set the tests run at the sizes of real life.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that fails says so by a panic, and what it measured or heard is printed"
)]

mod bed;
mod buckets;
mod canaries;
mod connections;
mod data;
mod deploys;
mod executions;
mod functions;
mod http;
mod in_force;
mod kills;
mod limits;
mod log;
mod memory;
mod queue_source;
mod readers;
mod redo;
mod resumes;
mod services;
mod serving;
mod stops;
mod strange;
mod systems;
mod topics;
mod triggers;
