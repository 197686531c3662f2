//! Where something stands in a JSON value: a JSON Pointer (RFC 6901), or the name of a member.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::integration::json_text;

/// A path of member names and indices into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// More levels than a payload may have lead nowhere.
    const TOKENS_MAX: usize = 127;

    /// A pointer in the syntax of RFC 6901: `""` for the whole, `/data/items`, `~0` for `~`, `~1`
    /// for `/`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!(
                "a JSON pointer begins with \"/\"; write \"/{text}\""
            ));
        }
        let tokens: Vec<_> = text.split('/').skip(1).map(unescape).collect();
        if tokens.len() > Self::TOKENS_MAX {
            return Err(format!("a pointer has at most {} levels", Self::TOKENS_MAX));
        }
        let tokens = tokens
            .into_iter()
            .collect::<Option<_>>()
            .ok_or("after \"~\" in a JSON pointer stands \"0\" (for \"~\") or \"1\" (for \"/\")")?;
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }

    /// A pointer where the text begins with `/`, else the name of a member of the top level.
    pub fn parse_field(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a field has a name".to_owned());
        }
        if text.starts_with('/') {
            return Self::parse(text);
        }
        Ok(Self {
            text: text.to_owned(),
            tokens: vec![text.to_owned()],
        })
    }

    /// Names and indices, from the outside in.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The text of what it points to; the text it looks into must be valid JSON.
    pub(super) fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.tokens.iter().try_fold(text, |text, token| {
            match text.trim_start().as_bytes().first() {
                Some(b'{') => json_text::member(text, token),
                Some(b'[') => json_text::element(text, array_index(token)?),
                _ => None,
            }
        })
    }
}

/// The index that a token means within an array: digits, without a leading zero.
pub(super) fn array_index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| canonical)
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads an RFC 6901 pointer.
impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_where_rfc_6901_says() {
        let text =
            r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "é": {"x": [ {"y": 7} ]}}"#;
        for (pointer, found) in [
            ("", Some(text)),
            ("/foo", Some(r#"["bar", "baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/foo/00", None),
            ("/foo/+0", None),
            ("/foo/2", None),
            ("/foo/x", None),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/m~0n", Some("8")),
            ("/é/x/0/y", Some("7")),
            ("/foo/0/1", None),
            ("/nope", None),
        ] {
            assert_eq!(
                Pointer::parse(pointer).unwrap().find(text),
                found,
                "{pointer}"
            );
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["a", "/~", "/~2", &"/a".repeat(200)] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
        assert!(Pointer::parse_field("").is_err());
        assert_eq!(
            Pointer::parse_field("a~b").unwrap().tokens(),
            ["a~b".to_owned()]
        );
    }
}
