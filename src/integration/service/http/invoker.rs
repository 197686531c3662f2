//! Sends the requests of tasks, and tells what comes of them.
//!
//! Owns the client, which goes to addresses of the connections' hosts alone, and the tokens. Invariant: an
//! address is judged where it is written and again as it was resolved, by the one who connects. Knows no
//! place of secrets: whoever calls says how one is looked up, which happens anew for each request.

use std::{borrow::Cow, collections::BTreeMap, io, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::{
    connection_failure, refuse,
    request::{self, Request, is_json},
    socket,
    token::Token,
};
use crate::{
    config::{ConnectionKind, ConnectionSpec},
    integration::service::{
        Pattern, ServiceTask,
        remote::{Lost, RESULT_BYTES_MAX, Response, Wire, cut, too_large},
    },
    network::{Grant, Guard, Mask},
    payload::{Failure, Payload},
};

/// How long a request may take, its token included. Spec: the quota of an HTTP task.
const PATIENCE: Duration = Duration::from_mins(1);

/// So much longer than a task's own time is waited: it is the state's clock that says `States.Timeout`.
const LATER: Duration = Duration::from_secs(1);

/// The task, for errors that name it.
const TASK: ServiceTask<'_> = ServiceTask {
    service: "http",
    action: "invoke",
    sdk: false,
    pattern: Pattern::RequestResponse,
};

/// Contents that no result holds. Spec: AWS, "Unsupported HTTP Task responses".
const NO_TEXT: [&str; 4] = ["application/octet-stream", "image/", "video/", "audio/"];

/// The value of a secret, by the key that names it (`connections.crm.password`) and its reference; why there is
/// none else, without a word of what was found. It may block for the read of a small file.
pub type LookUp = fn(&str, &str) -> Result<String, String>;

/// Sends the requests of tasks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Invoker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: BTreeMap<String, ConnectionSpec>,
    wire: Wire,
    /// Of connections that have one, by their names.
    tokens: BTreeMap<String, Token>,
}

/// What a request proves itself by.
struct Proof {
    header: HeaderValue,
    /// What of it nobody may read.
    secrets: Vec<String>,
    token: Option<String>,
}

impl Invoker {
    /// A client for these connections; nothing is sent, and no secret looked up yet.
    pub fn new(connections: &BTreeMap<String, ConnectionSpec>) -> io::Result<Self> {
        let mut hosts = Vec::new();
        let mut tokens = BTreeMap::new();
        for (name, spec) in connections {
            hosts.extend(spec.hosts.iter().map(|host| host.name.clone()));
            if let ConnectionKind::OAuth { token_url, .. } = &spec.kind {
                let url = token_url.parse::<hyper::Uri>().map_err(io::Error::other)?;
                hosts.extend(url.host().map(str::to_owned));
                tokens.insert(name.clone(), Token::default());
            }
        }
        // Why together: which of them a connection goes to, its request was asked already; what is granted
        // here is that an internal address may stand behind the name.
        let grants: Result<Vec<Grant>, String> =
            hosts.iter().map(|host| Grant::parse(host)).collect();
        let guard = Guard::new(grants.map_err(io::Error::other)?);
        Ok(Self(Arc::new(Inner {
            connections: connections.clone(),
            wire: Wire::guarded(guard)?,
            tokens,
        })))
    }

    /// Whether it was made of these.
    #[must_use]
    pub fn is_of(&self, connections: &BTreeMap<String, ConnectionSpec>) -> bool {
        self.0.connections == *connections
    }

