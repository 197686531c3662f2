//! A worker's task from its first to its last moment, and the start of its process.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use rustix::fd::OwnedFd;
use tokio::{io::unix::AsyncFd, net::unix::pipe, sync::mpsc::UnboundedReceiver};

use super::{
    super::{
        host, launch,
        lines::{Lines, LogBudget, Tail},
        pool::End,
    },
    Order, Phase, Post, START_MAX, TERMINATE, Worker,
};

/// Starts a worker after a while, works, and reports its end.
pub(crate) async fn run(post: Post, mut orders: UnboundedReceiver<Order>, after: Duration) {
    let id = post.id;
    let shared = post.shared.clone();
    let (end, answers) = match launch(post, &mut orders, after).await {
        Ok(worker) => worker.work(&mut orders).await,
        Err(end) => (end, Vec::new()),
    };
    shared.ended(id, end, answers, orders);
}

async fn launch(
    post: Post,
    orders: &mut UnboundedReceiver<Order>,
    after: Duration,
) -> Result<Worker, End> {
    if !after.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(after) => {}
            // Whatever it is, a worker that is not there yet obeys it by not coming; calls are not
            // handed over before it is ready.
            _ = orders.recv() => return Err(End {
                how: "not needed any more".to_owned(),
                expected: true,
                ..End::default()
            }),
        }
    }
    start(post).await.map_err(|how| End {
        how,
        ..End::default()
    })
}

/// The process with its orders, on their way. An error is for people.
async fn start(post: Post) -> Result<Worker, String> {
    let (version, shared) = (post.version.clone(), post.shared.clone());
    // Why on a thread that may wait: secrets are files, and may be on a slow file system.
    let spec = tokio::task::spawn_blocking(move || host::worker_spec(&version, &shared))
        .await
        .map_err(chain)?
        .map_err(chain)?;
    let pending = launch::encode(&spec).map_err(chain)?;
    let mut process = post.shared.spec.spawner.spawn().await.map_err(chain)?;
    let (stdin, stdout, stderr) = process
        .take_pipes()
        .ok_or("the worker's process has no pipes")?;
    let end = process.end_descriptor().and_then(watched).map_err(chain)?;
    let now = Instant::now();
    let mut worker = Worker {
        end,
        stdin: Some(pipe::Sender::from_owned_fd(stdin.into()).map_err(chain)?),
        stdout: Some(pipe::Receiver::from_owned_fd(stdout.into()).map_err(chain)?),
        stderr: Some(pipe::Receiver::from_owned_fd(stderr.into()).map_err(chain)?),
        process,
        post,
        out: Lines::default(),
        err: Lines::default(),
        tail: Tail::default(),
        budget: LogBudget::new(now),
        pending,
        written: 0,
        written_total: 0,
        flights: HashMap::new(),
        next_deadline: None,
        began: now,
        phase: Phase::Launching,
        phase_ends: Some(now + START_MAX),
        proving: None,
        refused: None,
        init_error: None,
        answered: false,
        retiring: false,
        finish: None,
        grace: TERMINATE,
        step: None,
        killed: None,
        verdicts: Vec::new(),
    };
    worker.write();
    Ok(worker)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may lend out another descriptor; an OwnedFd cannot"
)]
pub(crate) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// An error with all its sources, in one line.
fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
