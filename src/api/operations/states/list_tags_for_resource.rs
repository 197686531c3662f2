//! `ListTagsForResource`: the tags of a machine or an activity, by key.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{names, shapes::ARN};
use crate::api::{Api, ApiError, shape::Member};

pub(super) const INPUT: &[Member] = &[Member::required("resourceArn", &ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_arn: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let owner = names::tagged(api, &input.resource_arn)?;
    let tags = api.store.tags(owner)?;
    let tags: Vec<Value> = tags
        .into_iter()
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect();
    Ok(json!({ "tags": tags }))
}
