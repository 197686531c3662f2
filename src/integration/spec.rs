//! Reads a table of a job file key by key, so that each kind of source and sink states its keys in
//! one place: where it takes them.
//!
//! Owns the wording of what is wrong with a table. Invariant: a key that nobody asked for is an
//! error that names its nearest neighbour among the keys that were asked for.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is wrong with a `[source]` or `[output]` table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// What stands there is no table.
    #[error("[{section}] must be a table of keys and values")]
    NoTable {
        /// The table's name.
        section: &'static str,
    },
    /// `kind` names nothing that is known.
    #[error("[{section}] kind = {kind:?} is unknown; {hint}")]
    Kind {
        /// The table's name.
        section: &'static str,
        /// What was written.
        kind: String,
        /// The nearest kind, or all of them.
        hint: String,
    },
    /// A key that this kind does not have.
    #[error("[{section}] has no key {key:?} {with_kind}; {hint}")]
    UnknownKey {
        /// The table's name.
        section: &'static str,
        /// What was written.
        key: String,
        /// For which kind.
        with_kind: String,
        /// The nearest key, or all of them.
        hint: String,
    },
    /// A key that must be there is not.
    #[error("[{section}] lacks {key} = ..{hint}")]
    Missing {
        /// The table's name.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The key that may have been meant for it, or nothing.
        hint: String,
    },
    /// A value that cannot be taken.
    #[error("[{section}] {key} = {value}: {problem}")]
    Value {
        /// The table's name.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written, as JSON, shortened.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

impl SpecError {
    /// Where in the job file it stands: `source.kind`.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::NoTable { section } => (*section).to_owned(),
            Self::Kind { section, .. } => format!("{section}.kind"),
            Self::UnknownKey { section, key, .. } => format!("{section}.{key}"),
            Self::Missing { section, key, .. } | Self::Value { section, key, .. } => {
                format!("{section}.{key}")
            }
        }
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table {
    section: &'static str,
    kind: String,
    rest: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Table {
    /// A table of that name.
    pub(super) fn new(section: &'static str, value: Value) -> Result<Self, SpecError> {
        let Value::Object(rest) = value else {
            return Err(SpecError::NoTable { section });
        };
        Ok(Self {
            section,
            kind: String::new(),
            rest,
            asked: Vec::new(),
        })
    }

    /// Takes `kind`, which must be one of these.
    pub(super) fn kind<T: Copy>(&mut self, kinds: &[(&'static str, T)]) -> Result<T, SpecError> {
        let kind: String = self.require("kind")?;
        let found = kinds.iter().find(|(name, _)| *name == kind);
        self.kind.clone_from(&kind);
        found.map(|(_, what)| *what).ok_or_else(|| {
            let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
            SpecError::Kind {
                section: self.section,
                hint: hint(&kind, &names),
                kind,
            }
        })
    }

    /// Takes a key that may be there.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, SpecError> {
        self.asked.push(key);
        let Some(value) = self.rest.remove(key) else {
            return Ok(None);
        };
        T::deserialize(&value)
            .map(Some)
            .map_err(|error| self.refuse(key, &value, &error.to_string()))
    }

    /// Takes a key that must be there.
    pub(super) fn require<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<T, SpecError> {
        if let Some(value) = self.take(key)? {
            return Ok(value);
        }
        let meant = self
            .rest
            .keys()
            .find(|other| distance(other, key).is_some());
        let hint = meant.map_or(String::new(), |other| {
            format!("; did you mean it by {other:?}?")
        });
        Err(self.missing(key, &hint))
    }

    /// Takes `delimiter`: one ASCII character that no field needs otherwise; by default a comma.
    pub(super) fn take_delimiter(&mut self, quote: bool) -> Result<u8, SpecError> {
        let text: String = self.take("delimiter")?.unwrap_or_else(|| ",".to_owned());
        let problem = match text.as_bytes() {
            [b'\n' | b'\r'] => "a quote or a line end cannot delimit",
            [b'"'] if quote => "a quote or a line end cannot delimit",
            [delimiter] => return Ok(*delimiter),
            _ => r#"a delimiter is one ASCII character, as "," or "\t""#,
        };
        Err(self.refuse("delimiter", &Value::from(text), problem))
    }

    /// The error for a key that should be there; `hint` goes on from its name.
    pub(super) fn missing(&self, key: &'static str, hint: &str) -> SpecError {
        SpecError::Missing {
            section: self.section,
            key,
            hint: hint.to_owned(),
        }
    }

    /// The error for a value that was taken and turned out to be wrong.
    pub(super) fn refuse(&self, key: &'static str, value: &Value, problem: &str) -> SpecError {
        SpecError::Value {
            section: self.section,
            key,
            value: super::json_text::snippet(value.to_string().as_bytes()),
            problem: problem.to_owned(),
        }
    }

    /// Ends the reading: what was not taken is unknown.
    pub(super) fn finish(mut self) -> Result<(), SpecError> {
        let Some((key, _)) = self.rest.iter().next() else {
            return Ok(());
        };
        self.asked.sort_unstable();
        Err(SpecError::UnknownKey {
            section: self.section,
            key: key.clone(),
            with_kind: format!("for kind = {:?}", self.kind),
            hint: hint(key, &self.asked),
        })
    }
}

/// How far a name is from another that it may be a misspelling of: one letter wrong, missing, too
/// many or exchanged, for each three that it has.
fn distance(name: &str, other: &str) -> Option<usize> {
    let distance = strsim::damerau_levenshtein(name, other);
    (distance <= (other.len() / 3).max(1)).then_some(distance)
}

/// The nearest of the known names, or all of them; for the end of a message.
pub(super) fn hint(name: &str, known: &[&str]) -> String {
    // Why: a name from a file may be long, and the comparison costs its length times the other's.
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    let near = known
        .iter()
        .filter_map(|other| Some((distance(&name, other)?, other)));
    match near.min() {
        Some((_, nearest)) => format!("did you mean {nearest:?}?"),
        None if known.len() <= SHOWN_MAX => format!("there are {}", known.join(", ")),
        None => format!("there are {}, ..", known[..SHOWN_MAX].join(", ")),
    }
}

/// Compared of a name: more than any key has.
const NAME_CHARS_MAX: usize = 64;

/// Names listed in a message; a table can have thousands of columns.
const SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<(String, Option<u32>), SpecError> {
        let mut table = Table::new("source", value)?;
        table.kind(&[("csv", 1), ("jsonl", 2)])?;
        let taken = (table.require("path")?, table.take("limit")?);
        table.finish()?;
        Ok(taken)
    }

    #[test]
    fn errors_name_the_key_and_its_nearest_neighbour() {
        assert_eq!(
            read(json!({"kind": "csv", "path": "a", "limit": 3})),
            Ok(("a".to_owned(), Some(3)))
        );
        for (value, message) in [
            (json!([]), "[source] must be a table of keys and values"),
            (json!({"path": "a"}), "[source] lacks kind = .."),
            (
                json!({"kind": "cvs", "path": "a"}),
                r#"[source] kind = "cvs" is unknown; did you mean "csv"?"#,
            ),
            (
                json!({"kind": "x", "path": "a"}),
                r#"[source] kind = "x" is unknown; there are csv, jsonl"#,
            ),
            (
                json!({"kind": "csv", "ptah": "a"}),
                r#"[source] lacks path = ..; did you mean it by "ptah"?"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "limits": 3}),
                r#"[source] has no key "limits" for kind = "csv"; did you mean "limit"?"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "zzz": 3}),
                r#"[source] has no key "zzz" for kind = "csv"; there are kind, limit, path"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "limit": -1}),
                "[source] limit = -1: invalid value: integer `-1`, expected u32",
            ),
        ] {
            assert_eq!(read(value).unwrap_err().to_string(), message);
        }
    }
}
