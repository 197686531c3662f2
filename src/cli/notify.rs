//! `iterd notify test JOB`: tells a job's `[notify]` command a test, and shows what it said.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    client::{self, Access},
    exit::{Code, DONE, FAILED, Failure},
    session::Session,
    show::{duration, plain, seconds, text},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell a job's command a test event, once, and show what it answers
    Test {
        /// The job's name
        job: String,
    },
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let What::Test { job } = &arguments.what;
    let input = client::of_job(job);
    let answer = client::call(session, "TestNotification", input, Access::Change)?;
    session.answer(&answer, shown)?;
    let told = answer["told"].as_bool() == Some(true);
    Ok(Code(if told { DONE } else { FAILED }))
}

fn shown(answer: &Value) -> String {
    let command = plain(text(answer, "command"));
    let took = seconds(answer, "took_s").map(duration).unwrap_or_default();
    let mut lines = vec![match answer["failure"].as_str() {
        None => format!("{command} was told, in {took}"),
        Some(failure) => format!("{command} was not told, after {took}: {}", plain(failure)),
    }];
    if answer["served"].as_bool() != Some(true) {
        lines.push(
            "it was started by this command, as you; a daemon starts it as its own user".to_owned(),
        );
    }
    lines.push(format!("its input was: {}", answer["event"]));
    let output = text(answer, "output").trim_end();
    if !output.is_empty() {
        lines.push("it said:".to_owned());
        lines.extend(output.lines().map(|line| format!("  {}", plain(line))));
    }
    lines.join("\n")
}
