//! Writes a run's results into its output file, in dataset order behind the watermark; what ends
//! later than its place (a retried record) follows when it ends.
//!
//! Owns the file's durable offset. Crash: the file is cut back to the offset that was committed, so
//! no line is torn and none stands twice.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

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

/// The task that writes one run's output. Dropped, it ends after the page that it is at.
pub(super) struct Exporter {
    nudge: Arc<Notify>,
    wish: watch::Sender<Wish>,
    task: Option<JoinHandle<()>>,
}

/// What is wanted of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Write what comes.
    GoOn,
    /// Write what is left, and end.
    Finish,
    /// End after the page that it is at; the next start goes on from there.
    Stop,
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
        let (wish, wished) = watch::channel(Wish::GoOn);
        let export = Export { run, spec, store };
        let task = tokio::spawn(work(export, job, Arc::clone(&nudge), wished));
        Self {
            nudge,
            wish,
            task: Some(task),
        }
    }

    /// There may be something to write.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Writes what is left, and ends. Cancelling loses nothing.
    pub(super) async fn finish(&mut self) {
        self.end(Wish::Finish).await;
    }

    /// Ends soon. Invariant: whoever goes on with the same run waits for this, since two that write
    /// one file would tear its lines.
    pub(super) async fn stop(mut self) {
        self.end(Wish::Stop).await;
    }

    async fn end(&mut self, wish: Wish) {
        self.wish.send_replace(wish);
        if let Some(task) = &mut self.task {
            if let Err(error) = task.await {
                tracing::error!(%error, "the exporter broke off");
            }
            self.task = None;
        }
    }
}

async fn work(export: Export, job: String, nudge: Arc<Notify>, mut wish: watch::Receiver<Wish>) {
    let export = Arc::new(export);
    let mut tries = 0;
    loop {
        // Why the result is nothing: whoever has dropped the other end wishes no more, see `wished`.
        tokio::select! {
            () = nudge.notified() => drop(tokio::time::timeout(GATHER, wish.changed()).await),
            _ = wish.changed() => {}
        }
        let wished = wished(&wish);
        if wished == Wish::Stop {
            return;
        }
        let (task, stop) = (Arc::clone(&export), wish.clone());
        let outcome = tokio::task::spawn_blocking(move || task.catch_up(&stop)).await;
        match outcome {
            Ok(Ok(())) if wished == Wish::Finish => return,
            Ok(Ok(())) => tries = 0,
            Ok(Err(error)) => {
                tracing::warn!(job, %error, "cannot write the output file for now; results are safe in the state");
                tries += 1;
                if wished == Wish::Finish && tries >= FINISH_TRIES {
                    return;
                }
                drop(tokio::time::timeout(TRY_AGAIN, wish.changed()).await);
                nudge.notify_one();
            }
            Err(error) => {
                tracing::error!(job, %error, "the exporter broke off");
                return;
            }
        }
    }
}

fn wished(wish: &watch::Receiver<Wish>) -> Wish {
    match wish.has_changed() {
        Ok(_) => *wish.borrow(),
        Err(_) => Wish::Stop,
    }
}

struct Export {
    run: RunId,
    spec: SinkSpec,
    store: Store,
}

impl Export {
    /// Writes everything that can be written now, unless it is to stop.
    fn catch_up(&self, wish: &watch::Receiver<Wish>) -> Result<(), ExportError> {
        while wished(wish) != Wish::Stop {
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
        Ok(())
    }
}
