//! `PublishStateMachineVersion`: what a machine is now becomes its next version. Idempotent: a revision
//! is published once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    commit, names, seconds,
    shapes::{ARN, DESCRIPTION, REVISION_ID},
};
use crate::{
    api::{Api, ApiError, ErrorKind, Fault, shape::Member},
    store::{MachineChange, MachineRow, MachineVersionRow},
};

/// Versions of one machine. Spec: "versions 1,000, aliases 100 per machine".
const VERSIONS_MAX: u32 = 1000;

/// How AWS calls the revision of a machine that was never updated.
const INITIAL: &str = "INITIAL";

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineArn", &ARN),
    Member::optional("revisionId", &REVISION_ID),
    Member::optional("description", &DESCRIPTION),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
    revision_id: Option<String>,
    description: Option<String>,
}

pub(super) async fn call(api: &Api, input: Input) -> Result<Value, ApiError> {
    let _turn = api.engine()?.machine_turn().await;
    let row = names::active_machine(api, &input.state_machine_arn)?;
    let current = row.revision.id.as_deref().unwrap_or(INITIAL);
    if let Some(wanted) = input.revision_id.filter(|wanted| wanted != current) {
        return Err(ApiError::new(
            ErrorKind::Conflict,
            format!(
                "Failed to publish the State Machine version for revision {wanted}. The current State \
                 Machine revision is {current}."
            ),
        ));
    }
    let (version, created) = if let Some(version) = published(api, &row)? {
        (version.version, version.created)
    } else {
        let (version, at) = (next(api, &row)?, api.now());
        let publish = MachineChange::Publish {
            machine: row.id,
            version,
            description: input.description,
            at,
        };
        commit(api, [publish]).await?;
        (version, at)
    };
    Ok(json!({
        "stateMachineVersionArn": api.place().version(&row.name, version),
        "creationDate": seconds(created),
    }))
}

/// The version that the machine's revision of now was published as.
pub(super) fn published(
    api: &Api,
    row: &MachineRow,
) -> Result<Option<MachineVersionRow>, ApiError> {
    let newest = api.store.machine_versions(row.id, u32::MAX, 1)?;
    let mut newest = newest.into_iter();
    Ok(newest
        .next()
        .filter(|version| version.revision == row.revision))
}

/// The number of the next version, where there may be one.
pub(super) fn next(api: &Api, row: &MachineRow) -> Result<u32, ApiError> {
    if api.store.count_machine_versions(row.id)? >= VERSIONS_MAX {
        let message = format!("A state machine may have up to {VERSIONS_MAX} versions.");
        return Err(ApiError::states(Fault::ServiceQuotaExceeded, message));
    }
    Ok(row.version_max.saturating_add(1))
}
