//! Watches a job until it ends, pauses or is stopped, and says how it came out.

use serde_json::Value;

use super::{
    exit::{Code, DONE, Failure, PAUSED, RUN_FAILED, STOPPED},
    jobs, progress,
    session::{Session, note},
    show::{count, duration, number, plain, text},
};
use crate::payload::gist;

/// What a picture of a job means for whoever waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes on.
    GoesOn,
    /// It is over, for now or for good, with this exit code.
    Over(Code),
}

/// Reads a picture, the answer of `DescribeJob`.
pub(super) fn standing(picture: &Value) -> Standing {
    let quiet = number(picture, "in_flight") == 0;
    match text(picture, "status") {
        "succeeded" => Standing::Over(Code(DONE)),
        "failed" => Standing::Over(Code(RUN_FAILED)),
        "aborted" => Standing::Over(Code(STOPPED)),
        // Why quiet: what was in flight when it paused may still end it.
        // .. but for a plugin that does not start: its calls wait for a worker that will not come.
        "paused" if quiet || text(picture, "pause_kind") == "plugin" => {
            Standing::Over(Code(PAUSED))
        }
        _ => Standing::GoesOn,
    }
}

/// Says how a job came out, and what to do next; `again` is the command that goes on.
pub(super) fn conclude(session: &Session, picture: &Value, again: &str) -> Result<(), Failure> {
    session.answer(picture, |picture| sentence(picture, again))
}

/// Says where a job stands that was interrupted; the answer to people stands beside their Ctrl-C.
pub(super) fn interrupted(session: &Session, picture: &Value, again: &str) -> Result<(), Failure> {
    if session.json {
        return session.answer(picture, |_| String::new());
    }
    note(&format!("{}\ngo on: {again}", progress::line(picture)));
    Ok(())
}

fn sentence(picture: &Value, again: &str) -> String {
    let job = text(picture, "job");
    let (done, failed) = (number(picture, "done"), number(picture, "failed"));
    let figures = format!("{} done, {} failed", count(done), count(failed));
    match text(picture, "status") {
        "succeeded" => {
            let failures = if failed > 0 {
                format!("; what failed: iterd items {job} --failed")
            } else {
                String::new()
            };
            format!(
                "{job} has finished{}: {figures}\nresults: iterd results {job}{failures}",
                took(picture)
            )
        }
        "paused" => format!(
            "{job} is paused, {figures}: {}\nlook: iterd status {job}; go on: {again}",
            plain(gist(text(picture, "pause_reason")))
        ),
        _ => format!(
            "{job} {}, {figures}\ngo on: {again}",
            if jobs::status(picture) == "stopped" {
                "was stopped"
            } else {
                "has failed"
            }
        ),
    }
}

fn took(picture: &Value) -> String {
    let instant = |key| text(picture, key).parse::<jiff::Timestamp>().ok();
    match (instant("started_at"), instant("ended_at")) {
        (Some(started), Some(ended)) => {
            let took = ended.duration_since(started).unsigned_abs();
            format!(" after {}", duration(took))
        }
        _ => String::new(),
    }
}
