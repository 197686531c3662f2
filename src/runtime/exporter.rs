//! Writes a run's results into its output file, in dataset order behind the watermark; what ends
//! later than its place (a retried record) follows when it ends.
//!
//! Owns the file's durable offset. Crash: the file is cut back to the offset that was committed, so
//! no line is torn and none stands twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    ids::{RunId, VersionNumber},
    integration::sink::{Row, Sink, SinkError, SinkSpec},
    store::{Change, ExportRow, Store, StoreError},
};

/// Results written at a time: enough to make a sync worth it, few enough to hold in memory.
const PAGE_RESULTS_MAX: u32 = 1000;

/// How long the exporter lets results gather before it syncs the file again.
const GATHER: Duration = Duration::from_millis(500);

/// How long it waits after it could not write.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How often [`Exporter::finish`] tries before it leaves the rest to the next start.
const FINISH_TRIES: u32 = 3;

/// The task that writes one run's output.
pub(super) struct Exporter {
    nudge: Arc<Notify>,
    finishing: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Exporter {
    pub(super) fn start(run: RunId, job: String, spec: SinkSpec, store: Store) -> Self {
        let nudge = Arc::new(Notify::new());
        let finishing = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(work(
            Export { run, spec, store },
            job,
            Arc::clone(&nudge),
            Arc::clone(&finishing),
        ));
        Self {
            nudge,
            finishing,
            task,
        }
    }

    /// There may be something to write.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Writes what is left, and ends.
    pub(super) async fn finish(self) {
        self.finishing.store(true, Ordering::Release);
        self.nudge.notify_one();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the exporter broke off");
        }
    }
}

async fn work(export: Export, job: String, nudge: Arc<Notify>, finishing: Arc<AtomicBool>) {
    let export = Arc::new(export);
    let mut tries = 0;
    loop {
        nudge.notified().await;
        let last = finishing.load(Ordering::Acquire);
        if !last {
            tokio::time::sleep(GATHER).await;
        }
        let task = Arc::clone(&export);
        let outcome = tokio::task::spawn_blocking(move || task.catch_up()).await;
        match outcome {
            Ok(Ok(())) if last => return,
            Ok(Ok(())) => tries = 0,
            Ok(Err(error)) => {
                tracing::warn!(job, %error, "cannot write the output file for now; results are safe in the state");
                tries += 1;
                if last && tries >= FINISH_TRIES {
                    return;
                }
                tokio::time::sleep(TRY_AGAIN).await;
                nudge.notify_one();
            }
            Err(error) => {
                tracing::error!(job, %error, "the exporter broke off");
                return;
            }
        }
    }
}

struct Export {
    run: RunId,
    spec: SinkSpec,
    store: Store,
}

impl Export {
    /// Writes everything that can be written now.
    fn catch_up(&self) -> Result<(), ExportError> {
        loop {
            let at = self.store.export(self.run)?.unwrap_or(ExportRow {
                run: self.run,
                next: 0,
                bytes: 0,
            });
            let Some(page) = self
                .store
                .export_page(self.run, at.next, PAGE_RESULTS_MAX)?
            else {
                return Ok(());
            };
            let mut sink = Sink::open(&self.spec, at.bytes)?;
            let rows: Vec<Row<'_>> = page
                .results
                .iter()
                .map(|row| Row {
                    index: row.index,
                    id: row.id.as_deref(),
                    result: &row.result,
                    version: VersionNumber(row.version),
                    attempts: row.attempts,
                })
                .collect();
            sink.append(&rows)?;
            let bytes = sink.sync()?;
            let row = ExportRow {
                run: self.run,
                next: page.next,
                bytes,
            };
            self.store.commit_blocking(vec![Change::Export {
                row,
                late: page.late,
            }])?;
        }
    }
}
