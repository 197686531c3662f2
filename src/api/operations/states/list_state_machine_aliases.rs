//! `ListStateMachineAliases`: by name; those that lead to a version, where its name is given.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    listing::Page,
    names, seconds,
    shapes::{ARN, MAX_RESULTS, NEXT_TOKEN},
};
use crate::{
    api::{Api, ApiError, shape::Member},
    arn::Qualifier,
    store::MachineAliasRow,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("stateMachineArn", &ARN),
    MAX_RESULTS,
    NEXT_TOKEN,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    state_machine_arn: String,
    max_results: Option<u32>,
    next_token: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let arn = &input.state_machine_arn;
    let query = format!("ListStateMachineAliases {arn}");
    let page = Page::new(api, &query, input.max_results, input.next_token.as_deref())?;
    let found = names::machine(api, arn)?;
    let version = match found.named.qualifier {
        None => None,
        Some(Qualifier::Version(version)) => Some(version),
        Some(Qualifier::Alias(_)) => return Err(names::unknown_machine(arn)),
    };
    if let Some(version) = version
        && api.store.machine_version(found.row.id, version)?.is_none()
    {
        return Err(names::unknown_resource());
    }
    let after = page.after.as_str();
    let rows = api
        .store
        .machine_aliases(found.row.id, version, after, page.rows_to_read())?;
    let (place, machine) = (api.place(), &found.row.name);
    let show = |row: &MachineAliasRow| {
        json!({
            "stateMachineAliasArn": place.alias(machine, &row.name),
            "creationDate": seconds(row.created),
        })
    };
    let position = |row: &MachineAliasRow| row.name.clone();
    Ok(page.answer("stateMachineAliases", &rows, show, position))
}
