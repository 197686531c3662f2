//! Writes a run's results into its output file, in dataset order behind the watermark; what ends
//! later than its place (a retried record) follows when it ends.
//!
//! Owns the file's durable offset. Crash: the file is cut back to the offset that was committed, so
//! no line is torn and none stands twice; what an ended run still owes is written at the next start.
//!
//! Invariant: one exporter at a time works on a run. Whoever starts another one has waited for
//! [`Exporter::halt`].

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

/// The task that writes one run's output. Dropping it halts it.
pub(super) struct Exporter {
    nudge: Arc<Notify>,
    stage: watch::Sender<Stage>,
    task: Option<JoinHandle<()>>,
}

/// How long an exporter goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// As long as results come.
    Following,
    /// Until everything is written.
    Finishing,
    /// Not beyond the page at hand.
    Halted,
}

/// Why results are not in their file.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The thread that wrote it is gone.
    #[error("writing broke off: {0}")]
    BrokeOff(#[from] tokio::task::JoinError),
}

impl Exporter {
    pub(super) fn start(job: String, export: Export) -> Self {
        let nudge = Arc::new(Notify::new());
        let (stage, stages) = watch::channel(Stage::Following);
        let work = Work {
            job,
            export: Arc::new(export),
            nudge: Arc::clone(&nudge),
            stages,
        };
        Self {
            nudge,
            stage,
            task: Some(tokio::spawn(work.run())),
        }
    }

    /// There may be something to write.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Writes what is left. Gives up after some tries; the rest is then still owed.
    pub(super) async fn finish(&mut self) {
        self.stage.send_replace(Stage::Finishing);
        self.ended().await;
    }

    /// Writes nothing more once this returns.
    pub(super) async fn halt(mut self) {
        self.stage.send_replace(Stage::Halted);
        self.ended().await;
    }

    async fn ended(&mut self) {
        if let Some(task) = &mut self.task {
            if let Err(error) = task.await {
                tracing::error!(%error, "the exporter broke off");
            }
            self.task = None;
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Halted);
    }
}

struct Work {
    job: String,
    export: Arc<Export>,
    nudge: Arc<Notify>,
    stages: watch::Receiver<Stage>,
}

impl Work {
    async fn run(mut self) {
        let mut tries = 0;
        loop {
            tokio::select! {
                () = self.nudge.notified() => self.pause(GATHER, Stage::Following).await,
                _ = self.stages.changed() => {}
            }
            let stage = *self.stages.borrow_and_update();
            if stage == Stage::Halted {
                return;
            }
            match self.catch_up().await {
                Ok(()) if stage == Stage::Finishing => return,
                Ok(()) => tries = 0,
                Err(error) => {
                    tracing::warn!(job = self.job, %error, "cannot write the output file for now; results are safe in the state");
                    tries += 1;
                    if stage == Stage::Finishing && tries >= FINISH_TRIES {
                        return;
                    }
                    self.pause(TRY_AGAIN, stage).await;
                    self.nudge.notify_one();
                }
            }
        }
    }

    /// Waits a while, or until there is another stage than this one.
    async fn pause(&self, duration: Duration, than: Stage) {
        let mut stages = self.stages.clone();
        let other = stages.wait_for(|stage| *stage != than);
        drop(tokio::time::timeout(duration, other).await);
    }

    async fn catch_up(&self) -> Result<(), ExportError> {
        let (export, stages) = (Arc::clone(&self.export), self.stages.clone());
        let halted = move || *stages.borrow() == Stage::Halted;
        tokio::task::spawn_blocking(move || export.catch_up(halted)).await?
    }
}

/// One run's output.
pub(super) struct Export {
    pub(super) run: RunId,
    pub(super) spec: SinkSpec,
    pub(super) store: Store,
}

impl Export {
    /// Writes everything that can be written now, or until it is halted; blocks.
    pub(super) fn catch_up(&self, halted: impl Fn() -> bool) -> Result<(), ExportError> {
        while !halted() && self.write_page()? {}
        Ok(())
    }

    /// Writes the next page; whether there was one.
    fn write_page(&self) -> Result<bool, ExportError> {
        let at = self.store.export(self.run)?.unwrap_or(ExportRow {
            run: self.run,
            next: 0,
            bytes: 0,
        });
        let Some(page) = self
            .store
            .export_page(self.run, at.next, PAGE_RESULTS_MAX)?
        else {
            return Ok(false);
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
        let row = ExportRow {
            run: self.run,
            next: page.next,
            bytes: sink.sync()?,
        };
        let late = page.late;
        self.store
            .commit_blocking(vec![Change::Export { row, late }])?;
        Ok(true)
    }
}
