//! `POST /triggers/NAME`: a request from outside starts an execution.
//!
//! Owns what such a request must prove, what of it a mapping sees, and how it is answered: plain JSON with
//! the status codes that everybody knows. Invariant: what did not prove itself as the settings want it
//! starts nothing, and what it proved itself with reaches neither a mapping nor a log.

use axum::{
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    ApiError, ErrorKind, Fault, Role,
    operations::{Triggered, fresh_uuid, mapped, now, start_for, trigger},
    server::{BODY_BYTES_MAX, REQUEST_ID, Server, Unread, check_host, read, text_headers},
    sigv4,
};
use crate::{
    config::Proof,
    payload::Payload,
    runtime::{Came, Trigger},
    time::{Clock as _, SystemClock},
};

/// What the paths of triggers begin with.
const PATH: &str = "/triggers/";

/// Headers that no mapping sees: what would come into an input would be stored and shown.
const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-amz-security-token",
];

/// Parameters of a query at the most; more is no request that somebody wrote.
const PARAMETERS_MAX: usize = 256;

/// In how many seconds a caller may try again whom we could not serve.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why a request starts nothing.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            error,
            message: message.into(),
        }
    }

    /// Says no more than that: neither whether there is such a token nor what is wrong with it.
    fn unproven() -> Self {
        let message =
            "the request does not prove that it may start this; see the trigger's settings";
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }
}

/// Whether a path is a trigger's.
pub(super) fn is_one(path: &str) -> bool {
    path.starts_with(PATH)
}

/// Answers a request to a trigger.
pub(super) async fn answer(server: &Server, request: Request) -> Response {
    let (status, body) = match handle(server, request).await {
        Ok(Triggered::Started(told)) => (StatusCode::OK, told.to_string()),
        Ok(Triggered::Output(output)) => (StatusCode::OK, output),
        Ok(Triggered::Failed(told)) => (StatusCode::INTERNAL_SERVER_ERROR, told.to_string()),
        Err(refusal) => {
            let told = json!({ "error": refusal.error, "message": refusal.message });
            (refusal.status, told.to_string())
        }
    };
    let content_type = (header::CONTENT_TYPE.as_str(), "application/json");
    let id = fresh_uuid();
    let mut response = (status, [content_type, (REQUEST_ID, id.as_str())], body).into_response();
    let more = match status {
        StatusCode::UNAUTHORIZED => {
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
        }
        StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, HeaderValue::from_static("POST"))),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some((header::RETRY_AFTER, RETRY_AFTER))
        }
        _ => None,
    };
    response.headers_mut().extend(more);
    response
}

async fn handle(server: &Server, request: Request) -> Result<Triggered, Refusal> {
    let (parts, body) = request.into_parts();
    let headers = text_headers(&parts.headers).map_err(refused)?;
    check_host(server.door, &parts.headers).map_err(refused)?;
    let path = parts.uri.path();
    let name = decoded(path.strip_prefix(PATH).unwrap_or_default(), false);
    let trigger = name.as_deref().and_then(|name| trigger(&server.api, name));
    let trigger = trigger.ok_or_else(|| {
        let message = "there is no trigger of that name that takes requests";
        Refusal::new(StatusCode::NOT_FOUND, "NotFound", message)
    })?;
    if parts.method != Method::POST {
        let message = "a trigger takes POST";
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            message,
        ));
    }
    let proof = Proven::before_the_body(&trigger, &headers)?;
    let (body, large) = read(body, BODY_BYTES_MAX, &server.large_bodies)
        .await
        .map_err(|why| unread(&why))?;
    proof.check(server, &parts, &headers, &body)?;
    let came = came(server, &trigger, &parts, &headers, body)?;
    let mapped = mapped(&trigger, came).map_err(refused)?;
    // Why only now: the body stands in what came several times over, and an output may be waited for.
    drop(large);
    start_for(&server.api, &trigger, mapped)
        .await
        .map_err(refused)
}

