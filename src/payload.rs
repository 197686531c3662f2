//! What users' data travels in: JSON kept as the text it came in, and what a handler answered.
//!
//! AWS hands untouched input through verbatim (`["Hello", "World"]` keeps its space), and most
//! records are only carried from a source to a handler, so a payload keeps its text and is parsed
//! when somebody looks into it. It never holds invalid JSON: the text was checked, depth and
//! numbers included, when the payload was made.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::{
    Deserialize,
    de::{self, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A JSON value that remembers its text; cheap to clone.
#[derive(Clone)]
pub struct Payload(Arc<Inner>);

struct Inner {
    text: OnceLock<Box<str>>,
    value: OnceLock<Value>,
}

impl Payload {
    /// A payload of this text, verbatim.
    ///
    /// # Errors
    /// If the text is no single JSON value, nests deeper than 127 levels, or has a number that no
    /// double holds.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        serde_json::from_str::<Skim>(&text)?;
        Ok(Self(Arc::new(Inner {
            text: OnceLock::from(text),
            value: OnceLock::new(),
        })))
    }

    /// The JSON text: verbatim where it came as text, compact where it was computed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| {
            self.0
                .value
                .get()
                .unwrap_or(&Value::Null)
                .to_string()
                .into_boxed_str()
        })
    }

    /// The value, parsed at the first call.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.0.value.get_or_init(|| {
            let text = self.0.text.get().map_or("null", |text| text);
            // Invariant: a payload has a text that `parse` accepted, or a value.
            serde_json::from_str(text).unwrap_or(Value::Null)
        })
    }

    /// The part that these names lead to, with its text untouched; `None` where they lead nowhere.
    #[must_use]
    pub fn part(&self, names: &[&str]) -> Option<Self> {
        let mut text = self.text();
        for name in names {
            let fields: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            text = fields.get(*name)?.get();
        }
        Self::parse(text).ok()
    }

    /// Whether both are one payload, not only an equal one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the text is there already, so that [`Payload::text`] costs nothing.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.0.text.get().is_some()
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self(Arc::new(Inner {
            text: OnceLock::new(),
            value: OnceLock::from(value),
        }))
    }
}

/// Two payloads are equal where their values are, whatever their spacing.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.value() == other.value()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why a task did not give a result, in the words of whoever says so.
///
/// An interruption (the worker or the daemon went away before it answered) is no failure and has
/// no value here.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The error's name, as `Retry`, `Catch` and `give_up_on` match it.
    pub error: String,
    /// For people: what happened.
    pub cause: String,
    /// `Some(false)`: no retry would help, whatever the policy says.
    pub retry: Option<bool>,
    /// The earliest retry; it lengthens the policy's back-off and never shortens it.
    pub retry_after: Option<Duration>,
    /// Closes the limiter for everybody who shares it, for this long.
    pub close_limiter: Option<Duration>,
}

impl Failure {
    /// A failure that leaves retrying to the policy.
    #[must_use]
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            cause: cause.into(),
            retry: None,
            retry_after: None,
            close_limiter: None,
        }
    }

    /// How long the record is put off because somebody limits its handler, which is neither a failure
    /// nor an attempt; `None` where it has failed, or no other try would help.
    #[must_use]
    pub fn puts_off(&self) -> Option<Duration> {
        if self.retry == Some(false) {
            return None;
        }
        self.close_limiter.max(self.retry_after)
    }
}

/// Reads a JSON value and keeps nothing: what makes a text worth keeping.
///
/// Why: `IgnoredAny` skips nested values without serde_json's depth limit, so a text that it accepts
/// could still refuse to parse later; this one recurses as a `Value` would.
struct Skim;

impl<'de> Deserialize<'de> for Skim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Skim)
    }
}

impl<'de> Visitor<'de> for Skim {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// The line of a cause that tells the most: of a traceback the last one, else the first.
#[must_use]
pub fn gist(cause: &str) -> &str {
    let mut lines = cause.lines().filter(|line| !line.trim().is_empty());
    let line = if cause.contains("Traceback (most recent call last)") {
        lines.next_back()
    } else {
        lines.next()
    };
    line.unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_verbatim_until_somebody_computes() {
        let payload = Payload::parse(r#"[ "Hello",  "World" ]"#).unwrap();
        assert_eq!(payload.text(), r#"[ "Hello",  "World" ]"#);
        assert_eq!(
            Payload::from(payload.value().clone()).text(),
            r#"["Hello","World"]"#
        );
    }

    #[test]
    fn a_part_keeps_its_text() {
        let payload = Payload::parse(r#"{"a": {"b": [1,  2], "b\u0063": 3}, "s": "t"}"#).unwrap();
        let part = |names: &[&str]| payload.part(names).map(|part| part.text().to_owned());
        assert_eq!(part(&["a", "b"]).as_deref(), Some("[1,  2]"));
        assert_eq!(part(&["a", "bc"]).as_deref(), Some("3"));
        assert_eq!(part(&[]).as_deref(), Some(payload.text()));
        assert_eq!(part(&["a", "x"]), None);
        assert_eq!(part(&["s", "x"]), None);
    }

    #[test]
    fn what_would_not_parse_later_is_refused_at_once() {
        for text in [
            "",
            "{",
            r#"{"a":1} x"#,
            "1e999",
            &"[".repeat(500),
            &format!("{}{}", "[".repeat(200), "]".repeat(200)),
        ] {
            assert!(Payload::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_gist_of_a_traceback_is_its_last_line() {
        for (cause, line) in [
            ("", ""),
            ("no such customer\nsecond line", "no such customer"),
            (
                "exit status 1; its last words: Traceback (most recent call last):\n  File \"h.py\"\nKeyError: 'vat'\n",
                "KeyError: 'vat'",
            ),
        ] {
            assert_eq!(gist(cause), line);
        }
    }
}
