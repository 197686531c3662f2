//! `UpdateStateMachineAlias`: another description, another routing, or both.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit,
    describe_state_machine_alias::find,
    names,
    routing::{self, Item},
    seconds,
    shapes::{ARN, DESCRIPTION, ROUTING},
};
use crate::{
    api::{Api, ApiError, shape::Member},
    store::{MachineAliasRow, MachineChange},
};

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineAliasArn", &ARN),
    Member::optional("description", &DESCRIPTION),
    Member::optional("routingConfiguration", &ROUTING),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_alias_arn: String,
    description: Option<String>,
    routing_configuration: Option<Vec<Item>>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    if input.description.is_none() && input.routing_configuration.is_none() {
        return Err(ApiError::validation(
            "Either the description or the routing configuration must be specified",
        )
        .with("reason", "MISSING_REQUIRED_PARAMETER"));
    }
    let _turn = api.engine()?.machine_turn().await;
    let (machine, row) =
        find(api, &input.state_machine_alias_arn)?.ok_or_else(names::unknown_resource)?;
    if machine.deleting {
        return Err(names::deleting(&api.place().machine(&machine.name)));
    }
    let routing = match &input.routing_configuration {
        None => row.routing,
        Some(items) => {
            let (other, routing) = routing::resolve(api, items)?;
            if other.id != machine.id {
                return Err(names::unknown_resource());
            }
            routing
        }
    };
    let updated = api.now();
    let row = MachineAliasRow {
        description: input.description.or(row.description),
        routing,
        updated,
        ..row
    };
    commit(api, [MachineChange::PutAlias(row)]).await?;
    Ok(json!({ "updateDate": seconds(updated) }))
}
