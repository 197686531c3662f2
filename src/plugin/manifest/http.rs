//! `[http]` of a manifest: the request that is made for each record, and what its responses mean.
//!
//! A text is literal and may name secrets, `${secret:NAME}`, or it is a JSONata expression, `{% .. %}`.
//! What is literal stays with the worker; of an expression the worker is given the value, in a slot of
//! its own. Invariant: so no data is ever read as a template, and no secret is ever part of data.

use std::{collections::BTreeMap, str::FromStr as _, time::Duration};

use reqwest::{
    Method, Url,
    header::{HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ManifestError, invalid};
use crate::time::parse_duration;

/// The keys of `[http]`.
pub(super) const KEYS: &[&str] = &[
    "url",
    "origin",
    "method",
    "headers",
    "query",
    "body",
    "success",
    "retry_statuses",
    "retry_after",
    "response",
    "response_bytes_max",
    "results",
    "redirects",
    "connect_timeout",
];

/// Most redirects that are followed for one record; browsers follow 20 and nobody needs half.
const REDIRECTS_MAX: u8 = 10;

/// Longest time to connect, and the default: a server that takes longer is not there.
const CONNECT_MAX: Duration = Duration::from_mins(5);
const CONNECT: Duration = Duration::from_secs(10);

/// Deepest nesting of a body; as a payload.
const DEPTH_MAX: u32 = 100;

/// Headers that say how the message itself is sent, which is the client's business.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `[http]` says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to, `http` or `https`.
    url: String,
    /// Where a `url` that is an expression may lead to: scheme, host and port. Has to be there where
    /// secrets are sent, so that no record chooses who gets them.
    origin: Option<String>,
    /// Default `POST` with a body, else `GET`.
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, toml::Value>,
    /// A text is sent as it is, anything else as JSON.
    body: Option<toml::Value>,
    /// Statuses whose response is the result; default 200 to 299.
    success: Option<Vec<toml::Value>>,
    /// Of all others, those that another try may mend; default 408, 425, 429 and 500 to 599.
    retry_statuses: Option<Vec<toml::Value>>,
    /// Whom a 429 or 503 with `Retry-After` keeps waiting.
    #[serde(default)]
    pub(crate) retry_after: RetryAfter,
    #[serde(default)]
    pub(crate) response: ResponseForm,
    pub(crate) response_bytes_max: Option<usize>,
    /// Of a batch's response, where the list of the results is: a JSON Pointer, `/data`. Default: all of it.
    pub(crate) results: Option<String>,
    /// How many redirects are followed for one record, 0 to 10.
    #[serde(default)]
    pub(crate) redirects: u8,
    connect_timeout: Option<String>,
    /// What the keys above mean; filled in when the manifest is parsed.
    #[serde(skip)]
    pub(crate) plan: Plan,
}

/// Whom a 429 or 503 with `Retry-After` keeps waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RetryAfter {
    /// All who share the limiter.
    #[default]
    Limiter,
    /// The record alone.
    Item,
    /// Nobody: a failure like others.
    Ignore,
}

/// What the result is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ResponseForm {
    /// The body, which is JSON.
    #[default]
    Json,
    /// The body as a text.
    Text,
    /// `{"status", "headers", "body"}`.
    Full,
}

/// The request that is made for each record, and the bounds round it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) method: String,
    pub(crate) url: Part,
    pub(crate) origin: Option<String>,
    pub(crate) headers: Vec<(String, Part)>,
    pub(crate) query: Vec<(String, Part)>,
    pub(crate) body: Option<Node>,
    pub(crate) success: Statuses,
    pub(crate) retry: Statuses,
    pub(crate) connect_timeout: Duration,
    /// The expressions, in the order of their slots. They are evaluated by the daemon.
    #[serde(skip)]
    pub(crate) templates: Vec<Template>,
}

/// An expression of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The key, for people: `http.headers.X-Tenant`.
    pub place: String,
    /// Without `{%` and `%}`.
    pub text: String,
}

/// A text of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Text(Vec<Piece>),
    /// The value of an expression.
    Slot(usize),
}

impl Default for Part {
    fn default() -> Self {
        Self::Text(Vec::new())
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(pieces) if pieces.is_empty())
    }

    pub(crate) fn has_secret(&self) -> bool {
        matches!(self, Self::Text(pieces) if pieces.iter().any(|it| matches!(it, Piece::Secret(_))))
    }
}

