//! The exit codes, which scripts may rely on.

use crate::{
    api::{ApiError, ErrorKind, KeyError},
    config::ConfigError,
    runtime::{RuntimeError, StateError},
    store::StoreError,
};

/// Done as asked; of `run`: the job has finished, now or before.
pub const DONE: u8 = 0;
/// Something went wrong that no other code tells.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// A job file, the settings, a plugin or a source are missing or wrong; of a dry run also: records in
/// the source cannot be read; of `check --strict` also: there are warnings.
pub const INVALID: u8 = 3;
/// No such job or item; or nothing was ever run in this state directory.
pub const NOT_FOUND: u8 = 4;
/// It cannot be done as things stand.
pub const CONFLICT: u8 = 5;
/// The state directory cannot be used: another process owns it, it is not writable, damaged, or a
/// newer version wrote it.
pub const STATE: u8 = 6;
/// Of `run`: the job is paused; `status` says why, and running it again goes on.
pub const PAUSED: u8 = 10;
/// Of `run`: the job has failed.
pub const RUN_FAILED: u8 = 11;
/// Of `run`: the job was stopped.
pub const STOPPED: u8 = 12;
/// Of `run`: interrupted before the end; running it again goes on.
pub const INTERRUPTED: u8 = 130;

/// Of `status --check`: all is well. The four codes of a check are those of monitoring plugins.
pub const CHECK_WELL: u8 = 0;
/// Of `status --check`: needs attention soon: paused by an operator, items in doubt or held, many
/// failed, a limiter closed or paused.
pub const CHECK_ATTENTION: u8 = 1;
/// Of `status --check`: the daemon is not running though jobs are to run, the disk is full, a job is
/// paused by failures, by its source or its plugin, stalled, or failed.
pub const CHECK_DOWN: u8 = 2;
/// Of `status --check`: it could not be found out, or no such job.
pub const CHECK_UNKNOWN: u8 = 3;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) u8);

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.0)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let code = match &error {
            KeyError::Name(_) => USAGE,
            KeyError::Exists(_) => CONFLICT,
            KeyError::Unknown(_) => NOT_FOUND,
            KeyError::Io { .. } | KeyError::Damaged(_) => STATE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        let code = match &error {
            RuntimeError::State(_) => STATE,
            RuntimeError::Store(error) => store_code(error),
            RuntimeError::Config(_)
            | RuntimeError::Job(_)
            | RuntimeError::Services(_)
            | RuntimeError::Plugin { .. }
            | RuntimeError::Arn(_)
            | RuntimeError::ArnKind { .. } => INVALID,
            RuntimeError::UnknownJob { .. }
            | RuntimeError::UnknownMachine { .. }
            | RuntimeError::UnknownLimiter { .. }
            | RuntimeError::UnknownItem { .. } => NOT_FOUND,
            RuntimeError::Conflict(_) | RuntimeError::MachineDeleting { .. } => CONFLICT,
            RuntimeError::Damaged { .. } | RuntimeError::Io { .. } | RuntimeError::Closed => FAILED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(store_code(&error), error.to_string())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new(STATE, error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(INVALID, error.to_string())
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let code = match error.kind {
            ErrorKind::Validation => INVALID,
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::Conflict => CONFLICT,
            ErrorKind::Denied => STATE,
            // Why: no command asks for an operation of Step Functions or of a service.
            ErrorKind::Internal | ErrorKind::States(_) | ErrorKind::Service(_) => FAILED,
        };
        Self::new(code, error.message)
    }
}

fn store_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Missing(_) => NOT_FOUND,
        StoreError::Open { .. }
        | StoreError::Unreadable { .. }
        | StoreError::Corrupt(_)
        | StoreError::Newer { .. }
        | StoreError::Migrate { .. } => STATE,
        StoreError::Sqlite(_)
        | StoreError::Refused(_)
        | StoreError::Behind
        | StoreError::Damaged { .. }
        | StoreError::ReadOnly
        | StoreError::Closed
        | StoreError::Thread(_) => FAILED,
    }
}
