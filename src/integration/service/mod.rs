//! What a state may ask of a service: `arn:aws:states:::SERVICE:ACTION`, and what it answers. A file for
//! each service that this daemon has a default of its own for; all others are elsewhere, and reached by
//! `remote`.
//!
//! Owns the shapes of requests and answers, and the names of errors, so that Retry and Catch that were
//! written for AWS match. Knows neither `store` nor `runtime`: what is kept here is reached by ports.

pub mod remote;
mod resource;

pub use resource::{Pattern, ServiceTask};
