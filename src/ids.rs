//! The identities that travel between modules, as types that cannot be taken for one another.
//!
//! Owns how an identity is written and read back; never allocates one: numbers come from the store,
//! names from the user. Amazon resource names are `arn`'s.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Place of a record in its dataset, from 0. Stable while the source only grows.
pub type Index = u64;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $number:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numbered!(
    /// An execution of a machine: the row number in `executions`, never given twice.
    ExecutionId,
    i64
);
numbered!(
    /// A run (a Map Run): the row number in `runs`, never given twice.
    RunId,
    i64
);
numbered!(
    /// A state machine: the row number in `machines`, never given twice.
    MachineId,
    i64
);
numbered!(
    /// An activity: the row number in `activities`, never given twice.
    ActivityId,
    i64
);
numbered!(
    /// The text of a definition: the row number in `definitions`.
    DefinitionId,
    i64
);
numbered!(
    /// A frame of an execution: 0 is the top one; unique within its execution, never given twice.
    FrameId,
    u32
);
numbered!(
    /// A version of a plugin, counted from 1 within the plugin.
    VersionNumber,
    u32
);
numbered!(
    /// Counts the dispatches of one child. An answer that carries an older one came too late and is
    /// refused.
    Generation,
    u32
);

/// An opaque, versioned position in a source: the source that wrote it is the only one to read it.
///
/// A cursor stands *before* the record that reading from it would give first. Its text begins with
/// the version of its format (`1:`); at most [`Cursor::BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(CompactString);

impl Cursor {
    /// Longest cursor a source may write. A key of a SQL table is the longest thing in one; the
    /// cursor is rewritten at every checkpoint, so it must stay small beside the results.
    pub const BYTES_MAX: usize = 4096;

    /// The position before the first record, in every source.
    #[must_use]
    pub const fn start() -> Self {
        Self(CompactString::const_new(""))
    }

    /// Whether this is the position before the first record.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    /// A cursor of the given text; the caller is a source, or reads back what one wrote.
    #[must_use]
    pub fn new(text: impl Into<CompactString>) -> Self {
        Self(text.into())
    }

    /// The text to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The UUID, of version 4, that two random numbers make.
pub(crate) fn uuid_of(high: u64, low: u64) -> String {
    let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    let digits = format!("{high:016x}{low:016x}");
    let mut text = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}
