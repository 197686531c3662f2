//! What can go wrong with the file.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// No file is there to read.
    #[error("nothing was ever run here: {} does not exist; run a job with: iterd run FILE, or name another directory with --state", .0.display())]
    Missing(PathBuf),
    /// The file is there and cannot be reached.
    #[error("cannot read {}: {error}; ask as the user who owns the state directory", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "the state file is damaged ({0}): put a copy of the state directory from before in its place, or move it away to begin anew"
    )]
    Corrupt(String),
    /// A newer iterd wrote the file.
    #[error("{} was written by a newer iterd (schema {found}, this one knows up to {known}): use the newer version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this binary.
        known: i64,
    },
    /// A migration failed or was changed after it had been applied.
    #[error("cannot migrate {}: {cause}", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: String,
    },
    /// SQLite refused something.
    #[error("the database: {0}")]
    Sqlite(rusqlite::Error),
    /// The whole transaction was refused, for everybody whose changes were in it.
    #[error("the database refused a transaction: {0}")]
    Refused(String),
    /// It builds upon a commit that was refused.
    #[error("a commit before this one was refused")]
    Behind,
    /// A stored value is not what this version writes.
    #[error("{table}.{column} holds {value:?}, which this version cannot read")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The beginning of the value.
        value: String,
    },
    /// The file was opened for reading alone.
    #[error("the state was opened for reading alone")]
    ReadOnly,
    /// The writer thread is gone: the process is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The thread could not be started.
    #[error("cannot start the writer thread: {0}")]
    Thread(std::io::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if is_corrupt(&error) {
            Self::Corrupt(error.to_string())
        } else {
            Self::Sqlite(error)
        }
    }
}

/// Whether SQLite says that the file is not what it should be.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
