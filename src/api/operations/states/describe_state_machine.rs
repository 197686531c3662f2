//! `DescribeStateMachine`: a machine as it is now, or as one of its versions was.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    configurations::told,
    names, seconds,
    shapes::{ARN, INCLUDED_DATA},
    variable_references,
};
use crate::{
    api::{Api, ApiError, shape::Member},
    arn::Qualifier,
    runtime::text_of,
    store::{MachineKind, Revision, Store},
};

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineArn", &ARN),
    Member::optional("includedData", &INCLUDED_DATA),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
    included_data: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let arn = &input.state_machine_arn;
    let found = names::machine(api, arn)?;
    let row = found.row;
    let with_data = input.included_data.as_deref() != Some("METADATA_ONLY");
    let (revision, created, description) = match found.named.qualifier {
        None => (row.revision, row.created, None),
        Some(Qualifier::Alias(_)) => return Err(names::unknown_machine(arn)),
        Some(Qualifier::Version(version)) => {
            let version = api.store.machine_version(row.id, version)?;
            let version = version.ok_or_else(|| names::unknown_machine(arn))?;
            (version.revision, version.created, version.description)
        }
    };
    let mut machine = revision_told(&api.store, &revision, with_data)?;
    machine["stateMachineArn"] = arn.as_str().into();
    machine["name"] = row.name.into();
    machine["status"] = if row.deleting { "DELETING" } else { "ACTIVE" }.into();
    machine["type"] = type_name(row.kind).into();
    machine["creationDate"] = seconds(created);
    if let Some(description) = description {
        machine["description"] = description.into();
    }
    if let Some(label) = found.named.part.label {
        machine["label"] = label.into();
    }
    Ok(machine)
}

/// What is told of a revision, wherever one is described; without the definition where only metadata is
/// wanted.
pub(super) fn revision_told(
    store: &Store,
    revision: &Revision,
    with_data: bool,
) -> Result<Value, ApiError> {
    let mut shown = json!({
        "definition": "{}",
        "roleArn": revision.role_arn,
        "loggingConfiguration": told(&revision.logging)?,
        "tracingConfiguration": told(&revision.tracing)?,
        "encryptionConfiguration": told(&revision.encryption)?,
    });
    if let Some(id) = &revision.id {
        shown["revisionId"] = id.as_str().into();
    }
    if with_data {
        let text = text_of(store, revision)?;
        let references = variable_references::of(&text);
        if !references.is_empty() {
            shown["variableReferences"] = references.into_iter().collect();
        }
        shown["definition"] = (*text).into();
    }
    Ok(shown)
}

/// The type as it is told.
pub(super) const fn type_name(kind: MachineKind) -> &'static str {
    match kind {
        MachineKind::Standard => "STANDARD",
        MachineKind::Express => "EXPRESS",
    }
}
