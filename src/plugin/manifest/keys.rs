//! The keys that there are, and what is said of one that there is not.
//!
//! Why not `deny_unknown_fields`: it lists all of them, where the one that was meant is wanted.

use super::{ManifestError, http, wasm};

/// The keys of a manifest.
const KEYS: &[&str] = &[
    "name",
    "host",
    "handler",
    "command",
    "python",
    "runtime",
    "timeout",
    "heartbeat",
    "workers",
    "in_flight",
    "batch",
    "reload",
    "sandbox",
    "read",
    "write",
    "env",
    "secrets",
    "role",
    "network",
    "http",
    "health",
    "limits",
    "wasm",
    "line_bytes_max",
];
const HEALTH_KEYS: &[&str] = &["item"];
const LIMIT_KEYS: &[&str] = &["memory_bytes", "open_files", "file_bytes"];

/// Refuses keys that no manifest has, at the top and in the tables.
pub(super) fn refuse_unknown(table: &toml::Table) -> Result<(), ManifestError> {
    refuse_others(table, KEYS, "")?;
    for (name, known, prefix) in [
        ("limits", LIMIT_KEYS, "limits."),
        ("health", HEALTH_KEYS, "health."),
        ("http", http::KEYS, "http."),
        ("wasm", wasm::KEYS, "wasm."),
    ] {
        if let Some(toml::Value::Table(inner)) = table.get(name) {
            refuse_others(inner, known, prefix)?;
        }
    }
    Ok(())
}

fn refuse_others(
    table: &toml::Table,
    known: &'static [&'static str],
    prefix: &str,
) -> Result<(), ManifestError> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(ManifestError::UnknownKey {
            key: format!("{prefix}{key}"),
            nearest: nearest(key, known),
        }),
    }
}

/// The known key that looks most like the given one, if any looks like it at all.
fn nearest(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    // Why 0.7: a swapped or missing letter scores above it, two unrelated short words below.
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), *name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
