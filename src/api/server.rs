//! Checks who calls, and hands a request to its operation.
//!
//! Owns the protocol: what is refused before a byte of the body is read, what is signed, and how an
//! answer is told. Invariant: what is not signed by a key of ours reaches no operation.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Api, ApiError, ErrorKind, Fault, Key, KeyRing, Role,
    buckets::Buckets,
    call, call_states,
    operations::{call_service, fresh_uuid, role_of, role_of_service, role_of_states},
    query,
    sigv4::{self, SignatureError},
    triggers,
};
use crate::{
    integration::service::{Embedded, Refusal},
    runtime::waits_for_messages,
    time::{Clock as _, SystemClock},
};

/// The largest body: what AWS takes, and more than any of our own operations need; but see `bytes_max`.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Spec: the largest of DynamoDB, 25 items in a BatchWriteItem.
const TABLES_BYTES_MAX: usize = 16 << 20;

/// The largest of SQS: a message of 1 MiB, as JSON has it.
const QUEUES_BYTES_MAX: usize = 2 << 20;

/// A body of more bytes than this is a large one.
const SMALL_BODY_BYTES_MAX: usize = 64 << 10;

/// Large bodies that one listener takes in at a time, where each has no more than [`BODY_BYTES_MAX`]; a larger one
/// counts as so many. Whoever sends another one waits.
const LARGE_BODIES_MAX: usize = 64;

/// What the target header of our own operations begins with.
pub const TARGET_PREFIX: &str = "Iterd.";

/// What it begins with for the operations of AWS Step Functions.
pub const STATES_TARGET_PREFIX: &str = "AWSStepFunctions.";

/// A header of each answer: clients of AWS show it with an error.
pub(super) const REQUEST_ID: &str = "x-amzn-requestid";

/// A header of errors that have a second name, for clients that go by it.
const QUERY_ERROR: &str = "x-amzn-query-error";

/// How long a body may take: one of a MiB over a line of 64 KiB/s takes half of it, the largest one of 1 MiB/s.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a large body waits for others to be taken in; then its sender is to try again.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(10);

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// The socket in the state directory.
    Socket,
    /// TCP, on this address.
    Tcp(IpAddr),
}

/// Spec: the host prefix of StartSyncExecution and TestState in the service model.
const SYNC_PREFIX: &str = "sync-";

pub(super) struct Server {
    pub(super) api: Api,
    pub(super) keys: KeyRing,
    pub(super) door: Door,
    pub(super) large_bodies: Arc<Semaphore>,
    buckets: Buckets,
}

