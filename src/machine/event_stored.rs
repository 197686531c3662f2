//! The stored form of an event: a short name, its one payload as text, and the rest as JSON.
//!
//! Events are rows that live as long as the history does, so names and fields here never change
//! their meaning; a newer release adds some and reads all that ever were.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Event,
    event::Assigned,
    stored::{RestoreError, payload as payload_of, raw},
};
use crate::payload::Payload;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Which event it is; stable.
    pub kind: &'static str,
    /// Compact JSON of everything but the payload; empty where there is nothing.
    pub detail: String,
    /// Its input, output, parameters.
    pub payload: Option<Payload>,
}

/// Everything that events say beside their payload. A field is absent where the event has none.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned: Option<Vec<(Arc<str>, Box<RawValue>)>>,
}

/// Types of states, as events name them.
const STATE_TYPES: [&str; 8] = [
    "Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map",
];

impl Event {
    /// What is to be stored.
    #[must_use]
    pub fn to_stored(&self) -> StoredEvent {
        let (detail, payload) = self.parts();
        // Only a map with keys that are no strings would fail.
        let detail = serde_json::to_string(&detail).unwrap_or_default();
        StoredEvent {
            kind: self.stored_kind(),
            detail: if detail == "{}" {
                String::new()
            } else {
                detail
            },
            payload: payload.cloned(),
        }
    }

