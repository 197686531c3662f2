//! `iterd status [JOB]`: where a job stands, and all of them in a line each.
//!
//! The picture of a job is a list of sections, a file each; a section that has nothing to say says
//! nothing. Each reads the answer of `DescribeJob` alone, so that it can be tested by data.

pub(super) mod check;
mod events;
mod failures;
mod figures;
mod headline;
mod limit;
mod next;
mod notifications;
pub(super) mod overview;
mod surroundings;
#[cfg(test)]
mod tests;
pub(super) mod why;

use std::{io::IsTerminal as _, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access, Client},
    exit::{Code, DONE, Failure, USAGE},
    paint,
    session::{Session, write_out},
};
use crate::time::parse_duration;

/// How often the picture is drawn anew under `--watch`.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(
    after_help = "--check is for monitoring: one line, and exit code 0 all well, 1 needs attention soon,
2 down, paused by failures, stalled, failed or disk full, 3 not to be found out."
)]
pub(super) struct Arguments {
    /// The job's name; without one, every job in a line
    job: Option<String>,
    /// Draw it anew each second, on a terminal
    #[arg(long, conflicts_with = "check")]
    watch: bool,
    /// Answer for monitoring: one line, and exit code 0, 1, 2 or 3
    #[arg(long)]
    check: bool,
    /// With --check: a job is stalled when nothing came for so long although it could
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = parse_duration)]
    warn_stalled: Duration,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    if arguments.check {
        let job = arguments.job.as_deref();
        return check::main(session, job, arguments.warn_stalled);
    }
    if arguments.watch {
        return watch(session, arguments);
    }
    let (operation, input) = question(arguments);
    let answer = client::call(session, operation, input, Access::Read)?;
    session.answer(&answer, |answer| shown(arguments, answer))?;
    Ok(Code(DONE))
}

fn question(arguments: &Arguments) -> (&'static str, Value) {
    match &arguments.job {
        Some(job) => ("DescribeJob", client::of_job(job)),
        None => ("ListJobs", json!({})),
    }
}

fn shown(arguments: &Arguments, answer: &Value) -> String {
    let colours = paint::is_wanted();
    if arguments.job.is_some() {
        picture(answer, colours)
    } else {
        overview::table(answer, paint::width(), colours)
    }
}

/// Draws it anew each second until somebody presses Ctrl-C.
fn watch(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    if session.json || !std::io::stdout().is_terminal() {
        let message =
            "--watch draws on a terminal; elsewhere ask again, or follow iterd log --follow";
        return Err(Failure::new(USAGE, message));
    }
    let mut client = Client::open(session, Access::Read)?;
    loop {
        let (operation, input) = question(arguments);
        let answer = client.call(operation, input)?;
        // Clears the screen and what has scrolled, and begins at its top.
        let text = shown(arguments, &answer);
        write_out(format!("\u{1b}[H\u{1b}[2J{text}\n").as_bytes())?;
        client.rest(REDRAW_EVERY);
    }
}

/// The picture of a job: how it stands, figures, failures, events, and what to do next.
fn picture(answer: &Value, colours: bool) -> String {
    let mut lines = headline::lines(answer, colours);
    lines.push(String::new());
    for section in [
        figures::lines,
        limit::lines,
        surroundings::lines,
        notifications::lines,
        failures::lines,
        events::lines,
    ] {
        lines.extend(section(answer));
    }
    lines.push(String::new());
    lines.extend(next::step(answer));
    lines.join("\n")
}

/// A row of a section: a name, and what there is to say.
fn row(name: &str, value: impl std::fmt::Display) -> String {
    format!("  {name:<9}  {value}")
}

/// A section with a title and a line for each of its entries; nothing where there is none.
fn list(title: &str, rows: &Value, show: impl Fn(&Value) -> String) -> Vec<String> {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("  {title}")];
    lines.extend(
        rows.iter()
            .map(|row| format!("    {}", show(row).trim_end())),
    );
    lines
}
