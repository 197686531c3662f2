//! How the job's notifications fare; nothing where all is told.

use serde_json::Value;

use super::row;
use crate::cli::show::{count, number, plain, text};
use crate::payload::gist;

pub(super) fn lines(answer: &Value) -> Vec<String> {
    let owed = &answer["notifications"];
    let (waiting, given_up) = (number(owed, "waiting"), number(owed, "given_up"));
    let error = plain(gist(text(owed, "error")));
    let mut parts = Vec::new();
    if waiting > 0 {
        parts.push(format!("{} still to be told", count(waiting)));
    }
    if given_up > 0 {
        parts.push(format!("{} could not be told", count(given_up)));
    }
    if parts.is_empty() {
        return Vec::new();
    }
    if !error.is_empty() {
        parts.push(format!("the last try: {error}"));
    }
    vec![row("notify", parts.join("; "))]
}
