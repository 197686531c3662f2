//! A web service for each item: a worker of ours that makes a request of it.
//!
//! What a call carries are the values of the manifest's expressions; everything literal, secrets
//! included, is here. Requests run side by side, as many as the manifest's `in_flight`, and each ends
//! itself a little before its time-out, so that the pool need not kill the worker with all the others.
//!
//! Invariant: a secret goes into the request and nowhere else: what is answered passes the mask.

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::pipe,
    task::JoinSet,
};

use super::{
    batch::{self, Batch},
    served::{self, READY, Request},
};
use crate::{
    network::{Grant, Guard, Mask},
    payload::{Failure, Payload},
    plugin::{
        Call, Manifest,
        manifest::{Plan, ResponseForm, RetryAfter},
    },
};
use answer::Answers;
use client::Clients;
use request::{Asked, Hop};

mod answer;
mod client;
mod request;

/// The variable that names a file of certificates to trust instead of the system's.
pub(crate) const CERTIFICATES: &str = "SSL_CERT_FILE";

/// How much earlier than the pool a request gives up, at most; else a twentieth of its time.
const EARLIER_MAX: Duration = Duration::from_secs(1);

/// What the worker has to know.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    plan: Plan,
    response: ResponseForm,
    response_bytes_max: usize,
    line_bytes_max: usize,
    redirects: u8,
    retry_after: RetryAfter,
    /// Whether calls come in batches.
    batches: bool,
    /// Where in a batch's response the results are: a JSON Pointer.
    results: Option<String>,
    network: Vec<Grant>,
    /// The variables that hold secrets.
    secrets: Vec<String>,
}

impl Settings {
    /// What a manifest says. One that was parsed has a request and grants.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let http = manifest.http.as_ref();
        let bytes_max = served::result_bytes_max(manifest.line_bytes_max);
        let response_bytes_max = http.and_then(|http| http.response_bytes_max);
        Self {
            plan: http.map(|http| http.plan.clone()).unwrap_or_default(),
            response: http.map(|http| http.response).unwrap_or_default(),
            response_bytes_max: response_bytes_max.unwrap_or(bytes_max).min(bytes_max),
            line_bytes_max: manifest.line_bytes_max,
            redirects: http.map_or(0, |http| http.redirects),
            retry_after: http.map(|http| http.retry_after).unwrap_or_default(),
            batches: manifest.batch.get() > 1,
            results: http.and_then(|http| http.results.clone()),
            network: manifest.grants().unwrap_or_default(),
            secrets: manifest.secrets.keys().cloned().collect(),
        }
    }
}

/// The request of a call, for people; `values` are those of the manifest's expressions. A secret is
/// shown by its name.
pub(crate) fn preview(
    manifest: &Manifest,
    call: &Call,
    values: &Payload,
) -> Result<Value, Failure> {
    let settings = Settings::of(manifest);
    let named = |name: &String| (name.clone(), format!("${{secret:{name}}}"));
    let secrets = settings.secrets.iter().map(named).collect();
    let values = serde_json::from_str(values.text());
    let asked = Asked {
        values: values.map_err(|error| request::invalid(error.to_string()))?,
        key: (!settings.batches).then_some(&call.key),
    };
    Ok(Hop::new(&settings.plan, &asked, &secrets)?.told())
}

/// Serves calls until standard input ends.
pub(crate) fn serve(settings: Settings, env: &BTreeMap<String, String>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async { work(Arc::new(Desk::new(settings, env)?)).await });
    // Why not dropped: that would wait for look-ups of names, which nobody waits for any more.
    runtime.shutdown_background();
    served
}

async fn work(desk: Arc<Desk>) -> io::Result<()> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let mut input = BufReader::new(pipe::Receiver::from_owned_fd(stdin)?);
    let mut out = pipe::Sender::from_owned_fd(stdout)?;
    out.write_all(READY).await?;
    let mut line = Vec::new();
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            read = input.read_until(b'\n', &mut line) => {
                read?;
                if !line.ends_with(b"\n") {
                    return Ok(());
                }
                let (line, desk) = (std::mem::take(&mut line), Arc::clone(&desk));
                under_way.spawn(async move { desk.answer(&line).await });
            }
            Some(answer) = under_way.join_next() => out.write_all(&answer??).await?,
        }
    }
}

