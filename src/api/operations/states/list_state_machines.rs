//! `ListStateMachines`: by name, without those that are being deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    describe_state_machine::type_name,
    listing::Page,
    seconds,
    shapes::{MAX_RESULTS, NEXT_TOKEN},
};
use crate::api::{Api, ApiError, shape::Member};

pub(super) const INPUT: &[Member] = &[MAX_RESULTS, NEXT_TOKEN];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    max_results: Option<u32>,
    next_token: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let token = input.next_token.as_deref();
    let page = Page::new(api, "ListStateMachines", input.max_results, token)?;
    let rows = api.store.machines(&page.after, page.rows_to_read())?;
    let place = api.place();
    Ok(page.answer(
        "stateMachines",
        &rows,
        |row| {
            json!({
                "stateMachineArn": place.machine(&row.name),
                "name": row.name,
                "type": type_name(row.kind),
                "creationDate": seconds(row.created),
            })
        },
        |row| row.name.clone(),
    ))
}
