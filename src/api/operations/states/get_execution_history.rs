//! `GetExecutionHistory`: the events of an execution in order, or backwards.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions,
    listing::Page,
    shapes::{ARN, FLAG, MAX_RESULTS, NEXT_TOKEN},
};
use crate::{
    api::{Api, ApiError, shape::Member},
    machine::event_told,
    runtime::read_history,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("executionArn", &ARN),
    MAX_RESULTS,
    Member::optional("reverseOrder", &FLAG),
    NEXT_TOKEN,
    Member::optional("includeExecutionData", &FLAG),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    execution_arn: String,
    max_results: Option<u32>,
    #[serde(default)]
    reverse_order: Option<bool>,
    next_token: Option<String>,
    include_execution_data: Option<bool>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let row = executions::execution(api, &input.execution_arn)?;
    let backwards = input.reverse_order.unwrap_or(false);
    let query = format!("GetExecutionHistory {} {backwards}", input.execution_arn);
    let page = Page::new(api, &query, input.max_results, input.next_token.as_deref())?;
    let from = match page.after.parse() {
        Ok(from) => from,
        Err(_) if backwards => u64::MAX,
        Err(_) => 1,
    };
    let events_max = page.rows_max() as usize;
    let found = read_history(&api.store, row.id, from, backwards, events_max)?;
    let data = input.include_execution_data.unwrap_or(true);
    let events = found
        .records
        .iter()
        .map(|record| event_told::event(record, data));
    let mut answer = json!({ "events": events.collect::<Vec<Value>>() });
    if let Some(next) = found.next {
        answer["nextToken"] = page.token(&next.to_string()).into();
    }
    Ok(answer)
}
