//! What can be wrong with a record, and what with a source as a whole.
//!
//! A [`RecordError`] is an item's failure and the run goes on; a [`SourceError`] stops the reading
//! at a place. Both name the place, so that it can be looked at with other tools.

use std::{fmt, io, path::Path};

use crate::{ids::Cursor, integration::json_text::snippet};

/// What is wrong with one record; it fails as an item, and the run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The error's name: `Iterd.RecordMalformed` or `Iterd.RecordTooLarge`.
    pub error: &'static str,
    /// What and where: the line or byte offset, the key, and the beginning of the text.
    pub cause: String,
}

impl RecordError {
    /// The name of damage.
    pub const MALFORMED: &'static str = "Iterd.RecordMalformed";
    /// The name of an excess of bytes.
    pub const TOO_LARGE: &'static str = "Iterd.RecordTooLarge";

    /// Damage at a place, with the beginning of the text where there is one.
    pub(in crate::integration) fn malformed(
        place: impl fmt::Display,
        problem: impl fmt::Display,
        bytes: &[u8],
    ) -> Self {
        let text = snippet(bytes);
        let colon = if text.is_empty() { "" } else { ": " };
        Self {
            error: Self::MALFORMED,
            cause: format!("{place}: {problem}{colon}{text}"),
        }
    }

    /// A text that serde_json refuses; its own line numbers would count within the record.
    pub(super) fn no_json(
        place: impl fmt::Display,
        error: &serde_json::Error,
        bytes: &[u8],
    ) -> Self {
        let message = error.to_string();
        let problem = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(problem, _)| problem);
        let column = error.column();
        Self::malformed(
            place,
            format_args!("no valid JSON ({problem}, column {column})"),
            bytes,
        )
    }

    /// A record of more bytes than are allowed.
    pub(in crate::integration) fn too_large(
        place: impl fmt::Display,
        bytes: u64,
        bytes_max: usize,
    ) -> Self {
        Self {
            error: Self::TOO_LARGE,
            cause: format!("{place}: the record has {bytes} bytes, {bytes_max} are allowed"),
        }
    }
}

/// Why a source as a whole cannot be read, or not beyond a place.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot read {path}: {error}")]
    Io {
        /// What was being read.
        path: String,
        /// Why it could not be.
        error: io::Error,
    },
    /// SQLite refused.
    #[error("cannot read {path}: {error}")]
    Sql {
        /// The database.
        path: String,
        /// Why it could not be read.
        error: rusqlite::Error,
    },
    /// What was taken of a queue cannot be read, or nothing can be taken of it.
    #[error("cannot take messages from the {queue}: {problem}")]
    Queue {
        /// The queue.
        queue: String,
        /// Why not, and the mend.
        problem: String,
    },
    /// What is there is not what the spec says.
    #[error("cannot take records from {path}: {problem}")]
    Unsuitable {
        /// The source.
        path: String,
        /// What is missing or in the way, and the mend.
        problem: String,
    },
    /// Damage that no single record can be blamed for; what precedes it has been given.
    #[error("{path} is damaged at byte {offset}: {problem}")]
    Damaged {
        /// The source.
        path: String,
        /// Where the damaged part begins, in decompressed bytes.
        offset: u64,
        /// What was found and what was expected.
        problem: String,
    },
    /// The source has become shorter than the position to read from.
    #[error(
        "{path} has {size} bytes, but the position to go on from is {offset}; it was shortened or replaced"
    )]
    Shrunk {
        /// The source.
        path: String,
        /// The position.
        offset: u64,
        /// The size found.
        size: u64,
    },
    /// The position stands within a line, and more of that line is there now.
    #[error(
        "the record in {path} that ended at byte {offset} without a line end was taken in, and goes on there now"
    )]
    GoesOn {
        /// The source.
        path: String,
        /// The position, in decompressed bytes.
        offset: u64,
    },
    /// A cursor that this source did not write.
    #[error("{cursor:?} is no position in {path}; it was written for another kind of source")]
    Cursor {
        /// The source.
        path: String,
        /// The cursor.
        cursor: Cursor,
    },
    /// A compressed source that decompresses to more than is allowed.
    #[error("{path} decompresses to more than {bytes_max} bytes, the most that is allowed")]
    SpoolTooLarge {
        /// The source.
        path: String,
        /// The bound.
        bytes_max: u64,
    },
    /// The progress callback asked to give up.
    #[error("reading {path} was given up")]
    Interrupted {
        /// The source.
        path: String,
    },
}

impl SourceError {
    pub(in crate::integration) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            error,
        }
    }

    /// Nothing can be taken of a queue.
    #[must_use]
    pub fn queue(path: &Path, problem: String) -> Self {
        Self::Queue {
            queue: path.display().to_string(),
            problem,
        }
    }

    pub(in crate::integration) fn unsuitable(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unsuitable {
            path: path.display().to_string(),
            problem: problem.into(),
        }
    }

    pub(in crate::integration) fn damaged(
        path: &Path,
        offset: u64,
        problem: impl Into<String>,
    ) -> Self {
        Self::Damaged {
            path: path.display().to_string(),
            offset,
            problem: problem.into(),
        }
    }

    pub(in crate::integration) fn cursor(path: &Path, cursor: &Cursor) -> Self {
        Self::Cursor {
            path: path.display().to_string(),
            cursor: cursor.clone(),
        }
    }

    pub(super) fn goes_on(path: &Path, offset: u64) -> Self {
        Self::GoesOn {
            path: path.display().to_string(),
            offset,
        }
    }

    /// Whoever was told how far it has come gave it up.
    #[must_use]
    pub fn interrupted(path: &Path) -> Self {
        Self::Interrupted {
            path: path.display().to_string(),
        }
    }
}
