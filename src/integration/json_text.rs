//! JSON as text: written without building a value, looked into without parsing the rest.
//!
//! Never checks a whole text; what reads one is handed text that `Payload` has accepted.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|b| b < b' ' || b == b'"' || b == b'\\')
    {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => push_display(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends what is displayed.
pub(super) fn push_display(out: &mut String, what: impl fmt::Display) {
    // Writing to a string fails only where a `Display` says so; none of those used here does.
    let written = write!(out, "{what}");
    debug_assert!(written.is_ok());
}

/// JSON without what stands between its parts; `None` where nothing does.
pub(super) fn compact(text: &str) -> Option<String> {
    let mut in_string = false;
    let mut escaped = false;
    let mut is_part = move |byte: u8| {
        let was_in_string = in_string;
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else {
            in_string = byte == b'"';
        }
        was_in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    let first = text.bytes().position(|byte| !is_part(byte))?;
    let mut out = text.as_bytes().get(..first)?.to_vec();
    let rest = text.bytes().skip(first + 1);
    out.extend(rest.filter(|byte| is_part(*byte)));
    String::from_utf8(out).ok()
}

/// How many characters of a damaged record, or a wrong value, a message repeats.
const SNIPPET_CHARS: usize = 60;

/// The beginning of some bytes, fit for a message: escaped, one line, bounded.
pub(super) fn snippet(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(4 * SNIPPET_CHARS)];
    let text = String::from_utf8_lossy(head);
    let mut out: String = text
        .chars()
        .take(SNIPPET_CHARS)
        .flat_map(|c| {
            let keep = !c.is_control();
            keep.then_some(c)
                .into_iter()
                .chain((!keep).then(|| c.escape_default()).into_iter().flatten())
        })
        .collect();
    if text.chars().nth(SNIPPET_CHARS).is_some() || head.len() < bytes.len() {
        out.push_str("..");
    }
    out
}

/// The text of a member of an object, the last one where a name stands twice; `None` where there is
/// none, or `text` is no object.
pub(super) fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    serde_json::Deserializer::from_str(text)
        .deserialize_map(MemberVisitor(name))
        .ok()?
}

/// The text of an element of an array.
pub(super) fn element(text: &str, index: usize) -> Option<&str> {
    serde_json::Deserializer::from_str(text)
        .deserialize_seq(ElementVisitor(index))
        .ok()?
}

/// The members of an object with their texts, in order; `None` where `text` is no object.
pub(super) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    serde_json::Deserializer::from_str(text)
        .deserialize_map(MembersVisitor)
        .ok()
}

struct MemberVisitor<'n>(&'n str);

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Equals(self.0))? {
            if is_it {
                found = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct ElementVisitor(usize);

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = seq.next_element::<&RawValue>()?.map(RawValue::get);
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, value.get()));
        }
        Ok(members)
    }
}

/// Whether a string is this one, without a copy of it.
struct Equals<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Equals<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Equals<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_text_says_the_same() {
        for (text, expected) in [
            (
                r#"{ "a b" : [1, 2.50 , 1e5], "c\\" : " \" x " }"#,
                Some(r#"{"a b":[1,2.50,1e5],"c\\":" \" x "}"#),
            ),
            ("\n[\r\n\t]\n", Some("[]")),
            (r#"{"a":"ü  \\\""}"#, None),
            ("1", None),
            ("", None),
        ] {
            assert_eq!(compact(text).as_deref(), expected, "{text}");
        }
    }
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_reads_back_as_it_was(text in any::<String>()) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_snippet_is_short_printable_and_never_panics(bytes in any::<Vec<u8>>()) {
            let text = snippet(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert!(text.len() <= 10 * SNIPPET_CHARS + 2);
        }
    }

    #[test]
    fn members_and_elements_are_given_as_they_are_written() {
        let text = r#" {"a": 1.50, "b\u0041": [1, [2,3] ,4], "a" : "x"} "#;
        assert_eq!(member(text, "a"), Some("\"x\""));
        assert_eq!(member(text, "bA"), Some("[1, [2,3] ,4]"));
        assert_eq!(member(text, "c"), None);
        assert_eq!(member("[1]", "c"), None);
        assert_eq!(element("[1, [2,3] ,4]", 1), Some("[2,3]"));
        assert_eq!(element("[1]", 1), None);
        assert_eq!(
            members(r#"{"b":1,"a":[ ]}"#),
            Some(vec![("b".to_owned(), "1"), ("a".to_owned(), "[ ]")])
        );
        assert_eq!(members("3"), None);
    }
}
