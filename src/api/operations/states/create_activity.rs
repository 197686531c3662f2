//! `CreateActivity`: idempotent by name.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit,
    configurations::{Encryption, stored},
    names::check_name,
    seconds,
    shapes::{ENCRYPTION, NAME, TAGS},
    tags::{self, Tag},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    store::{ActivityRow, MachineChange, TagOwner},
};

/// Activities of an account. Spec: "100,000 state machines/activities".
const ACTIVITIES_MAX: u32 = 100_000;

pub(super) const INPUT: &[Member] = &[
    Member::required("name", &NAME),
    Member::optional("tags", &TAGS),
    Member::optional("encryptionConfiguration", &ENCRYPTION),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    name: String,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
    encryption_configuration: Option<Encryption>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    check_name(&input.name)?;
    let encryption = stored(
        &input
            .encryption_configuration
            .unwrap_or_default()
            .checked()?,
    )?;
    let arn = api.place().activity(&input.name);
    let tags = tags::pairs(input.tags.unwrap_or_default());
    tags::check(&arn, &[], &tags)?;
    let _turn = api.engine()?.machine_turn().await;
    let created = match api.store.activity(&input.name)? {
        Some(row) if row.encryption == encryption => row.created,
        Some(_) => {
            let message = format!("Activity Already Exists: '{arn}'");
            return Err(ApiError::states(Fault::ActivityAlreadyExists, message));
        }
        None => {
            if api.store.count_activities()? >= ACTIVITIES_MAX {
                let message = format!("Maximum number of activities reached: {ACTIVITIES_MAX}");
                return Err(ApiError::states(Fault::ActivityLimitExceeded, message));
            }
            let row = ActivityRow {
                id: api.store.next_activity_id(),
                name: input.name,
                encryption,
                created: api.now(),
            };
            let (owner, created) = (TagOwner::Activity(row.id), row.created);
            let changes = [
                MachineChange::NewActivity(row),
                MachineChange::PutTags { owner, tags },
            ];
            commit(api, changes).await?;
            created
        }
    };
    Ok(json!({ "activityArn": arn, "creationDate": seconds(created) }))
}