    /// Its short name.
    const fn stored_kind(&self) -> &'static str {
        match self {
            Self::ExecutionStarted { .. } => "execution_started",
            Self::StateEntered { .. } => "state_entered",
            Self::StateExited { .. } => "state_exited",
            Self::StateAborted { .. } => "state_aborted",
            Self::EvaluationFailed { .. } => "evaluation_failed",
            Self::TaskScheduled { .. } => "task_scheduled",
            Self::TaskScheduleFailed { .. } => "task_schedule_failed",
            Self::TaskStarted { .. } => "task_started",
            Self::TaskStartFailed { .. } => "task_start_failed",
            Self::TaskSubmitted { .. } => "task_submitted",
            Self::TaskSubmitFailed { .. } => "task_submit_failed",
            Self::TaskSucceeded { .. } => "task_succeeded",
            Self::TaskFailed { .. } => "task_failed",
            Self::TaskTimedOut { .. } => "task_timed_out",
            Self::MapStateStarted { .. } => "map_started",
            Self::MapIterationStarted { .. } => "iteration_started",
            Self::MapIterationSucceeded { .. } => "iteration_succeeded",
            Self::MapIterationFailed { .. } => "iteration_failed",
            Self::MapIterationAborted { .. } => "iteration_aborted",
            Self::MapRunStarted { .. } => "run_started",
            Self::MapRunSucceeded => "run_succeeded",
            Self::MapRunFailed { .. } => "run_failed",
            Self::MapRunAborted => "run_aborted",
            Self::MapRunRedriven { .. } => "run_redriven",
            Self::MapStateSucceeded => "map_succeeded",
            Self::MapStateFailed => "map_failed",
            Self::ParallelStateStarted => "parallel_started",
            Self::ParallelStateSucceeded => "parallel_succeeded",
            Self::ParallelStateFailed => "parallel_failed",
            Self::ExecutionSucceeded { .. } => "execution_succeeded",
            Self::ExecutionFailed { .. } => "execution_failed",
            Self::ExecutionTimedOut { .. } => "execution_timed_out",
            Self::ExecutionAborted { .. } => "execution_aborted",
            Self::ExecutionRedriven { .. } => "execution_redriven",
        }
    }

    /// Bytes of its payload; 0 where it has none.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.parts().1.map_or(0, |payload| payload.text().len())
    }

    /// Its detail and its payload.
    fn parts(&self) -> (Detail<'_>, Option<&Payload>) {
        match self {
            Self::ExecutionStarted {
                input,
                role,
                version,
                alias,
            } => {
                let detail = Detail {
                    role: role.clone(),
                    version: version.clone(),
                    alias: alias.clone(),
                    ..Detail::default()
                };
                (detail, Some(input))
            }
            Self::StateEntered { kind, name, input } => (of_state(kind, name), Some(input)),
            Self::StateExited {
                kind,
                name,
                output,
                assigned,
            } => {
                let detail = Detail {
                    assigned: assigned.as_ref().map(texts),
                    ..of_state(kind, name)
                };
                (detail, Some(output))
            }
            Self::StateAborted { kind } => {
                let detail = Detail {
                    kind: Some(Cow::Borrowed(kind)),
                    ..Detail::default()
                };
                (detail, None)
            }
            Self::EvaluationFailed {
                state,
                location,
                error,
                cause,
            } => {
                let detail = Detail {
                    name: Some(state.clone()),
                    location: location.clone(),
                    error: Some(error.clone()),
                    cause: Some(cause.clone()),
                    ..Detail::default()
                };
                (detail, None)
            }
            Self::MapStateStarted { length } => {
                let detail = Detail {
                    length: Some(*length),
                    ..Detail::default()
                };
                (detail, None)
            }
            Self::MapIterationStarted { name, index }
            | Self::MapIterationSucceeded { name, index }
            | Self::MapIterationFailed { name, index }
            | Self::MapIterationAborted { name, index } => {
                let detail = Detail {
                    name: Some(name.clone()),
                    index: Some(*index),
                    ..Detail::default()
                };
                (detail, None)
            }
            Self::MapRunStarted { run } => (of_run(run.as_ref(), None), None),
            Self::MapRunRedriven { run, count } => (of_run(run.as_ref(), Some(*count)), None),
            Self::ExecutionRedriven { count } => (of_run(None, Some(*count)), None),
            Self::ExecutionSucceeded { output } => (Detail::default(), Some(output)),
            Self::MapRunFailed { error, cause }
            | Self::ExecutionFailed { error, cause }
            | Self::ExecutionTimedOut { error, cause }
            | Self::ExecutionAborted { error, cause } => {
                (failed(None, error.as_ref(), cause.as_ref()), None)
            }
            Self::MapRunSucceeded
            | Self::MapRunAborted
            | Self::MapStateSucceeded
            | Self::MapStateFailed
            | Self::ParallelStateStarted
            | Self::ParallelStateSucceeded
            | Self::ParallelStateFailed => (Detail::default(), None),
            Self::TaskScheduled { .. }
            | Self::TaskScheduleFailed { .. }
            | Self::TaskStarted { .. }
            | Self::TaskStartFailed { .. }
            | Self::TaskSubmitted { .. }
            | Self::TaskSubmitFailed { .. }
            | Self::TaskSucceeded { .. }
            | Self::TaskFailed { .. }
            | Self::TaskTimedOut { .. } => self.task_parts(),
        }
    }

    /// The parts of an event of a task.
    fn task_parts(&self) -> (Detail<'_>, Option<&Payload>) {
        let of = |resource: &Arc<str>| Detail {
            resource: Some(resource.clone()),
            ..Detail::default()
        };
        if let Self::TaskScheduled {
            resource,
            region,
            parameters,
            timeout,
            heartbeat,
            role,
        } = self
        {
            let detail = Detail {
                region: Some(region.clone()),
                timeout_us: timeout.map(micros),
                heartbeat_us: heartbeat.map(micros),
                role: role.clone(),
                ..of(resource)
            };
            return (detail, Some(parameters));
        }
        if let Self::TaskStarted { resource, worker } = self {
            let detail = Detail {
                worker: worker.clone(),
                ..of(resource)
            };
            return (detail, None);
        }
        if let Self::TaskSubmitted { resource, output } | Self::TaskSucceeded { resource, output } =
            self
        {
            return (of(resource), Some(output));
        }
        if let Self::TaskScheduleFailed {
            resource,
            error,
            cause,
        }
        | Self::TaskStartFailed {
            resource,
            error,
            cause,
        }
        | Self::TaskSubmitFailed {
            resource,
            error,
            cause,
        }
        | Self::TaskFailed {
            resource,
            error,
            cause,
        }
        | Self::TaskTimedOut {
            resource,
            error,
            cause,
        } = self
        {
            return (failed(Some(resource), error.as_ref(), cause.as_ref()), None);
        }
        (Detail::default(), None)
    }

    /// The event that was stored so.
    ///
    /// # Errors
    /// The kind is unknown, or something that it needs is missing.
    pub fn from_stored(
        kind: &str,
        detail: &str,
        payload: Option<Payload>,
    ) -> Result<Self, RestoreError> {
        let detail: Detail<'_> = if detail.is_empty() {
            Detail::default()
        } else {
            serde_json::from_str(detail)?
        };
        if kind.starts_with("task_") {
            return restore_task(kind, detail, payload);
        }
        let Detail { error, cause, .. } = &detail;
        let (error, cause) = (error.clone(), cause.clone());
        Ok(match kind {
            "execution_started" => Self::ExecutionStarted {
                input: needed(payload)?,
                role: detail.role,
                version: detail.version,
                alias: detail.alias,
            },
            "state_entered" => Self::StateEntered {
                kind: state_type(detail.kind.as_deref())?,
                name: needed(detail.name)?,
                input: needed(payload)?,
            },
            "state_exited" => Self::StateExited {
                kind: state_type(detail.kind.as_deref())?,
                name: needed(detail.name)?,
                output: needed(payload)?,
                assigned: detail.assigned.map(variables).transpose()?,
            },
            "state_aborted" => Self::StateAborted {
                kind: state_type(detail.kind.as_deref())?,
            },
            "evaluation_failed" => Self::EvaluationFailed {
                state: needed(detail.name)?,
                location: detail.location,
                error: needed(error)?,
                cause: needed(cause)?,
            },
            "map_started" => Self::MapStateStarted {
                length: needed(detail.length)?,
            },
            "iteration_started" => Self::MapIterationStarted {
                name: needed(detail.name)?,
                index: needed(detail.index)?,
            },
            "iteration_succeeded" => Self::MapIterationSucceeded {
                name: needed(detail.name)?,
                index: needed(detail.index)?,
            },
            "iteration_failed" => Self::MapIterationFailed {
                name: needed(detail.name)?,
                index: needed(detail.index)?,
            },
            "iteration_aborted" => Self::MapIterationAborted {
                name: needed(detail.name)?,
                index: needed(detail.index)?,
            },
            "run_started" => Self::MapRunStarted { run: detail.run },
            "run_succeeded" => Self::MapRunSucceeded,
            "run_failed" => Self::MapRunFailed { error, cause },
            "run_aborted" => Self::MapRunAborted,
            "run_redriven" => Self::MapRunRedriven {
                run: detail.run,
                count: needed(detail.count)?,
            },
            "map_succeeded" => Self::MapStateSucceeded,
            "map_failed" => Self::MapStateFailed,
            "parallel_started" => Self::ParallelStateStarted,
            "parallel_succeeded" => Self::ParallelStateSucceeded,
            "parallel_failed" => Self::ParallelStateFailed,
            "execution_succeeded" => Self::ExecutionSucceeded {
                output: needed(payload)?,
            },
            "execution_failed" => Self::ExecutionFailed { error, cause },
            "execution_timed_out" => Self::ExecutionTimedOut { error, cause },
            "execution_aborted" => Self::ExecutionAborted { error, cause },
            "execution_redriven" => Self::ExecutionRedriven {
                count: needed(detail.count)?,
            },
            _ => return Err(RestoreError::Inconsistent("an event is of an unknown kind")),
        })
    }
}

