//! What operators have set by command over what a file says: for each key the value, who and when.
//!
//! Owns which keys can be set so, how a value is written on a command line, and how overrides are laid
//! over a file before it is read. Invariant: an overridden value goes through the same readers as a
//! written one, so it is held to the same bounds and refused in the same words.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    document::FILE_BYTES_MAX,
    problem::{Origin, nearest, quoted},
    size::quote,
};
use crate::time::Timestamp;

/// The keys of a job that can be set by command: what applies to a run that is under way.
pub const JOB_KEYS: [&str; 21] = [
    "limit.pace",
    "limit.quota",
    "limit.time_zone",
    "limit.reset_hour",
    "limit.spread",
    "limit.reserve",
    "limit.weight",
    "process.concurrency",
    "process.timeout",
    "retry.attempts",
    "retry.first",
    "retry.factor",
    "retry.max_delay",
    "retry.jitter",
    "retry.give_up_on",
    "retry.quota_share",
    "pause_when.failing",
    "pause_when.in_a_row",
    "pause_when.failed",
    "schedule.hours",
    "schedule.blackout",
];

/// The keys of a limiter that can be set by command.
pub const LIMITER_KEYS: [&str; 6] = [
    "pace",
    "quota",
    "time_zone",
    "reset_hour",
    "spread",
    "reserve",
];

/// The keys that take a list; one bare text is a list of one.
const LISTS: [&str; 3] = ["retry.give_up_on", "schedule.hours", "schedule.blackout"];

/// A value that an operator has set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// As a file would say it: TOML.
    pub value: String,
    /// Who set it.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// Overrides by key, with its section in front: `limit.pace`. Stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overrides(BTreeMap<String, Override>);

impl Overrides {
    /// Reads back what [`Overrides::to_json`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text to store.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Invariant: texts and numbers alone, which always serialise.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Whether nothing is overridden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Override)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// That of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Override> {
        self.0.get(key)
    }

    /// Sets one; answers the one before.
    pub fn insert(&mut self, key: &str, value: Override) -> Option<Override> {
        self.0.insert(key.to_owned(), value)
    }

    /// Clears one; answers it.
    pub fn remove(&mut self, key: &str) -> Option<Override> {
        self.0.remove(key)
    }

    /// Who says what a key says, where that is an override.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<Origin> {
        self.get(key).map(|set| Origin::Override {
            author: set.author.clone(),
            at: set.at,
        })
    }

    /// The same below a section: `pace` becomes `limiters.crm.pace`.
    #[must_use]
    pub(crate) fn below(&self, section: &str) -> Self {
        let below =
            |(key, value): (&String, &Override)| (format!("{section}.{key}"), value.clone());
        Self(self.0.iter().map(below).collect())
    }

    /// Lays every override over what a file says; one of a section that the file has not brings it.
    pub(crate) fn lay_over<'t>(&'t self, root: &mut DeTable<'t>) {
        for (key, set) in &self.0 {
            // Why without an error: what does not parse was refused when it was set.
            let Ok(value) = DeValue::parse(&set.value) else {
                continue;
            };
            let value = Spanned::new(0..0, value.into_inner());
            let Some((section, last)) = key.split_once('.') else {
                continue;
            };
            let section = root
                .entry(Spanned::new(0..0, Cow::Borrowed(section)))
                .or_insert_with(|| Spanned::new(0..0, DeValue::Table(DeTable::new())));
            // Where it is no table the file is wrong there, and its reader says so.
            if let DeValue::Table(table) = section.get_mut() {
                table.insert(Spanned::new(0..0, Cow::Borrowed(last)), value);
            }
        }
    }
}

/// A key that can be set, and its value as a file would say it, of `limit.pace` and `2 per s`.
///
/// A value may be written as in a file (`"2 per s"`, `["Mon-Fri 22:00-06:00"]`, `8`) or bare; whether
/// the key takes it is for the reader of the file to say.
///
/// # Errors
/// The key cannot be set, or the value can be none.
pub fn read_override(keys: &[&str], key: &str, text: &str) -> Result<String, String> {
    if !keys.contains(&key) {
        let mend = nearest(key, keys.iter().copied(), "it can be");
        return Err(format!("{} cannot be set by command{mend}", quoted(key)));
    }
    let text = text.trim();
    if text.is_empty() || text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "{key} needs a value; to go back to the file, clear it"
        ));
    }
    let literal = text.starts_with(['"', '\'', '[']);
    let number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let is_number = |value: &DeValue<'_>| matches!(value, DeValue::Integer(_) | DeValue::Float(_));
    match DeValue::parse(text) {
        Ok(_) if literal => return Ok(text.to_owned()),
        Ok(value) if number && is_number(value.get_ref()) => return Ok(text.to_owned()),
        Err(error) if literal => return Err(format!("{key}: {}", error.message())),
        Ok(_) | Err(_) => {}
    }
    let bare = quote(&text);
    Ok(if LISTS.contains(&key) {
        format!("[{bare}]")
    } else {
        bare
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_be_bare_or_as_in_a_file() {
        for (key, text, value) in [
            ("limit.pace", "2 per s", "\"2 per s\""),
            ("limit.pace", "\"2 per s\"", "\"2 per s\""),
            ("process.concurrency", "8", "8"),
            ("retry.factor", "1.5", "1.5"),
            ("retry.attempts", "forever", "\"forever\""),
            ("retry.quota_share", "10%", "\"10%\""),
            ("schedule.hours", "22:00-06:00", "[\"22:00-06:00\"]"),
            ("schedule.hours", "[\"22:00-06:00\"]", "[\"22:00-06:00\"]"),
            ("schedule.blackout", "2026-12-24", "[\"2026-12-24\"]"),
            ("retry.give_up_on", "a\"b", "['a\"b']"),
        ] {
            assert_eq!(read_override(&JOB_KEYS, key, text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn a_key_that_cannot_be_set_names_the_nearest_that_can() {
        let refused = |key, text| read_override(&JOB_KEYS, key, text).unwrap_err();
        assert!(refused("limit.pase", "1").contains("did you mean \"limit.pace\"?"));
        assert!(refused("source.path", "x").contains("it can be limit.pace, limit.quota"));
        assert!(refused("limit.pace", "[\"").starts_with("limit.pace: "));
        assert!(refused("limit.pace", " ").contains("clear it"));
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let mut overrides = Overrides::default();
        assert_eq!(overrides, Overrides::from_json("{}").unwrap());
        let set = Override {
            value: "\"2 per s\"".into(),
            author: "anna".into(),
            at: Timestamp(7),
        };
        overrides.insert("limit.pace", set);
        let text = overrides.to_json();
        assert_eq!(Overrides::from_json(&text).unwrap(), overrides);
    }
}
