//! Where results go beside the results table; a file for each kind of format.
//!
//! A sink is a file that is only appended to. It never decides what is delivered: whoever drives it
//! stores the offset that [`Sink::sync`] answers together with how far it has come, and hands it
//! back to [`Sink::open`]. Crash: what stands behind the stored offset is cut off on opening and
//! written again, so every row is in the file exactly once.

mod csv;
mod file;
mod jsonl;
mod spec;
mod text;

pub use self::{
    file::{Sink, SinkError},
    spec::{CsvSinkSpec, SinkKind, SinkSpec},
    text::{RecordText, ResultText},
};

use crate::{
    ids::{Index, VersionNumber},
    payload::Payload,
};

/// One result.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The record's place in its dataset.
    pub index: Index,
    /// The record's own identity, where it has one.
    pub id: Option<&'a str>,
    /// What the handler answered.
    pub result: &'a Payload,
    /// The version of the plugin that answered.
    pub version: VersionNumber,
    /// How many attempts it took.
    pub attempts: u32,
}
