//! The one thread that writes: it drains its queue into a transaction, commits, and answers all.
//!
//! What cannot be written for now (a full disk, a lock that somebody holds) is tried again until it
//! can: the senders wait, nothing is lost, and nobody has to undo what is in memory. Only what can
//! never be written (a change that breaks the schema's rules) is an error, and only its sender's.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, Savepoint, TransactionBehavior};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use serde_json::Value;

use super::{
    Change, StoreError, StoreSettings,
    machine_cache::MachineCache,
    services::{Calls, Outcomes},
};
use crate::integration::service::{Call, Refusal};

/// How many requests may wait: beyond this their senders do, and memory stays bounded by what each
/// of them may have under way.
const QUEUE_REQUESTS_MAX: usize = 256;

/// The most changes in one transaction: some 50 ms of work, so that the first sender does not wait
/// for a crowd.
const TRANSACTION_CHANGES_MAX: usize = 16_384;

/// How long to wait before something is tried again that could not be written.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// The sending side.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
    vitals: Arc<Vitals>,
}

struct Request {
    changes: Vec<Change>,
    /// Whether an earlier request of the same line was refused. Written by the writer's thread.
    broken: Option<Arc<AtomicBool>>,
    /// Calls of services that are carried out before the changes, and answered within the transaction.
    calls: Option<Calls>,
    answer: oneshot::Sender<Result<(), StoreError>>,
    /// Nothing will follow for now: leave the file tidy before answering.
    last: bool,
}

impl Request {
    fn is_broken(&self) -> bool {
        let broken = self.broken.as_ref();
        broken.is_some_and(|broken| broken.load(Ordering::Relaxed))
    }

    fn apply(&self, savepoint: &mut Savepoint<'_>) -> Result<(), StoreError> {
        if let Some(calls) = &self.calls {
            calls.apply(savepoint)?;
        }
        for change in &self.changes {
            change.apply(savepoint)?;
        }
        Ok(())
    }

    fn has(&self, kind: fn(&Change) -> bool) -> bool {
        let later = self.calls.as_ref();
        self.changes.iter().any(kind) || later.is_some_and(|calls| calls.has(kind))
    }

    fn posts(&self) -> bool {
        self.calls.as_ref().is_some_and(Calls::post)
    }

    /// Whether messages came with it, or others can be received.
    fn has_messages(&self) -> bool {
        let calls = self.calls.as_ref();
        calls.is_some_and(Calls::has_messages)
    }

    fn break_line(&self) {
        if let Some(broken) = &self.broken {
            broken.store(true, Ordering::Relaxed);
        }
    }
}

struct Vitals {
    born: Instant,
    beat_ms: AtomicU64,
    commits: AtomicU64,
    trouble: Mutex<Option<String>>,
    news: Notify,
    posted: Notify,
    /// Counts commits that messages came with.
    messages: watch::Sender<u64>,
    machines: MachineCache,
}

/// How the writer fares.
#[derive(Debug, Clone)]
pub struct WriterPulse {
    /// How long ago it showed signs of life.
    pub silent: Duration,
    /// Transactions committed by this process.
    pub commits: u64,
    /// Why it cannot write for now, if it cannot.
    pub trouble: Option<String>,
}

/// The answer to a commit: a future that is ready once the changes are durable, or refused.
#[must_use = "dropping it does not take the changes back, but nobody learns of an error"]
pub struct Committed(Answer);

/// A transaction that is held open.
pub(super) struct Asked {
    outcomes: oneshot::Receiver<Outcomes>,
    rest: std::sync::mpsc::Sender<Vec<Change>>,
    committed: Committed,
}

impl Asked {
    pub(super) async fn answers(&mut self) -> Result<Vec<Result<Value, Refusal>>, StoreError> {
        match (&mut self.outcomes).await {
            Ok(outcomes) => Ok(outcomes),
            // Why: the request was refused before a call was made, which says why.
            Err(_) => match (&mut self.committed).await {
                Ok(()) => Err(StoreError::Closed),
                Err(error) => Err(error),
            },
        }
    }

    /// What was answered, once it is durable; nothing follows from it, and so the writer waits for nobody.
    pub(super) async fn alone(mut self) -> Result<Outcomes, StoreError> {
        // Why ok: a writer that does not wait any more has refused it.
        self.rest.send(Vec::new()).ok();
        let outcomes = self.answers().await?;
        self.committed.await?;
        Ok(outcomes)
    }

