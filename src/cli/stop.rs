//! `iterd stop JOB`: end a job's run; starting it again goes on from there.

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
    let answer = client::call(session, "StopJob", input, Access::Change)?;
    session.answer(&answer, |_| {
        let job = &arguments.job;
        format!("{job} is stopped; its position and results stay: iterd start {job} goes on")
    })?;
    Ok(Code(DONE))
}
