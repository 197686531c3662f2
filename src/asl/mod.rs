//! The Amazon States Language: from text to a validated definition; paths, templates, intrinsics.
//!
//! [`Definition::parse`] is the entry: it reads JSON with positions (`text`), checks every field
//! (`reader`, `states/`), compiles every path and template, and reports everything that is wrong at
//! once. What comes out is immutable and needs no parsing at run time. Nothing here runs a state:
//! that is `machine`'s. Spec: <https://states-language.net>,
//! JSONPath and JSONata.

mod definition;
mod diagnostic;
mod fields;
pub mod intrinsic;
pub mod jsonata;
mod lint;
mod lone_state;
pub mod path;
mod policy;
mod reader;
pub mod states;
pub mod template;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;

pub use definition::{Definition, Dialect, QueryLanguage, Setting, StateId};
pub use diagnostic::{Code, DIAGNOSTICS_MAX, DefinitionError, Diagnostic};
pub use lint::{Finding, lint};
pub use lone_state::LONE_STATE_NAME;
pub use policy::{Catcher, Jitter, Retrier};
pub(crate) use reader::SECONDS_MAX;
pub use text::DEFINITION_BYTES_MAX;
pub use timestamp::parse_timestamp;
