//! Checks who calls, and hands a request to its operation.
//!
//! Owns the protocol: what is refused before a byte of the body is read, what is signed, and how an
//! answer is told. Invariant: what is not signed by a key of ours reaches no operation.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{Api, ApiError, ErrorKind, Key, call, sigv4};
use crate::time::{Clock as _, SystemClock};

/// The largest body: what AWS takes, and more than any of our own operations need.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// What the target header of our own operations begins with.
pub const TARGET_PREFIX: &str = "Iterd.";

/// How long a body may take: the largest one over a line of 64 KiB/s takes half of it.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// The socket in the state directory.
    Socket,
    /// TCP, on this address.
    Tcp(IpAddr),
}

struct Server {
    api: Api,
    keys: Vec<Key>,
    door: Door,
}

/// Answers requests that come in by that door.
pub(super) fn router(api: Api, keys: Vec<Key>, door: Door) -> Router {
    let server = Arc::new(Server { api, keys, door });
    Router::new().fallback(answer).with_state(server)
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    match handle(&server, request).await {
        Ok(value) => respond(StatusCode::OK, &value),
        Err(error) => {
            let status = StatusCode::from_u16(error.kind.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = json!({ "__type": error.kind.name(), "message": error.message });
            respond(status, &body)
        }
    }
}

fn respond(status: StatusCode, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/x-amz-json-1.0")];
    (status, content_type, body.to_string()).into_response()
}

async fn handle(server: &Server, request: Request) -> Result<Value, ApiError> {
    let (parts, body) = request.into_parts();
    let headers = text_headers(&parts.headers)?;
    check_host(server.door, &parts.headers)?;
    if !parts.headers.contains_key(header::AUTHORIZATION) {
        // Why before the body: nobody sends us a megabyte for nothing.
        return Err(denied(&sigv4::SignatureError::Missing));
    }
    let body = read(body).await?;
    let signed = sigv4::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        headers: &headers,
        body: &body,
    };
    // Why the machine's clock, whatever the engine goes by: a signature's age is counted in real time.
    let key = sigv4::verify(&signed, &server.keys, SystemClock.now()).map_err(|e| denied(&e))?;
    let target = headers
        .iter()
        .find(|(name, _)| name == "x-amz-target")
        .map_or("", |(_, value)| value.as_str());
    let operation = target
        .strip_prefix(TARGET_PREFIX)
        .ok_or_else(|| ApiError::validation(format!("no operation {target:?} is known here")))?;
    let input = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| ApiError::validation(format!("the body is no JSON: {error}")))?
    };
    let (api, operation) = (server.api.clone(), operation.to_owned());
    let caller = key.id.clone();
    // Why a task of its own: what was begun is carried out, also when the caller hangs up.
    let work = tokio::spawn(async move { call(&api, &operation, input, &caller).await });
    work.await.map_err(|error| ApiError {
        kind: ErrorKind::Internal,
        message: format!("the operation broke off: {error}"),
    })?
}

fn denied(why: &impl ToString) -> ApiError {
    ApiError {
        kind: ErrorKind::Denied,
        message: why.to_string(),
    }
}

/// Refuses a request over TCP that was meant for another host: a page in a browser can send one here
/// under a name of its own (DNS rebinding), but neither as an address nor as localhost.
fn check_host(door: Door, headers: &HeaderMap) -> Result<(), ApiError> {
    let Door::Tcp(listening) = door else {
        return Ok(());
    };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let ours = hosts.next().is_none() && host.is_some_and(|host| is_ours(host, listening));
    if ours {
        return Ok(());
    }
    Err(denied(&format!(
        "the host {:?} is not this server; call it by its address or as localhost",
        host.unwrap_or("")
    )))
}

fn is_ours(host: &str, listening: IpAddr) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    if without_port.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = without_port.trim_start_matches('[').trim_end_matches(']');
    let Ok(address) = bare.parse::<IpAddr>() else {
        return false;
    };
    address == listening
        || listening.is_unspecified()
        || (address.is_loopback() && listening.is_loopback())
}

async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    let bytes = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX))
        .await
        .map_err(|_| ApiError::validation("the body did not come in time"))?
        .map_err(|_| {
            ApiError::validation(format!("the body is longer than {BODY_BYTES_MAX} bytes"))
        })?;
    Ok(bytes.to_vec())
}

fn text_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, ApiError> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = value
                .to_str()
                .map_err(|_| ApiError::validation(format!("header {name} is no text")))?;
            Ok((name.as_str().to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_by_address_or_as_localhost() {
        for (listening, host, ours) in [
            ("127.0.0.1", "127.0.0.1:8083", true),
            ("127.0.0.1", "localhost:9000", true),
            ("127.0.0.1", "LOCALHOST", true),
            ("127.0.0.1", "[::1]:8083", true),
            ("::1", "[::1]:8083", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "evil.example:8083", false),
            ("127.0.0.1", "127.0.0.1.evil.example", false),
            ("127.0.0.1", "10.0.0.5:8083", false),
            ("127.0.0.1", "", false),
            ("127.0.0.1", "localhost.evil.example", false),
            ("10.0.0.5", "10.0.0.5:8083", true),
            ("10.0.0.5", "10.0.0.6:8083", false),
            ("0.0.0.0", "10.0.0.6:8083", true),
            ("0.0.0.0", "rebound.example", false),
        ] {
            let found = is_ours(host, listening.parse().unwrap());
            assert_eq!(found, ours, "{host} at {listening}");
        }
    }
}
