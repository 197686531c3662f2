//! Why items cannot be read: the cause of a `States.ItemReaderFailed`.

use crate::integration::{bucket::BucketError, source::SourceError};

/// Why items cannot be read; the text is the cause that users see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReaderError(String);

impl ReaderError {
    /// With this cause.
    pub(super) fn new(cause: impl Into<String>) -> Self {
        Self(cause.into())
    }

    /// What a source says of the file of an object, said of the object.
    pub(super) fn of_source(error: &SourceError, path: &str, uri: &str) -> Self {
        match error {
            // Recorded: these words alone.
            SourceError::Unsuitable { problem, .. } if problem == super::csv::DUPLICATES => {
                Self(problem.clone())
            }
            SourceError::Io { .. }
            | SourceError::Sql { .. }
            | SourceError::Queue { .. }
            | SourceError::Unsuitable { .. }
            | SourceError::Damaged { .. }
            | SourceError::Shrunk { .. }
            | SourceError::GoesOn { .. }
            | SourceError::Cursor { .. }
            | SourceError::SpoolTooLarge { .. }
            | SourceError::Interrupted { .. } => Self(error.to_string().replace(path, uri)),
        }
    }
}

impl From<BucketError> for ReaderError {
    fn from(error: BucketError) -> Self {
        let text = error.to_string();
        let mut chars = text.chars();
        // AWS's causes are sentences.
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        Self(first.into_iter().chain(chars).collect())
    }
}
