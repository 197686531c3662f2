//! What is counted in items, and how fast.

use serde_json::Value;

use super::row;
use crate::cli::{
    eta, jobs,
    show::{count, number, rate},
};

pub(super) fn lines(answer: &Value) -> Vec<String> {
    if answer["run"].is_null() {
        return Vec::new();
    }
    let done = number(answer, "done");
    let of = jobs::of(answer).map_or_else(String::new, |of| format!(" of {of}"));
    let percent = jobs::percent_of(answer, done)
        .map_or_else(String::new, |percent| format!(" ({percent} %)"));
    let mut lines = vec![
        row("done", format!("{}{of}{percent}", count(done))),
        row("failed", count(number(answer, "failed"))),
    ];
    for (key, name) in [
        ("in_flight", "in flight"),
        ("retrying", "retrying"),
        ("waiting", "waiting"),
        ("in_doubt", "in doubt"),
        ("held", "held"),
        ("queued", "put back"),
        ("left_out", "left out"),
        ("redone", "redone"),
    ] {
        let items = number(answer, key);
        if items > 0 {
            lines.push(row(name, count(items)));
        }
    }
    lines.extend(to_go(answer));
    lines.push(row("calls", calls(&answer["calls"])));
    lines
}

fn to_go(answer: &Value) -> Option<String> {
    let to_go = answer["to_go"].as_u64().filter(|to_go| *to_go > 0)?;
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
    Some(row("to go", format!("{}{pace}", count(to_go))))
}

fn calls(calls: &Value) -> String {
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
    parts.join(", ")
}