/// What a request has proved before its body is there, and what the body is to prove still.
enum Proven {
    Already,
    /// With this secret it must give that code.
    ByBody {
        secret: String,
        code: Vec<u8>,
    },
    ByKey,
}

impl Proven {
    /// Nobody sends us a megabyte for nothing: what is missing or wrong without the body is refused without.
    fn before_the_body(trigger: &Trigger, headers: &[(String, String)]) -> Result<Self, Refusal> {
        match trigger.spec.proof().unwrap_or(&Proof::Key) {
            Proof::Key => match one(headers, "authorization") {
                Some(_) => Ok(Self::ByKey),
                None => Err(Refusal::unproven()),
            },
            Proof::Token(reference) => {
                let secret = secret(trigger, reference)?;
                let given = one(headers, "authorization")
                    .and_then(bearer)
                    .unwrap_or_default();
                // Why by their hashes: how long either takes to compare tells nothing of the secret.
                let [given, wanted] = [given, &secret].map(|text| Sha256::digest(text.as_bytes()));
                if bool::from(given.ct_eq(&wanted)) {
                    return Ok(Self::Already);
                }
                Err(Refusal::unproven())
            }
            Proof::Signature {
                secret: reference,
                header,
            } => {
                let secret = secret(trigger, reference)?;
                let given = one(headers, header).unwrap_or_default();
                let code = unhex(given.strip_prefix("sha256=").unwrap_or(given));
                let code = code.ok_or_else(Refusal::unproven)?;
                Ok(Self::ByBody { secret, code })
            }
        }
    }

    fn check(
        self,
        server: &Server,
        parts: &Parts,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<(), Refusal> {
        match self {
            Self::Already => Ok(()),
            Self::ByBody { secret, code } => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
                    .map_err(|_| Refusal::unproven())?;
                mac.update(body);
                mac.verify_slice(&code).map_err(|_| Refusal::unproven())
            }
            Self::ByKey => {
                let signed = sigv4::Request {
                    method: parts.method.as_str(),
                    path: parts.uri.path(),
                    query: parts.uri.query().unwrap_or(""),
                    headers,
                    body,
                };
                let find = |id: &str| server.keys.find(id).ok();
                let forbidden =
                    |message: String| Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message);
                let key = sigv4::verify(&signed, find, SystemClock.now())
                    .map_err(|error| forbidden(format!("{error}; iterd env tells the key")))?;
                if key.role >= Role::Operator {
                    return Ok(());
                }
                Err(forbidden(format!(
                    "a trigger takes a key with the role {}, and {:?} has the role {}",
                    Role::Operator,
                    key.id,
                    key.role
                )))
            }
        }
    }
}

/// The secret that callers prove themselves by. What is wrong with it is ours, and told in the log alone.
fn secret(trigger: &Trigger, reference: &str) -> Result<String, Refusal> {
    trigger.secret(reference).map_err(|error| {
        tracing::error!(trigger = trigger.name, %error, "a trigger cannot check its callers");
        let message = "the trigger cannot check its callers for now; its log says why";
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    })
}

/// The value of a header that came once.
fn one<'h>(headers: &'h [(String, String)], wanted: &str) -> Option<&'h str> {
    let mut found = headers.iter().filter(|(name, _)| name == wanted);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value.as_str())
}

/// Spec: RFC 6750, 2.1; the scheme's name has no case.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?));
    bytes
        .collect::<Option<Vec<u8>>>()
        .filter(|bytes| !bytes.is_empty())
}

