//! What an edit of a job file has changed, key by key, for the log.
//!
//! Pure: two texts in, a sentence out. Invariant: it never fails; a text that cannot be read has
//! simply changed.

use std::collections::BTreeMap;

/// Keys that are named; an edit of more is a new file.
const KEYS_MAX: usize = 8;

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// What has changed between two texts of a job file, in a sentence.
pub(super) fn difference(before: &str, after: &str) -> String {
    let (Some(before), Some(after)) = (leaves(before), leaves(after)) else {
        return "the file".to_owned();
    };
    let mut parts = Vec::new();
    for (key, value) in &after {
        match before.get(key) {
            None => parts.push(format!("{key} = {value} is new")),
            Some(old) if old != value => parts.push(format!("{key}: {old} -> {value}")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    parts.extend(gone.map(|key| format!("{key} is gone")));
    let more = parts.len().saturating_sub(KEYS_MAX);
    parts.truncate(KEYS_MAX);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    if parts.is_empty() {
        "nothing that counts".to_owned()
    } else {
        parts.join("; ")
    }
}

/// Every value with its dotted key.
fn leaves(text: &str) -> Option<BTreeMap<String, String>> {
    let table: toml::Table = text.parse().ok()?;
    let mut found = BTreeMap::new();
    // Why a stack: how deep a file nests is its author's business.
    let mut open = vec![(String::new(), toml::Value::Table(table))];
    while let Some((key, value)) = open.pop() {
        match value {
            toml::Value::Table(table) => open.extend(table.into_iter().map(|(name, value)| {
                let dot = if key.is_empty() { "" } else { "." };
                (format!("{key}{dot}{name}"), value)
            })),
            value @ (toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)) => {
                let mut shown: String = value.to_string();
                if let Some((cut, _)) = shown.char_indices().nth(VALUE_CHARS_MAX) {
                    shown.truncate(cut);
                    shown.push_str("..");
                }
                found.insert(key, shown);
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_told_key_by_key() {
        let before = "name = \"a\"\n[limit]\npace = \"1 per s\"\nquota = \"5 per day\"\n";
        for (after, told) in [
            (before, "nothing that counts"),
            (
                "name = \"a\" # mine\n[limit]\npace = \"2 per s\"\n[retry]\nattempts = 3\n",
                "limit.pace: \"1 per s\" -> \"2 per s\"; retry.attempts = 3 is new; limit.quota is gone",
            ),
            ("name = ", "the file"),
        ] {
            assert_eq!(difference(before, after), told);
        }
        let many: Vec<String> = (0..20).map(|n| format!("k{n:02} = {n}")).collect();
        assert!(difference("", &many.join("\n")).ends_with("k07 = 7 is new; 12 more"));
    }
}
