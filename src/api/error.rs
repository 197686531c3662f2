//! One table of everything an operation can answer instead of a result.

use crate::{runtime::RuntimeError, store::StoreError};

/// What kind of error it is; decides the HTTP status, and the exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not what it should be.
    Validation,
    /// What it names does not exist.
    NotFound,
    /// It cannot be done as things stand.
    Conflict,
    /// The signature is missing, wrong or stale.
    Denied,
    /// Our own fault, or the machine's.
    Internal,
}

/// The table: kind, name on the wire, HTTP status.
const KINDS: [(ErrorKind, &str, u16); 5] = [
    (ErrorKind::Validation, "ValidationException", 400),
    (ErrorKind::NotFound, "ResourceNotFound", 400),
    (ErrorKind::Conflict, "ConflictException", 400),
    (ErrorKind::Denied, "AccessDeniedException", 403),
    (ErrorKind::Internal, "InternalFailure", 500),
];

/// An error as it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind it is.
    pub kind: ErrorKind,
    /// For people: what, where, and the mend.
    pub message: String,
}

impl ErrorKind {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    #[must_use]
    pub fn http_status(self) -> u16 {
        self.row().2
    }

    /// From the name on the wire; what is unknown is our own fault.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        KINDS
            .iter()
            .find(|row| row.1 == name)
            .map_or(Self::Internal, |row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, u16) {
        KINDS
            .iter()
            .find(|row| row.0 == self)
            .unwrap_or(&KINDS[KINDS.len() - 1])
    }
}

impl ApiError {
    /// The request is not what it should be.
    #[must_use]
    pub fn validation(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Validation,
            message: message.into(),
        }
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let kind = match &error {
            RuntimeError::Config(_)
            | RuntimeError::Job(_)
            | RuntimeError::Plugin { .. }
            | RuntimeError::Arn(_)
            | RuntimeError::ArnKind { .. } => ErrorKind::Validation,
            RuntimeError::UnknownJob { .. }
            | RuntimeError::UnknownMachine { .. }
            | RuntimeError::UnknownLimiter { .. }
            | RuntimeError::UnknownItem { .. } => ErrorKind::NotFound,
            RuntimeError::Conflict(_) | RuntimeError::MachineDeleting { .. } => ErrorKind::Conflict,
            RuntimeError::State(_)
            | RuntimeError::Store(_)
            | RuntimeError::Damaged { .. }
            | RuntimeError::Io { .. }
            | RuntimeError::Closed => ErrorKind::Internal,
        };
        Self {
            kind,
            message: error.to_string(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self {
            kind: ErrorKind::Internal,
            message: error.to_string(),
        }
    }
}