/// A piece of a literal text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    Literal(String),
    /// The value of this secret.
    Secret(String),
}

/// A value of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Node {
    Part(Part),
    Value(Value),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn has_secret(&self) -> bool {
        match self {
            Self::Part(part) => part.has_secret(),
            Self::Value(_) => false,
            Self::List(nodes) => nodes.iter().any(Self::has_secret),
            Self::Object(fields) => fields.iter().any(|(_, node)| node.has_secret()),
        }
    }
}

/// Ranges of statuses, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    pub(crate) fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&status))
    }

    fn of(key: &'static str, values: &[toml::Value]) -> Result<Self, ManifestError> {
        let range = |value: &toml::Value| {
            let number = |text: &str| {
                let status = text.trim().parse().ok();
                status.filter(|status| (100..600).contains(status))
            };
            match value {
                toml::Value::Integer(status) => {
                    let status = number(&status.to_string())?;
                    Some((status, status))
                }
                toml::Value::String(text) => {
                    let (from, to) = text.split_once('-').unwrap_or((text, text));
                    let (from, to) = (number(from)?, number(to)?);
                    (from <= to).then_some((from, to))
                }
                toml::Value::Float(_)
                | toml::Value::Boolean(_)
                | toml::Value::Datetime(_)
                | toml::Value::Array(_)
                | toml::Value::Table(_) => None,
            }
        };
        let mut ranges = Vec::with_capacity(values.len());
        for value in values {
            match range(value) {
                Some(range) => ranges.push(range),
                None => {
                    return invalid(
                        key,
                        format!("has {value}; write statuses and ranges: [200, \"400-499\"]"),
                    );
                }
            }
        }
        Ok(Self(ranges))
    }
}

impl Http {
    /// Works out what the keys mean.
    pub(super) fn complete(
        &mut self,
        secrets: &BTreeMap<String, String>,
        bytes_max: usize,
        batch: u32,
    ) -> Result<(), ManifestError> {
        self.check_batch(batch)?;
        if self.redirects > REDIRECTS_MAX {
            return invalid(
                "http.redirects",
                format!("is {}; at most {REDIRECTS_MAX}", self.redirects),
            );
        }
        if let Some(bytes) = self.response_bytes_max
            && !(1..=bytes_max).contains(&bytes)
        {
            return invalid(
                "http.response_bytes_max",
                format!("is {bytes}; between 1 and line_bytes_max, {bytes_max}"),
            );
        }
        let mut reader = Reader {
            secrets,
            templates: Vec::new(),
        };
        let url = reader.part("http.url", "", &self.url)?;
        check_url(&url)?;
        let headers = self.read_headers(&mut reader)?;
        let query = self.read_query(&mut reader)?;
        let body = match &self.body {
            Some(body) => Some(reader.node("", body, DEPTH_MAX)?),
            None => None,
        };
        let mut plan = Plan {
            method: self.read_method()?,
            origin: self.read_origin(&url)?,
            success: match &self.success {
                Some(values) => Statuses::of("http.success", values)?,
                None => Statuses(vec![(200, 299)]),
            },
            retry: match &self.retry_statuses {
                Some(values) => Statuses::of("http.retry_statuses", values)?,
                None => Statuses(vec![(408, 408), (425, 425), (429, 429), (500, 599)]),
            },
            connect_timeout: self.read_connect_timeout()?,
            url,
            headers,
            query,
            body,
            templates: Vec::new(),
        };
        let parts = plan.headers.iter().chain(&plan.query);
        let sends_secrets = parts.into_iter().any(|(_, part)| part.has_secret())
            || plan.body.as_ref().is_some_and(Node::has_secret);
        if sends_secrets && plan.origin.is_none() && matches!(plan.url, Part::Slot(_)) {
            return invalid(
                "http.origin",
                "is missing; with a `url` that is an expression, say who may be sent the secrets: origin = \"https://api.example.com\"".to_owned(),
            );
        }
        plan.templates = reader.templates;
        self.plan = plan;
        Ok(())
    }

