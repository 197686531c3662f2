//! `iterd resume JOB`: go on with a paused job.

use clap::Args;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let input = client::of_job(&arguments.job);
    let answer = client::call(session, "ResumeJob", input, Access::Change)?;
    session.answer(&answer, |answer| {
        client::with_keeper(format!("{} goes on", arguments.job), answer)
    })?;
    Ok(Code(DONE))
}