/// Answers requests that come in by that door.
pub(super) fn router(api: Api, keys: KeyRing, door: Door) -> Router {
    let server = Arc::new(Server {
        buckets: Buckets::new(api.clone(), keys.clone()),
        api,
        keys,
        door,
        large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
    });
    Router::new().fallback(answer).with_state(server)
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    if triggers::is_one(request.uri().path()) {
        return triggers::answer(&server, request).await;
    }
    if Buckets::are_asked(&request) && check_host(server.door, request.headers()).is_ok() {
        return server.buckets.answer(request).await;
    }
    if let Some(service) = query::service_of(request.headers()) {
        let mut action = String::new();
        let outcome = handle(&server, request, Some((service, &mut action))).await;
        let told = outcome.map(|answer| (answer, action));
        return query::respond(service, told, &fresh_uuid());
    }
    match handle(&server, request, None).await {
        Ok(value) => respond(StatusCode::OK, &value),
        Err(error) => {
            let status = StatusCode::from_u16(error.kind.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut body = json!({ "__type": error.kind.name(), "message": error.message });
            if let Some((name, value)) = error.member {
                body[name] = value.into();
            }
            let mut second = None;
            if let ErrorKind::Service(code) = error.kind
                && let Some(kind) = Refusal::kind(code)
            {
                body["__type"] = kind.into();
                second = HeaderValue::from_str(&format!("{code};Sender")).ok();
            }
            let mut response = respond(status, &body);
            if let Some(second) = second {
                response.headers_mut().insert(QUERY_ERROR, second);
            }
            response
        }
    }
}

fn respond(status: StatusCode, body: &Value) -> Response {
    let content_type = (header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.0");
    let id = fresh_uuid();
    let headers = [content_type, (REQUEST_ID, id.as_str())];
    (status, headers, body.to_string()).into_response()
}

/// `form` is the service that a form is for, and where the action that it names goes.
async fn handle(
    server: &Server,
    request: Request,
    form: Option<(Embedded, &mut String)>,
) -> Result<Value, ApiError> {
    let (parts, body) = request.into_parts();
    let headers = text_headers(&parts.headers)?;
    check_host(server.door, &parts.headers)?;
    let target = headers
        .iter()
        .find(|(name, _)| name == "x-amz-target")
        .map_or("", |(_, value)| value.as_str());
    if !parts.headers.contains_key(header::AUTHORIZATION) {
        // Why before the body: nobody sends us a megabyte for nothing.
        return Err(unproven(target, form.is_some(), SignatureError::Missing));
    }
    let (body, large) = read(body, bytes_max(target), &server.large_bodies).await?;
    let signed = sigv4::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        headers: &headers,
        body: &body,
    };
    // Why the machine's clock, whatever the engine goes by: a signature's age is counted in real time.
    let key = sigv4::verify(&signed, |id| server.keys.find(id).ok(), SystemClock.now())
        .map_err(|error| unproven(target, form.is_some(), error))?;
    let (family, mut input) = match form {
        Some((service, named)) => {
            let (action, parameters) = query::decode(&body)?;
            named.clone_from(&action);
            (Family::Service(service, action), parameters)
        }
        None => Family::with_input(target, &body)?,
    };
    family.check_role(&key, &input)?;
    if key.id != Key::LOCAL_ID
        && let Some(Value::String(author)) = input.get_mut("author")
    {
        // Why: what is written down must not hide whose key it was.
        *author = format!("{author}, with the key {}", key.id);
    }
    // Why before it is carried out: that may take minutes, and holds what is left of the body alone.
    drop((body, large));
    let api = server.api.clone();
    let waits = family.waits();
    let carried_out = async move {
        match family {
            Family::Iterd(operation) => call(&api, &operation, input, &key.id).await,
            Family::States(operation) => call_states(&api, &operation, input).await,
            Family::Service(service, action) => call_service(&api, service, action, input).await,
        }
    };
    if waits {
        return carried_out.await;
    }
    // Why a task of its own: what was begun is carried out, also when the caller hangs up.
    tokio::spawn(carried_out).await.map_err(|error| {
        ApiError::new(
            ErrorKind::Internal,
            format!("the operation broke off: {error}"),
        )
    })?
}

/// An operation, by whose it is.
enum Family {
    /// iterd's own.
    Iterd(String),
    /// AWS Step Functions'.
    States(String),
    /// One of an embedded service's.
    Service(Embedded, String),
}

impl Family {
    fn of(target: &str) -> Result<Self, ApiError> {
        if let Some(operation) = target.strip_prefix(TARGET_PREFIX) {
            return Ok(Self::Iterd(operation.to_owned()));
        }
        if let Some(operation) = target.strip_prefix(STATES_TARGET_PREFIX) {
            return Ok(Self::States(operation.to_owned()));
        }
        if let Some((service, action)) = target.split_once('.')
            && let Some(service) = Embedded::of_target(service)
        {
            return Ok(Self::Service(service, action.to_owned()));
        }
        let message = format!("no operation {target:?} is known here");
        Err(ApiError::states(Fault::UnknownOperation, message))
    }

    /// The same, with what it is asked.
    fn with_input(target: &str, body: &[u8]) -> Result<(Self, Value), ApiError> {
        let family = Self::of(target)?;
        let input = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body).map_err(|error| family.no_json(&error))?
        };
        Ok((family, input))
    }

    /// Whether it only waits for something: when the caller hangs up, what would come is for another.
    fn waits(&self) -> bool {
        match self {
            Self::States(operation) => operation == "GetActivityTask",
            Self::Service(service, action) => waits_for_messages(*service, action),
            Self::Iterd(_) => false,
        }
    }

    /// Refuses what the key may not ask for.
    fn check_role(&self, key: &Key, input: &Value) -> Result<(), ApiError> {
        let (operation, needed) = match self {
            Self::Iterd(operation) => (operation, role_of(operation, input)),
            Self::States(operation) => (operation, role_of_states(operation)),
            Self::Service(_, action) => (action, Some(role_of_service(action))),
        };
        // Why none where it is unknown: there is no such operation, and that is what is told.
        let needed = needed.unwrap_or(Role::ReadOnly);
        if key.role >= needed {
            return Ok(());
        }
        let message = format!(
            "{operation} takes a key with the role {needed}, and {:?} has the role {}",
            key.id, key.role
        );
        Err(match self {
            Self::Iterd(_) => denied(&message),
            Self::States(_) | Self::Service(..) => ApiError::states(Fault::AccessDenied, message),
        })
    }

    fn no_json(&self, error: &serde_json::Error) -> ApiError {
        let message = format!("the body is no JSON: {error}");
        match self {
            Self::Iterd(_) => ApiError::validation(message),
            Self::States(_) | Self::Service(..) => ApiError::states(Fault::Serialization, message),
        }
    }
}

/// A caller who is not known: told to clients of AWS by the names that they know.
fn unproven(target: &str, is_form: bool, error: SignatureError) -> ApiError {
    let family = Family::of(target);
    if !is_form && !matches!(family, Ok(Family::States(_) | Family::Service(..))) {
        return denied(&error);
    }
    let fault = match error {
        SignatureError::Missing => Fault::MissingAuthenticationToken,
        SignatureError::Malformed => Fault::IncompleteSignature,
        SignatureError::Mismatch | SignatureError::Stale => Fault::InvalidSignature,
    };
    ApiError::states(fault, format!("{error}; iterd env tells the key"))
}

