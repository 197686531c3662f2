//! `iterd retry JOB`: do failed items again.

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// All that failed (the default where neither error nor index is given)
    #[arg(long, conflicts_with = "index")]
    failed: bool,
    /// Only those that failed with this error
    #[arg(long, value_name = "NAME")]
    error: Option<String>,
    /// Only the item at this place of the dataset
    #[arg(long, value_name = "N", conflicts_with = "error")]
    index: Option<u64>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let job = &arguments.job;
    let input = json!({ "job": job, "error": arguments.error, "index": arguments.index });
    let answer = client::call(session, "RetryItems", input, Access::Change)?;
    session.answer(&answer, |answer| match answer["items"].as_u64() {
        None | Some(0) => format!("{job} has no such failed item"),
        Some(1) => client::with_keeper("1 failed item is put back".to_owned(), answer),
        Some(items) => client::with_keeper(format!("{items} failed items are put back"), answer),
    })?;
    Ok(Code(DONE))
}
