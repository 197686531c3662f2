//! `CreateStateMachine`: idempotent by name, definition, type and configurations, whatever the role and
//! the tags say.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit,
    configurations::{Encryption, Logging, Tracing, stored},
    definition,
    names::{check_name, check_role, deleting},
    publish_state_machine_version::published,
    seconds,
    shapes::{
        ARN, DEFINITION, DESCRIPTION, ENCRYPTION, FLAG, LOGGING, MACHINE_TYPE, NAME, TAGS, TRACING,
    },
    tags::{self, Tag},
};
use crate::{
    api::{Api, ApiError, Fault, shape::Member},
    runtime::text_of,
    store::{MachineChange, MachineKind, MachineRow, NewRevision, TagOwner},
    time::Timestamp,
};

/// Machines of an account. Spec: "100,000 state machines/activities".
const MACHINES_MAX: u32 = 100_000;

pub(super) const INPUT: &[Member] = &[
    Member::required("name", &NAME),
    Member::required("definition", &DEFINITION),
    Member::required("roleArn", &ARN),
    Member::optional("type", &MACHINE_TYPE),
    Member::optional("loggingConfiguration", &LOGGING),
    Member::optional("tags", &TAGS),
    Member::optional("tracingConfiguration", &TRACING),
    Member::optional("publish", &FLAG),
    Member::optional("versionDescription", &DESCRIPTION),
    Member::optional("encryptionConfiguration", &ENCRYPTION),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    name: String,
    definition: String,
    role_arn: String,
    r#type: Option<String>,
    logging_configuration: Option<Logging>,
    tags: Option<Vec<Tag>>,
    tracing_configuration: Option<Tracing>,
    publish: Option<bool>,
    version_description: Option<String>,
    encryption_configuration: Option<Encryption>,
}

/// What is to be made.
struct New {
    name: String,
    kind: MachineKind,
    revision: NewRevision,
    tags: Vec<(String, String)>,
    publish: bool,
    description: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let new = check(input)?;
    let arn = api.place().machine(&new.name);
    tags::check(&arn, &[], &new.tags)?;
    let _turn = api.engine()?.machine_turn().await;
    let (created, version) = match settled(api, &new.name).await? {
        Some(row) if row.deleting => return Err(deleting(&arn)),
        Some(row) => (row.created, same(api, &row, &new, &arn)?),
        None => make(api, new).await?,
    };
    let mut told = json!({ "stateMachineArn": arn, "creationDate": seconds(created) });
    if let Some(version) = version {
        told["stateMachineVersionArn"] = format!("{arn}:{version}").into();
    }
    Ok(told)
}

/// The machine of that name, if there still is one: one that was to go is gone as soon as nothing of it
/// runs any more.
async fn settled(api: &Api, name: &str) -> Result<Option<MachineRow>, ApiError> {
    let row = api.store.machine(name)?;
    if !row.as_ref().is_some_and(|row| row.deleting) {
        return Ok(row);
    }
    commit(api, [MachineChange::FinishDeletes]).await?;
    Ok(api.store.machine(name)?)
}

fn check(input: Input) -> Result<New, ApiError> {
    check_name(&input.name)?;
    check_role(&input.role_arn)?;
    let publish = input.publish.unwrap_or(false);
    check_description(publish, input.version_description.as_deref())?;
    let kind = match input.r#type.as_deref() {
        Some("EXPRESS") => MachineKind::Express,
        Some(_) | None => MachineKind::Standard,
    };
    let logging = input.logging_configuration.unwrap_or_default();
    logging.check()?;
    let encryption = input
        .encryption_configuration
        .unwrap_or_default()
        .checked()?;
    definition::check(&input.definition, kind)?;
    Ok(New {
        name: input.name,
        kind,
        revision: NewRevision {
            definition: input.definition,
            role_arn: input.role_arn,
            id: None,
            logging: stored(&logging)?,
            tracing: stored(&input.tracing_configuration.unwrap_or_default())?,
            encryption: stored(&encryption)?,
        },
        tags: tags::pairs(input.tags.unwrap_or_default()),
        publish,
        description: input.version_description,
    })
}

/// A version is described where one is published.
pub(super) fn check_description(publish: bool, description: Option<&str>) -> Result<(), ApiError> {
    if !publish && description.is_some_and(|description| !description.is_empty()) {
        return Err(ApiError::validation(
            "Version description can only be set when publish is true",
        ));
    }
    Ok(())
}

/// Whether a machine is what is to be made; answers the version that was published with it.
fn same(api: &Api, row: &MachineRow, new: &New, arn: &str) -> Result<Option<u32>, ApiError> {
    let (old, revision) = (&row.revision, &new.revision);
    let same = row.kind == new.kind
        && *text_of(&api.store, old)? == revision.definition
        && old.logging == revision.logging
        && old.tracing == revision.tracing
        && old.encryption == revision.encryption;
    let version = if new.publish {
        published(api, row)?.filter(|version| version.description == new.description)
    } else {
        None
    };
    if !same || (new.publish && version.is_none()) {
        let message = format!("State Machine Already Exists: '{arn}'");
        return Err(ApiError::states(Fault::StateMachineAlreadyExists, message));
    }
    Ok(version.map(|version| version.version))
}

/// Makes it; answers when, and the version that was published with it.
async fn make(api: &Api, new: New) -> Result<(Timestamp, Option<u32>), ApiError> {
    const FIRST: u32 = 1;
    if api.store.count_machines()? >= MACHINES_MAX {
        let message = format!("Maximum number of state machines reached: {MACHINES_MAX}");
        return Err(ApiError::states(Fault::StateMachineLimitExceeded, message));
    }
    let (id, at) = (api.store.next_machine_id(), api.now());
    let mut changes = vec![
        MachineChange::New {
            id,
            name: new.name,
            kind: new.kind,
            revision: Box::new(new.revision),
            at,
        },
        MachineChange::PutTags {
            owner: TagOwner::Machine(id),
            tags: new.tags,
        },
    ];
    if new.publish {
        changes.push(MachineChange::Publish {
            machine: id,
            version: FIRST,
            description: new.description,
            at,
        });
    }
    commit(api, changes).await?;
    Ok((at, new.publish.then_some(FIRST)))
}
