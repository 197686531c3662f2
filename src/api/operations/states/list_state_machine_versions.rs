//! `ListStateMachineVersions`: the newest first. A machine that is not there has none.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    listing::Page,
    names, seconds,
    shapes::{ARN, MAX_RESULTS, NEXT_TOKEN},
};
use crate::{
    api::{Api, ApiError, ErrorKind, Fault, shape::Member},
    store::MachineVersionRow,
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
    let query = format!("ListStateMachineVersions {arn}");
    let page = Page::new(api, &query, input.max_results, input.next_token.as_deref())?;
    // Why: a token that is read was ours, and ours end in a number.
    let below = page.after.parse().unwrap_or(u32::MAX);
    let rows = match names::plain_machine(api, arn) {
        Ok(row) => api
            .store
            .machine_versions(row.id, below, page.rows_to_read())?,
        // Spec: the model has no error for it.
        Err(error) if error.kind == ErrorKind::States(Fault::StateMachineDoesNotExist) => {
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let show = |row: &MachineVersionRow| {
        json!({
            "stateMachineVersionArn": format!("{arn}:{}", row.version),
            "creationDate": seconds(row.created),
        })
    };
    let position = |row: &MachineVersionRow| row.version.to_string();
    Ok(page.answer("stateMachineVersions", &rows, show, position))
}
