//! An error on its way from where it happened to who handles it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{
    asl::template::EvalError,
    payload::{Failure, Payload},
};

/// An error of a state.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Raised {
    /// Its name; a Fail state may have none.
    pub(super) error: Option<String>,
    /// For people.
    pub(super) cause: Option<String>,
    /// `Some(false)`: not to be retried, whatever the retriers say.
    pub(super) retry: Option<bool>,
    /// The shortest delay before a retry.
    pub(super) retry_after: Option<Duration>,
    /// The interpreter's own finding: the cause still needs the name of the state.
    pub(super) unplaced: bool,
    /// A task was silent for too long: it is a time-out, and has a name of its own to be matched by.
    pub(super) silent: bool,
    /// A Map Run's, not the Map state's own.
    pub(super) of_run: bool,
    /// An expression's of JSONata, or of a state in it: an event tells it, too.
    pub(super) evaluation: Option<Evaluation>,
}

/// Where an evaluation failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evaluation {
    /// The field, from the state on; none where it is no field's.
    pub(super) location: Option<String>,
    /// Whether the expression itself gave a value, and the state could not do with it.
    pub(super) of_value: bool,
}

/// Longest input that a cause quotes, in bytes: AWS's bound on causes.
const QUOTE_BYTES_MAX: usize = 32 * 1024;

/// Spec: never matched by a retrier or a catcher, `States.ALL` included.
pub(super) const RUNTIME: &str = "States.Runtime";
/// An expression of JSONata gives nothing that its field can do with.
pub(super) const QUERY: &str = "States.QueryEvaluationError";
/// A payload is too large.
pub(super) const DATA_LIMIT: &str = "States.DataLimitExceeded";
/// A task took too long.
pub(super) const TIMEOUT: &str = "States.Timeout";
/// A task stayed silent too long; `States.Timeout` matches it too.
pub(super) const HEARTBEAT: &str = "States.HeartbeatTimeout";

impl Raised {
    pub(super) fn new(error: &str, cause: impl Into<String>) -> Self {
        Self {
            error: Some(error.to_owned()),
            cause: Some(cause.into()),
            ..Self::default()
        }
    }

    /// A definition and its data do not fit together.
    pub(super) fn runtime(cause: impl Into<String>) -> Self {
        Self {
            unplaced: true,
            ..Self::new(RUNTIME, cause)
        }
    }

    /// A state in JSONata and its data do not fit together.
    pub(super) fn query(location: Option<&str>, cause: impl Into<String>) -> Self {
        Self {
            unplaced: true,
            evaluation: Some(Evaluation {
                location: location.map(str::to_owned),
                of_value: false,
            }),
            ..Self::new(QUERY, cause)
        }
    }

    /// An expression gave a value of the right kind that its field cannot do with.
    pub(super) fn query_value(location: &str, cause: impl Into<String>) -> Self {
        Self {
            evaluation: Some(Evaluation {
                location: Some(location.to_owned()),
                of_value: true,
            }),
            ..Self::query(None, cause)
        }
    }

    /// A state or task gave more than the limit.
    pub(super) fn too_large(name: &str) -> Self {
        Self::new(
            DATA_LIMIT,
            format!(
                "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
            ),
        )
    }

    /// An expression gave no value. `input` is what it was evaluated against.
    pub(super) fn evaluation(error: &EvalError, state: &str, input: &Payload) -> Self {
        match error {
            EvalError::Path {
                path,
                field: Some(field),
                ..
            } => Self::runtime(format!(
                "The JSONPath '{path}' specified for the field '{field}' could not be found in the input '{}'",
                abridged(input.text())
            )),
            EvalError::Path { .. } | EvalError::Choice { .. } | EvalError::Variable { .. } => {
                Self::runtime(error.to_string())
            }
            EvalError::Jsonata { location, .. } => {
                let location = Some(location.as_str()).filter(|location| !location.is_empty());
                Self::query(location, error.to_string())
            }
            EvalError::Intrinsic { .. } => Self {
                unplaced: true,
                ..Self::new("States.IntrinsicFailure", error.to_string())
            },
            EvalError::Exhausted => Self::too_large(state),
        }
    }

    /// The error output that a catcher puts into the state's input; a cause is always in it, as
    /// recorded of AWS.
    pub(super) fn output(&self) -> Payload {
        let mut output = Map::new();
        if self.error.is_none() && self.cause.is_none() {
            // Recorded of a task that failed without saying why.
            output.insert("Error".into(), Value::Null);
            output.insert("Cause".into(), Value::Null);
            return Value::Object(output).into();
        }
        if let Some(error) = &self.error {
            output.insert("Error".into(), error.as_str().into());
        }
        let cause = self.cause.as_deref().unwrap_or_default();
        output.insert("Cause".into(), cause.into());
        Value::Object(output).into()
    }

    pub(super) fn is(&self, error: &str) -> bool {
        self.error.as_deref() == Some(error)
    }
}

impl From<Failure> for Raised {
    fn from(failure: Failure) -> Self {
        // Recorded: AWS tells a silent task as one that took too long.
        let silent = failure.error == HEARTBEAT;
        let error = if silent {
            TIMEOUT.to_owned()
        } else {
            failure.error
        };
        Self {
            error: Some(error).filter(|error| !error.is_empty()),
            cause: Some(failure.cause).filter(|cause| !cause.is_empty()),
            retry: failure.retry,
            retry_after: failure.retry_after,
            unplaced: false,
            of_run: false,
            silent,
            evaluation: None,
        }
    }
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Self {
        Self {
            retry: raised.retry,
            retry_after: raised.retry_after,
            ..Self::new(
                raised.error.unwrap_or_default(),
                raised.cause.unwrap_or_default(),
            )
        }
    }
}

fn abridged(text: &str) -> &str {
    let mut end = text.len().min(QUOTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
