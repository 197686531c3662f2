//! Calls operations: over the socket of whoever owns the state directory, else on the file itself.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::{
    exit::{FAILED, Failure, STATE},
    session::{Session, small_runtime},
};
use crate::{
    api::{self, Api, ApiError, ErrorKind, Key, sigv4},
    config::Settings,
    runtime::StatePaths,
    store::Store,
    time::{Clock as _, SystemClock},
};

/// The longest answer that is read: a page of results with records of the default size limit.
const ANSWER_BYTES_MAX: usize = 2 << 30;

/// What an operation needs where nobody serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The file, opened for reading alone.
    Read,
    /// The lock of the directory.
    Change,
}

/// Calls one operation; blocks.
pub(super) fn call(
    session: &Session,
    operation: &str,
    input: Value,
    access: Access,
) -> Result<Value, Failure> {
    Client::open(session, access)?.call(operation, input)
}

/// A way to call several operations, on one state directory.
pub(super) struct Client {
    paths: StatePaths,
    runtime: tokio::runtime::Runtime,
    file: Option<Api>,
    access: Access,
    settings: Settings,
}

impl Client {
    /// Finds the state directory; nothing is called yet.
    pub(super) fn open(session: &Session, access: Access) -> Result<Self, Failure> {
        Ok(Self {
            paths: session.paths()?,
            runtime: small_runtime()?,
            file: None,
            access,
            settings: session.settings(&[])?,
        })
    }

    /// Calls one operation; blocks.
    pub(super) fn call(&mut self, operation: &str, input: Value) -> Result<Value, Failure> {
        if self.file.is_none() {
            let asked = over_socket(&self.paths, operation, &input);
            if let Some(answer) = self.runtime.block_on(asked)? {
                return Ok(answer);
            }
        }
        let api = match &self.file {
            Some(api) => api.clone(),
            None => self.file.insert(self.open_file()?).clone(),
        };
        let author = author();
        let answer = api::call(&api, operation, input, &author);
        Ok(self.runtime.block_on(answer)?)
    }

    fn open_file(&self) -> Result<Api, Failure> {
        let directory = self.paths.root();
        Ok(match self.access {
            Access::Read => Api::of_store(Store::open_read_only(directory)?),
            Access::Change => {
                Api::of_engine(Session::engine(directory, &self.settings, false, false)?)
            }
        })
    }
}

/// Who asks, for what is written down.
pub(super) fn author() -> String {
    std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .unwrap_or_else(|_| "somebody".to_owned())
}

/// The answer of whoever owns the directory; `None` where nobody does.
pub(super) async fn over_socket(
    paths: &StatePaths,
    operation: &str,
    input: &Value,
) -> Result<Option<Value>, Failure> {
    let Ok(stream) = UnixStream::connect(paths.socket()).await else {
        return Ok(None);
    };
    let key = Key::read(&paths.key()).map_err(|error| Failure::new(STATE, error.to_string()))?;
    let broken = |error: &dyn std::fmt::Display| {
        Failure::new(FAILED, format!("the daemon's answer: {error}"))
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    let response = sender
        .send_request(signed(operation, input, &key)?)
        .await
        .map_err(|error| broken(&error))?;
    let good = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| broken(&error))?
        .to_bytes();
    let answer: Value = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
    if good {
        return Ok(Some(answer));
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    Err(ApiError {
        kind: ErrorKind::of_name(&text("__type")),
        message: text("message"),
    }
    .into())
}

fn signed(operation: &str, input: &Value, key: &Key) -> Result<Request<Full<Bytes>>, Failure> {
    let body = input.to_string();
    let target = format!("{}{operation}", api::TARGET_PREFIX);
    let headers = [
        ("content-type", "application/x-amz-json-1.0"),
        ("host", "localhost"),
        ("x-amz-target", target.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let to_sign = sigv4::Request {
        method: "POST",
        path: "/",
        query: "",
        headers: &headers,
        body: body.as_bytes(),
    };
    let signature = sigv4::sign(&to_sign, key, "us-east-1", SystemClock.now());
    let mut request = Request::post("/");
    for (name, value) in headers.iter().chain(&signature) {
        request = request.header(name, value);
    }
    request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::new(FAILED, error.to_string()))
}

/// The input of an operation on one job.
pub(super) fn of_job(job: &str) -> Value {
    json!({ "job": job })
}
