//! `iterd skip JOB ITEM..`: end items as failed without another try.

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
};

#[derive(Debug, Args)]
#[command(
    after_help = "An item is named by its id, or by its place in the dataset in quotes: '#17'. It may back off, wait, be held,
queued, in flight or not dispatched yet. It ends as failed with the error Skipped;
iterd retry JOB --error Skipped puts it back."
)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// Ids or places
    #[arg(required = true, value_name = "ITEM")]
    items: Vec<String>,
    /// Why, for whoever looks later
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    because: String,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let input = json!({
        "job": arguments.job,
        "items": arguments.items,
        "because": arguments.because,
        "author": client::author(),
    });
    let answer = client::call(session, "SkipItems", input, Access::Change)?;
    session.answer(&answer, |answer| {
        let job = &arguments.job;
        let what = match answer["items"].as_u64() {
            Some(1) => "1 item is skipped; put it".to_owned(),
            items => format!("{} items are skipped; put them", items.unwrap_or(0)),
        };
        format!("{what} back with: iterd retry {job} --error Skipped")
    })?;
    Ok(Code(DONE))
}
