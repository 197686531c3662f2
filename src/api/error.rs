//! One table of everything an operation can answer instead of a result.

use super::Fault;
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
    /// An error that only clients of AWS Step Functions know, by its name there.
    States(Fault),
    /// The refusal of an embedded service, by its code.
    Service(&'static str),
}

/// An error as it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind it is.
    pub kind: ErrorKind,
    /// For people: what, where, and the mend.
    pub message: String,
    /// What it tells beside its message, by the member's name.
    pub member: Option<(&'static str, String)>,
}

impl ErrorKind {
    /// Those that have a name of our own.
    const OWN: [Self; 5] = [
        Self::Validation,
        Self::NotFound,
        Self::Conflict,
        Self::Denied,
        Self::Internal,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validation => "ValidationException",
            Self::NotFound => "ResourceNotFound",
            Self::Conflict => "ConflictException",
            Self::Denied => "AccessDeniedException",
            Self::Internal => "InternalFailure",
            Self::States(fault) => fault.name(),
            Self::Service(code) => code,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Validation | Self::NotFound | Self::Conflict | Self::Service(_) => 400,
            Self::Denied => 403,
            Self::Internal => 500,
            Self::States(fault) => fault.http_status(),
        }
    }

    /// From the name on the wire; what is unknown is our own fault.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self::OWN
            .into_iter()
            .find(|kind| kind.name() == name)
            .or_else(|| Fault::of_name(name).map(Self::States))
            .unwrap_or(Self::Internal)
    }
}

impl ApiError {
    /// An error of that kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            member: None,
        }
    }

    /// The request is not what it should be.
    #[must_use]
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Validation, message)
    }

    /// An error of Step Functions.
    #[must_use]
    pub fn states(fault: Fault, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::States(fault), message)
    }

    /// The same, with a member beside its message.
    #[must_use]
    pub fn with(self, member: &'static str, value: impl Into<String>) -> Self {
        Self {
            member: Some((member, value.into())),
            ..self
        }
    }
}

/// What is wrong with the name of a machine is told in AWS's words.
impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let states =
            |fault, what: &str, name: &str| Self::states(fault, format!("{what}: '{name}'"));
        let kind = match &error {
            RuntimeError::Arn(error) => {
                return states(Fault::InvalidArn, "Invalid Arn", &error.to_string());
            }
            RuntimeError::ArnKind { kind, .. } => {
                let why = format!("Resource type not valid in this context: {kind}");
                return states(Fault::InvalidArn, "Invalid Arn", &why);
            }
            RuntimeError::UnknownMachine { arn } => {
                let fault = Fault::StateMachineDoesNotExist;
                return states(fault, "State Machine Does Not Exist", arn);
            }
            RuntimeError::MachineDeleting { arn } => {
                return states(
                    Fault::StateMachineDeleting,
                    "State Machine Is Deleting",
                    arn,
                );
            }
            RuntimeError::Config(_) | RuntimeError::Job(_) | RuntimeError::Plugin { .. } => {
                ErrorKind::Validation
            }
            RuntimeError::UnknownJob { .. }
            | RuntimeError::UnknownLimiter { .. }
            | RuntimeError::UnknownItem { .. } => ErrorKind::NotFound,
            RuntimeError::Conflict(_) => ErrorKind::Conflict,
            RuntimeError::State(_)
            | RuntimeError::Store(_)
            | RuntimeError::Damaged { .. }
            | RuntimeError::Io { .. }
            | RuntimeError::Services(_)
            | RuntimeError::Closed => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }
}
