//! `DeleteStateMachine`: idempotent. The machine goes with its versions, aliases and tags once none of
//! its executions runs any more; until then it is told as `DELETING` and takes nothing new.

use serde::Deserialize;
use serde_json::Value;

use super::{commit, names, nothing, shapes::ARN};
use crate::{
    api::{Api, ApiError, ErrorKind, Fault, shape::Member},
    store::MachineChange,
};

pub(super) const INPUT: &[Member] = &[Member::required("stateMachineArn", &ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    match names::plain_machine(api, &input.state_machine_arn) {
        Ok(row) => {
            let changes = [
                MachineChange::Delete { id: row.id },
                MachineChange::FinishDeletes,
            ];
            commit(api, changes).await?;
            Ok(nothing())
        }
        Err(error) if error.kind == ErrorKind::States(Fault::StateMachineDoesNotExist) => {
            Ok(nothing())
        }
        Err(error) => Err(error),
    }
}
