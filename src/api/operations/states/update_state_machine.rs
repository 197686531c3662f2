//! `UpdateStateMachine`: another definition, role or configuration makes another revision; what changes
//! nothing makes none. Executions that run go on with what they were started from.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit,
    configurations::{Encryption, Logging, Tracing, stored},
    create_state_machine::check_description,
    definition,
    names::{active_machine, check_role},
    publish_state_machine_version::{next, published},
    seconds,
    shapes::{ARN, DEFINITION, DESCRIPTION, ENCRYPTION, FLAG, LOGGING, TRACING},
};
use crate::{
    api::{Api, ApiError, Fault, operations::fresh_uuid, shape::Member},
    runtime::text_of,
    store::{MachineChange, MachineRow, NewRevision},
};

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineArn", &ARN),
    Member::optional("definition", &DEFINITION),
    Member::optional("roleArn", &ARN),
    Member::optional("loggingConfiguration", &LOGGING),
    Member::optional("tracingConfiguration", &TRACING),
    Member::optional("publish", &FLAG),
    Member::optional("versionDescription", &DESCRIPTION),
    Member::optional("encryptionConfiguration", &ENCRYPTION),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
    definition: Option<String>,
    role_arn: Option<String>,
    logging_configuration: Option<Logging>,
    tracing_configuration: Option<Tracing>,
    publish: Option<bool>,
    version_description: Option<String>,
    encryption_configuration: Option<Encryption>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let publish = input.publish.unwrap_or(false);
    check_description(publish, input.version_description.as_deref())?;
    let changes_something = input.definition.is_some()
        || input.role_arn.is_some()
        || input.logging_configuration.is_some()
        || input.tracing_configuration.is_some()
        || input.encryption_configuration.is_some();
    if !changes_something {
        return Err(ApiError::states(
            Fault::MissingRequiredParameter,
            "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration \
             must be specified",
        ));
    }
    let _turn = api.engine()?.machine_turn().await;
    let row = active_machine(api, &input.state_machine_arn)?;
    let (description, new) = (
        input.version_description.clone(),
        revision(api, &row, input)?,
    );
    let mut changes = Vec::new();
    let (revision_id, updated) = match new {
        None => (row.revision.id.clone(), row.updated),
        Some(new) => {
            let (id, at) = (new.id.clone(), api.now());
            changes.push(MachineChange::Update {
                id: row.id,
                revision: Box::new(new),
                at,
            });
            (id, at)
        }
    };
    let mut told = json!({ "updateDate": seconds(updated) });
    if let Some(id) = revision_id {
        told["revisionId"] = id.into();
    }
    if publish {
        let version = publish_as(api, &row, description, &mut changes)?;
        told["stateMachineVersionArn"] = api.place().version(&row.name, version).into();
    }
    if !changes.is_empty() {
        commit(api, changes).await?;
    }
    Ok(told)
}

/// The version that the machine is published as, behind these changes: the one that it is already, or
/// the next.
fn publish_as(
    api: &Api,
    row: &MachineRow,
    description: Option<String>,
    changes: &mut Vec<MachineChange>,
) -> Result<u32, ApiError> {
    if changes.is_empty()
        && let Some(version) = published(api, row)?
    {
        return Ok(version.version);
    }
    let version = next(api, row)?;
    changes.push(MachineChange::Publish {
        machine: row.id,
        version,
        description,
        at: api.now(),
    });
    Ok(version)
}

/// What the machine is to be; `None` where that is what it is.
fn revision(api: &Api, row: &MachineRow, input: Input) -> Result<Option<NewRevision>, ApiError> {
    let old = &row.revision;
    if let Some(role) = &input.role_arn {
        check_role(role)?;
    }
    let logging = match input.logging_configuration {
        None => old.logging.clone(),
        Some(logging) => {
            logging.check()?;
            stored(&logging)?
        }
    };
    let tracing = match input.tracing_configuration {
        None => old.tracing.clone(),
        Some(tracing) => stored(&tracing)?,
    };
    let encryption = match input.encryption_configuration {
        None => old.encryption.clone(),
        Some(encryption) => stored(&encryption.checked()?)?,
    };
    if let Some(definition) = &input.definition {
        definition::check(definition, row.kind)?;
    }
    let text = text_of(&api.store, old)?;
    let new = NewRevision {
        definition: input.definition.unwrap_or_else(|| text.to_string()),
        role_arn: input.role_arn.unwrap_or_else(|| old.role_arn.clone()),
        id: Some(fresh_uuid()),
        logging,
        tracing,
        encryption,
    };
    let same = *new.definition == *text
        && new.role_arn == old.role_arn
        && new.logging == old.logging
        && new.tracing == old.tracing
        && new.encryption == old.encryption;
    Ok((!same).then_some(new))
}
