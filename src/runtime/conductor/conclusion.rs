//! What follows the end of a Map Run: its results are written, and the state that waits is told.
//!
//! It comes between two commits, the one that ends the run and the one in which the state goes on, and works
//! on a thread that may block. Crash: a start finds runs that have ended and whose states wait, and draws
//! the same conclusion again; the files that are written have the same names and the same content.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Order, writing};
use crate::{
    ids::{ExecutionId, FrameId},
    iteration::RunStatus,
    machine::{Input, RunRequest},
    payload::{Failure, Payload},
    runtime::{Engine, RuntimeError},
    store::{Change, MapRunRow},
};

/// Conclusions that are drawn at a time. Why so few: each blocks a thread, and waits for what needs others.
const AT_ONCE_MAX: usize = 16;

static AT_ONCE: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// A Map Run that has ended.
pub(super) struct Conclusion {
    pub(super) row: MapRunRow,
    /// Who waits for it, and where.
    pub(super) parent: (ExecutionId, FrameId),
    pub(super) request: Arc<RunRequest>,
    pub(super) status: RunStatus,
}

impl Conclusion {
    /// Writes what is to be written, then tells the conductor.
    pub(super) fn draw(self, engine: &Engine) {
        let engine = engine.clone();
        tokio::spawn(async move {
            let _leave = AT_ONCE.acquire().await;
            // Why: what is written needs room, and a run that has ended can wait for it.
            let mut full = engine.disk().changes();
            full.wait_for(|full| !full).await.ok();
            let drawn = tokio::task::spawn_blocking(move || self.draw_now(&engine));
            if let Err(error) = drawn.await {
                tracing::error!(%error, "the conclusion of a map run broke off; the next start draws it");
            }
        });
    }

    fn draw_now(self, engine: &Engine) {
        let (execution, frame) = self.parent;
        match self.outcome(engine) {
            Ok(outcome) => {
                let input = Input::RunEnded {
                    frame,
                    generation: self.row.generation,
                    outcome,
                };
                if let Some(orders) = engine.orders_of_conductor() {
                    // Why ok: should the conductor be gone, the next start draws it again.
                    orders.blocking_send(Order::Tell { execution, input }).ok();
                }
            }
            Err(error) => {
                let run = self.row.run.0;
                tracing::error!(run, %error, "cannot read the results of a map run; the next start does");
            }
        }
    }

    /// What the state that waits is told. Blocks.
    fn outcome(&self, engine: &Engine) -> Result<Result<Payload, Failure>, RuntimeError> {
        let written = match self.status {
            // Nobody waits.
            RunStatus::Aborted | RunStatus::Running | RunStatus::Paused => return Ok(self.failed()),
            RunStatus::Failed if self.request.write_to.is_none() => return Ok(self.failed()),
            RunStatus::Failed | RunStatus::Succeeded => {
                writing::write(engine, &self.row, &self.request)?
            }
        };
        match written {
            Ok((result, written)) => {
                if written > 0 {
                    let run = self.row.run;
                    let note = Change::MapRunWritten { run, written };
                    engine.store().commit_blocking(vec![note])?;
                }
                Ok(match self.status {
                    RunStatus::Succeeded => Ok(result),
                    RunStatus::Failed
                    | RunStatus::Aborted
                    | RunStatus::Running
                    | RunStatus::Paused => self.failed(),
                })
            }
            Err(failure) if self.status == RunStatus::Succeeded => Ok(Err(failure)),
            Err(failure) => {
                let run = self.row.run.0;
                tracing::warn!(
                    run,
                    cause = failure.cause,
                    "the results of a failed map run are not written"
                );
                Ok(self.failed())
            }
        }
    }

    fn failed(&self) -> Result<Payload, Failure> {
        Err(self.row.failure.clone().unwrap_or_else(|| {
            Failure::new(
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )
        }))
    }
}
