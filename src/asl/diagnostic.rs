//! What is wrong with a definition, and where.
//!
//! Owns the collection of problems while a definition is read, and their final form with line,
//! column, byte offset and JSON pointer. All of them are shown at once, in the order of the text,
//! up to [`DIAGNOSTICS_MAX`]. It never decides what is wrong.

use std::fmt;

use super::{
    path::PathError,
    text::{Node, Span},
};

/// Most diagnostics of one definition; a text with more is not a definition in need of a list.
pub const DIAGNOSTICS_MAX: usize = 100;

/// The family a problem belongs to, in AWS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The text is no JSON.
    InvalidJson,
    /// A field is missing, unknown, or has a wrong value.
    SchemaValidationFailed,
    /// A text is no path of JSONPath.
    InvalidJsonPath,
    /// A transition names a state that is not there.
    MissingTransitionTarget,
    /// No transition leads to a state.
    UnreachableState,
}

impl Code {
    /// The code as `ValidateStateMachineDefinition` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON_DESCRIPTION",
            Self::SchemaValidationFailed => "SCHEMA_VALIDATION_FAILED",
            Self::InvalidJsonPath => "INVALID_JSONPATH",
            Self::MissingTransitionTarget => "MISSING_TRANSITION_TARGET",
            Self::UnreachableState => "UNREACHABLE_STATE",
        }
    }
}

/// One problem of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its family.
    pub code: Code,
    /// What is wrong and what would mend it: a lowercase fragment.
    pub message: String,
    /// JSON pointer (RFC 6901) to the value or key; empty for the whole document.
    pub pointer: String,
    /// Byte in the text, from 0.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, " ({})", self.pointer)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with a definition, in the order of the text; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DefinitionError {
    /// At most [`DIAGNOSTICS_MAX`].
    pub diagnostics: Vec<Diagnostic>,
    /// Whether there were more than the list holds.
    pub truncated: bool,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.truncated {
            f.write_str("\nand more")?;
        }
        Ok(())
    }
}

/// A text of the user's as messages quote it: in double quotes, at most 80 characters of it.
///
/// Why: a key may be a megabyte long, and a hundred messages may name it.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The problems found so far, by their place in the text.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<(usize, Code, String)>,
    truncated: bool,
}

impl Problems {
    pub(crate) fn report(&mut self, at: Span, code: Code, message: impl Into<String>) {
        if self.found.len() == DIAGNOSTICS_MAX {
            self.truncated = true;
        } else {
            self.found.push((at.start, code, message.into()));
        }
    }

    /// A wrong value or field: by far the most frequent family.
    pub(crate) fn schema(&mut self, at: Span, message: impl Into<String>) {
        self.report(at, Code::SchemaValidationFailed, message);
    }

    /// A text in the field `key` that is no path, call or expression.
    pub(crate) fn expression(&mut self, at: Span, key: &str, text: &str, error: &PathError) {
        let message = format!("{} in {}: {error}", quote(text), quote(key));
        let code = if text.starts_with('$') {
            Code::InvalidJsonPath
        } else {
            Code::SchemaValidationFailed
        };
        self.report(at, code, message);
    }

    /// Whether more problems would only be counted as "and more".
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() == DIAGNOSTICS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Gives each problem its line, column and pointer; the text is walked once.
    pub(crate) fn into_error(mut self, text: &str, root: Option<&Node>) -> DefinitionError {
        self.found.sort_by_key(|(offset, ..)| *offset);
        let (mut line, mut line_start, mut seen) = (1, 0, 0);
        let mut diagnostics = Vec::with_capacity(self.found.len());
        for (offset, code, message) in self.found {
            for (place, byte) in text.bytes().enumerate().take(offset).skip(seen) {
                if byte == b'\n' {
                    line += 1;
                    line_start = place + 1;
                }
            }
            seen = offset;
            let column = text
                .get(line_start..offset)
                .map_or(0, |before| before.chars().count())
                + 1;
            diagnostics.push(Diagnostic {
                code,
                message,
                pointer: root.map_or_else(String::new, |root| root.pointer_to(offset)),
                offset,
                line,
                column,
            });
        }
        DefinitionError {
            diagnostics,
            truncated: self.truncated,
        }
    }
}
