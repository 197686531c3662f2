//! Why items cannot be read: the cause of a `States.ItemReaderFailed`.

use crate::integration::{bucket::BucketError, source::SourceError};

/// Why items cannot be read; the text is the cause that users see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaderError {
    /// They cannot.
    #[error("{0}")]
    Told(String),
    /// They cannot now: there is no room for an object from elsewhere.
    #[error("{cause}")]
    NoRoom {
        /// The cause.
        cause: String,
        /// Bytes of the object.
        bytes: u64,
    },
}

impl ReaderError {
    /// With this cause.
    pub(super) fn new(cause: impl Into<String>) -> Self {
        Self::Told(cause.into())
    }

    /// What a source says of the file of an object, said of the object.
    pub(super) fn of_source(error: &SourceError, path: &str, uri: &str) -> Self {
        match error {
            // Recorded: these words alone.
            SourceError::Unsuitable { problem, .. } if problem == super::csv::DUPLICATES => {
                Self::Told(problem.clone())
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
            | SourceError::Interrupted { .. } => Self::Told(error.to_string().replace(path, uri)),
        }
    }
}

impl From<BucketError> for ReaderError {
    fn from(error: BucketError) -> Self {
        let text = error.to_string();
        let mut chars = text.chars();
        // AWS's causes are sentences.
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        let cause = first.into_iter().chain(chars).collect();
        match error {
            BucketError::NoRoom { size: bytes, .. } => Self::NoRoom { cause, bytes },
            BucketError::NoSuchBucket { .. }
            | BucketError::BucketNotEmpty(_)
            | BucketError::InvalidName(_)
            | BucketError::NoSuchKey { .. }
            | BucketError::Denied { .. }
            | BucketError::KeyTooLong { .. }
            | BucketError::Taken { .. }
            | BucketError::Unwritable { .. }
            | BucketError::Range { .. }
            | BucketError::TooLarge { .. }
            | BucketError::Io { .. } => Self::Told(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_told_apart_from_what_cannot_be_read() {
        let (bucket, key) = ("data".to_owned(), "k".to_owned());
        let size = 7;
        let full = BucketError::NoRoom { bucket, key, size };
        let full = ReaderError::from(full);
        assert!(matches!(full, ReaderError::NoRoom { bytes: 7, .. }));
        assert!(full.to_string().starts_with("No room"), "{full}");
        let empty = ReaderError::from(BucketError::BucketNotEmpty("data".to_owned()));
        assert!(matches!(empty, ReaderError::Told(_)));
    }
}
