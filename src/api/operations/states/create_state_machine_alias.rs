//! `CreateStateMachineAlias`: idempotent by name, description and routing.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit,
    routing::{self, Item},
    seconds,
    shapes::{ALIAS_NAME, DESCRIPTION, ROUTING},
};
use crate::{
    api::{Api, ApiError, ErrorKind, Fault, shape::Member},
    store::{MachineAliasRow, MachineChange},
};

/// Aliases of one machine. Spec: "versions 1,000, aliases 100 per machine".
const ALIASES_MAX: u32 = 100;

pub(super) const INPUT: &[Member] = &[
    Member::optional("description", &DESCRIPTION),
    Member::required("name", &ALIAS_NAME),
    Member::required("routingConfiguration", &ROUTING),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    description: Option<String>,
    name: String,
    routing_configuration: Vec<Item>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    let (machine, routing) = routing::resolve(api, &input.routing_configuration)?;
    let arn = api.place().alias(&machine.name, &input.name);
    let created = match api.store.machine_alias(machine.id, &input.name)? {
        Some(row) if row.routing == routing && row.description == input.description => row.created,
        Some(_) => {
            return Err(ApiError::new(
                ErrorKind::Conflict,
                "Failed to create alias because an alias with the same name and a different routing \
                 configuration already exists.",
            ));
        }
        None => {
            let store = &api.store;
            let aliases = store.machine_aliases(machine.id, None, "", ALIASES_MAX)?;
            if aliases.len() >= ALIASES_MAX as usize {
                let message = format!("A state machine may have up to {ALIASES_MAX} aliases.");
                return Err(ApiError::states(Fault::ServiceQuotaExceeded, message));
            }
            let now = api.now();
            let row = MachineAliasRow {
                machine: machine.id,
                name: input.name,
                description: input.description,
                routing,
                created: now,
                updated: now,
            };
            commit(api, [MachineChange::PutAlias(row)]).await?;
            now
        }
    };
    Ok(json!({ "stateMachineAliasArn": arn, "creationDate": seconds(created) }))
}
