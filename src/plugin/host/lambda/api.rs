//! The runtime API over HTTP: paths, bodies, statuses.
//!
//! Owns nothing: what is asked goes to the desk. Whoever asks has been let in by the door.

use std::{convert::Infallible, rc::Rc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    desk::{Desk, Refused, Told},
    told,
};
use crate::payload::Failure;

/// What a runtime may post beyond the bound before it is cut off: enough for it to hear an answer
/// rather than find its connection reset.
const DRAINED_BYTES_MAX: usize = 256 << 20;

/// Longest error that is read; the pool keeps 32 KiB of it.
const ERROR_BYTES_MAX: usize = 1 << 20;

/// Longest request's head: AWS's client sends what X-Ray is to know of an error in one header.
const HEAD_BYTES_MAX: usize = 2 << 20;

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const FUNCTION_ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Ours: the runtime ends behind this error.
const LAST: HeaderName = HeaderName::from_static("iterd-last");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

type Answer = Response<Full<Bytes>>;

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, desk: Rc<Desk>) {
    let service = service_fn(move |request| {
        let desk = Rc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(request, &desk).await) }
    });
    // Why ok: a runtime that hangs up does so because it ends, which is seen elsewhere.
    http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

/// What is asked for.
enum Asked {
    Next,
    InitError,
    Response(String),
    Error(String),
}

async fn answer(request: Request<Incoming>, desk: &Desk) -> Answer {
    let Some(asked) = asked(request.uri().path()) else {
        return refusal(StatusCode::NOT_FOUND, "NotFound", "there is nothing here");
    };
    let method = match asked {
        Asked::Next => Method::GET,
        Asked::InitError | Asked::Response(_) | Asked::Error(_) => Method::POST,
    };
    if request.method() != method {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return refusal(status, "MethodNotAllowed", &format!("it takes {method}"));
    }
    let outcome = match asked {
        Asked::Next => return next(desk).await,
        Asked::Response(id) => response(request, desk, &id).await,
        Asked::Error(id) => error(request, desk, &id).await,
        Asked::InitError => init_error(request, desk).await,
    };
    match outcome {
        Ok(()) => said(
            StatusCode::ACCEPTED,
            Bytes::from_static(b"{\"status\":\"OK\"}\n"),
        ),
        Err(answer) => answer,
    }
}

/// What a path stands for.
fn asked(path: &str) -> Option<Asked> {
    // Why: a client that puts a slash behind its base address asks for two.
    let rest = path
        .trim_start_matches('/')
        .strip_prefix("2018-06-01/runtime/")?;
    match rest {
        "invocation/next" => Some(Asked::Next),
        "init/error" => Some(Asked::InitError),
        _ => {
            let (id, what) = rest.strip_prefix("invocation/")?.split_once('/')?;
            match what {
                "response" => Some(Asked::Response(id.to_owned())),
                "error" => Some(Asked::Error(id.to_owned())),
                _ => None,
            }
        }
    }
}

