//! `TagResource`: adds tags to a machine or an activity, or gives them other values.

use serde::Deserialize;
use serde_json::Value;

use super::{
    commit, names, nothing,
    shapes::{ARN, TAGS},
    tags::{self, Tag},
};
use crate::{
    api::{Api, ApiError, shape::Member},
    store::MachineChange,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("resourceArn", &ARN),
    Member::required("tags", &TAGS),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_arn: String,
    tags: Vec<Tag>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    let owner = names::tagged(api, &input.resource_arn)?;
    let tags = tags::pairs(input.tags);
    tags::check(&input.resource_arn, &api.store.tags(owner)?, &tags)?;
    commit(api, [MachineChange::PutTags { owner, tags }]).await?;
    Ok(nothing())
}