    pub(super) fn commit(self, changes: Vec<Change>) -> Committed {
        // Why ok: a writer that does not wait any more has refused it.
        self.rest.send(changes).ok();
        self.committed
    }
}

enum Answer {
    Pending(oneshot::Receiver<Result<(), StoreError>>),
    Refused(Option<StoreError>),
}

impl Committed {
    pub(super) const fn refused(error: StoreError) -> Self {
        Self(Answer::Refused(Some(error)))
    }
}

impl Future for Committed {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Pending(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|answer| answer.unwrap_or(Err(StoreError::Closed))),
            Answer::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(StoreError::Closed))),
        }
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        path: &Path,
        settings: StoreSettings,
    ) -> Result<Self, StoreError> {
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let vitals = Arc::new(Vitals {
            born: Instant::now(),
            beat_ms: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            trouble: Mutex::new(None),
            news: Notify::new(),
            posted: Notify::new(),
            messages: watch::Sender::new(0),
            machines: MachineCache::default(),
        });
        let thread = WriterThread {
            connection,
            wal: wal_path(path),
            settings,
            requests,
            vitals: Arc::clone(&vitals),
        };
        std::thread::Builder::new()
            .name("iterd-writer".to_owned())
            .spawn(move || thread.run())
            .map_err(StoreError::Thread)?;
        Ok(Self { queue, vitals })
    }

    pub(super) async fn send(
        &self,
        changes: Vec<Change>,
        broken: Option<Arc<AtomicBool>>,
    ) -> Committed {
        let (answer, receiver) = oneshot::channel();
        let request = Request {
            changes,
            broken,
            calls: None,
            answer,
            last: false,
        };
        match self.queue.send(request).await {
            Ok(()) => Committed(Answer::Pending(receiver)),
            Err(_) => Committed::refused(StoreError::Closed),
        }
    }

    /// Sends calls whose transaction stays open until what follows from their answers is there.
    pub(super) async fn ask(
        &self,
        calls: Vec<Call>,
        broken: Option<Arc<AtomicBool>>,
    ) -> Result<Asked, StoreError> {
        let (calls, outcomes, rest) = Calls::new(calls);
        let (answer, receiver) = oneshot::channel();
        let request = Request {
            changes: Vec::new(),
            broken,
            calls: Some(calls),
            answer,
            last: false,
        };
        let sent = self.queue.send(request).await;
        sent.map_err(|_| StoreError::Closed)?;
        Ok(Asked {
            outcomes,
            rest,
            committed: Committed(Answer::Pending(receiver)),
        })
    }

    /// Sends an empty request where there is room: a full queue gives signs of life by itself.
    pub(super) fn poke(&self) {
        let (answer, _) = oneshot::channel();
        let empty = Request {
            changes: Vec::new(),
            broken: None,
            calls: None,
            answer,
            last: false,
        };
        drop(self.queue.try_send(empty));
    }

    pub(super) fn send_blocking(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (answer, receiver) = oneshot::channel();
        self.queue
            .blocking_send(Request {
                changes,
                broken: None,
                calls: None,
                answer,
                last: false,
            })
            .map_err(|_| StoreError::Closed)?;
        receiver.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    pub(super) fn send_soon(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (answer, _) = oneshot::channel();
        self.queue
            .blocking_send(Request {
                changes,
                broken: None,
                calls: None,
                answer,
                last: false,
            })
            .map_err(|_| StoreError::Closed)
    }

    /// What was read of machines.
    pub(super) fn machines(&self) -> &MachineCache {
        &self.vitals.machines
    }

    pub(super) async fn news(&self) {
        self.vitals.news.notified().await;
    }

    pub(super) async fn posted(&self) {
        self.vitals.posted.notified().await;
    }

    pub(super) fn messages(&self) -> watch::Receiver<u64> {
        self.vitals.messages.subscribe()
    }

    pub(super) async fn tidy(&self) {
        let (answer, tidied) = oneshot::channel();
        let request = Request {
            broken: None,
            changes: Vec::new(),
            calls: None,
            answer,
            last: true,
        };
        if self.queue.send(request).await.is_ok() {
            // Why dropped: a writer that is gone has left the file as it is.
            drop(tidied.await);
        }
    }

    pub(super) fn pulse(&self) -> WriterPulse {
        let now = Duration::from_millis(self.vitals.now_ms());
        let beat = Duration::from_millis(self.vitals.beat_ms.load(Ordering::Relaxed));
        WriterPulse {
            silent: now.saturating_sub(beat),
            commits: self.vitals.commits.load(Ordering::Relaxed),
            trouble: self
                .vitals
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

impl Vitals {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        self.beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

struct WriterThread {
    connection: Connection,
    wal: PathBuf,
    settings: StoreSettings,
    requests: mpsc::Receiver<Request>,
    vitals: Arc<Vitals>,
}

impl WriterThread {
    fn run(mut self) {
        while let Some(batch) = self.next_batch() {
            let answers = self.write_at_last(&batch);
            self.vitals.beat();
            if batch.iter().any(|request| request.has(Change::is_news)) {
                self.vitals.news.notify_one();
            }
            if batch.iter().any(Request::posts) {
                self.vitals.posted.notify_one();
            }
            if batch.iter().any(Request::has_messages) {
                self.vitals.messages.send_modify(|count| *count += 1);
            }
            if batch
                .iter()
                .any(|request| request.has(Change::is_of_machines))
            {
                self.vitals.machines.forget();
            }
            if batch.iter().any(|request| request.last) {
                self.tidy();
            }
            for (request, answer) in batch.into_iter().zip(answers) {
                // Why: a sender that is gone does not want the answer.
                drop(request.answer.send(answer));
            }
            self.bound_wal();
        }
    }

    /// Crash: losing this only leaves a longer WAL to the next start.
    fn tidy(&self) {
        drop(
            self.connection
                .execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);"),
        );
    }

    /// Everything that waits, up to the bound of a transaction; `None` once nobody can send any more.
    fn next_batch(&mut self) -> Option<Vec<Request>> {
        let first = self.requests.blocking_recv()?;
        let mut changes = first.changes.len();
        let mut batch = vec![first];
        while changes < TRANSACTION_CHANGES_MAX
            && let Ok(request) = self.requests.try_recv()
        {
            changes += request.changes.len();
            batch.push(request);
        }
        Some(batch)
    }

    fn write_at_last(&mut self, batch: &[Request]) -> Vec<Result<(), StoreError>> {
        let is_empty = |request: &Request| request.changes.is_empty() && request.calls.is_none();
        if batch.iter().all(is_empty) {
            // Why: an empty request asks for nothing but a sign of life.
            return batch.iter().map(|_| Ok(())).collect();
        }
        loop {
            match self.write(batch) {
                Ok(answers) => {
                    self.vitals.commits.fetch_add(1, Ordering::Relaxed);
                    self.vitals.set_trouble(None);
                    return answers;
                }
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "cannot write for now; nothing is lost, trying again");
                    self.vitals.set_trouble(Some(error.to_string()));
                    self.vitals.beat();
                    // Why a while: no event tells that the disk has room again.
                    std::thread::park_timeout(RETRY_EVERY);
                }
                Err(error) => {
                    let text = error.to_string();
                    tracing::error!(error = text, "cannot write");
                    let refuse = |request: &Request| {
                        request.break_line();
                        Err(StoreError::Refused(text.clone()))
                    };
                    return batch.iter().map(refuse).collect();
                }
            }
        }
    }

    fn write(&mut self, batch: &[Request]) -> Result<Vec<Result<(), StoreError>>, rusqlite::Error> {
        let mut transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut answers = Vec::with_capacity(batch.len());
        for request in batch {
            if request.is_broken() {
                answers.push(Err(StoreError::Behind));
                continue;
            }
            // Why: a request that breaks the schema's rules is undone alone.
            let mut savepoint = transaction.savepoint()?;
            match request.apply(&mut savepoint) {
                Ok(()) => {
                    savepoint.commit()?;
                    answers.push(Ok(()));
                }
                Err(StoreError::Sqlite(error)) if is_passing(&error) => return Err(error),
                Err(error) => {
                    drop(savepoint);
                    request.break_line();
                    answers.push(Err(error));
                }
            }
        }
        transaction.commit()?;
        Ok(answers)
    }

    /// Writes the WAL back where it has grown beyond its bound, for example behind a long reader.
    fn bound_wal(&self) {
        let length = std::fs::metadata(&self.wal).map_or(0, |meta| meta.len());
        if length > self.settings.wal_bytes_max
            && let Err(error) =
                self.connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "cannot shorten the WAL");
        }
    }
}

/// Whether the same transaction may succeed later without anybody changing it.
fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
        )
    )
}

fn wal_path(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    PathBuf::from(wal)
}
