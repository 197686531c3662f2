//! `iterd edit JOB ITEM`: replace the record of an item that is stuck, and try it at once.

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure, INVALID},
    session::Session,
};

#[derive(Debug, Args)]
#[command(
    after_help = "An item is named by its id, or by its place in the dataset in quotes: '#17'. It has to be retrying, held,
queued or failed. The record that the source gave is kept: iterd items JOB --id ITEM shows it."
)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// Its id or place
    #[arg(value_name = "ITEM")]
    item: String,
    /// The record from now on: JSON, or @FILE with JSON in it
    #[arg(long, value_name = "JSON|@FILE")]
    payload: String,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let payload = match arguments.payload.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::new(INVALID, format!("{path}: {error}")))?,
        None => arguments.payload.clone(),
    };
    let input = json!({
        "job": arguments.job,
        "item": arguments.item,
        "payload": payload,
        "author": client::author(),
    });
    let answer = client::call(session, "EditItem", input, Access::Change)?;
    session.answer(&answer, |answer| {
        let index = answer["index"].as_u64().unwrap_or_default();
        client::with_keeper(
            format!("item #{index} has another record and is tried at once"),
            answer,
        )
    })?;
    Ok(Code(DONE))
}