    /// What a batch's response means.
    fn check_batch(&self, batch: u32) -> Result<(), ManifestError> {
        if batch > 1 && self.response != ResponseForm::Json {
            return invalid(
                "http.response",
                "goes with one record at a time; the response to a batch is JSON".to_owned(),
            );
        }
        match &self.results {
            Some(_) if batch == 1 => invalid(
                "http.results",
                "goes with `batch` of more than 1".to_owned(),
            ),
            Some(pointer) if !pointer.starts_with('/') => invalid(
                "http.results",
                format!("is {pointer:?}; write a JSON Pointer: \"/data\""),
            ),
            Some(_) | None => Ok(()),
        }
    }

    fn read_method(&self) -> Result<String, ManifestError> {
        let default = if self.body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(default);
        let known = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
        ];
        if !known.contains(&method) || Method::from_str(method).is_err() {
            return invalid(
                "http.method",
                format!("is {method:?}; one of {}", known.join(", ")),
            );
        }
        if method == "GET" && self.body.is_some() {
            return invalid(
                "http.body",
                "goes with another method than GET; leave `method` out for POST".to_owned(),
            );
        }
        Ok(method.to_owned())
    }

    fn read_origin(&self, url: &Part) -> Result<Option<String>, ManifestError> {
        let Some(text) = &self.origin else {
            return Ok(None);
        };
        if !matches!(url, Part::Slot(_)) {
            return invalid(
                "http.origin",
                "goes with a `url` that is an expression; a literal one has its own".to_owned(),
            );
        }
        match Url::parse(text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.path() == "/"
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none() =>
            {
                Ok(Some(url.origin().ascii_serialization()))
            }
            Ok(_) | Err(_) => invalid(
                "http.origin",
                format!("is {text:?}; write scheme, host and port: \"https://api.example.com\""),
            ),
        }
    }

    fn read_connect_timeout(&self) -> Result<Duration, ManifestError> {
        let Some(text) = &self.connect_timeout else {
            return Ok(CONNECT);
        };
        match parse_duration(text) {
            Ok(time) if !time.is_zero() && time <= CONNECT_MAX => Ok(time),
            Ok(_) => invalid(
                "http.connect_timeout",
                format!("is {text:?}; more than nothing, at most 5m"),
            ),
            Err(problem) => invalid("http.connect_timeout", format!("is wrong: {problem}")),
        }
    }

    fn read_headers(&self, reader: &mut Reader<'_>) -> Result<Vec<(String, Part)>, ManifestError> {
        let mut headers: Vec<(String, Part)> = Vec::new();
        for (name, text) in &self.headers {
            let Ok(known) = HeaderName::from_bytes(name.as_bytes()) else {
                return invalid("http.headers", format!("has {name:?}, which is no name"));
            };
            if OWN_HEADERS.contains(&known.as_str()) {
                return invalid(
                    "http.headers",
                    format!("has {name}, which iterd sets itself; leave it out"),
                );
            }
            if headers.iter().any(|(other, _)| other == known.as_str()) {
                return invalid("http.headers", format!("has {name} twice"));
            }
            let part = reader.part("http.headers", name, text)?;
            if let Part::Text(pieces) = &part
                && pieces.iter().any(|piece| match piece {
                    Piece::Literal(text) => HeaderValue::from_bytes(text.as_bytes()).is_err(),
                    Piece::Secret(_) => false,
                })
            {
                return invalid(
                    "http.headers",
                    format!("gives {name} a value with a line end or another control character"),
                );
            }
            headers.push((known.as_str().to_owned(), part));
        }
        Ok(headers)
    }

    fn read_query(&self, reader: &mut Reader<'_>) -> Result<Vec<(String, Part)>, ManifestError> {
        let mut query = Vec::new();
        for (name, value) in &self.query {
            let list = value.as_array().map(Vec::as_slice);
            let values = list.unwrap_or(std::slice::from_ref(value));
            for value in values {
                let part = match value {
                    toml::Value::String(text) => reader.part("http.query", name, text)?,
                    toml::Value::Array(_) | toml::Value::Table(_) => {
                        return invalid(
                            "http.query",
                            format!("gives {name} more than texts, numbers and lists of them"),
                        );
                    }
                    plain @ (toml::Value::Integer(_)
                    | toml::Value::Float(_)
                    | toml::Value::Boolean(_)
                    | toml::Value::Datetime(_)) => {
                        Part::Text(vec![Piece::Literal(plain.to_string())])
                    }
                };
                query.push((name.clone(), part));
            }
        }
        Ok(query)
    }
}