/// What a mapping sees of a request.
fn came(
    server: &Server,
    trigger: &Trigger,
    parts: &Parts,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Result<Came, Refusal> {
    let no_json = |why: String| {
        let message = format!("the body is no JSON: {why}");
        Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    };
    let text = String::from_utf8(body).map_err(|error| no_json(error.to_string()))?;
    let whole = match text.trim() {
        "" => Payload::from(json!({})),
        text => Payload::parse(text).map_err(|error| no_json(error.to_string()))?,
    };
    let of_proof = match trigger.spec.proof() {
        Some(Proof::Signature { header, .. }) => Some(header.as_str()),
        Some(Proof::Key | Proof::Token(_)) | None => None,
    };
    let mut shown = Map::new();
    for (name, value) in headers {
        if SECRET_HEADERS.contains(&name.as_str()) || of_proof == Some(name) {
            continue;
        }
        // Spec: RFC 9110, 5.2: a header that comes several times is one with commas.
        match shown.get_mut(name) {
            Some(Value::String(known)) => *known = format!("{known}, {value}"),
            _ => drop(shown.insert(name.clone(), value.clone().into())),
        }
    }
    let facts = json!({
        "body": whole.value(),
        "headers": shown,
        "query": query(parts.uri.query().unwrap_or(""))?,
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
    });
    Ok(Came {
        facts: facts.into(),
        whole,
        now: now(&server.api),
        identity: None,
    })
}

/// The parameters of a query: a text each, and a list of texts where one came several times.
fn query(query: &str) -> Result<Value, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message);
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > PARAMETERS_MAX {
        return Err(bad(format!(
            "the query has more than {PARAMETERS_MAX} parameters"
        )));
    }
    let mut parameters = Map::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decoded(name, true), decoded(value, true)) else {
            return Err(bad(format!(
                "the query's part {pair:?} is not percent-encoded UTF-8"
            )));
        };
        match parameters.get_mut(&name) {
            None => drop(parameters.insert(name, value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    Ok(parameters.into())
}

/// A part of a URL without its percent-encoding; `None` where that is none, or no UTF-8.
pub(super) fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                *unhex(std::str::from_utf8(&digits).ok()?)?.first()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn unread(why: &Unread) -> Refusal {
    let (status, error) = match why {
        Unread::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
        Unread::Late => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
        Unread::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        Unread::Broken(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
    };
    Refusal::new(status, error, why.to_string())
}

/// What operations answer, in the words and numbers of everybody.
fn refused(error: ApiError) -> Refusal {
    let (status, name) = match error.kind {
        ErrorKind::Validation | ErrorKind::States(Fault::InvalidName) => {
            (StatusCode::BAD_REQUEST, "BadRequest")
        }
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
        ErrorKind::Denied => (StatusCode::FORBIDDEN, "Forbidden"),
        ErrorKind::States(Fault::ExecutionAlreadyExists) => {
            (StatusCode::CONFLICT, "ExecutionAlreadyExists")
        }
        ErrorKind::States(Fault::ExecutionLimitExceeded) => {
            (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
        }
        ErrorKind::States(Fault::InvalidExecutionInput) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge")
        }
        // Why for now: what is wrong here (no such machine, a full disk) is not the caller's to mend, and
        // the same request may start something later.
        ErrorKind::Conflict
        | ErrorKind::Internal
        | ErrorKind::States(_)
        | ErrorKind::Service(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    };
    Refusal::new(status, name, error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_told_by_its_parameters() {
        let told = |text| query(text).map_err(|refusal| refusal.message).unwrap();
        assert_eq!(
            told("a=1&b=x%20y+z&a=2&c&=&a=3&%C3%BC=%2B"),
            json!({ "a": ["1", "2", "3"], "b": "x y z", "c": "", "": "", "ü": "+" })
        );
        assert_eq!(told(""), json!({}));
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(query(bad).is_err(), "{bad}");
        }
        assert!(query(&"a&".repeat(PARAMETERS_MAX + 1)).is_err());
    }

    #[test]
    fn a_token_stands_behind_its_scheme_and_comes_once() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
        let twice = ["a", "b"].map(|value| ("x".to_owned(), value.to_owned()));
        assert_eq!(one(&twice, "x"), None);
        assert_eq!(one(&twice[..1], "x"), Some("a"));
    }

    #[test]
    fn a_code_is_hexadecimal_and_not_empty() {
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        for bad in ["", "0", "0g", "00f"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
