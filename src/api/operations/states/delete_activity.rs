//! `DeleteActivity`: idempotent.

use serde::Deserialize;
use serde_json::Value;

use super::{commit, names, nothing, shapes::ARN};
use crate::{
    api::{Api, ApiError, shape::Member},
    store::MachineChange,
};

pub(super) const INPUT: &[Member] = &[Member::required("activityArn", &ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    activity_arn: String,
}

pub(super) async fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    if let Some(row) = names::activity(api, &input.activity_arn)? {
        commit(api, [MachineChange::RemoveActivity { id: row.id }]).await?;
    }
    Ok(nothing())
}
