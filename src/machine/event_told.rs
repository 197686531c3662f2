//! An event of an execution as GetExecutionHistory tells it.
//!
//! A pure function of the record: which type name an event has follows from what it is and, for a
//! task, from its resource. Without execution data, payloads and what is said of them are left out,
//! as AWS does.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Event, Record};
use crate::{payload::Payload, time::Timestamp};

/// The event as JSON. `data`: with inputs and outputs (`includeExecutionData`).
#[must_use]
pub fn event(record: &Record, data: bool) -> Value {
    let (kind, details) = described(&record.event, data);
    let mut event = Map::new();
    event.insert("timestamp".into(), seconds(record.at));
    event.insert("type".into(), kind.into());
    event.insert("id".into(), record.id.into());
    event.insert("previousEventId".into(), record.previous.into());
    if let Some((key, Details { fields, .. })) = details {
        event.insert(key.into(), Value::Object(fields));
    }
    Value::Object(event)
}

/// Seconds since 1970 with milliseconds, as AWS's protocol writes instants.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of our centuries have fewer than 53 bits"
)]
fn seconds(at: Timestamp) -> Value {
    let millis = at.as_millis();
    if millis % 1000 == 0 {
        return (millis / 1000).into();
    }
    (millis as f64 / 1000.0).into()
}

/// The details of an event under construction.
struct Details {
    fields: Map<String, Value>,
    data: bool,
}

impl Details {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.into(), value.into());
        self
    }

    fn maybe(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// A payload (`input`), and what is said of it (`inputDetails`).
    fn payload(self, key: &str, payload: &Payload) -> Self {
        if !self.data {
            return self;
        }
        self.with(key, payload.text())
            .with(&format!("{key}Details"), json!({ "truncated": false }))
    }

    fn failure(self, error: Option<&String>, cause: Option<&String>) -> Self {
        self.maybe("error", error.map(String::as_str))
            .maybe("cause", cause.map(String::as_str))
    }
}

