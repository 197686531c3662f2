//! `DescribeActivity`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{configurations::told, names, seconds, shapes::ARN};
use crate::api::{Api, ApiError, shape::Member};

pub(super) const INPUT: &[Member] = &[Member::required("activityArn", &ARN)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    activity_arn: String,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let arn = &input.activity_arn;
    let row = names::activity(api, arn)?.ok_or_else(|| names::unknown_activity(arn))?;
    Ok(json!({
        "activityArn": arn,
        "name": row.name,
        "creationDate": seconds(row.created),
        "encryptionConfiguration": told(&row.encryption)?,
    }))
}
