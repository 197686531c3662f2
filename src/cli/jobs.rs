//! `iterd jobs`: every job in a line; and what every picture of a job has in common.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    paint,
    session::Session,
    show::{count, number, text},
    status::overview,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn main(session: &Session, _: &Arguments) -> Result<Code, Failure> {
    let answer = client::call(session, "ListJobs", json!({}), Access::Read)?;
    session.answer(&answer, |answer| {
        overview::table(answer, paint::width(), paint::is_wanted())
    })?;
    Ok(Code(DONE))
}

/// The status in a word; a run that nobody keeps going is interrupted.
pub(super) fn status(job: &Value) -> &str {
    match text(job, "status") {
        "running" if job["live"].as_bool() == Some(false) => "interrupted",
        "aborted" => "stopped",
        "succeeded" => "finished",
        status => status,
    }
}

/// How many records there are: counted, or about so many while the end was not seen.
pub(super) fn of(job: &Value) -> Option<String> {
    match (job["total"].as_u64(), job["total_estimate"].as_u64()) {
        (Some(total), _) => Some(count(total)),
        (None, Some(about)) => Some(format!("~{}", count(about))),
        (None, None) => None,
    }
}

/// How much of it has ended, in whole percent, where the number of records is known or estimated.
pub(super) fn percent(job: &Value) -> Option<u128> {
    percent_of(job, number(job, "done") + number(job, "failed"))
}

/// How much of the job so many records are, in percent.
pub(super) fn percent_of(job: &Value, records: u64) -> Option<u128> {
    let total = job["total"].as_u64().or(job["total_estimate"].as_u64());
    let total = total.filter(|total| *total > 0)?;
    Some(u128::from(records) * 100 / u128::from(total))
}
