//! Calls operations: over the socket of whoever owns the state directory, else on the file itself.

use std::time::Duration;

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

/// How long a command waits for a picture before it looks into the file itself.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// What an operation needs where nobody serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The file, opened for reading alone.
    Read,
    /// The lock of the directory.
    Change,
    /// As [`Access::Change`], and the directory is made where there is none.
    Make,
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
    pub(super) fn call(&mut self, operation: &str, mut input: Value) -> Result<Value, Failure> {
        if self.access == Access::Change
            && let Some(input) = input.as_object_mut()
        {
            input.insert("author".to_owned(), author().into());
        }
        if self.file.is_none()
            && let Some(answer) = self.ask(operation, &input)?
        {
            return Ok(answer);
        }
        let api = match &self.file {
            Some(api) => api.clone(),
            None => self.file.insert(self.open_file()?).clone(),
        };
        let author = author();
        let answer = api::call(&api, operation, input, &author);
        Ok(self.runtime.block_on(answer)?)
    }

    /// Waits a while before somebody is asked again.
    pub(super) fn rest(&self, pause: Duration) {
        self.runtime.block_on(tokio::time::sleep(pause));
    }

    /// The answer of whoever serves; `None` where the file has to be asked.
    fn ask(&self, operation: &str, input: &Value) -> Result<Option<Value>, Failure> {
        let asking = over_socket(&self.paths, operation, input);
        let answer = self.runtime.block_on(async {
            match self.access {
                Access::Read => tokio::time::timeout(READ_PATIENCE, asking)
                    .await
                    .unwrap_or_else(|_| Err(Unanswered::Gone("no answer in time".to_owned()))),
                // Why without end: it may wait for room on the disk, or for a source to be opened.
                Access::Change | Access::Make => asking.await,
            }
        });
        match (answer, self.access) {
            (Ok(answer), _) => Ok(Some(answer)),
            (Err(Unanswered::Refused(failure)), _) => Err(failure),
            // Why the file then: a reader needs nobody, and the file tells what is durable.
            (Err(Unanswered::Nobody), _) | (Err(Unanswered::Gone(_)), Access::Read) => Ok(None),
            (Err(Unanswered::Gone(cause)), Access::Change | Access::Make) => Err(Failure::new(
                FAILED,
                format!(
                    "the daemon went away before it answered ({cause}); iterd status tells whether it was done"
                ),
            )),
        }
    }

    fn open_file(&self) -> Result<Api, Failure> {
        let directory = self.paths.root();
        // Why first: a command that finds nothing must not leave an empty state directory.
        if self.access == Access::Change {
            Store::open_read_only(directory)?;
        }
        Ok(match self.access {
            Access::Read => Api::of_store(Store::open_read_only(directory)?)
                .with_settings(self.settings.config.clone()),
            Access::Change | Access::Make => {
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

/// Why there is no answer over the socket.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nobody listens.
    Nobody,
    /// Whoever listened went away, or is silent; what was asked for may have been done.
    Gone(String),
    /// It was refused, or cannot be asked.
    Refused(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// The answer of whoever owns the directory.
pub(super) async fn over_socket(
    paths: &StatePaths,
    operation: &str,
    input: &Value,
) -> Result<Value, Unanswered> {
    let stream = UnixStream::connect(paths.socket())
        .await
        .map_err(|_| Unanswered::Nobody)?;
    let key = Key::read(&paths.key()).map_err(|error| Failure::new(STATE, error.to_string()))?;
    let gone = |error: &dyn std::fmt::Display| Unanswered::Gone(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| gone(&error))?;
    tokio::spawn(connection);
    let response = sender
        .send_request(signed(operation, input, &key)?)
        .await
        .map_err(|error| gone(&error))?;
    let good = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| gone(&error))?
        .to_bytes();
    let answer: Value = serde_json::from_slice(&body).map_err(|error| gone(&error))?;
    if good {
        return Ok(answer);
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let error = ApiError::new(ErrorKind::of_name(&text("__type")), text("message"));
    Err(Unanswered::Refused(error.into()))
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

/// A sentence about what goes on from now, with what has to be done where nobody keeps jobs running.
pub(super) fn with_keeper(sentence: String, answer: &Value) -> String {
    if answer["live"].as_bool() == Some(false) && answer["outcome"] != "finished" {
        format!(
            "{sentence}; nobody keeps jobs running here now: iterd serve does, or iterd run and its file"
        )
    } else {
        sentence
    }
}
