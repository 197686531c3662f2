//! What a step is given beside its input: the instant, random numbers, and what `$$` means.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{
    ids::{FrameId, Generation},
    payload::Payload,
    time::Timestamp,
};

/// What a step is given.
pub struct StepContext<'a> {
    /// The step's instant.
    pub now: Timestamp,
    /// The step's random numbers, for jitter, `States.MathRandom` and `States.UUID`.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Gives the token of a task that waits for one, by what asks for it: known to nobody else, and the
    /// same for the same execution, frame and generation.
    pub token: &'a dyn Fn(FrameId, Generation) -> Arc<str>,
    /// The facts of the execution.
    pub context: Context<'a>,
}

/// For [`StepContext::token`], where no task waits for one: jobs, and definitions without
/// `.waitForTaskToken`.
#[must_use]
pub fn no_token(_: FrameId, _: Generation) -> Arc<str> {
    Arc::default()
}

/// The facts of an execution that a definition can ask for. Where
/// [`crate::asl::Definition::uses_context`] is false they are never looked at.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// `$$.Execution.Id`
    pub execution_id: &'a str,
    /// `$$.Execution.Name`
    pub execution_name: &'a str,
    /// `$$.Execution.RoleArn`
    pub role_arn: Option<&'a str>,
    /// `$$.Execution.StartTime`
    pub started: Timestamp,
    /// `$$.Execution.RedriveCount`
    pub redrive_count: u32,
    /// `$$.Execution.RedriveTime`; absent where it was never redriven.
    pub redriven: Option<Timestamp>,
    /// `$$.Execution.Input`
    pub input: &'a Payload,
    /// `$$.StateMachine.Id`
    pub machine_id: &'a str,
    /// `$$.StateMachine.Name`
    pub machine_name: &'a str,
    /// The version of the machine that was started, as an Amazon resource name; for the history.
    pub version_arn: Option<&'a str>,
    /// The alias that it was started by; for the history.
    pub alias_arn: Option<&'a str>,
    /// `$$.Map.Item`, for children of a Map Run.
    pub item: Option<&'a MapItem>,
}

/// `$$.Map.Item`
#[derive(Debug, Clone, PartialEq)]
pub struct MapItem {
    /// Place in the dataset, from 0.
    pub index: u64,
    /// The item.
    pub value: Payload,
    /// Its key, where the dataset is an object.
    pub key: Option<String>,
    /// Where it was read (`S3://bucket/key`), or `STATE_DATA`.
    pub source: Option<String>,
}

/// The facts of the state that asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateFacts<'a> {
    pub(super) name: &'a str,
    pub(super) entered: Timestamp,
    /// For states that are retried.
    pub(super) retry_count: Option<u32>,
    /// For tasks that wait for one.
    pub(super) token: Option<&'a str>,
}

impl Context<'_> {
    /// The context object.
    pub(super) fn object(&self, state: StateFacts<'_>, item: Option<&MapItem>) -> Value {
        let mut execution = Map::new();
        execution.insert("Id".into(), self.execution_id.into());
        execution.insert("Input".into(), self.input.value().clone());
        execution.insert("StartTime".into(), self.started.to_string().into());
        execution.insert("Name".into(), self.execution_name.into());
        if let Some(role) = self.role_arn {
            execution.insert("RoleArn".into(), role.into());
        }
        execution.insert("RedriveCount".into(), self.redrive_count.into());
        if let Some(at) = self.redriven {
            execution.insert("RedriveTime".into(), at.to_string().into());
        }
        let mut object = Map::new();
        object.insert("Execution".into(), Value::Object(execution));
        if let Some(item) = item.or(self.item) {
            object.insert("Map".into(), json!({ "Item": item.object() }));
        }
        object.insert(
            "StateMachine".into(),
            json!({ "Id": self.machine_id, "Name": self.machine_name }),
        );
        let mut facts = Map::new();
        facts.insert("Name".into(), state.name.into());
        facts.insert("EnteredTime".into(), state.entered.to_string().into());
        if let Some(count) = state.retry_count {
            facts.insert("RetryCount".into(), count.into());
        }
        object.insert("State".into(), Value::Object(facts));
        if let Some(token) = state.token {
            object.insert("Task".into(), json!({ "Token": token }));
        }
        Value::Object(object)
    }
}

impl MapItem {
    pub(super) fn object(&self) -> Value {
        let mut item = Map::new();
        item.insert("Index".into(), self.index.into());
        if let Some(key) = &self.key {
            item.insert("Key".into(), key.as_str().into());
        }
        item.insert("Value".into(), self.value.value().clone());
        if let Some(source) = &self.source {
            item.insert("Source".into(), source.as_str().into());
        }
        Value::Object(item)
    }
}
