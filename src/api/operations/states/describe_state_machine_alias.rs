//! `DescribeStateMachineAlias`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{names, routing, seconds, shapes::ARN};
use crate::{
    api::{Api, ApiError, shape::Member},
    arn::{Arn, Qualifier},
    runtime::RuntimeError,
    store::{MachineAliasRow, MachineRow},
};

pub(super) const INPUT: &[Member] = &[Member::required("stateMachineAliasArn", &ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_alias_arn: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let arn = &input.state_machine_alias_arn;
    let (machine, row) = find(api, arn)?.ok_or_else(names::unknown_resource)?;
    let mut told = json!({
        "stateMachineAliasArn": arn,
        "name": row.name,
        "routingConfiguration": routing::told(&api.place(), &machine.name, row.routing),
        "creationDate": seconds(row.created),
        "updateDate": seconds(row.updated),
    });
    if let Some(description) = row.description {
        told["description"] = description.into();
    }
    Ok(told)
}

/// The alias that a name speaks of, with its machine; `None` where there is none.
pub(super) fn find(
    api: &Api,
    arn: &str,
) -> Result<Option<(MachineRow, MachineAliasRow)>, ApiError> {
    let (name, qualifier) = names::qualified(arn)?;
    let Qualifier::Alias(alias) = qualifier else {
        return Err(names::wrong_kind(arn, "stateMachine"));
    };
    let parsed: Arn = arn.parse().map_err(RuntimeError::from)?;
    if parsed.place != api.place() {
        return Ok(None);
    }
    let Some(machine) = api.store.machine(&name)? else {
        return Ok(None);
    };
    let row = api.store.machine_alias(machine.id, &alias)?;
    Ok(row.map(|row| (machine, row)))
}
