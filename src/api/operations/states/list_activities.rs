//! `ListActivities`: by name.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
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
    let page = Page::new(api, "ListActivities", input.max_results, token)?;
    let rows = api.store.activities(&page.after, page.rows_to_read())?;
    let place = api.place();
    Ok(page.answer(
        "activities",
        &rows,
        |row| {
            json!({
                "activityArn": place.activity(&row.name),
                "name": row.name,
                "creationDate": seconds(row.created),
            })
        },
        |row| row.name.clone(),
    ))
}
