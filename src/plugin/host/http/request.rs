//! A call's request: literal texts, secrets and values put together, and where a redirect leads.
//!
//! Invariant: a value is put where a value goes, and is never read again: it ends no header, begins no
//! parameter, and names no secret. Invariant: what holds a secret goes to the first URL's origin alone.

use std::collections::BTreeMap;

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    payload::Failure,
    plugin::{
        manifest::{Node, Part, Piece, Plan},
        protocol::{push_one_line, push_text},
    },
};

/// Longest URL, in bytes; servers take 8 KiB.
const URL_BYTES_MAX: usize = 64 << 10;

const USER_AGENT: &str = concat!("iterd/", env!("CARGO_PKG_VERSION"));
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const FORM: &str = "application/x-www-form-urlencoded";

/// One request of an exchange.
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// Headers with a secret in them.
    private: Vec<HeaderName>,
    /// The body has one.
    private_body: bool,
}

/// What is asked for.
pub(super) struct Asked<'a> {
    /// The values of the expressions.
    pub(super) values: &'a RawValue,
    /// The call's. A batch has none: its calls come in another company when they are tried again.
    pub(super) key: Option<&'a str>,
}

/// The values that a call brings, and the secrets.
struct Values<'a> {
    slots: Vec<&'a RawValue>,
    secrets: &'a BTreeMap<String, String>,
}

/// A request that cannot be made; another try would be the same.
pub(super) fn invalid(cause: String) -> Failure {
    Failure {
        retry: Some(false),
        ..Failure::new("Iterd.InvalidRequest", cause)
    }
}

impl Hop {
    /// The request of a call, or of a batch of them.
    pub(super) fn new(
        plan: &Plan,
        asked: &Asked<'_>,
        secrets: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let slots = serde_json::from_str(asked.values.get());
        let values = Values {
            slots: slots.map_err(|error| invalid(format!("the values are no list: {error}")))?,
            secrets,
        };
        let mut headers = values.headers(&plan.headers, asked.key)?;
        let body = match &plan.body {
            Some(node) => values.body(node, &mut headers)?,
            None => None,
        };
        let private = plan.headers.iter().filter(|(_, part)| part.has_secret());
        let private = private.filter_map(|(name, _)| HeaderName::from_bytes(name.as_bytes()).ok());
        Ok(Self {
            method: Method::from_bytes(plan.method.as_bytes())
                .map_err(|_| invalid("the method is none".to_owned()))?,
            url: values.url(plan)?,
            private: private.collect(),
            private_body: plan.body.as_ref().is_some_and(Node::has_secret),
            headers,
            body,
        })
    }

    /// All of it, for people: a body as JSON where it is.
    pub(super) fn told(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut headers = Map::new();
        for name in self.headers.keys() {
            let values = self.headers.get_all(name).iter();
            let values: Vec<_> = values.map(|value| text(value.as_bytes())).collect();
            headers.insert(name.as_str().to_owned(), values.join(", ").into());
        }
        let mut told = json!({
            "method": self.method.as_str(),
            "url": self.url.as_str(),
            "headers": headers,
        });
        if let Some(body) = &self.body {
            let json = serde_json::from_slice(body);
            told["body"] = json.unwrap_or_else(|_| text(body).into());
        }
        told
    }

    /// The request that a redirect asks for, as browsers make it. To another origin go no secrets.
    pub(super) fn redirected(mut self, status: StatusCode, place: &str) -> Result<Self, Failure> {
        let refuse = |why: &str| invalid(format!("{status}, and {why}"));
        let url = self
            .url
            .join(place)
            .map_err(|_| refuse("its Location is no URL"))?;
        let url = checked(url)?;
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(refuse(
                "its Location is http, which anybody on the way can read",
            ));
        }
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            self.private_body = false;
            self.headers.remove(header::CONTENT_TYPE);
        }
        if url.origin() != self.url.origin() {
            if self.private_body {
                return Err(refuse(
                    "its Location is another server, which must not get the secret in the body",
                ));
            }
            let always = [header::AUTHORIZATION, header::COOKIE];
            for name in self.private.drain(..).chain(always) {
                self.headers.remove(name);
            }
        }
        self.url = url;
        Ok(self)
    }
}

/// Where a response leads, if it is a redirect.
pub(super) fn redirect(response: &Response) -> Option<&str> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    response.headers().get(header::LOCATION)?.to_str().ok()
}

/// A URL that may be asked for, without its fragment.
fn checked(mut url: Url) -> Result<Url, Failure> {
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "is neither http nor https"
    } else if !url.username().is_empty() || url.password().is_some() {
        "names a user; write an Authorization header"
    } else if url.as_str().len() > URL_BYTES_MAX {
        "is longer than 64 KiB"
    } else {
        url.set_fragment(None);
        return Ok(url);
    };
    Err(invalid(format!("the URL {problem}")))
}

