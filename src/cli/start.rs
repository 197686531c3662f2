//! `iterd start JOB`: start a job that the daemon knows.

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    opening,
    session::Session,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    #[command(flatten)]
    opening: opening::Flags,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let job = &arguments.job;
    let mut input = json!({ "job": job });
    arguments.opening.add_to(&mut input);
    let answer = client::call(session, "StartJob", input, Access::Change)?;
    session.answer(&answer, |answer| {
        let text = match answer["outcome"].as_str().unwrap_or_default() {
            "finished" => {
                format!("{job} is finished already; iterd start {job} --again begins a new run")
            }
            "running" => format!("{job} is running already"),
            "resumed" => format!("{job} goes on where it stood"),
            _ => format!("{job} is started; iterd status {job} shows how it fares"),
        };
        client::with_keeper(text, answer)
    })?;
    Ok(Code(DONE))
}
