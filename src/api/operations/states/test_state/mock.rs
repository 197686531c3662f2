//! What a tester gives in place of a state's work, and what is said of how the work went.

use serde::Deserialize;
use serde_json::Value;

use super::{DATA, STATE_NAME};
use crate::{
    api::{
        ApiError,
        operations::states::shapes::{CAUSE, ERROR},
        shape::{Member, Shape},
    },
    asl::{
        Definition,
        states::{Kind, Map, Mode, State},
    },
    integration::answer::{self, Closeness},
    machine::Mock,
    payload::{Failure, Payload},
};

pub(super) const MOCK: Shape = Shape::structure(
    "MockInput",
    &[
        Member::optional("result", &DATA),
        Member::optional("errorOutput", &ERROR_OUTPUT),
        Member::optional(
            "fieldValidationMode",
            &Shape::one_of(&["STRICT", "PRESENT", "NONE"]),
        ),
    ],
);
const ERROR_OUTPUT: Shape = Shape::structure(
    "MockErrorOutput",
    &[
        Member::optional("error", &ERROR),
        Member::optional("cause", &CAUSE),
    ],
);

pub(super) const STATE_CONFIGURATION: Shape = Shape::structure(
    "TestStateConfiguration",
    &[
        Member::optional("retrierRetryCount", &COUNT),
        Member::optional("errorCausedByState", &STATE_NAME),
        Member::optional("mapIterationFailureCount", &COUNT),
        Member::optional("mapItemReaderData", &DATA),
    ],
);
/// A count of the service model: a whole number of 32 bits, not negative.
const COUNT: Shape = Shape::whole(0, i32::MAX as i64);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MockInput {
    result: Option<String>,
    error_output: Option<ErrorOutput>,
    field_validation_mode: Option<String>,
}

#[derive(Deserialize)]
struct ErrorOutput {
    error: Option<String>,
    cause: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateConfiguration {
    pub(super) retrier_retry_count: Option<u32>,
    error_caused_by_state: Option<String>,
    pub(super) map_iteration_failure_count: Option<u64>,
    map_item_reader_data: Option<String>,
}

impl MockInput {
    /// Refuses what no state takes.
    pub(super) fn check(&self, reveal_secrets: Option<bool>) -> Result<(), ApiError> {
        let message = match (&self.result, &self.error_output) {
            (Some(_), Some(_)) => {
                "A test mock should have only one of the following fields: [result, errorOutput]."
            }
            (None, None) => {
                "A test mock should have one of the following fields: [result, errorOutput]."
            }
            _ if reveal_secrets == Some(true) => {
                "TestState does not support RevealSecrets when a mock is specified."
            }
            _ => return Ok(()),
        };
        Err(ApiError::validation(message))
    }

    /// What stands in for the work of that state.
    pub(super) fn of_state(self, state: &State) -> Result<Mock, ApiError> {
        if let Some(ErrorOutput { error, cause }) = self.error_output {
            let error = error.unwrap_or_default();
            return Ok(Mock::Error(Failure::new(error, cause.unwrap_or_default())));
        }
        let refused = |message: &str| Err(ApiError::validation(message));
        let Ok(result) = Payload::parse(self.result.unwrap_or_default()) else {
            return refused("Mocked result must be valid JSON");
        };
        let items = result.value().as_array().map(Vec::len);
        match &state.kind {
            Kind::Map(map) if writes_elsewhere(map) => {
                if !result.value().is_object() {
                    return refused("Mocked result must be an object.");
                }
            }
            Kind::Map(_) | Kind::Parallel(_) if items.is_none() => {
                return refused("Mocked result must be an array.");
            }
            Kind::Parallel(parallel) if items != Some(parallel.branches.len()) => {
                return refused(
                    "Mocked result must contain the same number of items as number of Parallel branches.",
                );
            }
            Kind::Task(task) => {
                let mode = self.field_validation_mode.as_deref();
                could_be_answered(&task.resource, result.value(), mode)?;
            }
            Kind::Map(_)
            | Kind::Parallel(_)
            | Kind::Pass(_)
            | Kind::Choice(_)
            | Kind::Wait(_)
            | Kind::Succeed
            | Kind::Fail(_) => {}
        }
        Ok(Mock::Result(result))
    }
}

/// Whether the state's result tells where the results are, and is not a list of them.
fn writes_elsewhere(map: &Map) -> bool {
    match &map.mode {
        Mode::Distributed(distributed) => {
            let writer = distributed.writer.as_ref();
            writer.is_some_and(|writer| writer.resource.is_some())
        }
        Mode::Inline(_) => false,
    }
}

/// Whether a service could answer so.
fn could_be_answered(resource: &str, result: &Value, mode: Option<&str>) -> Result<(), ApiError> {
    let closeness = match mode {
        Some("NONE") => return Ok(()),
        Some("PRESENT") => Closeness::Present,
        Some(_) | None => Closeness::Strict,
    };
    let Some(shape) = answer::of_resource(resource) else {
        return Ok(());
    };
    shape
        .check(result, closeness)
        .map_err(|why| ApiError::validation(format!("Mock result schema validation error: {why}")))
}

impl StateConfiguration {
    /// Refuses what means nothing without a mock.
    pub(super) fn check(&self, mocked: bool) -> Result<(), ApiError> {
        let given = [
            (
                self.map_iteration_failure_count.is_some(),
                "MapIterationFailureCount",
            ),
            (self.retrier_retry_count.is_some(), "RetrierRetryCount"),
            (self.error_caused_by_state.is_some(), "ErrorCausedByState"),
            (self.map_item_reader_data.is_some(), "MapItemReaderData"),
        ];
        match given.iter().find(|(given, _)| *given && !mocked) {
            None => Ok(()),
            Some((_, field)) => Err(ApiError::validation(format!(
                "TestState does not support {field} when a mock is not specified."
            ))),
        }
    }

    /// Refuses an error that comes from a state that is not there.
    pub(super) fn check_origin(&self, definition: &Definition) -> Result<(), ApiError> {
        match &self.error_caused_by_state {
            Some(name) if !definition.has_state_within(name) => Err(ApiError::validation(format!(
                "ErrorCausedByState '{name}' is no state within the tested state"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The items that a reader has read, where they are JSON.
    pub(super) fn read_items(&self) -> Option<Payload> {
        let text = self.map_item_reader_data.as_deref()?;
        Payload::parse(text).ok()
    }
}
