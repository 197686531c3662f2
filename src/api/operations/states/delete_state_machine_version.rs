//! `DeleteStateMachineVersion`: idempotent; not while an alias leads to it. Its number is never given
//! again.

use serde::Deserialize;
use serde_json::Value;

use super::{commit, names, nothing, shapes::LONG_ARN};
use crate::{
    api::{Api, ApiError, ErrorKind, Fault, shape::Member},
    arn::Qualifier,
    store::MachineChange,
};

/// Aliases that an answer names; a machine has a hundred at most.
const ALIASES_TOLD_MAX: u32 = 100;

pub(super) const INPUT: &[Member] = &[Member::required("stateMachineVersionArn", &LONG_ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_version_arn: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let arn = &input.state_machine_version_arn;
    let (_, Qualifier::Version(version)) = names::qualified(arn)? else {
        return Err(names::wrong_kind(arn, "stateMachine"));
    };
    let _turn = api.engine()?.machine_turn().await;
    let machine = match names::machine(api, arn) {
        Ok(found) => found.row.id,
        Err(error) if error.kind == ErrorKind::States(Fault::StateMachineDoesNotExist) => {
            return Ok(nothing());
        }
        Err(error) => return Err(error),
    };
    let store = &api.store;
    let aliases = store.machine_aliases(machine, Some(version), "", ALIASES_TOLD_MAX)?;
    if !aliases.is_empty() {
        let names: Vec<&str> = aliases.iter().map(|row| row.name.as_str()).collect();
        return Err(ApiError::new(
            ErrorKind::Conflict,
            format!(
                "Version to be deleted must not be referenced by an alias. Current list of aliases \
                 referencing this version: [{}]",
                names.join(", ")
            ),
        ));
    }
    commit(api, [MachineChange::RemoveVersion { machine, version }]).await?;
    Ok(nothing())
}
