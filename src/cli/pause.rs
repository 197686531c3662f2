//! `iterd pause JOB`: hold a job until it is resumed.

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
    /// Why, for whoever looks later
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    note: String,
    /// Cut off what is in flight; it is done again when the job is resumed
    #[arg(long)]
    now: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let input = json!({
        "job": arguments.job,
        "note": arguments.note,
        "now": arguments.now,
    });
    let answer = client::call(session, "PauseJob", input, Access::Change)?;
    session.answer(&answer, |_| {
        let job = &arguments.job;
        let rest = if arguments.now {
            "nothing is in flight"
        } else {
            "what is in flight finishes"
        };
        format!("{job} is paused: {rest}; go on with: iterd resume {job}")
    })?;
    Ok(Code(DONE))
}