/// A literal URL is one, as far as it can be told before its secrets are in.
fn check_url(url: &Part) -> Result<(), ManifestError> {
    let Part::Text(pieces) = url else {
        return Ok(());
    };
    let filled: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.as_str(),
            Piece::Secret(_) => "secret",
        })
        .collect();
    let problem = match Url::parse(&filled) {
        _ if url.is_empty() => "is empty".to_owned(),
        Err(error) => format!("is {filled:?}: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            format!("is {filled:?}; http:// or https://")
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "names a user; write an Authorization header".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    invalid("http.url", problem)
}

/// Reads texts and counts the slots.
struct Reader<'a> {
    secrets: &'a BTreeMap<String, String>,
    templates: Vec<Template>,
}

impl Reader<'_> {
    fn part(&mut self, key: &'static str, name: &str, text: &str) -> Result<Part, ManifestError> {
        let dot = if name.is_empty() { "" } else { "." };
        if let Some(rest) = text.strip_prefix("{%") {
            let Some(inner) = rest.strip_suffix("%}") else {
                return invalid(
                    key,
                    format!("has {text:?}; an expression is all of its text, and ends with %}}"),
                );
            };
            self.templates.push(Template {
                place: format!("{key}{dot}{name}"),
                text: inner.trim().to_owned(),
            });
            return Ok(Part::Slot(self.templates.len() - 1));
        }
        if text.ends_with("%}") {
            return invalid(
                key,
                format!("has {text:?}; an expression is all of its text, and begins with {{%"),
            );
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${secret:") {
            if !before.is_empty() {
                pieces.push(Piece::Literal(before.to_owned()));
            }
            let Some((secret, after)) = after.split_once('}') else {
                return invalid(key, format!("has {text:?}; ${{secret:NAME}} lacks its }}"));
            };
            if !self.secrets.contains_key(secret) {
                return invalid(
                    key,
                    format!("has ${{secret:{secret}}}, which `secrets` does not name"),
                );
            }
            pieces.push(Piece::Secret(secret.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Part::Text(pieces))
    }

    fn node(&mut self, name: &str, value: &toml::Value, depth: u32) -> Result<Node, ManifestError> {
        if depth == 0 {
            return invalid("http.body", "nests too deep".to_owned());
        }
        let inner = |part: &str| {
            if name.is_empty() {
                part.to_owned()
            } else {
                format!("{name}.{part}")
            }
        };
        Ok(match value {
            toml::Value::String(text) => Node::Part(self.part("http.body", name, text)?),
            toml::Value::Integer(number) => Node::Value((*number).into()),
            toml::Value::Float(number) => Node::Value((*number).into()),
            toml::Value::Boolean(value) => Node::Value((*value).into()),
            toml::Value::Datetime(at) => Node::Value(at.to_string().into()),
            toml::Value::Array(values) => {
                let nodes = values.iter().enumerate();
                let nodes =
                    nodes.map(|(at, value)| self.node(&inner(&at.to_string()), value, depth - 1));
                Node::List(nodes.collect::<Result<_, _>>()?)
            }
            toml::Value::Table(table) => {
                let fields = table.iter().map(|(field, value)| {
                    let node = self.node(&inner(field), value, depth - 1)?;
                    Ok((field.clone(), node))
                });
                Node::Object(fields.collect::<Result<_, ManifestError>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;

    fn parsed(rest: &str) -> Result<Plan, String> {
        let text = format!(
            "name = \"a\"\nhost = \"http\"\nsecrets = {{ KEY = \"env:K\" }}\n[http]\n{rest}"
        );
        match Manifest::parse(&text) {
            Ok(manifest) => Ok(manifest.http.unwrap().plan),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn expressions_get_slots_and_secrets_stay_names() {
        let plan = parsed(
            r#"
            url = "{% 'https://a.example/' & $item.id %}"
            origin = "https://a.example:443"
            headers = { Authorization = "Bearer ${secret:KEY}", X-B = "{% $item.b %}" }
            query = { q = ["{% $item.q %}", "two"], n = 1 }
            body = { all = "{% $item %}", list = [1, "{% $call.key %}"], more = { x = true } }
            "#,
        )
        .unwrap();
        let places: Vec<&str> = plan.templates.iter().map(|it| it.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "http.url",
                "http.headers.X-B",
                "http.query.q",
                "http.body.all",
                "http.body.list.1"
            ]
        );
        assert_eq!(plan.origin.as_deref(), Some("https://a.example"));
        assert_eq!(plan.method, "POST");
        assert_eq!(
            plan.headers[0].1,
            Part::Text(vec![
                Piece::Literal("Bearer ".to_owned()),
                Piece::Secret("KEY".to_owned())
            ])
        );
        assert_eq!(plan.query.len(), 3);
        assert_eq!(plan.url, Part::Slot(0));
    }

    #[test]
    fn statuses_are_numbers_and_ranges() {
        let plan = parsed("url = \"https://a.example\"\nsuccess = [200, \"404-410\"]").unwrap();
        assert_eq!(plan.method, "GET");
        for (status, success) in [(200, true), (201, false), (404, true), (410, true)] {
            assert_eq!(plan.success.contains(status), success, "{status}");
        }
        for (status, retry) in [(400, false), (408, true), (429, true), (503, true)] {
            assert_eq!(plan.retry.contains(status), retry, "{status}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_mend() {
        let url = "url = \"https://a.example\"";
        for (rest, expected) in [
            ("", "missing field `url`"),
            ("url = \"\"", "`http.url` is empty"),
            ("url = \"ftp://a.example\"", "http:// or https://"),
            ("url = \"a.example\"", "`http.url` is"),
            ("url = \"https://u:p@a.example\"", "Authorization header"),
            ("url = \"{% $item.url\"", "ends with %}"),
            (&format!("{url}\nbody = [\"x %}}\"]"), "begins with {%"),
            (
                "urll = \"x\"",
                "unknown key `http.urll`; did you mean `url`?",
            ),
            (
                &format!("{url}\nheaders = {{ A = \"${{secret:OTHER}}\" }}"),
                "which `secrets` does not name",
            ),
            (
                &format!("{url}\nheaders = {{ A = \"${{secret:KEY\" }}"),
                "lacks its }",
            ),
            (
                &format!("{url}\nheaders = {{ \"A B\" = \"1\" }}"),
                "is no name",
            ),
            (
                &format!("{url}\nheaders = {{ A = \"1\\r\\nB: 2\" }}"),
                "a line end",
            ),
            (
                &format!("{url}\nheaders = {{ Host = \"b\" }}"),
                "iterd sets itself",
            ),
            (
                &format!("{url}\nheaders = {{ A = \"1\", a = \"2\" }}"),
                "twice",
            ),
            (
                &format!("{url}\nquery = {{ A = {{ b = 1 }} }}"),
                "lists of them",
            ),
            (&format!("{url}\nmethod = \"post\""), "one of GET"),
            (
                &format!("{url}\nmethod = \"GET\"\nbody = \"x\""),
                "another method than GET",
            ),
            (&format!("{url}\nsuccess = [99]"), "has 99"),
            (&format!("{url}\nsuccess = [\"299-200\"]"), "ranges"),
            (&format!("{url}\nredirects = 11"), "at most 10"),
            (
                &format!("{url}\nresponse_bytes_max = 100000000"),
                "line_bytes_max, 8388608",
            ),
            (&format!("{url}\nconnect_timeout = \"1h\""), "at most 5m"),
            (&format!("{url}\nconnect_timeout = \"soon\""), "no duration"),
            (
                &format!("{url}\norigin = \"https://a.example\""),
                "a literal one has its own",
            ),
            (
                "url = \"{% $item.url %}\"\nheaders = { A = \"${secret:KEY}\" }",
                "`http.origin` is missing",
            ),
            (
                "url = \"{% $item.url %}\"\norigin = \"https://a.example/x\"",
                "scheme, host and port",
            ),
            (&format!("{url}\nresponse = \"xml\""), "unknown variant"),
            (
                &format!("{url}\nresults = \"/data\""),
                "goes with `batch` of more than 1",
            ),
        ] {
            let message = parsed(rest).unwrap_err();
            assert!(message.contains(expected), "{rest}: {message}");
        }
    }
}