impl Values<'_> {
    fn slot(&self, slot: usize) -> Result<&RawValue, Failure> {
        let value = self.slots.get(slot).copied();
        value.ok_or_else(|| invalid(format!("there is no value {slot}")))
    }

    fn literal(&self, pieces: &[Piece]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Secret(name) => self.secrets.get(name).cloned().unwrap_or_default(),
        };
        pieces.iter().map(piece).collect()
    }

    /// The texts of a header or a parameter: none for null, several for a list.
    fn texts(&self, part: &Part, what: &str) -> Result<Vec<String>, Failure> {
        let slot = match part {
            Part::Text(pieces) => return Ok(vec![self.literal(pieces)]),
            Part::Slot(slot) => self.slot(*slot)?,
        };
        match serde_json::from_str(slot.get()) {
            Ok(Value::Array(values)) => values
                .iter()
                .filter(|value| !value.is_null())
                .map(|value| plain(value, what))
                .collect(),
            Ok(Value::Null) => Ok(Vec::new()),
            Ok(value) => Ok(vec![plain(&value, what)?]),
            Err(error) => Err(invalid(format!("{what} has no value: {error}"))),
        }
    }

    fn url(&self, plan: &Plan) -> Result<Url, Failure> {
        let text = match &plan.url {
            Part::Text(pieces) => self.literal(pieces),
            Part::Slot(slot) => serde_json::from_str(self.slot(*slot)?.get())
                .map_err(|_| invalid("the URL is no text".to_owned()))?,
        };
        // Why not quoted: it may hold a secret.
        let url =
            Url::parse(&text).map_err(|error| invalid(format!("the URL is none: {error}")))?;
        let mut url = checked(url)?;
        if let Some(origin) = &plan.origin
            && url.origin().ascii_serialization() != *origin
        {
            return Err(invalid(format!(
                "the URL leads to {}, and `origin` is {origin}",
                url.origin().ascii_serialization()
            )));
        }
        for (name, part) in &plan.query {
            for text in self.texts(part, name)? {
                url.query_pairs_mut().append_pair(name, &text);
            }
        }
        checked(url)
    }

    /// The headers of the manifest and ours, which those replace; an empty one takes ours away.
    fn headers(&self, parts: &[(String, Part)], key: Option<&str>) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, header_value("the key", &visible(key))?);
        }
        for (name, part) in parts {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("{name} is no header")))?;
            headers.remove(&name);
            for text in self.texts(part, name.as_str())? {
                if !text.is_empty() {
                    let value = header_value(name.as_str(), &text)?;
                    headers.append(name.clone(), value);
                }
            }
        }
        Ok(headers)
    }

    /// A text as it is, anything else as JSON or, where the manifest's Content-Type says so, as a form.
    fn body(&self, node: &Node, headers: &mut HeaderMap) -> Result<Option<Vec<u8>>, Failure> {
        let (bytes, kind) = if let Some(text) = self.text_body(node)? {
            (text.into_bytes(), "text/plain; charset=utf-8")
        } else {
            let mut json = Vec::new();
            self.push(node, &mut json)?;
            if matches!(node, Node::Part(_)) && json == b"null" {
                return Ok(None);
            }
            let kind = headers.get(header::CONTENT_TYPE);
            if kind.is_some_and(|kind| kind.as_bytes().starts_with(FORM.as_bytes())) {
                json = form(&json)?;
            }
            (json, "application/json")
        };
        headers
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static(kind));
        Ok(Some(bytes))
    }

    fn text_body(&self, node: &Node) -> Result<Option<String>, Failure> {
        Ok(match node {
            Node::Part(Part::Text(pieces)) => Some(self.literal(pieces)),
            Node::Part(Part::Slot(slot)) => serde_json::from_str(self.slot(*slot)?.get()).ok(),
            Node::Value(_) | Node::List(_) | Node::Object(_) => None,
        })
    }

    /// Writes a part of the body as JSON. A value keeps the text it came in.
    fn push(&self, node: &Node, out: &mut Vec<u8>) -> Result<(), Failure> {
        match node {
            Node::Part(Part::Text(pieces)) => push_text(&self.literal(pieces), out),
            Node::Part(Part::Slot(slot)) => push_one_line(self.slot(*slot)?.get(), out),
            Node::Value(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Node::List(nodes) => {
                out.push(b'[');
                for (at, node) in nodes.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    self.push(node, out)?;
                }
                out.push(b']');
            }
            Node::Object(fields) => {
                out.push(b'{');
                for (at, (name, node)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    push_text(name, out);
                    out.push(b':');
                    self.push(node, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn header_value(name: &str, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        invalid(format!(
            "the header {name} would have a line end or another control character"
        ))
    })
}

/// A key in the characters of a header: an item's own id may be anything.
fn visible(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            text.push('%');
            text.extend([byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)])));
        }
    }
    text
}

/// A single value as a text.
fn plain(value: &Value, what: &str) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(invalid(format!(
            "{what} is more than texts, numbers and a list of them"
        ))),
    }
}

/// An object as a form: a field for each of its own, several where it is a list.
fn form(json: &[u8]) -> Result<Vec<u8>, Failure> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(json) else {
        return Err(invalid("the body of a form is no object".to_owned()));
    };
    let mut url = Url::parse("http://x/").map_err(|error| invalid(error.to_string()))?;
    for (name, value) in &fields {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_) => {
                std::slice::from_ref(value)
            }
        };
        for value in values {
            let text = plain(value, name)?;
            url.query_pairs_mut().append_pair(name, &text);
        }
    }
    Ok(url.query().unwrap_or_default().as_bytes().to_vec())
}
