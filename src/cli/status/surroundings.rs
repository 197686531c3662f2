//! What the job works with: plugin, source, times, files, disk.

use serde_json::Value;

use super::row;
use crate::cli::show::{instant, number, plain, size, text};

pub(super) fn lines(answer: &Value) -> Vec<String> {
    let version = answer["version"]
        .as_u64()
        .map_or_else(String::new, |version| format!(", version {version}"));
    let plugin = format!("{}{version}", plain(text(answer, "plugin")));
    let mut lines = vec![row("plugin", plugin)];
    let source = &answer["source"];
    if let Some(kind) = source["kind"].as_str() {
        let path = source["path"]
            .as_str()
            .map_or_else(String::new, |path| format!(" {}", plain(path)));
        lines.push(row("source", format!("{}{path}", plain(kind))));
    }
    if let Some(started) = answer["started_at"].as_str() {
        let ended = answer["ended_at"].as_str();
        let ended = ended.map_or_else(String::new, |at| format!(", ended {}", instant(at)));
        lines.push(row("started", format!("{}{ended}", instant(started))));
    }
    lines.push(row("job file", plain(text(answer, "file"))));
    let disk = &answer["disk"];
    if let Some(free) = disk["free_bytes"].as_u64() {
        let min = size(number(disk, "free_bytes_min"));
        let full = if disk["full"].as_bool() == Some(true) {
            format!("; below {min} nothing is dispatched")
        } else {
            String::new()
        };
        lines.push(row("disk", format!("{} free{full}", size(free))));
    }
    lines
}