    /// Sends a task's request, and answers its result.
    ///
    /// # Errors
    /// `States.Runtime` where the parameters make no request, or the answer is no text;
    /// `Events.ConnectionResource.` where the connection, its secret or its token is not there;
    /// `States.Http.Socket` where no answer comes; `States.Http.StatusCode.` where it is no 2xx;
    /// `States.DataLimitExceeded` where it is too large.
    pub async fn call(
        &self,
        parameters: &Value,
        timeout: Option<Duration>,
        look_up: LookUp,
    ) -> Result<Payload, Failure> {
        let patience = timeout.map_or(PATIENCE, |timeout| {
            timeout.saturating_add(LATER).min(PATIENCE)
        });
        let late = || socket(format!("no answer within {} seconds", patience.as_secs()));
        tokio::time::timeout(patience, self.ask(parameters, look_up))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn ask(&self, parameters: &Value, look_up: LookUp) -> Result<Payload, Failure> {
        let name = request::connection(parameters)?;
        let connection = self.0.connections.get(name).ok_or_else(|| {
            connection_failure(
                "ResourceNotFound",
                format!(
                    "there is no connection {name:?}; write [connections.{name}] in iterd.toml"
                ),
            )
        })?;
        let request = Request::new(parameters, name, connection)?;
        let (key, reference) = connection.kind.reference();
        let (key, reference) = (format!("connections.{name}.{key}"), reference.to_owned());
        let secret = tokio::task::spawn_blocking(move || look_up(&key, &reference)).await;
        let secret = secret
            .map_err(|error| refuse(format!("the call broke off: {error}")))?
            .map_err(|why| connection_failure("AccessDenied", why))?;
        let proof = self.proof(name, &connection.kind, &secret).await?;
        let response = self.send(&request, connection, &proof).await?;
        let (Some(token), Some(tokens), 401) =
            (&proof.token, self.0.tokens.get(name), response.status)
        else {
            return told(&response, &Mask::new(proof.secrets.iter()));
        };
        // Why sent again: it was not let in, so nothing was done; a token may end before its time.
        tokens.refused(token).await;
        let mut fresh = self.proof(name, &connection.kind, &secret).await?;
        let response = self.send(&request, connection, &fresh).await?;
        fresh.secrets.extend(proof.secrets);
        told(&response, &Mask::new(fresh.secrets.iter()))
    }

    async fn proof(
        &self,
        name: &str,
        kind: &ConnectionKind,
        secret: &str,
    ) -> Result<Proof, Failure> {
        let mut secrets = vec![secret.to_owned()];
        let mut token = None;
        let said = match kind {
            ConnectionKind::Basic { user, .. } => {
                let both = BASE64_STANDARD.encode(format!("{user}:{secret}"));
                secrets.push(both.clone());
                format!("Basic {both}")
            }
            ConnectionKind::ApiKey { .. } => secret.to_owned(),
            ConnectionKind::OAuth { .. } => {
                let tokens = self.0.tokens.get(name);
                let tokens = tokens.ok_or_else(|| refuse("the connection has no token"))?;
                let fresh = tokens.get(&self.0.wire, name, kind, secret).await?;
                secrets.push(fresh.clone());
                format!("Bearer {}", token.insert(fresh))
            }
        };
        let mut header = HeaderValue::from_bytes(said.as_bytes()).map_err(|_| {
            let (key, _) = kind.reference();
            connection_failure(
                "InvalidConnectionState",
                format!(
                    "connections.{name}.{key}: what is there has a line end or another control character in it"
                ),
            )
        })?;
        header.set_sensitive(true);
        Ok(Proof {
            header,
            secrets,
            token,
        })
    }

    async fn send(
        &self,
        request: &Request,
        connection: &ConnectionSpec,
        proof: &Proof,
    ) -> Result<Response, Failure> {
        let proved = request.proved(connection.kind.header(), proof.header.clone());
        let proved = proved.ok_or_else(|| refuse("the connection's header is none"))?;
        let sent = self.0.wire.send(proved, PATIENCE).await;
        sent.map_err(|lost| match lost {
            Lost::Unreached(why) | Lost::Broken(why) => socket(why),
            Lost::TooLarge => too_large(TASK),
        })
    }
}

/// The result of an answer, or the failure that it is.
fn told(response: &Response, mask: &Mask) -> Result<Payload, Failure> {
    let reason = StatusCode::from_u16(response.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let status = response.status;
    if !(200..300).contains(&status) {
        let name = format!("States.Http.StatusCode.{status}");
        return Err(Failure::new(name, cause(response, reason, mask)));
    }
    if response.body.len() > RESULT_BYTES_MAX {
        return Err(too_large(TASK));
    }
    let kind = response.header("content-type").unwrap_or_default();
    let lower = kind.trim_start().to_ascii_lowercase();
    if NO_TEXT.iter().any(|begins| lower.starts_with(begins)) {
        return Err(refuse(format!(
            "the answer's Content-Type is {lower:?}, which no result holds"
        )));
    }
    let text = str::from_utf8(&response.body)
        .map_err(|_| refuse("the answer is no text (UTF-8), which alone a result holds"))?;
    let text = mask.of_result(text.trim_start_matches('\u{feff}'));
    // Why its own text: numbers stay as they are written.
    let body = if is_json(kind) && Payload::parse(&*text).is_ok() {
        text
    } else {
        Cow::Owned(Value::from(text).to_string())
    };
    let whole = format!(
        "{{\"Headers\":{},\"ResponseBody\":{},\"StatusCode\":{status},\"StatusText\":{}}}",
        Value::Object(headers(response, mask)),
        body.trim(),
        Value::from(reason),
    );
    if whole.len() > RESULT_BYTES_MAX {
        return Err(too_large(TASK));
    }
    Payload::parse(whole).map_err(|error| refuse(format!("the answer is no result: {error}")))
}

fn headers(response: &Response, mask: &Mask) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in &response.headers {
        let value = Value::from(mask.of_failure(value));
        match all.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            _ => drop(all.insert(name.clone(), Value::Array(vec![value]))),
        }
    }
    all
}

