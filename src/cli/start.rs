//! `iterd start JOB`: start a job that the daemon knows.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    dry_run::DryRun,
    exit::{Code, DONE, Failure},
    opening,
    session::Session,
    show::text,
};
use crate::config::{
    Settings,
    job::{JobFile, JobFolder},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    #[command(flatten)]
    opening: opening::Flags,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let job = &arguments.job;
    if arguments.dry.dry_run {
        let settings = session.settings(&[])?;
        let file = file_of(session, job, &settings)?;
        return arguments.dry.main(session, &file, &settings);
    }
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

/// The file of a job: the daemon's folder has it, or the state knows where it lies.
fn file_of(session: &Session, job: &str, settings: &Settings) -> Result<JobFile, Failure> {
    let mut folder = JobFolder::read(&settings.config.jobs_dir)?;
    if let Some(file) = folder.jobs.remove(job) {
        return Ok(file);
    }
    let picture = client::call(session, "DescribeJob", client::of_job(job), Access::Read)?;
    Ok(JobFile::read(Path::new(text(&picture, "file")))?)
}
