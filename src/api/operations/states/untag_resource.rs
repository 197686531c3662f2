//! `UntagResource`: removes tags; those that are not there do no harm.

use serde::Deserialize;
use serde_json::Value;

use super::{
    commit, names, nothing,
    shapes::{ARN, TAG_KEYS},
};
use crate::{
    api::{Api, ApiError, shape::Member},
    store::MachineChange,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("resourceArn", &ARN),
    Member::required("tagKeys", &TAG_KEYS),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    let owner = names::tagged(api, &input.resource_arn)?;
    let keys = input.tag_keys;
    commit(api, [MachineChange::RemoveTags { owner, keys }]).await?;
    Ok(nothing())
}