/// What a refusal says; its status where it says nothing.
fn cause(response: &Response, reason: &str, mask: &Mask) -> String {
    let status = response.status;
    if let (300..400, Some(place)) = (status, response.header("location")) {
        let place = mask.of_failure(place);
        return cut(format!(
            "{status} {reason} to {place}; redirects are not followed"
        ));
    }
    let text = mask.of_failure(&String::from_utf8_lossy(&response.body));
    if text.trim().is_empty() {
        return format!("{status} {reason}");
    }
    cut(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<Payload, Failure> {
        let headers = headers.iter();
        let response = Response {
            status,
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.to_vec(),
        };
        told(&response, &Mask::new(["s3cret-key".to_owned()].iter()))
    }

    #[test]
    fn a_result_has_headers_body_and_status() {
        let json = ("content-type", "application/json; charset=utf-8");
        let headers = [json, ("a", "1"), ("a", "2"), ("echo", "s3cret-key")];
        let told = answer(200, &headers, br#" {"n": 1.0, "k": "s3cret-key"}"#).unwrap();
        assert_eq!(
            *told.value(),
            json!({
                "Headers": {"content-type": [json.1], "a": ["1", "2"], "echo": ["***"]},
                "ResponseBody": {"n": 1.0, "k": "***"}, "StatusCode": 200, "StatusText": "OK",
            })
        );
        assert!(told.text().contains("1.0"), "{}", told.text());
        for (body, kind) in [("[1", json.1), ("[1]", "text/plain"), ("", json.1)] {
            let told = answer(204, &[("content-type", kind)], body.as_bytes()).unwrap();
            assert_eq!(told.value()["ResponseBody"], body);
            assert_eq!(told.value()["StatusText"], "No Content");
        }
    }

    #[test]
    fn what_is_no_result_is_a_failure_by_its_name() {
        let large = vec![b'x'; RESULT_BYTES_MAX + 1];
        let quotes = vec![b'"'; RESULT_BYTES_MAX - 100];
        for (status, headers, body, error, cause) in [
            (
                404,
                ("a", "b"),
                &b"no s3cret-key"[..],
                "States.Http.StatusCode.404",
                "no ***",
            ),
            (
                503,
                ("a", "b"),
                b" ",
                "States.Http.StatusCode.503",
                "503 Service Unavailable",
            ),
            (
                302,
                ("location", "/x"),
                b"y",
                "States.Http.StatusCode.302",
                "302 Found to /x; redirects are not followed",
            ),
            (
                200,
                ("a", "b"),
                &large,
                "States.DataLimitExceeded",
                "'http'",
            ),
            (
                200,
                ("a", "b"),
                &quotes,
                "States.DataLimitExceeded",
                "'http'",
            ),
            (
                200,
                ("content-type", "Image/png"),
                b"x",
                "States.Runtime",
                "image/png",
            ),
            (200, ("a", "b"), b"\xff", "States.Runtime", "UTF-8"),
        ] {
            let failure = answer(status, &[headers], body).unwrap_err();
            assert_eq!(failure.error, error);
            assert!(failure.cause.contains(cause), "{}", failure.cause);
        }
        let failure = answer(500, &[], &large).unwrap_err();
        assert_eq!(failure.error, "States.Http.StatusCode.500");
    }
}
