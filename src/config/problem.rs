//! What is wrong with a file that a user wrote, and where.
//!
//! Owns the places that values come from ([`Origin`]) and the list of everything wrong that is
//! answered at once ([`Problems`]). Never decides what is wrong; the readers of each file do.
//! Invariant: a list is bounded, and whatever it quotes from a file is cut to a length.

use std::{fmt, path::Path, sync::Arc};

use crate::time::Timestamp;

/// So many problems are listed; beyond that a file is something else than what it was taken for.
const PROBLEMS_MAX: usize = 50;

/// So many characters of a value are quoted: enough to recognise it, few enough for one line.
const QUOTED_CHARS_MAX: usize = 60;

/// A place in a text: both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl Position {
    /// The place of a byte in a text; a byte behind the end is the end.
    #[must_use]
    pub fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    /// A file says so.
    File {
        /// The file as it was named.
        file: Arc<Path>,
        /// Where in it.
        position: Position,
    },
    /// An environment variable says so.
    Environment(String),
    /// The command line says so.
    CommandLine,
    /// An operator has set it by command.
    Override {
        /// Who.
        author: String,
        /// When.
        at: Timestamp,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, position } => {
                let Position { line, column } = position;
                write!(f, "{}:{line}:{column}", file.display())
            }
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::CommandLine => f.write_str("command line"),
            Self::Override { author, at } => write!(f, "set by {author} at {at}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, and how it is mended.
    pub message: String,
}

/// Everything that is wrong with a file, in the order of the file; one line each. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// The problems, at most 50 of them.
    #[must_use]
    pub fn listed(&self) -> &[Problem] {
        &self.listed
    }
}

impl Problems {
    /// The same about keys below another name.
    pub(crate) fn told_of(mut self, was: &str, is: &str) -> Self {
        for problem in &mut self.listed {
            if let Some(rest) = problem.message.strip_prefix(was) {
                problem.message = format!("{is}{rest}");
            }
        }
        self
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self {
            listed: vec![problem],
            more: 0,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.listed.iter().enumerate() {
            write!(f, "{}{problem}", if place == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    listed: Vec<Problem>,
    more: usize,
}

impl Findings {
    /// Notes a problem; what it says is only worked out where it will be listed.
    pub(crate) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// The value where nothing was wrong and it is there.
    pub(crate) fn answer<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        self.listed.sort_by_key(|problem| match &problem.origin {
            Origin::File { position, .. } => Some(*position),
            Origin::Default
            | Origin::Environment(_)
            | Origin::CommandLine
            | Origin::Override { .. } => None,
        });
        match value {
            Some(value) if self.listed.is_empty() => Ok(value),
            _ => Err(Problems {
                listed: self.listed,
                more: self.more,
            }),
        }
    }
}

/// A text of a user in quotation marks, control characters escaped, cut to a length.
pub(crate) fn quoted(text: &str) -> String {
    match clipped(text) {
        whole if whole.len() == text.len() => format!("{whole:?}"),
        part => format!("{part:?}.."),
    }
}

/// The beginning of a text.
pub(crate) fn clipped(text: &str) -> &str {
    text.char_indices()
        .nth(QUOTED_CHARS_MAX)
        .map_or(text, |(end, _)| &text[..end])
}

/// The name that a text is nearly, if any.
pub(crate) fn near<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Why: nobody misspells a name to something much longer; and the comparison costs the product of
    // both lengths.
    if written.len() > QUOTED_CHARS_MAX {
        return None;
    }
    names
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4 && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

/// `; did you mean ".."?` where one of the names is near, else all of them behind `otherwise`.
pub(crate) fn nearest<'n>(
    written: &str,
    names: impl Iterator<Item = &'n str> + Clone,
    otherwise: &str,
) -> String {
    if let Some(name) = near(written, names.clone()) {
        return format!("; did you mean {name:?}?");
    }
    match names.collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        names => format!("; {otherwise} {}", names.join(", ")),
    }
}