/// What all requests share.
struct Desk {
    settings: Settings,
    /// By their names.
    secrets: BTreeMap<String, String>,
    mask: Mask,
    clients: Clients,
}

impl Desk {
    fn new(settings: Settings, env: &BTreeMap<String, String>) -> io::Result<Self> {
        let secrets: BTreeMap<String, String> = settings
            .secrets
            .iter()
            .filter_map(|name| Some((name.clone(), env.get(name)?.clone())))
            .collect();
        let guard = Guard::new(settings.network.clone());
        let certificates = env.get(CERTIFICATES).map(String::as_str);
        Ok(Self {
            clients: Clients::new(guard, settings.plan.connect_timeout, certificates)?,
            mask: Mask::new(secrets.values()),
            settings,
            secrets,
        })
    }

    /// The line that answers a call's line, or the lines that answer a batch's.
    async fn answer(&self, line: &[u8]) -> io::Result<Vec<u8>> {
        let began = Instant::now();
        if self.settings.batches {
            let batch: Batch = serde_json::from_slice(line)?;
            let values = batch.item.ok_or(io::ErrorKind::InvalidData)?;
            let times = batch.batch.iter().filter_map(|call| call.timeout_s);
            let asked = Asked { values, key: None };
            let outcome = self.in_time(&asked, began, times.reduce(f64::min)).await;
            return Ok(self.answers(&batch.batch, outcome));
        }
        let request: Request = serde_json::from_slice(line)?;
        let asked = Asked {
            values: request.item,
            key: Some(&request.key),
        };
        let outcome = self.in_time(&asked, began, request.timeout_s).await;
        let failure = match outcome {
            Ok(result) => {
                let answer = served::done(request.id, &result);
                if answer.len() <= self.settings.line_bytes_max {
                    return Ok(answer);
                }
                answer::too_large(self.settings.line_bytes_max)
            }
            Err(failure) => failure,
        };
        Ok(served::failed(request.id, &failure))
    }

    /// The lines that answer the calls of a batch.
    fn answers(&self, calls: &[Request<'_>], outcome: Result<String, Failure>) -> Vec<u8> {
        let asked = |call: &Request| batch::Asked {
            ticket: call.id,
            key: call.key.clone(),
        };
        let asked: Vec<batch::Asked> = calls.iter().map(asked).collect();
        let outcome = outcome.and_then(|result| match &self.settings.results {
            Some(place) => answer::part(&result, place),
            None => Ok(result),
        });
        match outcome {
            Ok(result) => batch::answers(&asked, &result),
            Err(mut failure) => {
                // Why: whose fault it is, nobody knows. In other company the others get through.
                if calls.len() > 1 && failure.retry == Some(false) {
                    failure.retry = None;
                }
                batch::all_failed(&asked, &failure)
            }
        }
    }

    /// The result's JSON, or why there is none, within so many seconds.
    async fn in_time(
        &self,
        asked: &Asked<'_>,
        began: Instant,
        seconds: Option<f64>,
    ) -> Result<String, Failure> {
        let allowed = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let exchange = self.exchange(asked);
        let outcome = match allowed {
            None => exchange.await,
            Some(allowed) => {
                let patience = allowed.saturating_sub((allowed / 20).min(EARLIER_MAX));
                let left = patience.saturating_sub(began.elapsed());
                tokio::time::timeout(left, exchange)
                    .await
                    .unwrap_or_else(|_| Err(timed_out(allowed)))
            }
        };
        outcome.map_err(|failure| Failure {
            cause: self.mask.of_failure(&failure.cause),
            ..failure
        })
    }

    /// The result's JSON.
    async fn exchange(&self, asked: &Asked<'_>) -> Result<String, Failure> {
        let mut hop = Hop::new(&self.settings.plan, asked, &self.secrets)?;
        let answers = Answers {
            settings: &self.settings,
            mask: &self.mask,
        };
        for _ in 0..self.settings.redirects {
            let response = self.clients.send(&hop).await?;
            let Some(place) = request::redirect(&response) else {
                return answers.take(response).await;
            };
            hop = hop.redirected(response.status(), place)?;
        }
        answers.take(self.clients.send(&hop).await?).await
    }
}

fn timed_out(allowed: Duration) -> Failure {
    Failure::new(
        "States.Timeout",
        format!("no whole response within {allowed:?} of the hand-over; the request was given up"),
    )
}