fn denied(why: &impl ToString) -> ApiError {
    ApiError::new(ErrorKind::Denied, why.to_string())
}

/// Refuses a request over TCP that was meant for another host: a page in a browser can send one here
/// under a name of its own (DNS rebinding), but neither as an address nor as localhost.
pub(super) fn check_host(door: Door, headers: &HeaderMap) -> Result<(), ApiError> {
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

/// `sync-` is what the SDKs of AWS put before the host for some operations; it makes no address of a
/// name that is none.
fn is_ours(host: &str, listening: IpAddr) -> bool {
    let host = host.strip_prefix(SYNC_PREFIX).unwrap_or(host);
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

/// How long the body of a request to this target may be.
fn bytes_max(target: &str) -> usize {
    match Family::of(target) {
        Ok(Family::Service(Embedded::DynamoDb, _)) => TABLES_BYTES_MAX,
        Ok(Family::Service(Embedded::Sqs, _)) => QUEUES_BYTES_MAX,
        Ok(Family::Service(Embedded::Sns, _) | Family::Iterd(_) | Family::States(_)) | Err(_) => {
            BODY_BYTES_MAX
        }
    }
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("the body broke off: {0}")]
    Broken(axum::Error),
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    #[error("too many large requests at a time; try again")]
    Crowded,
    #[error("the body did not come in time")]
    Late,
}

impl From<Unread> for ApiError {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Crowded => Self::states(Fault::ServiceUnavailable, why.to_string()),
            Unread::Broken(_) | Unread::TooLong(_) | Unread::Late => {
                Self::validation(why.to_string())
            }
        }
    }
}

/// The body, with the leave to hold a large one.
pub(super) async fn read(
    mut body: Body,
    bytes_max: usize,
    large_bodies: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Unread> {
    // Why by what was announced, once: who holds a part and waits for more keeps others from theirs.
    let announced = body.size_hint().upper();
    let announced = announced.map_or(bytes_max, |bytes| {
        usize::try_from(bytes).map_or(bytes_max, |bytes| bytes.min(bytes_max))
    });
    let parts = announced.div_ceil(BODY_BYTES_MAX).max(1);
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let reading = async {
        let (mut bytes, mut large) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Unread::Broken)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > bytes_max {
                return Err(Unread::TooLong(bytes_max));
            }
            if bytes.len() + data.len() > SMALL_BODY_BYTES_MAX && large.is_none() {
                let leave = Arc::clone(large_bodies).acquire_many_owned(parts);
                let leave = tokio::time::timeout(LEAVE_TIME_MAX, leave).await;
                let Ok(Ok(leave)) = leave else {
                    return Err(Unread::Crowded);
                };
                large = Some(leave);
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, large))
    };
    tokio::time::timeout(BODY_TIME_MAX, reading)
        .await
        .unwrap_or(Err(Unread::Late))
}

pub(super) fn text_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, ApiError> {
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
            ("127.0.0.1", "sync-127.0.0.1:8083", true),
            ("127.0.0.1", "sync-localhost:8083", true),
            ("127.0.0.1", "sync-evil.example:8083", false),
            ("127.0.0.1", "sync-sync-localhost", false),
            ("127.0.0.1", "sync-", false),
            ("10.0.0.5", "sync-10.0.0.6", false),
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

    #[tokio::test]
    async fn a_large_body_has_leave_for_each_part_and_its_service_says_how_large_it_may_be() {
        let tables = bytes_max("DynamoDB_20120810.BatchWriteItem");
        let cases = [
            (tables, 16 << 20, Some(16)),
            (tables, (16 << 20) + 1, None),
            (bytes_max("AmazonSQS.SendMessage"), (1 << 20) + 1, Some(2)),
            (
                bytes_max("AWSStepFunctions.StartExecution"),
                1 << 20,
                Some(1),
            ),
            (
                bytes_max("AWSStepFunctions.StartExecution"),
                (1 << 20) + 1,
                None,
            ),
            (bytes_max("AmazonSQS.SendMessage"), 1000, Some(0)),
        ];
        for (most, bytes, parts) in cases {
            let large_bodies = Arc::new(Semaphore::new(LARGE_BODIES_MAX));
            let body = Body::from(vec![b' '; bytes]);
            let outcome = read(body, most, &large_bodies).await;
            let held = LARGE_BODIES_MAX - large_bodies.available_permits();
            match (outcome, parts) {
                (Ok((body, _leave)), Some(parts)) => assert_eq!((body.len(), held), (bytes, parts)),
                (Err(Unread::TooLong(said)), None) => assert_eq!(said, most),
                (Ok(_) | Err(_), _) => panic!("{bytes} of {most}"),
            }
        }
    }
}
