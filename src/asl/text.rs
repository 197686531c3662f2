//! Reads a definition's JSON and remembers where everything stood.
//!
//! serde_json forgets positions and duplicate keys, and a definition error must point into the
//! text, so the tree here carries a span for every value and key. It never interprets a field.
//! Invariant: the text has at most [`DEFINITION_BYTES_MAX`] bytes and nests at most [`DEPTH_MAX`]
//! levels, so the recursion below is bounded.

use std::collections::HashSet;

use serde_json::{Number, Value};

use super::diagnostic::{Code, Problems, quote};

/// Longest definition, in bytes: AWS's quota.
pub const DEFINITION_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting of a definition. A literal of it ends up in payloads, whose depth serde_json
/// bounds at 127; the difference leaves room for the states around the literal.
const DEPTH_MAX: usize = 100;

/// Bytes of the text, from `start` up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A JSON value and where it stood.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) json: Json,
}

#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(Box<str>),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A key of an object with its value. Duplicates are kept, and reported when they are read.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: Box<str>,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// The text of a string, `None` for anything else.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = &self.json {
            Some(text)
        } else {
            None
        }
    }

    /// What to call this kind of value in a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.json {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// The plain value, without positions.
    pub(crate) fn to_value(&self) -> Value {
        match &self.json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.clone()),
            Json::String(text) => Value::String(text.to_string()),
            Json::Array(items) => items.iter().map(Self::to_value).collect(),
            Json::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|member| (member.key.to_string(), member.value.to_value()))
                    .collect(),
            ),
        }
    }

    /// The JSON pointer of whatever starts at this byte: a value, or a member by its key.
    pub(crate) fn pointer_to(&self, offset: usize) -> String {
        let mut pointer = String::new();
        let mut node = self;
        loop {
            let next = match &node.json {
                Json::Array(items) => {
                    let place = items.partition_point(|item| item.span.end <= offset);
                    items
                        .get(place)
                        .filter(|item| item.span.start <= offset)
                        .map(|item| (place.to_string(), item))
                }
                Json::Object(members) => {
                    let place = members.partition_point(|member| member.value.span.end <= offset);
                    members
                        .get(place)
                        .filter(|member| member.key_span.start <= offset)
                        .map(|member| {
                            (
                                member.key.replace('~', "~0").replace('/', "~1"),
                                &member.value,
                            )
                        })
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
            };
            let Some((segment, child)) = next else {
                return pointer;
            };
            pointer.push('/');
            pointer.push_str(&segment);
            node = child;
        }
    }
}

/// Reads the text; duplicate keys are reported and reading goes on, a syntax error ends it.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > DEFINITION_BYTES_MAX {
        problems.report(
            Span::default(),
            Code::InvalidJson,
            format!(
                "the definition has {} bytes, more than {DEFINITION_BYTES_MAX}",
                text.len()
            ),
        );
        return None;
    }
    if text.trim().is_empty() {
        // In AWS's words.
        problems.schema(Span::default(), "Definition must be a valid JSON object");
        return None;
    }
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        problems,
    };
    match reader.document() {
        Ok(node) => Some(node),
        Err(message) => {
            let at = reader.at.min(text.len());
            let span = Span { start: at, end: at };
            reader.problems.report(span, Code::InvalidJson, message);
            None
        }
    }
}

struct Reader<'t, 'p> {
    text: &'t str,
    at: usize,
    depth: usize,
    problems: &'p mut Problems,
}

type Read<T> = Result<T, String>;

impl Reader<'_, '_> {
    fn document(&mut self) -> Read<Node> {
        let node = self.value()?;
        match self.peek() {
            None => Ok(node),
            Some(_) => Err("text after the end of the definition".into()),
        }
    }

    /// The next byte that is no white space, without taking it.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn value(&mut self) -> Read<Node> {
        let first = self.peek();
        let start = self.at;
        let json = match first {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Json::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Json::Bool(true))?,
            Some(b'f') => self.word("false", Json::Bool(false))?,
            Some(b'n') => self.word("null", Json::Null)?,
            Some(_) => return Err("expected a JSON value".into()),
            None => return Err("the text ends where a JSON value is expected".into()),
        };
        let span = Span {
            start,
            end: self.at,
        };
        Ok(Node { span, json })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Read<Json>) -> Read<Json> {
        if self.depth == DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        self.depth += 1;
        self.at += 1;
        let json = read(self)?;
        self.depth -= 1;
        Ok(json)
    }

    fn object(&mut self) -> Read<Json> {
        let mut members: Vec<Member> = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err("expected a key in double quotes".into());
            }
            let start = self.at;
            let key = self.string()?;
            let key_span = Span {
                start,
                end: self.at,
            };
            if self.peek() != Some(b':') {
                return Err(format!("expected ':' after the key {}", quote(&key)));
            }
            self.at += 1;
            let value = self.value()?;
            members.push(Member {
                key,
                key_span,
                value,
            });
            if self.ends(b'}')? {
                self.find_duplicates(&members);
                return Ok(Json::Object(members));
            }
        }
    }

    fn array(&mut self) -> Read<Json> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.ends(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    /// Takes a comma (more follows) or the closing bracket (the end).
    fn ends(&mut self, close: u8) -> Read<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(format!("expected ',' or '{}'", char::from(close))),
        }
    }

    fn find_duplicates(&mut self, members: &[Member]) {
        let mut seen = HashSet::with_capacity(members.len());
        for member in members {
            if !seen.insert(&member.key) {
                self.problems.report(
                    member.key_span,
                    Code::SchemaValidationFailed,
                    format!("the key {} stands here a second time", quote(&member.key)),
                );
            }
        }
    }

    /// Takes a string; escapes are left to serde_json, which also checks them.
    fn string(&mut self) -> Read<Box<str>> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut plain = true;
        let mut end = start + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    end += 2;
                }
                Some(0..=0x1f) => {
                    self.at = end;
                    return Err("a control character in a string; write it as an escape".into());
                }
                Some(_) => end += 1,
                None => return Err("the string that begins here has no end".into()),
            }
        }
        let quoted = self.text.get(start..=end).unwrap_or_default();
        let text = if plain {
            quoted[1..quoted.len() - 1].into()
        } else {
            serde_json::from_str(quoted).map_err(|_| "a string with a malformed escape")?
        };
        self.at = end + 1;
        Ok(text)
    }

    fn number(&mut self) -> Read<Json> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let number = serde_json::from_str(&rest[..length])
            .map_err(|_| format!("{} is no JSON number", quote(&rest[..length])))?;
        self.at += length;
        Ok(Json::Number(number))
    }

    fn word(&mut self, word: &str, json: Json) -> Read<Json> {
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.at += word.len();
            return Ok(json);
        }
        Err("expected a JSON value".into())
    }
}
