//! The request of a task: what its parameters and its connection say, put together.
//!
//! Pure. Owns what is refused: a field that is missing or none, a header that is not a task's to set, and a
//! host that the connection does not name. Invariant: a connection's values stand in the place of a task's.

use hyper::{
    Uri,
    body::Bytes,
    http::{self, HeaderMap, HeaderName, HeaderValue, Method, header},
};
use serde_json::{Map, Value};

use super::{
    form::{self, ArrayFormat},
    refuse,
};
use crate::{
    config::{ConnectionHost, ConnectionSpec, is_safe},
    payload::Failure,
};

/// What servers are told of who asks.
pub(super) const USER_AGENT: &str = concat!("iterd/", env!("CARGO_PKG_VERSION"));

/// Longest URL, in bytes; servers take 8 KiB.
const URL_BYTES_MAX: usize = 32 << 10;

/// Most values of headers, and of parameters of the query; servers take a hundred headers.
const VALUES_MAX: usize = 1000;

const JSON: &str = "application/json; charset=UTF-8";
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a task's parameters.
const FIELDS: [&str; 8] = [
    "ApiEndpoint",
    "Authentication",
    "Headers",
    "InvocationConfig",
    "Method",
    "QueryParameters",
    "RequestBody",
    "Transform",
];

/// Spec: the methods of an HTTP task.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::HEAD,
];

/// Headers that are not a task's to set. Spec: AWS's list, and `content-length`, which the body says.
const REFUSED: [&str; 33] = [
    "a-im",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authorization",
    "referer",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "warning",
];

/// What the names of others begin with.
const REFUSED_PREFIXES: [&str; 3] = ["x-forwarded-", "x-amz-", "x-amzn-"];

/// A request without the header that its secret goes in.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// The name of the connection that a task's parameters say.
pub(super) fn connection(parameters: &Value) -> Result<&str, Failure> {
    let sections = ["InvocationConfig", "Authentication"];
    let mut arns = sections
        .iter()
        .filter_map(|section| parameters.get(section)?.get("ConnectionArn"));
    let Some(arn) = arns.next() else {
        return Err(refuse(
            "the field 'ConnectionArn' is missing; write \"InvocationConfig\": {\"ConnectionArn\": \"arn:aws:events:REGION:ACCOUNT:connection/NAME\"}",
        ));
    };
    let name = arn.as_str().and_then(|arn| {
        let rest = arn.strip_prefix("arn:")?;
        let (_, rest) = rest.split_once(":events:")?;
        let (_, resource) = rest.split_once(":connection/")?;
        // What AWS puts behind the name, settings do not know.
        let (name, id) = resource.split_once('/').unwrap_or((resource, ""));
        (!name.is_empty() && !id.contains('/')).then_some(name)
    });
    name.ok_or_else(|| {
        refuse(format!(
            "the field 'ConnectionArn' is {arn}, which is no ARN of a connection; write \"arn:aws:events:REGION:ACCOUNT:connection/NAME\""
        ))
    })
}

impl Request {
    /// What parameters and a connection say.
    pub(super) fn new(
        parameters: &Value,
        name: &str,
        connection: &ConnectionSpec,
    ) -> Result<Self, Failure> {
        let fields = parameters.as_object();
        let unknown = fields.and_then(|fields| {
            let mut names = fields.keys();
            names.find(|name| !FIELDS.contains(&name.as_str()))
        });
        if let Some(unknown) = unknown {
            return Err(refuse(format!(
                "the field {unknown:?} is not known; there are {}",
                FIELDS.join(", ")
            )));
        }
        let mut headers = headers(parameters, connection)?;
        let body = body(parameters, connection, &mut headers)?;
        Ok(Self {
            method: method(parameters)?,
            url: url(parameters, name, connection)?,
            headers,
            body: Bytes::from(body),
        })
    }

    /// With the header that the secret goes in.
    pub(super) fn proved(&self, name: &str, value: HeaderValue) -> Option<http::Request<Bytes>> {
        let mut request = http::Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().insert(name, value);
        Some(request)
    }
}

fn text<'p>(parameters: &'p Value, field: &str) -> Result<&'p str, Failure> {
    match parameters.get(field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(refuse(format!(
            "the field '{field}' is no text: {}",
            begin(&other.to_string())
        ))),
        None => Err(refuse(format!("the required field '{field}' is missing"))),
    }
}

