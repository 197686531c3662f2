//! What to do next: the commands that follow from how a job stands.

use serde_json::Value;

use crate::cli::{
    jobs,
    show::{number, plain, text},
};

/// The line with the next commands; `None` where nothing is to be done.
pub(super) fn step(answer: &Value) -> Option<String> {
    let steps = steps(answer);
    (!steps.is_empty()).then(|| format!("  {}", steps.join("; ")))
}

/// Each with what it is for.
pub(super) fn steps(answer: &Value) -> Vec<String> {
    let job = text(answer, "job");
    let served = answer["served"].as_bool() == Some(true);
    let mut steps = Vec::new();
    match jobs::status(answer) {
        "running" => {}
        "finished" => steps.push(format!("results: iterd results {job}")),
        "paused" if served && text(answer, "pause_kind") == "plugin" => {
            steps.push(format!("once it is mended: iterd deploy {job} --resume"));
        }
        "paused" if served => steps.push(format!("go on: iterd resume {job}")),
        _ if served => steps.push(format!("start it: iterd start {job}")),
        _ => steps.push(format!("go on: iterd run {}", plain(text(answer, "file")))),
    }
    if number(answer, "held") > 0 {
        steps.push(format!("decide: iterd items {job} --held"));
    }
    if number(answer, "failed") > 0 {
        steps.push(format!("failures: iterd items {job}"));
    }
    steps
}
