//! What exists outside: the sources that items come from, the sinks that results go to, the services
//! that states ask for something, and the ways on which messages leave.
//!
//! Knows neither `store` nor `runtime`: a source is handed a cursor and gives back records, a sink
//! is handed bytes and an offset. Everything here blocks and runs on threads that may.

pub mod answer;
pub mod bucket;
pub mod delivery;
mod json_text;
pub mod reader;
pub mod service;
pub mod sink;
pub mod source;
mod spec;

pub use spec::SpecError;
