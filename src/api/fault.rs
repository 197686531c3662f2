//! The errors of AWS Step Functions, by their names there.
//!
//! Spec: the error shapes of the service model, which AWS tells with status 400, and the errors that all
//! of AWS's services have in common.

/// An error that a client of Step Functions knows by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The key may not ask for that.
    AccessDenied,
    /// The activity exists with another encryption.
    ActivityAlreadyExists,
    /// There is no such activity.
    ActivityDoesNotExist,
    /// There are as many activities as there may be.
    ActivityLimitExceeded,
    /// As many workers ask for tasks of an activity as may.
    ActivityWorkerLimitExceeded,
    /// An execution of that name exists with another input.
    ExecutionAlreadyExists,
    /// There is no such execution.
    ExecutionDoesNotExist,
    /// As many executions run as may.
    ExecutionLimitExceeded,
    /// The execution cannot be taken up again.
    ExecutionNotRedrivable,
    /// The signature's own form is wrong.
    IncompleteSignature,
    /// A text is no name of what is meant.
    InvalidArn,
    /// The definition is none.
    InvalidDefinition,
    /// The encryption configuration contradicts itself.
    InvalidEncryptionConfiguration,
    /// The input is no JSON.
    InvalidExecutionInput,
    /// The logging configuration contradicts itself.
    InvalidLoggingConfiguration,
    /// A name has characters that names may not have.
    InvalidName,
    /// The output is no JSON.
    InvalidOutput,
    /// The signature is not the key's, or too old.
    InvalidSignature,
    /// A page token is none of ours, of another query, or too old.
    InvalidToken,
    /// The tracing configuration contradicts itself.
    InvalidTracingConfiguration,
    /// The request is not signed.
    MissingAuthenticationToken,
    /// Nothing was named that is to be changed.
    MissingRequiredParameter,
    /// The body is no JSON, or a value has the wrong type.
    Serialization,
    /// There are as many of something as there may be.
    ServiceQuotaExceeded,
    /// There is no room for now; clients try again by themselves.
    ServiceUnavailable,
    /// A machine of that name exists and is another.
    StateMachineAlreadyExists,
    /// The machine is being deleted.
    StateMachineDeleting,
    /// There is no such machine.
    StateMachineDoesNotExist,
    /// There are as many machines as there may be.
    StateMachineLimitExceeded,
    /// The machine's type does not do that.
    StateMachineTypeNotSupported,
    /// There is no such task.
    TaskDoesNotExist,
    /// The task's time is over, or it has ended.
    TaskTimedOut,
    /// A resource would have more tags than it may.
    TooManyTags,
    /// There is no such operation.
    UnknownOperation,
}

impl Fault {
    const ALL: [Self; 34] = [
        Self::AccessDenied,
        Self::ActivityAlreadyExists,
        Self::ActivityDoesNotExist,
        Self::ActivityLimitExceeded,
        Self::ActivityWorkerLimitExceeded,
        Self::ExecutionAlreadyExists,
        Self::ExecutionDoesNotExist,
        Self::ExecutionLimitExceeded,
        Self::ExecutionNotRedrivable,
        Self::IncompleteSignature,
        Self::InvalidArn,
        Self::InvalidDefinition,
        Self::InvalidEncryptionConfiguration,
        Self::InvalidExecutionInput,
        Self::InvalidLoggingConfiguration,
        Self::InvalidName,
        Self::InvalidOutput,
        Self::InvalidSignature,
        Self::InvalidToken,
        Self::InvalidTracingConfiguration,
        Self::MissingAuthenticationToken,
        Self::MissingRequiredParameter,
        Self::Serialization,
        Self::ServiceQuotaExceeded,
        Self::ServiceUnavailable,
        Self::StateMachineAlreadyExists,
        Self::StateMachineDeleting,
        Self::StateMachineDoesNotExist,
        Self::StateMachineLimitExceeded,
        Self::StateMachineTypeNotSupported,
        Self::TaskDoesNotExist,
        Self::TaskTimedOut,
        Self::TooManyTags,
        Self::UnknownOperation,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::ActivityAlreadyExists => "ActivityAlreadyExists",
            Self::ActivityDoesNotExist => "ActivityDoesNotExist",
            Self::ActivityLimitExceeded => "ActivityLimitExceeded",
            Self::ActivityWorkerLimitExceeded => "ActivityWorkerLimitExceeded",
            Self::ExecutionAlreadyExists => "ExecutionAlreadyExists",
            Self::ExecutionDoesNotExist => "ExecutionDoesNotExist",
            Self::ExecutionLimitExceeded => "ExecutionLimitExceeded",
            Self::ExecutionNotRedrivable => "ExecutionNotRedrivable",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InvalidArn => "InvalidArn",
            Self::InvalidDefinition => "InvalidDefinition",
            Self::InvalidEncryptionConfiguration => "InvalidEncryptionConfiguration",
            Self::InvalidExecutionInput => "InvalidExecutionInput",
            Self::InvalidLoggingConfiguration => "InvalidLoggingConfiguration",
            Self::InvalidName => "InvalidName",
            Self::InvalidOutput => "InvalidOutput",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::InvalidToken => "InvalidToken",
            Self::InvalidTracingConfiguration => "InvalidTracingConfiguration",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::MissingRequiredParameter => "MissingRequiredParameter",
            Self::Serialization => "SerializationException",
            Self::ServiceQuotaExceeded => "ServiceQuotaExceededException",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::StateMachineAlreadyExists => "StateMachineAlreadyExists",
            Self::StateMachineDeleting => "StateMachineDeleting",
            Self::StateMachineDoesNotExist => "StateMachineDoesNotExist",
            Self::StateMachineLimitExceeded => "StateMachineLimitExceeded",
            Self::StateMachineTypeNotSupported => "StateMachineTypeNotSupported",
            Self::TaskDoesNotExist => "TaskDoesNotExist",
            Self::TaskTimedOut => "TaskTimedOut",
            Self::TooManyTags => "TooManyTags",
            Self::UnknownOperation => "UnknownOperationException",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        if matches!(
            self,
            Self::IncompleteSignature | Self::InvalidSignature | Self::MissingAuthenticationToken
        ) {
            403
        } else if matches!(self, Self::ServiceUnavailable) {
            503
        } else {
            400
        }
    }

    /// From the name on the wire.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_back_from_its_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::of_name(fault.name()), Some(fault));
        }
        assert_eq!(Fault::of_name("Nothing"), None);
    }
}