fn method(parameters: &Value) -> Result<Method, Failure> {
    let written = text(parameters, "Method")?;
    let known = METHODS.iter().find(|method| method.as_str() == written);
    known.cloned().ok_or_else(|| {
        let all: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
        refuse(format!(
            "the field 'Method' is {:?}; there are {}",
            begin(written),
            all.join(", ")
        ))
    })
}

/// Where it goes: nowhere but to a host of the connection.
fn url(parameters: &Value, name: &str, connection: &ConnectionSpec) -> Result<Uri, Failure> {
    let written = text(parameters, "ApiEndpoint")?;
    let refuse = |why: &str| {
        // Why cut at the sign: behind it stand values, which may be anything.
        let told = written.split(['?', '#', '@']).next().unwrap_or_default();
        refuse(format!(
            "the field 'ApiEndpoint' is {:?}, which {why}",
            begin(told)
        ))
    };
    if written.len() > URL_BYTES_MAX {
        return Err(refuse("is too long: at most 32 KiB"));
    }
    let none = "is no absolute URL; write for example \"https://api.example.com/items\"";
    let url: Uri = written.parse().map_err(|_| refuse(none))?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(refuse(none));
    };
    if authority.as_str().contains('@') {
        return Err(refuse("names a user; that is the connection's to say"));
    }
    let host = ConnectionHost::parse(authority.as_str())
        .map_err(|why| refuse(&format!("names no host: {why}")))?;
    if !is_safe(scheme, &host.name) {
        return Err(refuse(
            "is not https, without which only this machine is asked",
        ));
    }
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = |host: &ConnectionHost| host.port.unwrap_or(usual);
    let mut hosts = connection.hosts.iter();
    if !hosts.any(|known| known.name == host.name && port(known) == port(&host)) {
        return Err(refuse(&format!(
            "leads to {}, where the connection {name} does not go; write it into hosts of [connections.{name}] in iterd.toml if it is meant",
            host.show()
        )));
    }
    let query = query(parameters, connection)?;
    let own: Vec<&str> = url
        .query()
        .into_iter()
        .flat_map(|own| own.split('&'))
        // Why: of two values of a name, a server may take the first as well as the last.
        .filter(|pair| {
            !connection
                .query
                .keys()
                .any(|name| form::is_named(pair, name))
        })
        .collect();
    let own = own.join("&");
    if query.is_empty() {
        return Ok(url);
    }
    let sign = if own.is_empty() { "" } else { "&" };
    let path = url.path();
    let whole = format!("{scheme}://{authority}{path}?{own}{sign}{query}");
    if whole.len() > URL_BYTES_MAX {
        return Err(refuse("is too long with its query: at most 32 KiB"));
    }
    whole.parse().map_err(|_| refuse(none))
}

/// The values of a field: those of its members, in their order.
fn values(parameters: &Value, field: &str) -> Result<Vec<(String, String)>, Failure> {
    let members = match parameters.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(refuse(format!("the field '{field}' is no object"))),
    };
    let mut all = Vec::new();
    for (name, value) in members {
        let several = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => std::slice::from_ref(value),
        };
        for value in several {
            let text = form::plain(value).ok_or_else(|| {
                refuse(format!(
                    "the value {:?} of the field '{field}' is neither a text nor a list of texts",
                    begin(name)
                ))
            })?;
            all.push((name.clone(), text));
        }
        if all.len() > VALUES_MAX {
            return Err(refuse(format!(
                "the field '{field}' has more than {VALUES_MAX} values"
            )));
        }
    }
    Ok(all)
}

fn query(parameters: &Value, connection: &ConnectionSpec) -> Result<String, Failure> {
    let mut all = values(parameters, "QueryParameters")?;
    all.retain(|(name, _)| !connection.query.contains_key(name));
    let own = connection.query.iter();
    let pairs = all.iter().map(|(name, value)| (name, value)).chain(own);
    Ok(form::pairs(
        pairs.map(|(name, value)| (name.as_str(), value.as_str())),
    ))
}

