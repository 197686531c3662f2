//! `iterd show [JOB]`: every setting in force, or everything in force for a job, and who says so.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
    show::{plain, text},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name; without one, the settings
    job: Option<String>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    if let Some(job) = &arguments.job {
        let input = client::of_job(job);
        let answer = client::call(session, "DescribeJobSettings", input, Access::Read)?;
        session.answer(&answer, of_job)?;
        return Ok(Code(DONE));
    }
    let settings = session.settings(&[])?;
    let rows: Vec<Value> = settings
        .rows()
        .into_iter()
        .map(|row| json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() }))
        .collect();
    let answer = json!({
        "settings": rows,
        "state_dir": session.state_dir(&settings)?.display().to_string(),
    });
    session.answer(&answer, lines)?;
    Ok(Code(DONE))
}

/// As a file would say it, with the origin behind it where it is not the default.
fn lines(answer: &Value) -> String {
    let mut lines = rows(answer);
    lines.push(format!(
        "# state lies in {}",
        answer["state_dir"].as_str().unwrap_or_default()
    ));
    lines.join("\n")
}

/// The same of a job; a place in its file is told by line and column alone.
fn of_job(answer: &Value) -> String {
    let file = text(answer, "file");
    let mut lines = rows(answer);
    for line in &mut lines {
        *line = line.replace(&format!("# {file}:"), "# line ");
    }
    lines.push(format!("# job file {}", plain(file)));
    lines.join("\n")
}

fn rows(answer: &Value) -> Vec<String> {
    let rows = answer["settings"].as_array().map_or(&[][..], Vec::as_slice);
    rows.iter()
        .filter(|row| !text(row, "value").is_empty())
        .map(|row| {
            let line = format!("{} = {}", text(row, "key"), plain(text(row, "value")));
            match text(row, "origin") {
                "default" => line,
                origin => format!("{line:<40}  # {origin}"),
            }
        })
        .collect()
}
