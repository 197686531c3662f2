//! The limiter as the job's file has it, and what is left of its quota.

use serde_json::Value;

use super::row;
use crate::cli::show::{count, instant, plain};

pub(super) fn lines(answer: &Value) -> Vec<String> {
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
    if let Some(until) = answer["limiter_closed_until"].as_str() {
        parts.push(format!("closed until {}", instant(until)));
    }
    if parts.is_empty() {
        return Vec::new();
    }
    vec![row("limit", parts.join("; "))]
}