fn restore_task(
    kind: &str,
    detail: Detail<'_>,
    payload: Option<Payload>,
) -> Result<Event, RestoreError> {
    let resource = needed(detail.resource)?;
    let Detail { error, cause, .. } = detail;
    Ok(match kind {
        "task_scheduled" => Event::TaskScheduled {
            resource,
            region: needed(detail.region)?,
            parameters: needed(payload)?,
            timeout: detail.timeout_us.map(Duration::from_micros),
            heartbeat: detail.heartbeat_us.map(Duration::from_micros),
            role: detail.role,
        },
        "task_schedule_failed" => Event::TaskScheduleFailed {
            resource,
            error,
            cause,
        },
        "task_started" => Event::TaskStarted {
            resource,
            worker: detail.worker,
        },
        "task_start_failed" => Event::TaskStartFailed {
            resource,
            error,
            cause,
        },
        "task_submitted" => Event::TaskSubmitted {
            resource,
            output: needed(payload)?,
        },
        "task_submit_failed" => Event::TaskSubmitFailed {
            resource,
            error,
            cause,
        },
        "task_succeeded" => Event::TaskSucceeded {
            resource,
            output: needed(payload)?,
        },
        "task_failed" => Event::TaskFailed {
            resource,
            error,
            cause,
        },
        "task_timed_out" => Event::TaskTimedOut {
            resource,
            error,
            cause,
        },
        _ => return Err(RestoreError::Inconsistent("an event is of an unknown kind")),
    })
}

fn of_state<'a>(kind: &'a str, name: &Arc<str>) -> Detail<'a> {
    Detail {
        kind: Some(Cow::Borrowed(kind)),
        name: Some(name.clone()),
        ..Detail::default()
    }
}

fn of_run(run: Option<&Arc<str>>, count: Option<u32>) -> Detail<'static> {
    Detail {
        run: run.cloned(),
        count,
        ..Detail::default()
    }
}

fn failed(
    resource: Option<&Arc<str>>,
    error: Option<&String>,
    cause: Option<&String>,
) -> Detail<'static> {
    Detail {
        resource: resource.cloned(),
        error: error.cloned(),
        cause: cause.cloned(),
        ..Detail::default()
    }
}

fn needed<T>(part: Option<T>) -> Result<T, RestoreError> {
    part.ok_or(RestoreError::Inconsistent(
        "a stored event lacks what its kind has",
    ))
}

fn state_type(name: Option<&str>) -> Result<&'static str, RestoreError> {
    needed(STATE_TYPES.into_iter().find(|kind| name == Some(kind)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn texts(assigned: &Assigned) -> Vec<(Arc<str>, Box<RawValue>)> {
    assigned
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), raw(value)?)))
        .collect()
}

fn variables(texts: Vec<(Arc<str>, Box<RawValue>)>) -> Result<Assigned, RestoreError> {
    texts
        .into_iter()
        .map(|(name, text)| Ok((name, payload_of(&text)?)))
        .collect()
}