fn headers(parameters: &Value, connection: &ConnectionSpec) -> Result<HeaderMap, Failure> {
    let all = values(parameters, "Headers")?;
    let lower = |name: &str| name.to_ascii_lowercase();
    let refused: Vec<String> = all
        .iter()
        .map(|(name, _)| lower(name))
        .filter(|name| {
            REFUSED.contains(&name.as_str())
                || REFUSED_PREFIXES
                    .iter()
                    .any(|begins| name.starts_with(begins))
        })
        .collect();
    if !refused.is_empty() {
        // Spec: AWS's words.
        return Err(refuse(format!(
            "The 'Headers' field contains unsupported values: [{}]",
            begin(&refused.join(", "))
        )));
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let mut named = Vec::new();
    for (name, value) in all {
        let (name, value) = header_of(&name, &value)?;
        // Ours is replaced, what a task says several times is not.
        if named.contains(&name) {
            headers.append(name, value);
        } else {
            named.push(name.clone());
            headers.insert(name, value);
        }
    }
    for (name, value) in &connection.headers {
        let (name, value) = header_of(name, value)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        refuse(format!(
            "{:?} in the field 'Headers' is no name of a header",
            begin(name)
        ))
    })?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        refuse(format!(
            "the header {name} would have a line end or another control character"
        ))
    })?;
    Ok((known, value))
}

/// Empty where there is none.
fn body(
    parameters: &Value,
    connection: &ConnectionSpec,
    headers: &mut HeaderMap,
) -> Result<Vec<u8>, Failure> {
    let format = format(parameters)?;
    let said = parameters.get("RequestBody").filter(|said| !said.is_null());
    let mut body = match said {
        Some(said) => said.clone(),
        None if connection.body.is_empty() => return Ok(Vec::new()),
        None => Value::Object(Map::new()),
    };
    if !connection.body.is_empty() {
        let Value::Object(fields) = &mut body else {
            return Err(refuse(
                "the field 'RequestBody' is no object, and the connection has fields to add to it",
            ));
        };
        fields.extend(connection.body.clone());
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let plain = kind.is_some_and(|kind| !is_json(kind.to_str().unwrap_or_default()));
    let (bytes, kind) = match (format, body) {
        (Some(format), Value::Object(fields)) => (form::form(&fields, format)?.into_bytes(), FORM),
        (Some(_), _) => {
            return Err(refuse(
                "the field 'RequestBody' is no object, which the RequestBodyEncoding URL_ENCODED wants",
            ));
        }
        // A text that is said to be something else than JSON is that.
        (None, Value::String(text)) if plain => (text.into_bytes(), JSON),
        (None, body) => (body.to_string().into_bytes(), JSON),
    };
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static(kind));
    Ok(bytes)
}

/// How a form's lists are written; `None`: it is no form.
fn format(parameters: &Value) -> Result<Option<ArrayFormat>, Failure> {
    let transform = parameters.get("Transform");
    let encoding = transform.and_then(|transform| transform.get("RequestBodyEncoding"));
    let options = transform.and_then(|transform| transform.get("RequestEncodingOptions"));
    let format = options.and_then(|options| options.get("ArrayFormat"));
    let format = match format {
        None => ArrayFormat::Indices,
        Some(written) => {
            let mut known = ArrayFormat::ALL.into_iter();
            let found = known.find(|(name, _)| written.as_str() == Some(*name));
            let (_, format) = found.ok_or_else(|| {
                refuse(format!(
                    "the field 'ArrayFormat' is {}; there are INDICES, REPEAT, COMMAS and BRACKETS",
                    begin(&written.to_string())
                ))
            })?;
            format
        }
    };
    match encoding.map(|encoding| (encoding, encoding.as_str())) {
        None | Some((_, Some("NONE"))) => Ok(None),
        Some((_, Some("URL_ENCODED"))) => Ok(Some(format)),
        Some((other, _)) => Err(refuse(format!(
            "the field 'RequestBodyEncoding' is {}; there are NONE and URL_ENCODED",
            begin(&other.to_string())
        ))),
    }
}

