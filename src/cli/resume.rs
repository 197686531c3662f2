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
    /// Where the source is not what it was: go on with what is there now, from where the run stands
    #[arg(long)]
    accept_source: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let mut input = client::of_job(&arguments.job);
    if arguments.accept_source {
        input["accept_source"] = true.into();
    }
    let answer = client::call(session, "ResumeJob", input, Access::Change)?;
    session.answer(&answer, |answer| {
        client::with_keeper(format!("{} goes on", arguments.job), answer)
    })?;
    Ok(Code(DONE))
}
