//! `EditItem`: replace the record of an item that is stuck, and try it at once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, item, payload};
use crate::runtime::{DecisionOrder, Deed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    job: String,
    /// An id, or a place as `#17`.
    item: String,
    /// The record from now on: the text of a JSON value.
    payload: String,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let record_bytes_max = api.engine()?.config().items.record_bytes_max;
    if input.payload.len() as u64 > record_bytes_max {
        return Err(ApiError::validation(format!(
            "the record has {} bytes; items.record_bytes_max is {record_bytes_max}",
            input.payload.len()
        )));
    }
    let order = DecisionOrder {
        names: vec![item(&input.item)?],
        deed: Deed::Edit(payload("the record", input.payload)?),
        author: caller.to_owned(),
    };
    let indexes = api.engine()?.decide(&input.job, order).await?;
    Ok(json!({ "job": input.job, "index": indexes.first(), "live": api.is_working() }))
}
