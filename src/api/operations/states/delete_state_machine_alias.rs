//! `DeleteStateMachineAlias`: idempotent; executions that it started go on.

use serde::Deserialize;
use serde_json::Value;

use super::{commit, describe_state_machine_alias::find, nothing, shapes::ARN};
use crate::{
    api::{Api, ApiError, shape::Member},
    store::MachineChange,
};

pub(super) const INPUT: &[Member] = &[Member::required("stateMachineAliasArn", &ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_alias_arn: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    if let Some((machine, row)) = find(api, &input.state_machine_alias_arn)? {
        let (machine, name) = (machine.id, row.name);
        commit(api, [MachineChange::RemoveAlias { machine, name }]).await?;
    }
    Ok(nothing())
}
