//! iterd: runs your code once for every record of a big dataset, at the pace an API allows, for
//! months, through crashes, reboots and fixes.
//!
//! The modules stand in ranks; each imports only from ranks below its own (`tests/tidy.rs` holds
//! this, `ARCHITECTURE.md` explains it):
//!
//! | rank | modules |
//! |---|---|
//! | 0 | [`arn`] [`ids`] [`payload`] [`time`] [`config`] [`telemetry`] `network` |
//! | 1 | [`asl`] [`limiter`] [`plugin`] [`integration`] |
//! | 2 | [`machine`] [`iteration`] |
//! | 3 | [`store`] |
//! | 4 | [`runtime`] |
//! | 5 | [`api`] |
//! | 6 | [`cli`] |

pub mod api;
pub mod arn;
pub mod asl;
pub mod cli;
pub mod config;
pub mod ids;
pub mod integration;
pub mod iteration;
pub mod limiter;
pub mod machine;
mod network;
pub mod payload;
pub mod plugin;
pub mod runtime;
pub mod store;
pub mod telemetry;
pub mod time;
