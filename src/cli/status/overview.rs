//! Every job in a line: what matters first, readable on a terminal of 80 columns. Below them the triggers, and the
//! topics whose messages are not all delivered.
//!
//! Pure: the answer of `ListJobs` in, lines out. Only the column of the status bends.

use serde_json::Value;

use super::headline::tone;
use crate::{
    cli::{
        eta, jobs,
        paint::{Tone, paint},
        show::{count, instant, number, plain, rate, text},
    },
    payload::gist,
};

/// Between two columns.
const GAP: usize = 2;

/// The status is shown with at least so many characters, however narrow the terminal is.
const STATUS_MIN: usize = 20;

const HEADER: [&str; 6] = ["JOB", "STATUS", "DONE", "FAILED", "RATE", "TO GO"];

/// The table of all jobs in lines of at most `width` characters, if the names let it.
pub(in crate::cli) fn table(answer: &Value, width: usize, colours: bool) -> String {
    let jobs = answer["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    let mut others = executions(answer);
    others.extend(triggers(answer, colours));
    others.extend(topics(answer, colours));
    if jobs.is_empty() && !others.is_empty() {
        return others.join("\n");
    }
    if jobs.is_empty() {
        return "no jobs here yet; run one with: iterd run FILE".to_owned();
    }
    let rows: Vec<[String; 6]> = jobs.iter().map(row).collect();
    let mut widths = HEADER.map(|name| name.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let taken: usize = widths.iter().sum::<usize>() - widths[1] + GAP * (widths.len() - 1);
    widths[1] = widths[1].min(width.saturating_sub(taken).max(STATUS_MIN));
    let mut lines = vec![line(&HEADER.map(str::to_owned), &widths, str::to_owned)];
    for (job, row) in jobs.iter().zip(&rows) {
        lines.push(line(row, &widths, |status| {
            paint(status, tone(job), colours)
        }));
    }
    if !others.is_empty() {
        lines.push(String::new());
    }
    lines.extend(others);
    lines.join("\n")
}

/// How many executions run, where any do.
fn executions(answer: &Value) -> Vec<String> {
    let running = number(answer, "executions");
    let words = match running {
        0 => return Vec::new(),
        1 => "1 execution runs".to_owned(),
        many => format!("{} executions run", count(many)),
    };
    vec![format!(
        "{words}; AWS's clients tell of them: aws stepfunctions list-executions"
    )]
}

/// A line for each trigger: what it starts, and why not.
fn triggers(answer: &Value, colours: bool) -> Vec<String> {
    let triggers = answer["triggers"].as_array().into_iter().flatten();
    let shown = triggers.map(|trigger| {
        let of = |key| plain(text(trigger, key));
        let trouble = trigger["trouble"].as_str().map_or_else(String::new, |why| {
            let why = format!("; for now: {}", plain(gist(why)));
            paint(&why, Tone::Bad, colours)
        });
        format!(
            "trigger {} ({}) starts {}{trouble}",
            of("trigger"),
            of("kind"),
            of("machine")
        )
    });
    shown.collect()
}

/// A line for each topic whose messages are not all delivered.
fn topics(answer: &Value, colours: bool) -> Vec<String> {
    let topics = answer["topics"].as_array().into_iter().flatten();
    let shown = topics.map(|topic| {
        let (name, words) = (plain(text(topic, "topic")), undelivered(topic));
        let tone = topic["error"].as_str().map(|_| Tone::Bad);
        let words = tone.map_or_else(|| words.clone(), |tone| paint(&words, tone, colours));
        format!("topic {name}: {words}")
    });
    shown.collect()
}

/// How many messages of a topic are not delivered, and why.
pub(super) fn undelivered(topic: &Value) -> String {
    let (waiting, given_up) = (number(topic, "waiting"), number(topic, "given_up"));
    let mut parts = Vec::new();
    if waiting > 0 {
        parts.push(format!("{} to deliver", count(waiting)));
    }
    if given_up > 0 {
        parts.push(format!("{} given up", count(given_up)));
    }
    if let Some(error) = topic["error"].as_str() {
        parts.push(format!("the last failure: {}", plain(gist(error))));
    }
    parts.join("; ")
}

fn line(row: &[String; 6], widths: &[usize; 6], status: impl Fn(&str) -> String) -> String {
    let [job, state, figures @ ..] = row;
    let state = cut(state, widths[1]);
    let pad = " ".repeat(widths[1].saturating_sub(state.chars().count()));
    let mut line = format!("{job:<0$}  {1}{pad}", widths[0], status(&state));
    for (cell, width) in figures.iter().zip(&widths[2..]) {
        line = format!("{line}  {cell:>width$}");
    }
    line.trim_end().to_owned()
}

/// The text in at most so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{}..", kept.trim_end())
}

fn row(job: &Value) -> [String; 6] {
    let name = text(job, "job").to_owned();
    if job["run"].is_null() {
        let blank = String::new;
        return [
            name,
            jobs::status(job).to_owned(),
            blank(),
            blank(),
            blank(),
            blank(),
        ];
    }
    let percent = jobs::percent(job).map_or_else(String::new, |percent| format!(" {percent:>3} %"));
    let rate = job["rate_per_s"].as_f64().and_then(rate);
    [
        name,
        status(job),
        format!("{}{percent}", count(number(job, "done"))),
        count(number(job, "failed")),
        rate.unwrap_or_default(),
        eta::short(job).unwrap_or_default(),
    ]
}

/// What matters of a job's status, in few words.
fn status(job: &Value) -> String {
    match (jobs::status(job), job["waits_for"].as_str()) {
        ("running", Some(what)) => {
            let what = match text(job, "waits_kind") {
                "quota" | "spread" => "the quota",
                "retry_share" => "the retries' share",
                "closed" | "limiter_paused" => "the limiter",
                "hours" => "its hours",
                "retry" => "a retry",
                "retries" => "retries",
                "weight" => "a limit",
                _ => what,
            };
            let until = job["waits_until"].as_str().map(short);
            let until = until.map_or_else(String::new, |at| format!(" until {at}"));
            format!("waits for {}{until}", plain(what))
        }
        ("paused", _) => {
            let reason = plain(gist(text(job, "pause_reason")));
            let reason = reason.trim_start_matches("paused ");
            match text(job, "pause_kind") {
                "operator" => format!("paused {reason}"),
                _ => format!("paused: {reason}"),
            }
        }
        (status, _) => status.to_owned(),
    }
}

/// An instant without its year and its seconds.
fn short(at: &str) -> String {
    let shown = instant(at);
    shown.get(5..16).map_or(shown.clone(), str::to_owned)
}
