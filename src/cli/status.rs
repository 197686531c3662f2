//! `iterd status [JOB]`: where a job stands.

use clap::Args;
use serde_json::Value;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    jobs, progress,
    session::Session,
    show::{count, number, text},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name; without one, every job in a line
    job: Option<String>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let Some(job) = &arguments.job else {
        return jobs::main(session, &jobs::Arguments {});
    };
    let answer = client::call(session, "DescribeJob", client::of_job(job), Access::Read)?;
    session.answer(&answer, picture)?;
    Ok(Code(DONE))
}

fn picture(answer: &Value) -> String {
    let mut lines = Vec::new();
    let status = text(answer, "status");
    let live = if answer["live"].as_bool() == Some(false) && status == "running" {
        " (nobody runs it now)"
    } else {
        ""
    };
    let pause = text(answer, "pause_reason");
    let why = if pause.is_empty() {
        String::new()
    } else {
        format!(": {pause}")
    };
    lines.push(format!("{}  {status}{live}{why}", text(answer, "job")));
    if answer["run"].is_null() {
        lines.push(format!(
            "  start it with: iterd start {}",
            text(answer, "job")
        ));
        return lines.join("\n");
    }
    lines.push(format!("  {}", progress::line(answer)));
    let calls = &answer["calls"];
    lines.push(format!(
        "  calls: {} first tries, {} retries, {} interrupted, {} put off",
        count(number(calls, "first_tries")),
        count(number(calls, "retries")),
        count(number(calls, "interrupted")),
        count(number(calls, "throttled")),
    ));
    let ended = text(answer, "ended_at");
    let ended = if ended.is_empty() {
        String::new()
    } else {
        format!(", ended {ended}")
    };
    lines.push(format!("  started {}{ended}", text(answer, "started_at")));
    list(&mut lines, "failures", &answer["errors"], |group| {
        let items = count(number(group, "items"));
        format!(
            "{items} × {}: {}",
            text(group, "error"),
            first_line(text(group, "cause"))
        )
    });
    list(&mut lines, "last events", &answer["events"], |event| {
        format!(
            "{}  {}  {}",
            text(event, "at"),
            text(event, "kind"),
            text(event, "detail")
        )
    });
    lines.join("\n")
}

fn list(lines: &mut Vec<String>, title: &str, rows: &Value, show: impl Fn(&Value) -> String) {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return;
    }
    lines.push(format!("  {title}:"));
    lines.extend(
        rows.iter()
            .map(|row| format!("    {}", show(row).trim_end())),
    );
}

/// A cause may be a whole traceback; its last line tells the most, and a line is what fits.
fn first_line(cause: &str) -> &str {
    cause.lines().next().unwrap_or("")
}
