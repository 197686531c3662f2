//! The operations of AWS Step Functions; one file for each.
//!
//! Each takes and answers what AWS does, with AWS's errors and messages. Spec: the service model of
//! 2016-11-23 and the API reference. What belongs to several operations is in `names` (what names lead
//! to), `shapes` (what requests are made of), `listing` (pages) and `configurations`.
//!
//! Invariant: whoever changes a machine, an activity or what belongs to one holds the turn of machines
//! from its first look to its commit.

mod configurations;
mod create_activity;
mod create_state_machine;
mod create_state_machine_alias;
mod definition;
mod delete_activity;
mod delete_state_machine;
mod delete_state_machine_alias;
mod delete_state_machine_version;
mod describe_activity;
mod describe_execution;
mod describe_map_run;
mod describe_state_machine;
mod describe_state_machine_alias;
mod describe_state_machine_for_execution;
mod executions;
mod get_activity_task;
mod get_execution_history;
mod json_faults;
mod label;
mod list_activities;
mod list_executions;
mod list_map_runs;
mod list_state_machine_aliases;
mod list_state_machine_versions;
mod list_state_machines;
mod list_tags_for_resource;
mod listing;
mod map_runs;
mod names;
mod publish_state_machine_version;
mod redrive_execution;
mod routing;
mod send_task_failure;
mod send_task_heartbeat;
mod send_task_success;
mod shapes;
mod start_execution;
mod start_sync_execution;
mod stop_execution;
mod tag_resource;
mod tags;
mod task_answers;
mod test_state;
mod untag_resource;
mod update_map_run;
mod update_state_machine;
mod update_state_machine_alias;
mod validate_state_machine_definition;
mod variable_references;

pub(in crate::api) use start_execution::begin;

use serde_json::{Number, Value, json};

use super::Api;
use crate::{
    api::{ApiError, Fault, Role, shape::read},
    store::Change,
    time::Timestamp,
};

/// Every operation, by its name on the wire, with what a key must be allowed to ask for it.
pub const OPERATIONS: &[(&str, Role)] = &[
    ("CreateActivity", Role::Admin),
    ("CreateStateMachine", Role::Admin),
    ("CreateStateMachineAlias", Role::Admin),
    ("DeleteActivity", Role::Admin),
    ("DeleteStateMachine", Role::Admin),
    ("DeleteStateMachineAlias", Role::Admin),
    ("DeleteStateMachineVersion", Role::Admin),
    ("DescribeActivity", Role::ReadOnly),
    ("DescribeExecution", Role::ReadOnly),
    ("DescribeMapRun", Role::ReadOnly),
    ("DescribeStateMachine", Role::ReadOnly),
    ("DescribeStateMachineAlias", Role::ReadOnly),
    ("DescribeStateMachineForExecution", Role::ReadOnly),
    ("GetActivityTask", Role::Operator),
    ("GetExecutionHistory", Role::ReadOnly),
    ("ListActivities", Role::ReadOnly),
    ("ListExecutions", Role::ReadOnly),
    ("ListMapRuns", Role::ReadOnly),
    ("ListStateMachineAliases", Role::ReadOnly),
    ("ListStateMachineVersions", Role::ReadOnly),
    ("ListStateMachines", Role::ReadOnly),
    ("ListTagsForResource", Role::ReadOnly),
    ("PublishStateMachineVersion", Role::Admin),
    ("RedriveExecution", Role::Operator),
    ("SendTaskFailure", Role::Operator),
    ("SendTaskHeartbeat", Role::Operator),
    ("SendTaskSuccess", Role::Operator),
    ("StartExecution", Role::Operator),
    ("StartSyncExecution", Role::Operator),
    ("StopExecution", Role::Operator),
    ("TagResource", Role::Admin),
    ("TestState", Role::Operator),
    ("UntagResource", Role::Admin),
    ("UpdateMapRun", Role::Operator),
    ("UpdateStateMachine", Role::Admin),
    ("UpdateStateMachineAlias", Role::Admin),
    ("ValidateStateMachineDefinition", Role::ReadOnly),
];

/// What a key must be allowed to ask for an operation; none where there is no such operation.
pub(in crate::api) fn role_of(operation: &str) -> Option<Role> {
    let mut known = OPERATIONS.iter();
    known
        .find(|(name, _)| *name == operation)
        .map(|(_, role)| *role)
}

