//! `iterd adopt JOB --from DIR`: take a run over from another state directory.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, FAILED, Failure},
    session::Session,
};

#[derive(Debug, Args)]
#[command(
    after_help = "The run comes with its position, results, failures, retries, events, plugin versions and spent quota, and
goes on at the same record. Nothing is removed from the other directory, where the job does not run any more.
Broken off, it is done by the same command again."
)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// The state directory that the run is in now; nobody may be using it
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Its job file from now on, where that is not the one known
    #[arg(long, value_name = "FILE")]
    job_file: Option<PathBuf>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let job = &arguments.job;
    let file = arguments.job_file.as_deref().map(absolute).transpose()?;
    let input = json!({ "job": job, "from": absolute(&arguments.from)?, "file": file });
    let answer = client::call(session, "AdoptJob", input, Access::Make)?;
    session.answer(&answer, |answer| told(job, answer))?;
    Ok(Code(DONE))
}

fn told(job: &str, answer: &Value) -> String {
    let count = |key: &str| answer[key].as_u64().unwrap_or_default();
    let line = format!(
        "{job} is here now as run {}, {} with {} done and {} failed; it goes on at record {}",
        count("run"),
        answer["status"].as_str().unwrap_or_default(),
        count("done"),
        count("failed"),
        count("next_index"),
    );
    let notes = answer["notes"].as_array().into_iter().flatten();
    let notes = notes.filter_map(Value::as_str).map(str::to_owned);
    let lines: Vec<String> = std::iter::once(client::with_keeper(line, answer))
        .chain(notes)
        .collect();
    lines.join("\n")
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))
}