async fn next(desk: &Desk) -> Answer {
    let told = match desk.next().await {
        Ok(told) => told,
        Err(refused) => return refused.into(),
    };
    let Told {
        id,
        event,
        deadline_ms,
        trace_id,
        client_context,
    } = told;
    let mut answer = said(StatusCode::OK, Bytes::from(event));
    let arn = desk.settings.arn.clone();
    for (name, value) in [
        (REQUEST_ID, id),
        (DEADLINE_MS, deadline_ms.to_string()),
        (FUNCTION_ARN, arn),
        (TRACE_ID, trace_id),
        (CLIENT_CONTEXT, client_context),
    ] {
        // Invariant: all of them are ASCII without control characters.
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

async fn response(request: Request<Incoming>, desk: &Desk, id: &str) -> Result<(), Answer> {
    let bytes_max = desk.settings.result_bytes_max;
    // Why before anything is said: whoever is still writing hears nothing.
    let posted = read(request, bytes_max).await?;
    desk.expects(id)?;
    if let Some(failure) = posted.failure() {
        return Ok(desk.failed(id, &failure)?);
    }
    if posted.too_large {
        desk.failed(id, &told::too_large(bytes_max))?;
        let words = format!("Exceeded maximum allowed payload size ({bytes_max} bytes).");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(refusal(status, "RequestEntityTooLarge", &words));
    }
    Ok(desk.done(id, posted.body)?)
}

async fn error(request: Request<Incoming>, desk: &Desk, id: &str) -> Result<(), Answer> {
    let last = request.headers().contains_key(LAST);
    let failure = posted_error(request).await?;
    if last {
        return Ok(desk.failed_at_last(id, &failure)?);
    }
    Ok(desk.failed(id, &failure)?)
}

async fn init_error(request: Request<Incoming>, desk: &Desk) -> Result<(), Answer> {
    let failure = posted_error(request).await?;
    Ok(desk.cannot_start(failure)?)
}

async fn posted_error(request: Request<Incoming>) -> Result<Failure, Answer> {
    let kind = text_of(request.headers(), &ERROR_TYPE);
    let posted = read(request, ERROR_BYTES_MAX).await?;
    let text = String::from_utf8_lossy(&posted.body).into_owned();
    Ok(told::posted(text, kind.as_deref()))
}

/// A request's body.
struct Posted {
    body: Vec<u8>,
    /// The rest of it was thrown away.
    too_large: bool,
    trailers: HeaderMap,
}

impl Posted {
    /// What a runtime says of an answer that failed midway, behind what it had sent of it.
    fn failure(&self) -> Option<Failure> {
        let kind = text_of(&self.trailers, &ERROR_TYPE)?;
        let body = self.trailers.get(ERROR_BODY).map(HeaderValue::as_bytes);
        let body = body.and_then(|body| BASE64_STANDARD.decode(body).ok());
        let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        Some(told::posted(text, Some(&kind)))
    }
}

/// Reads a body to its end, whatever says how long it is.
async fn read(request: Request<Incoming>, bytes_max: usize) -> Result<Posted, Answer> {
    let mut incoming = request.into_body();
    let mut posted = Posted {
        body: Vec::new(),
        too_large: false,
        trailers: HeaderMap::new(),
    };
    let mut bytes = 0_usize;
    while let Some(frame) = incoming.frame().await {
        let broken = |_| {
            refusal(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                "the body ends midway",
            )
        };
        let frame = frame.map_err(broken)?;
        let frame = match frame.into_data() {
            Ok(data) => {
                bytes = bytes.saturating_add(data.len());
                posted.too_large = bytes > bytes_max;
                if !posted.too_large {
                    posted.body.extend_from_slice(&data);
                } else if bytes > DRAINED_BYTES_MAX.max(bytes_max) {
                    break;
                }
                continue;
            }
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers() {
            posted.trailers = trailers;
        }
    }
    Ok(posted)
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (!value.is_empty()).then(|| value.to_owned())
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UnknownId => refusal(
                StatusCode::BAD_REQUEST,
                "InvalidRequestID",
                "Invalid request ID",
            ),
            Refused::OutOfTurn => refusal(
                StatusCode::FORBIDDEN,
                "InvalidStateTransition",
                "State transition is not allowed",
            ),
        }
    }
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Answer {
    let body = told::failure(kind, message).cause;
    said(status, Bytes::from(body))
}

fn said(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_for_one_thing_or_for_none() {
        let runtime = "/2018-06-01/runtime";
        for (path, found) in [
            (format!("{runtime}/invocation/next"), true),
            (format!("/{runtime}/invocation/next"), true),
            (format!("{runtime}/init/error"), true),
            (format!("{runtime}/invocation/next/"), false),
            (format!("/other{runtime}/invocation/next"), false),
            (format!("{runtime}/invocation//response/x"), false),
            ("/".to_owned(), false),
        ] {
            assert_eq!(asked(&path).is_some(), found, "{path}");
        }
        let Some(Asked::Response(id)) = asked("/2018-06-01/runtime/invocation/7/response") else {
            panic!("it is one");
        };
        assert_eq!(id, "7");
    }
}