type Described = (String, Option<(&'static str, Details)>);

/// The event's type, and its details with their key.
#[expect(
    clippy::too_many_lines,
    reason = "one arm for each event that there is"
)]
fn described(event: &Event, data: bool) -> Described {
    let empty = || Details {
        fields: Map::new(),
        data,
    };
    let plain = |kind: &str| (kind.to_owned(), None);
    let with = |kind: &str, key, details| (kind.to_owned(), Some((key, details)));
    match event {
        Event::ExecutionStarted {
            input,
            role,
            version,
            alias,
        } => with(
            "ExecutionStarted",
            "executionStartedEventDetails",
            empty()
                .payload("input", input)
                .maybe("roleArn", role.as_deref())
                .maybe("stateMachineAliasArn", alias.as_deref())
                .maybe("stateMachineVersionArn", version.as_deref()),
        ),
        Event::ExecutionSucceeded { output } => with(
            "ExecutionSucceeded",
            "executionSucceededEventDetails",
            empty().payload("output", output),
        ),
        Event::ExecutionFailed { error, cause } => with(
            "ExecutionFailed",
            "executionFailedEventDetails",
            empty().failure(error.as_ref(), cause.as_ref()),
        ),
        Event::ExecutionTimedOut { error, cause } => with(
            "ExecutionTimedOut",
            "executionTimedOutEventDetails",
            empty().failure(error.as_ref(), cause.as_ref()),
        ),
        Event::ExecutionAborted { error, cause } => with(
            "ExecutionAborted",
            "executionAbortedEventDetails",
            empty().failure(error.as_ref(), cause.as_ref()),
        ),
        Event::ExecutionRedriven { count } => with(
            "ExecutionRedriven",
            "executionRedrivenEventDetails",
            empty().with("redriveCount", *count),
        ),
        Event::StateEntered { kind, name, input } => with(
            &format!("{kind}StateEntered"),
            "stateEnteredEventDetails",
            empty().with("name", &**name).payload("input", input),
        ),
        Event::StateExited {
            kind,
            name,
            output,
            assigned,
        } => {
            let mut details = empty().with("name", &**name).payload("output", output);
            if let Some(assigned) = assigned.as_ref().filter(|_| data) {
                let variables: Map<String, Value> = assigned
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.text().into()))
                    .collect();
                details = details
                    .with("assignedVariables", variables)
                    .with("assignedVariablesDetails", json!({ "truncated": false }));
            }
            with(
                &format!("{kind}StateExited"),
                "stateExitedEventDetails",
                details,
            )
        }
        Event::StateAborted { kind } => plain(&format!("{kind}StateAborted")),
        Event::EvaluationFailed {
            state,
            location,
            error,
            cause,
        } => with(
            "EvaluationFailed",
            "evaluationFailedEventDetails",
            empty()
                .failure(Some(error), Some(cause))
                .maybe("location", location.as_deref())
                .with("state", &**state),
        ),
        Event::MapStateStarted { length } => with(
            "MapStateStarted",
            "mapStateStartedEventDetails",
            empty().with("length", *length),
        ),
        Event::MapIterationStarted { name, index } => with(
            "MapIterationStarted",
            "mapIterationStartedEventDetails",
            empty().with("name", &**name).with("index", *index),
        ),
        Event::MapIterationSucceeded { name, index } => with(
            "MapIterationSucceeded",
            "mapIterationSucceededEventDetails",
            empty().with("name", &**name).with("index", *index),
        ),
        Event::MapIterationFailed { name, index } => with(
            "MapIterationFailed",
            "mapIterationFailedEventDetails",
            empty().with("name", &**name).with("index", *index),
        ),
        Event::MapIterationAborted { name, index } => with(
            "MapIterationAborted",
            "mapIterationAbortedEventDetails",
            empty().with("name", &**name).with("index", *index),
        ),
        Event::MapRunStarted { run } => with(
            "MapRunStarted",
            "mapRunStartedEventDetails",
            empty().maybe("mapRunArn", run.as_deref()),
        ),
        Event::MapRunSucceeded => plain("MapRunSucceeded"),
        Event::MapRunAborted => plain("MapRunAborted"),
        Event::MapRunFailed { error, cause } => with(
            "MapRunFailed",
            "mapRunFailedEventDetails",
            empty().failure(error.as_ref(), cause.as_ref()),
        ),
        Event::MapRunRedriven { run, count } => with(
            "MapRunRedriven",
            "mapRunRedrivenEventDetails",
            empty()
                .maybe("mapRunArn", run.as_deref())
                .with("redriveCount", *count),
        ),
        Event::MapStateSucceeded => plain("MapStateSucceeded"),
        Event::MapStateFailed => plain("MapStateFailed"),
        Event::ParallelStateStarted => plain("ParallelStateStarted"),
        Event::ParallelStateSucceeded => plain("ParallelStateSucceeded"),
        Event::ParallelStateFailed => plain("ParallelStateFailed"),
        Event::TaskScheduled { resource, .. }
        | Event::TaskScheduleFailed { resource, .. }
        | Event::TaskStarted { resource, .. }
        | Event::TaskStartFailed { resource, .. }
        | Event::TaskSubmitted { resource, .. }
        | Event::TaskSubmitFailed { resource, .. }
        | Event::TaskSucceeded { resource, .. }
        | Event::TaskFailed { resource, .. }
        | Event::TaskTimedOut { resource, .. } => of_task(event, &Resource::of(resource), empty()),
    }
}

