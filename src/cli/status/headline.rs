//! The headline of a picture: the job, how it stands, and what it waits for.

use serde_json::Value;

use crate::{
    cli::{
        jobs,
        paint::{Tone, paint},
        progress,
        show::{plain, text},
    },
    payload::gist,
};

/// The headline, and the job's own description.
pub(super) fn lines(answer: &Value, colours: bool) -> Vec<String> {
    let status = status(answer);
    let painted = paint(&status, tone(answer), colours);
    let mut lines = vec![format!("{}  {painted}", text(answer, "job"))];
    let description = answer["description"].as_str();
    lines.extend(description.map(|text| format!("  {}", plain(text))));
    lines
}

fn status(answer: &Value) -> String {
    match (jobs::status(answer), answer["pause_reason"].as_str()) {
        ("interrupted", _) => "interrupted: nobody keeps it running now".to_owned(),
        ("running", _) => match progress::waits_for(answer) {
            Some(what) => format!("running, waits for {what}"),
            None => match answer["limited_by"].as_str() {
                Some(what) => format!("running, limited by {what}"),
                None => "running".to_owned(),
            },
        },
        (status, Some(reason)) => format!("{status}: {}", plain(gist(reason))),
        (status, None) => status.to_owned(),
    }
}

/// How urgent a job's status is; shared with the table of all jobs.
pub(super) fn tone(job: &Value) -> Tone {
    match jobs::status(job) {
        "finished" => Tone::Good,
        "running" if matches!(text(job, "waits_kind"), "disk" | "state") => Tone::Bad,
        "failed" => Tone::Bad,
        "paused" if matches!(text(job, "pause_kind"), "failures" | "source" | "plugin") => {
            Tone::Bad
        }
        "paused" | "interrupted" | "stopped" => Tone::Warning,
        _ => Tone::Plain,
    }
}