/// Whether a Content-Type is one of JSON.
pub(super) fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// The beginning of what a task said.
fn begin(text: &str) -> &str {
    /// An error is read at a glance.
    const TOLD_CHARS_MAX: usize = 200;
    let end = text.char_indices().nth(TOLD_CHARS_MAX);
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::config::ConnectionKind;

    const ARN: &str =
        "arn:aws:events:us-east-1:000000000000:connection/crm/81210c42-8af1-456b-9c4a";

    fn spec() -> ConnectionSpec {
        let hosts = ["api.example.com", "127.0.0.1:9000", "10.1.2.3:8443"];
        ConnectionSpec {
            kind: ConnectionKind::Basic {
                user: "u".to_owned(),
                password: "env:P".to_owned(),
            },
            hosts: hosts
                .map(|host| ConnectionHost::parse(host).unwrap())
                .into(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            body: Map::new(),
        }
    }

    fn made(parameters: &Value, spec: &ConnectionSpec) -> Result<http::Request<Bytes>, Failure> {
        let mut all = json!({"ApiEndpoint": "https://api.example.com/v1", "Method": "POST"});
        let fields = parameters.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(fields);
        let request = Request::new(&all, "crm", spec)?;
        Ok(request
            .proved("authorization", HeaderValue::from_static("Basic x"))
            .unwrap())
    }

    fn refused(parameters: &Value) -> String {
        let failure = made(parameters, &spec()).unwrap_err();
        assert_eq!(failure.error, "States.Runtime");
        failure.cause
    }

    #[test]
    fn a_connection_is_named_by_its_arn() {
        for section in ["InvocationConfig", "Authentication"] {
            let said = json!({section: {"ConnectionArn": ARN}});
            assert_eq!(connection(&said).unwrap(), "crm");
        }
        let bare = "arn:aws-cn:events:cn-north-1:1:connection/crm";
        let said = json!({"InvocationConfig": {"ConnectionArn": bare}});
        assert_eq!(connection(&said).unwrap(), "crm");
        for arn in [
            json!("crm"),
            json!(1),
            json!("arn:aws:events:r:1:connection/"),
        ] {
            let said = json!({"InvocationConfig": {"ConnectionArn": arn}});
            let cause = connection(&said).unwrap_err().cause;
            assert!(cause.contains(&arn.to_string()), "{cause}");
        }
        let none = connection(&json!({"InvocationConfig": {}})).unwrap_err();
        assert!(
            none.cause.contains("'ConnectionArn' is missing"),
            "{}",
            none.cause
        );
    }

    #[test]
    fn a_request_goes_to_hosts_of_its_connection_alone() {
        for url in [
            "https://api.example.com",
            "https://API.example.com:443/x?y=1",
            "http://127.0.0.1:9000/x",
            "https://10.1.2.3:8443/",
        ] {
            made(&json!({"ApiEndpoint": url}), &spec()).unwrap();
        }
        for (url, why) in [
            (
                "https://other.example.com/",
                "leads to other.example.com, where the connection crm does not go",
            ),
            (
                "https://api.example.com:8443/",
                "leads to api.example.com:8443",
            ),
            (
                "https://api.example.com.other/",
                "leads to api.example.com.other",
            ),
            ("https://api.example.com@other/", "names a user"),
            ("https://127.0.0.1/", "leads to 127.0.0.1"),
            (
                "https://169.254.169.254/",
                "no address that a connection goes to",
            ),
            ("http://api.example.com/", "is not https"),
            ("http://10.1.2.3:8443/", "is not https"),
            ("ftp://api.example.com/", "is not https"),
            ("api.example.com", "no absolute URL"),
            ("/x", "no absolute URL"),
            ("https://api.example.com/a b", "no absolute URL"),
            ("https://api.example.com\\@other/", "no absolute URL"),
            ("", "no absolute URL"),
        ] {
            let cause = refused(&json!({"ApiEndpoint": url}));
            assert!(cause.contains(why), "{url}: {cause}");
        }
    }

    #[test]
    fn what_makes_no_request_is_refused() {
        for (parameters, why) in [
            (
                json!({"Method": "TRACE"}),
                "'Method' is \"TRACE\"; there are GET, POST",
            ),
            (json!({"Method": 1}), "'Method' is no text: 1"),
            (
                json!({"Headers": {"Host": "x", "X-Forwarded-For": "y", "A": "z"}}),
                "unsupported values: [host, x-forwarded-for]",
            ),
            (
                json!({"Headers": {"Authorization": "x"}}),
                "unsupported values: [authorization]",
            ),
            (
                json!({"Headers": {"A": "x\ny"}}),
                "the header A would have a line end",
            ),
            (
                json!({"Headers": {"a b": "x"}}),
                "\"a b\" in the field 'Headers'",
            ),
            (json!({"Headers": "A: b"}), "'Headers' is no object"),
            (
                json!({"QueryParameters": {"a": {}}}),
                "\"a\" of the field 'QueryParameters'",
            ),
            (json!({"Body": {}}), "the field \"Body\" is not known"),
            (
                json!({"RequestBody": "x", "Transform": {"RequestBodyEncoding": "URL_ENCODED"}}),
                "is no object",
            ),
            (
                json!({"Transform": {"RequestBodyEncoding": "GZIP"}}),
                "is \"GZIP\"; there are NONE",
            ),
            (
                json!({"Transform": {"RequestEncodingOptions": {"ArrayFormat": "x"}}}),
                "is \"x\"; there are INDICES",
            ),
        ] {
            let cause = refused(&parameters);
            assert!(cause.contains(why), "{parameters}: {cause}");
        }
    }

    #[test]
    fn what_a_connection_says_stands_in_the_place_of_what_a_task_says() {
        let text = |text: &str| text.to_owned();
        let spec = ConnectionSpec {
            headers: BTreeMap::from([(text("Header-Param"), text("connection"))]),
            query: BTreeMap::from([(text("q"), text("a b"))]),
            body: json!({"BodyParam": "connection"})
                .as_object()
                .unwrap()
                .clone(),
            ..spec()
        };
        let request = made(
            &json!({
                "ApiEndpoint": "https://api.example.com/v1?q=url&x=1&%71=url&q",
                "Headers": {"header-param": "task", "Many": ["1", 2]},
                "QueryParameters": {"q": "task", "l": ["1", "2"], "n": 1.5},
                "RequestBody": {"Job": "x", "BodyParam": "task"},
            }),
            &spec,
        );
        let request = request.unwrap();
        assert_eq!(
            request.uri(),
            "https://api.example.com/v1?x=1&l=1&l=2&n=1.5&q=a%20b"
        );
        let bare = made(
            &json!({"ApiEndpoint": "https://api.example.com?q=1"}),
            &spec,
        );
        assert_eq!(bare.unwrap().uri(), "https://api.example.com/?q=a%20b");
        let headers = request.headers();
        assert_eq!(headers["header-param"], "connection");
        let many: Vec<_> = headers.get_all("many").iter().collect();
        assert_eq!(many, ["1", "2"]);
        assert_eq!(headers["content-type"], JSON);
        assert_eq!(headers["authorization"], "Basic x");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, json!({"Job": "x", "BodyParam": "connection"}));
        let alone = made(&json!({}), &spec).unwrap();
        assert_eq!(alone.body(), &Bytes::from(r#"{"BodyParam":"connection"}"#));
        let failure = made(&json!({"RequestBody": "x"}), &spec).unwrap_err();
        assert_eq!(failure.error, "States.Runtime");
    }

    #[test]
    fn a_body_is_json_a_form_or_a_text_that_is_said_to_be_one() {
        let body = |parameters: &Value| {
            let request = made(parameters, &spec()).unwrap();
            let kind = request.headers().get("content-type").cloned();
            let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
            (String::from_utf8(request.body().to_vec()).unwrap(), kind)
        };
        let said = |body: &str, kind: &str| (body.to_owned(), Some(kind.to_owned()));
        assert_eq!(body(&json!({})), (String::new(), None));
        assert_eq!(body(&json!({"RequestBody": [1]})), said("[1]", JSON));
        assert_eq!(body(&json!({"RequestBody": "a"})), said("\"a\"", JSON));
        let plain = json!({"RequestBody": "a", "Headers": {"Content-Type": "text/plain"}});
        assert_eq!(body(&plain), said("a", "text/plain"));
        let form = json!({"RequestBody": {"a": [1, 2]}, "Transform": {
            "RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": {"ArrayFormat": "REPEAT"},
        }});
        assert_eq!(body(&form), said("a=1&a=2", FORM));
    }
}
