//! Worker processes of real plugins, started by the real binary.
//!
//! What needs no process is tested beside the code; here is what the kernel has a say in: pipes,
//! signals, groups, sandboxes. Loopback only; every process ends with its test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test that fails says so by a panic, and picks the one event it waits for"
)]

mod batches;
mod conformance;
mod deaths;
mod deploys;
mod environments;
#[cfg(feature = "wasm")]
mod guest;
mod heartbeats;
mod hostile;
mod hosts;
mod http;
mod lambda;
mod logs;
mod orphans;
mod sandbox;
mod secrets;
mod shim;
mod stops;
#[cfg(feature = "wasm")]
mod wasm;
#[cfg(feature = "wasm")]
mod wasm_js;
mod world;
