//! Listens, checks who calls, and hands a request to its operation.

use std::{io, path::Path, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::{Api, ApiError, ErrorKind, Key, call, sigv4};

/// The largest body: what AWS takes, and more than any of our own operations need.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// What the target header of our own operations begins with.
pub const TARGET_PREFIX: &str = "Iterd.";

struct Server {
    api: Api,
    keys: Vec<Key>,
}

/// Serves on a Unix socket until the task is dropped. A socket file that a former process left is
/// replaced: the caller owns the state directory.
pub async fn serve_unix(path: &Path, api: Api, keys: Vec<Key>) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let server = Arc::new(Server { api, keys });
    let router = Router::new().fallback(answer).with_state(server);
    axum::serve(listener, router).await
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
    let body = read(body).await?;
    let signed = sigv4::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        headers: &headers,
        body: &body,
    };
    let key = sigv4::verify(&signed, &server.keys, server.api.now()).map_err(|error| ApiError {
        kind: ErrorKind::Denied,
        message: error.to_string(),
    })?;
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

async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
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