/// What kind of work a resource stands for: each has event types of its own.
enum Resource<'a> {
    /// A Lambda function, named directly.
    Function(&'a str),
    /// An activity.
    Activity(&'a str),
    /// A service's operation: `(service, operation)`.
    Service(&'a str, &'a str),
}

impl<'a> Resource<'a> {
    /// `arn:aws:states:::sqs:sendMessage` is SQS's `sendMessage`, `arn:aws:states:::aws-sdk:s3:listBuckets`
    /// `aws-sdk:s3`'s `listBuckets`.
    fn of(resource: &'a str) -> Self {
        let mut parts = resource.splitn(6, ':');
        let (_, _, service) = (parts.next(), parts.next(), parts.next());
        let (_, _, rest) = (parts.next(), parts.next(), parts.next());
        match (service, rest) {
            (Some("lambda"), Some(_)) => Self::Function(resource),
            (Some("states"), Some(rest)) if rest.starts_with("activity:") => {
                Self::Activity(resource)
            }
            (_, Some(rest)) => {
                let sdk = rest.strip_prefix("aws-sdk:");
                let colon = match sdk {
                    Some(of_sdk) => of_sdk
                        .find(':')
                        .map(|colon| colon + rest.len() - of_sdk.len()),
                    None => rest.find(':'),
                };
                let (service, operation) =
                    colon.map_or(("", rest), |colon| (&rest[..colon], &rest[colon + 1..]));
                Self::Service(service, operation)
            }
            (_, None) => Self::Service("", resource),
        }
    }
}

/// The names of an event of a task, by its kind of work: (`LambdaFunction*`, `Activity*`, `Task*`).
struct Named {
    function: (&'static str, &'static str),
    activity: (&'static str, &'static str),
    service: (&'static str, &'static str),
}

macro_rules! named {
    ($upper:literal) => {
        Named {
            function: (
                concat!("LambdaFunction", $upper),
                concat!("lambdaFunction", $upper, "EventDetails"),
            ),
            activity: (
                concat!("Activity", $upper),
                concat!("activity", $upper, "EventDetails"),
            ),
            service: (
                concat!("Task", $upper),
                concat!("task", $upper, "EventDetails"),
            ),
        }
    };
}

fn of_task(event: &Event, resource: &Resource<'_>, details: Details) -> Described {
    let failure = |error: &Option<String>, cause: &Option<String>, details: Details| {
        details.failure(error.as_ref(), cause.as_ref())
    };
    let (names, details) = match event {
        Event::TaskScheduled {
            region,
            parameters,
            timeout,
            heartbeat,
            role,
            ..
        } => {
            let details = match resource {
                Resource::Function(name) | Resource::Activity(name) => {
                    details.with("resource", *name).payload("input", parameters)
                }
                Resource::Service(..) => details
                    .with("region", &**region)
                    .with("parameters", parameters.text()),
            };
            let details = details
                .maybe("timeoutInSeconds", timeout.map(whole_seconds))
                .maybe("heartbeatInSeconds", heartbeat.map(whole_seconds));
            let credentials = role.as_deref().map(|role| json!({ "roleArn": role }));
            (
                named!("Scheduled"),
                details.maybe("taskCredentials", credentials),
            )
        }
        Event::TaskStarted { worker, .. } => match resource {
            // This one alone has no details.
            Resource::Function(_) => return ("LambdaFunctionStarted".to_owned(), None),
            Resource::Activity(_) => (
                named!("Started"),
                details.maybe("workerName", worker.as_deref()),
            ),
            Resource::Service(..) => (named!("Started"), details),
        },
        Event::TaskSubmitted { output, .. } => {
            (named!("Submitted"), details.payload("output", output))
        }
        Event::TaskSucceeded { output, .. } => {
            (named!("Succeeded"), details.payload("output", output))
        }
        Event::TaskScheduleFailed { error, cause, .. } => {
            (named!("ScheduleFailed"), failure(error, cause, details))
        }
        Event::TaskStartFailed { error, cause, .. } => {
            (named!("StartFailed"), failure(error, cause, details))
        }
        Event::TaskSubmitFailed { error, cause, .. } => {
            (named!("SubmitFailed"), failure(error, cause, details))
        }
        Event::TaskFailed { error, cause, .. } => {
            (named!("Failed"), failure(error, cause, details))
        }
        Event::TaskTimedOut { error, cause, .. } => {
            (named!("TimedOut"), failure(error, cause, details))
        }
        Event::ExecutionStarted { .. }
        | Event::ExecutionSucceeded { .. }
        | Event::ExecutionFailed { .. }
        | Event::ExecutionTimedOut { .. }
        | Event::ExecutionAborted { .. }
        | Event::ExecutionRedriven { .. }
        | Event::StateEntered { .. }
        | Event::StateExited { .. }
        | Event::StateAborted { .. }
        | Event::EvaluationFailed { .. }
        | Event::MapStateStarted { .. }
        | Event::MapIterationStarted { .. }
        | Event::MapIterationSucceeded { .. }
        | Event::MapIterationFailed { .. }
        | Event::MapIterationAborted { .. }
        | Event::MapRunStarted { .. }
        | Event::MapRunSucceeded
        | Event::MapRunFailed { .. }
        | Event::MapRunAborted
        | Event::MapRunRedriven { .. }
        | Event::MapStateSucceeded
        | Event::MapStateFailed
        | Event::ParallelStateStarted
        | Event::ParallelStateSucceeded
        | Event::ParallelStateFailed => return described(event, details.data),
    };
    let (kind, key, details) = match resource {
        Resource::Function(_) => (names.function.0, names.function.1, details),
        Resource::Activity(_) => (names.activity.0, names.activity.1, details),
        Resource::Service(service, operation) => (
            names.service.0,
            names.service.1,
            details
                .with("resourceType", *service)
                .with("resource", *operation),
        ),
    };
    (kind.to_owned(), Some((key, details)))
}

/// AWS counts in whole seconds; a fraction of one, which jobs may have, is rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn told(told: Event, data: bool) -> Value {
        let record = Record {
            id: 5,
            previous: 4,
            at: Timestamp(1_700_000_000_123_456),
            event: told,
        };
        event(&record, data)
    }

    fn payload() -> Payload {
        Payload::parse(r#"{"a": 1}"#).unwrap()
    }

    fn scheduled(resource: &str) -> Event {
        Event::TaskScheduled {
            resource: resource.into(),
            region: "eu-west-1".into(),
            parameters: payload(),
            timeout: Some(Duration::from_millis(1500)),
            heartbeat: None,
            role: Some("arn:role".into()),
        }
    }

    #[test]
    fn an_event_has_its_place_its_instant_and_its_details() {
        let entered = Event::StateEntered {
            kind: "Pass",
            name: "S".into(),
            input: payload(),
        };
        assert_eq!(
            told(entered.clone(), true),
            json!({"timestamp": 1_700_000_000.123, "type": "PassStateEntered", "id": 5, "previousEventId": 4,
                "stateEnteredEventDetails": {
                    "name": "S", "input": "{\"a\": 1}", "inputDetails": {"truncated": false}}})
        );
        assert_eq!(
            told(entered, false)["stateEnteredEventDetails"],
            json!({"name": "S"})
        );
        assert_eq!(
            told(Event::MapStateSucceeded, true),
            json!({"timestamp": 1_700_000_000.123, "type": "MapStateSucceeded", "id": 5, "previousEventId": 4})
        );
    }

    #[test]
    fn the_names_of_a_tasks_events_follow_from_its_resource() {
        for (resource, kind, key, named) in [
            (
                "arn:aws:lambda:us-east-1:111111111111:function:f",
                "LambdaFunctionScheduled",
                "lambdaFunctionScheduledEventDetails",
                json!({"resource": "arn:aws:lambda:us-east-1:111111111111:function:f",
                    "input": "{\"a\": 1}", "inputDetails": {"truncated": false}}),
            ),
            (
                "arn:aws:states:us-east-1:111111111111:activity:a",
                "ActivityScheduled",
                "activityScheduledEventDetails",
                json!({"resource": "arn:aws:states:us-east-1:111111111111:activity:a",
                    "input": "{\"a\": 1}", "inputDetails": {"truncated": false}}),
            ),
            (
                "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "TaskScheduled",
                "taskScheduledEventDetails",
                json!({"resourceType": "sqs", "resource": "sendMessage.waitForTaskToken",
                    "region": "eu-west-1", "parameters": "{\"a\": 1}"}),
            ),
            (
                "arn:aws:states:::aws-sdk:dynamodb:getItem",
                "TaskScheduled",
                "taskScheduledEventDetails",
                json!({"resourceType": "aws-sdk:dynamodb", "resource": "getItem",
                    "region": "eu-west-1", "parameters": "{\"a\": 1}"}),
            ),
        ] {
            let mut wanted = named;
            wanted["timeoutInSeconds"] = 2.into();
            wanted["taskCredentials"] = json!({"roleArn": "arn:role"});
            let event = told(scheduled(resource), true);
            assert_eq!(event["type"], kind);
            assert_eq!(event[key], wanted, "{resource}");
        }
        let resource: Arc<str> = "arn:aws:lambda:us-east-1:111111111111:function:f".into();
        let started = told(
            Event::TaskStarted {
                resource,
                worker: None,
            },
            true,
        );
        assert_eq!(started["type"], "LambdaFunctionStarted");
        assert_eq!(started.as_object().map(Map::len), Some(4));
    }

    #[test]
    fn assigned_variables_are_told_as_json_texts() {
        let exited = Event::StateExited {
            kind: "Pass",
            name: "S".into(),
            output: payload(),
            assigned: Some(vec![("x".into(), Payload::from(Value::from("42")))]),
        };
        let details = &told(exited.clone(), true)["stateExitedEventDetails"];
        assert_eq!(details["assignedVariables"], json!({"x": "\"42\""}));
        assert_eq!(
            details["assignedVariablesDetails"],
            json!({"truncated": false})
        );
        let details = &told(exited, false)["stateExitedEventDetails"];
        assert_eq!(*details, json!({"name": "S"}));
    }
}
