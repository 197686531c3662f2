//! `iterd status [JOB]`: where a job stands.

use clap::Args;
use serde_json::Value;

use super::{
    client::{self, Access},
    eta,
    exit::{Code, DONE, Failure},
    jobs, progress,
    session::Session,
    show::{count, instant, number, plain, rate, size, text},
    status_days, status_versions,
};
use crate::payload::gist;

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

/// The picture of a job: how it stands, figures, failures, events, and what to do next.
fn picture(answer: &Value) -> String {
    let mut lines = vec![headline(answer)];
    lines.extend(
        answer["description"]
            .as_str()
            .map(|text| format!("  {}", plain(text))),
    );
    lines.push(String::new());
    if !answer["run"].is_null() {
        figures(answer, &mut lines);
    }
    surroundings(answer, &mut lines);
    lines.extend(status_days::lines(answer));
    lines.extend(status_versions::lines(answer));
    list(&mut lines, "failures", &answer["errors"], |group| {
        let items = count(number(group, "items"));
        format!(
            "{items} × {}: {}",
            plain(text(group, "error")),
            plain(gist(text(group, "cause")))
        )
    });
    list(&mut lines, "last events", &answer["events"], |event| {
        format!(
            "{}  {:<8}  {}",
            instant(text(event, "at")),
            text(event, "kind"),
            plain(gist(text(event, "detail")))
        )
    });
    lines.push(String::new());
    lines.extend(next_step(answer));
    lines.join("\n")
}

fn headline(answer: &Value) -> String {
    let job = text(answer, "job");
    let status = match (jobs::status(answer), answer["pause_reason"].as_str()) {
        ("interrupted", _) => "interrupted: nobody keeps it running now".to_owned(),
        ("running", _) => match progress::waits_for(answer) {
            Some(what) => format!("running, waits for {what}"),
            None => "running".to_owned(),
        },
        (status, Some(reason)) => format!("{status}: {}", plain(gist(reason))),
        (status, None) => status.to_owned(),
    };
    format!("{job}  {status}")
}

/// What is counted in items, and how fast.
fn figures(answer: &Value, lines: &mut Vec<String>) {
    let done = number(answer, "done");
    let of = jobs::of(answer).map_or_else(String::new, |of| format!(" of {of}"));
    row(
        lines,
        "done",
        format!("{}{of}{}", count(done), percent(answer)),
    );
    row(lines, "failed", count(number(answer, "failed")));
    for (key, name) in [
        ("in_flight", "in flight"),
        ("retrying", "retrying"),
        ("waiting", "waiting"),
        ("in_doubt", "in doubt"),
        ("held", "held"),
        ("queued", "put back"),
    ] {
        let items = number(answer, key);
        if items > 0 {
            row(lines, name, count(items));
        }
    }
    if let Some(to_go) = answer["to_go"].as_u64().filter(|to_go| *to_go > 0) {
        let running = jobs::status(answer) == "running";
        let eta = eta::long(answer).filter(|_| running);
        let at = answer["rate_per_s"]
            .as_f64()
            .and_then(rate)
            .map(|rate| format!("at {rate}"));
        let pace: Vec<String> = at.into_iter().chain(eta).collect();
        let pace = if pace.is_empty() {
            String::new()
        } else {
            format!(", {}", pace.join(", "))
        };
        row(lines, "to go", format!("{}{pace}", count(to_go)));
    }
    let calls = &answer["calls"];
    let parts: Vec<String> = [
        ("first_tries", "first"),
        ("retries", "retried"),
        ("interrupted", "interrupted"),
        ("throttled", "put off"),
    ]
    .into_iter()
    .filter(|(key, _)| *key == "first_tries" || number(calls, key) > 0)
    .map(|(key, name)| format!("{} {name}", count(number(calls, key))))
    .collect();
    row(lines, "calls", parts.join(", "));
}

fn percent(answer: &Value) -> String {
    let ended = number(answer, "done") + number(answer, "failed");
    let total = answer["total"]
        .as_u64()
        .or(answer["total_estimate"].as_u64());
    match total.filter(|total| *total > 0) {
        Some(total) => format!(" ({} %)", u128::from(ended) * 100 / u128::from(total)),
        None => String::new(),
    }
}

/// What the job works with: limits, plugin, times, files, disk.
fn surroundings(answer: &Value, lines: &mut Vec<String>) {
    if let Some(limit) = limit(answer) {
        row(lines, "limit", limit);
    }
    let version = answer["version"]
        .as_u64()
        .map_or_else(String::new, |version| format!(", version {version}"));
    row(
        lines,
        "plugin",
        format!("{}{version}", plain(text(answer, "plugin"))),
    );
    if let Some(started) = answer["started_at"].as_str() {
        let ended = answer["ended_at"].as_str();
        let ended = ended.map_or_else(String::new, |at| format!(", ended {}", instant(at)));
        row(lines, "started", format!("{}{ended}", instant(started)));
    }
    row(lines, "job file", plain(text(answer, "file")));
    let disk = &answer["disk"];
    if let Some(free) = disk["free_bytes"].as_u64() {
        let min = size(number(disk, "free_bytes_min"));
        let full = if disk["full"].as_bool() == Some(true) {
            format!("; below {min} nothing is dispatched")
        } else {
            String::new()
        };
        row(lines, "disk", format!("{} free{full}", size(free)));
    }
}

/// The limiter as the job's file has it, and what is left of its quota.
fn limit(answer: &Value) -> Option<String> {
    let limit = &answer["limit"];
    let mut parts: Vec<String> = Vec::new();
    parts.extend(
        limit["use"]
            .as_str()
            .map(|name| format!("shared: {}", plain(name))),
    );
    for key in ["pace", "quota"] {
        parts.extend(limit[key].as_str().map(plain));
    }
    if let Some(left) = answer["quota_left"].as_u64() {
        let reset = answer["quota_resets_at"].as_str();
        let reset = reset.map_or_else(String::new, |at| format!(" until {}", instant(at)));
        parts.push(format!("{} calls left{reset}", count(left)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn next_step(answer: &Value) -> Option<String> {
    let job = text(answer, "job");
    let failed = number(answer, "failed") > 0;
    let served = answer["served"].as_bool() == Some(true);
    let mut steps = Vec::new();
    match jobs::status(answer) {
        "running" => {}
        "finished" => steps.push(format!("results: iterd results {job}")),
        "paused" if served => steps.push(format!("go on: iterd resume {job}")),
        _ if served => steps.push(format!("start it: iterd start {job}")),
        _ => steps.push(format!("go on: iterd run {}", plain(text(answer, "file")))),
    }
    if number(answer, "held") > 0 {
        steps.push(format!("decide: iterd items {job} --held"));
    }
    if failed {
        steps.push(format!("failures: iterd items {job}"));
    }
    (!steps.is_empty()).then(|| format!("  {}", steps.join("; ")))
}

fn row(lines: &mut Vec<String>, name: &str, value: impl std::fmt::Display) {
    lines.push(format!("  {name:<9}  {value}"));
}

fn list(lines: &mut Vec<String>, title: &str, rows: &Value, show: impl Fn(&Value) -> String) {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return;
    }
    lines.extend([String::new(), format!("  {title}")]);
    lines.extend(
        rows.iter()
            .map(|row| format!("    {}", show(row).trim_end())),
    );
}