/// Calls an operation.
pub async fn call(api: &Api, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateActivity" => create_activity::call(api, read(create_activity::INPUT, input)?).await,
        "CreateStateMachine" => {
            create_state_machine::call(api, read(create_state_machine::INPUT, input)?).await
        }
        "CreateStateMachineAlias" => {
            let input = read(create_state_machine_alias::INPUT, input)?;
            create_state_machine_alias::call(api, input).await
        }
        "DeleteActivity" => delete_activity::call(api, &read(delete_activity::INPUT, input)?).await,
        "DeleteStateMachine" => {
            delete_state_machine::call(api, &read(delete_state_machine::INPUT, input)?).await
        }
        "DeleteStateMachineAlias" => {
            let input = read(delete_state_machine_alias::INPUT, input)?;
            delete_state_machine_alias::call(api, &input).await
        }
        "DeleteStateMachineVersion" => {
            let input = read(delete_state_machine_version::INPUT, input)?;
            delete_state_machine_version::call(api, &input).await
        }
        "PublishStateMachineVersion" => {
            let input = read(publish_state_machine_version::INPUT, input)?;
            publish_state_machine_version::call(api, input).await
        }
        "TagResource" => tag_resource::call(api, read(tag_resource::INPUT, input)?).await,
        "UntagResource" => untag_resource::call(api, read(untag_resource::INPUT, input)?).await,
        "UpdateStateMachine" => {
            update_state_machine::call(api, read(update_state_machine::INPUT, input)?).await
        }
        "UpdateStateMachineAlias" => {
            let input = read(update_state_machine_alias::INPUT, input)?;
            update_state_machine_alias::call(api, input).await
        }
        "GetActivityTask" => {
            get_activity_task::call(api, read(get_activity_task::INPUT, input)?).await
        }
        "RedriveExecution" => {
            redrive_execution::call(api, read(redrive_execution::INPUT, input)?).await
        }
        "SendTaskFailure" => {
            send_task_failure::call(api, read(send_task_failure::INPUT, input)?).await
        }
        "SendTaskHeartbeat" => {
            send_task_heartbeat::call(api, &read(send_task_heartbeat::INPUT, input)?).await
        }
        "SendTaskSuccess" => {
            send_task_success::call(api, read(send_task_success::INPUT, input)?).await
        }
        "StartExecution" => start_execution::call(api, read(start_execution::INPUT, input)?).await,
        "StartSyncExecution" => {
            start_sync_execution::call(api, read(start_sync_execution::INPUT, input)?).await
        }
        "StopExecution" => stop_execution::call(api, read(stop_execution::INPUT, input)?).await,
        "TestState" => test_state::call(api, read(test_state::INPUT, input)?).await,
        "UpdateMapRun" => update_map_run::call(api, &read(update_map_run::INPUT, input)?).await,
        _ => look(api, operation, input),
    }
}

/// Calls an operation that changes nothing.
fn look(api: &Api, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "DescribeActivity" => describe_activity::call(api, &read(describe_activity::INPUT, input)?),
        "DescribeExecution" => {
            describe_execution::call(api, &read(describe_execution::INPUT, input)?)
        }
        "DescribeMapRun" => describe_map_run::call(api, &read(describe_map_run::INPUT, input)?),
        "DescribeStateMachineForExecution" => {
            let input = read(describe_state_machine_for_execution::INPUT, input)?;
            describe_state_machine_for_execution::call(api, &input)
        }
        "GetExecutionHistory" => {
            get_execution_history::call(api, &read(get_execution_history::INPUT, input)?)
        }
        "ListExecutions" => list_executions::call(api, &read(list_executions::INPUT, input)?),
        "ListMapRuns" => list_map_runs::call(api, &read(list_map_runs::INPUT, input)?),
        "DescribeStateMachine" => {
            describe_state_machine::call(api, &read(describe_state_machine::INPUT, input)?)
        }
        "DescribeStateMachineAlias" => {
            let input = read(describe_state_machine_alias::INPUT, input)?;
            describe_state_machine_alias::call(api, &input)
        }
        "ListActivities" => list_activities::call(api, &read(list_activities::INPUT, input)?),
        "ListStateMachineAliases" => {
            list_state_machine_aliases::call(api, &read(list_state_machine_aliases::INPUT, input)?)
        }
        "ListStateMachineVersions" => {
            let input = read(list_state_machine_versions::INPUT, input)?;
            list_state_machine_versions::call(api, &input)
        }
        "ListStateMachines" => {
            list_state_machines::call(api, &read(list_state_machines::INPUT, input)?)
        }
        "ListTagsForResource" => {
            list_tags_for_resource::call(api, &read(list_tags_for_resource::INPUT, input)?)
        }
        "ValidateStateMachineDefinition" => {
            let input = read(validate_state_machine_definition::INPUT, input)?;
            Ok(validate_state_machine_definition::call(&input))
        }
        _ => Err(ApiError::states(
            Fault::UnknownOperation,
            format!("no operation {operation:?} is known here"),
        )),
    }
}

/// An instant as the protocol tells it: seconds since 1970, with milliseconds.
fn seconds(at: Timestamp) -> Value {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of the next 285,000 years are whole numbers in a double"
    )]
    let seconds = at.as_millis() as f64 / 1000.0;
    Number::from_f64(seconds).map_or(Value::Null, Value::Number)
}

/// What an operation answers that has nothing to tell.
fn nothing() -> Value {
    json!({})
}

/// Commits what an operation decided, and waits until it is durable.
async fn commit(
    api: &Api,
    changes: impl IntoIterator<Item = impl Into<Change>>,
) -> Result<(), ApiError> {
    let changes = changes.into_iter().map(Into::into).collect();
    Ok(api.store.commit(changes).await.await?)
}
