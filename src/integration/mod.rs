//! What exists outside: the sources that items come from and the sinks that results go to.
//!
//! Knows neither `store` nor `runtime`: a source is handed a cursor and gives back records, a sink
//! is handed bytes and an offset. Everything here blocks and runs on threads that may.

pub mod answer;
mod json_text;
pub mod sink;
pub mod source;
mod spec;

pub use spec::SpecError;
