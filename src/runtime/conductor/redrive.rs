//! How the conductor redrives: an execution that ended without success goes on from what it left.
//!
//! A Map Run is taken up where it stands, by the execution that waits for it: its failed and stopped children
//! are queued, and each goes on (or, of type express, begins again) when it has a slot. Invariant: a redrive
//! reads what is durable, so one that comes before an end is written waits for that.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    batch::{Batch, Item},
    live::Live,
    map_run::MapRun,
    runs::RunInput,
    work::Work,
};
use crate::{
    ids::{ExecutionId, FrameId, Generation, Index, RunId},
    iteration::{self, RunStatus},
    machine::{Input, RunRequest},
    runtime::RuntimeError,
    store::{Change, ExecutionKind, ExecutionRow, ExecutionStatus, MapRunRow, Requeue, RunRow},
    time::Timestamp,
};

/// How long after its end an execution may be redriven. Spec: 14 days.
const REDRIVABLE: Duration = Duration::from_hours(14 * 24);

/// Someone wants an execution to go on.
pub(in crate::runtime) struct Redrive {
    pub(super) execution: ExecutionId,
    /// The same again is the same redrive.
    pub(super) token: Option<String>,
    /// Answered when it is durable.
    pub(super) done: oneshot::Sender<Result<Redriven, RuntimeError>>,
}

/// What came of the wish for a redrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redriven {
    /// It goes on since then.
    At(Timestamp),
    /// It does not, in AWS's words.
    Refused(String),
    /// There is no such execution.
    Unknown,
}

/// Why an execution may not be redriven, in AWS's words; `None` where it may be, by itself or by its Map Run.
#[must_use]
pub fn redrive_refusal(row: &ExecutionRow, now: Timestamp) -> Option<String> {
    let status = match row.status {
        ExecutionStatus::Running => "RUNNING",
        ExecutionStatus::Succeeded => "SUCCEEDED",
        ExecutionStatus::Failed | ExecutionStatus::TimedOut | ExecutionStatus::Aborted => {
            let since = now.since(row.stopped.unwrap_or(now));
            return (since > REDRIVABLE).then(|| "Execution redrivable period exceeded".to_owned());
        }
    };
    Some(format!("Execution is {status} and cannot be redriven"))
}

impl Work {
    /// Redrives an execution, or says why not.
    pub(super) fn redrive(
        &mut self,
        asked: Redrive,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let id = asked.execution;
        let live = self.live.get(&id);
        let ends = live.is_some_and(Live::has_ended);
        if ends || live.is_none() && self.runs.values().any(|run| run.parent.0 == id) {
            self.redrives.entry(id).or_default().push(asked);
            return Ok(());
        }
        let row = match live {
            Some(live) => Some(live.row.clone()),
            None => self.engine.store().execution(id)?,
        };
        let Some(row) = row else {
            batch.after.redriven.push((asked.done, Redriven::Unknown));
            return Ok(());
        };
        match self.try_redrive(row, asked.token, now, batch) {
            Ok(answer) => batch.after.redriven.push((asked.done, answer)),
            // Why ok: whoever does not wait any more does not want to know.
            Err(error) => drop(asked.done.send(Err(error))),
        }
        Ok(())
    }

    fn try_redrive(
        &mut self,
        row: ExecutionRow,
        token: Option<String>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Redriven, RuntimeError> {
        if let Some(at) = row.redriven
            && token.is_some()
            && row.redrive_token == token
        {
            return Ok(Redriven::At(at));
        }
        if row.child_of.is_some() {
            let why = "Execution is a child of a Map Run and can be redriven by it alone";
            return Ok(Redriven::Refused(why.to_owned()));
        }
        if let Some(why) = redrive_refusal(&row, now) {
            return Ok(Redriven::Refused(why));
        }
        if self.reopen(row, token, now, batch)? {
            return Ok(Redriven::At(now));
        }
        let why = "Execution was started before the launch of RedriveExecution";
        Ok(Redriven::Refused(why.to_owned()))
    }

    /// Has an ended execution go on; whether it left what that takes.
    fn reopen(
        &mut self,
        row: ExecutionRow,
        token: Option<String>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, RuntimeError> {
        let id = row.id;
        let mut runs = Vec::new();
        for (frame, _, run) in self.newest_runs(id)? {
            if matches!(
                run.checkpoint.status,
                RunStatus::Failed | RunStatus::Aborted
            ) {
                runs.push(frame);
            }
        }
        let row = ExecutionRow {
            status: ExecutionStatus::Running,
            output: None,
            error: None,
            cause: None,
            redrives: row.redrives.saturating_add(1),
            stopped: None,
            redriven: Some(now),
            redrive_token: token,
            ..row
        };
        let count = row.redrives;
        let processor = |run| self.runs.get(&run)?.definition();
        let Some(mut live) = Live::redriven(&self.engine, row, processor)? else {
            return Ok(false);
        };
        if let Some(limit) = live.machine.definition().timeout() {
            live.set_deadline(now.after(limit));
        }
        self.live.insert(id, live);
        self.tell(id, Input::Redriven { count, runs }, now, batch)?;
        Ok(true)
    }

    /// The newest Map Run of each frame of an execution.
    fn newest_runs(
        &self,
        execution: ExecutionId,
    ) -> Result<Vec<(FrameId, MapRunRow, RunRow)>, RuntimeError> {
        let store = self.engine.store();
        let mut found: Vec<(FrameId, MapRunRow, RunRow)> = Vec::new();
        for row in store.map_runs_of(execution)? {
            if let Some(run) = store.run(row.run)?
                && !found.iter().any(|(frame, ..)| *frame == run.frame)
            {
                found.push((run.frame, row, run));
            }
        }
        Ok(found)
    }

    /// Takes up the Map Run of a redriven execution.
    pub(super) fn redrive_run(
        &mut self,
        execution: ExecutionId,
        (frame, generation): (FrameId, Generation),
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let newest = self.newest_runs(execution)?;
        let found = newest.into_iter().find(|(of, ..)| *of == frame);
        let (Some((_, row, mut run)), Some(parent)) = (found, self.live.get(&execution)) else {
            return Ok(());
        };
        if !parent.waits_for_run(frame, generation) {
            return Ok(());
        }
        let (id, store) = (row.run, self.engine.store());
        let row = MapRunRow {
            generation,
            aborted: 0,
            timed_out: 0,
            failure: None,
            written: 0,
            redrives: row.redrives.saturating_add(1),
            redriven: Some(now),
            ..row
        };
        let request = RunRequest::from_text(&parent.machine, &run.plan);
        let request = request.map_err(|error| RuntimeError::Damaged {
            what: format!("map run {}", row.uuid),
            cause: error.to_string(),
        })?;
        let all = Requeue::new(None, None);
        let failed = store.requeue_page(id, &all, u32::MAX)?;
        let queued = store.queued_count(id)? + failed.map_or(0, |page| page.children);
        // What failed is none of the run's failures any more: it is queued.
        run.checkpoint.counters.failed = 0;
        let requeue = Change::RequeueFailures {
            run: id,
            what: all,
            at: now,
        };
        batch
            .changes
            .extend([requeue, Change::PutMapRun(Box::new(row.clone()))]);
        let place = self.engine.place();
        let arn = place.map_run(&row.machine, &row.label, &row.uuid);
        let count = row.redrives;
        let facts = parent.facts.clone();
        let made = MapRun::restore(row, &run, Arc::new(request), facts, (&[], queued));
        self.runs.insert(id, made);
        let resume = vec![RunInput::Core(iteration::Input::Resume)];
        batch.runs.push_back((id, resume));
        let redriven = Input::RunRedriven {
            frame,
            generation,
            run: arn.into(),
            count,
        };
        self.tell(execution, redriven, now, batch).map(drop)
    }

    /// Has a child of a redriven run go on where it failed; whether there is one that can.
    pub(super) fn redrive_child(
        &mut self,
        run: RunId,
        index: Index,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, RuntimeError> {
        let Some(row) = self.engine.store().newest_child(run, index)? else {
            return Ok(false);
        };
        let standard = row.kind == ExecutionKind::Standard;
        if !standard || redrive_refusal(&row, now).is_some() {
            return Ok(false);
        }
        let id = row.id;
        if let Some(run) = self.runs.get_mut(&run) {
            run.began(index, id, None);
        }
        self.reopen(row, None, now, batch)
    }

    /// What waited for the end of an execution, or of its runs, to be durable.
    pub(super) fn hurry_redrives(&mut self, execution: ExecutionId) {
        let waiting = self.redrives.remove(&execution).unwrap_or_default();
        self.queue.extend(waiting.into_iter().map(Item::Redrive));
    }

    /// Crash: an execution asked for a Map Run, or its run has ended, and the process went away before the
    /// one began or the other was told. Finds that out and goes on; blocks.
    pub(super) fn look_after_runs(&mut self, execution: ExecutionId) -> Result<(), RuntimeError> {
        let Some(live) = self.live(execution)? else {
            return Ok(());
        };
        let (waiting, redriven) = (live.runs(), live.row.redriven);
        if waiting.is_empty() {
            return Ok(());
        }
        let newest = self.newest_runs(execution)?;
        for (frame, generation) in waiting {
            let found = newest.iter().find(|(of, ..)| *of == frame);
            match found {
                Some((_, row, run)) if row.generation == generation => {
                    if run.checkpoint.status.is_ended() {
                        self.conclude_again(row.clone(), run)?;
                    }
                }
                Some((_, _, run)) if run.ended < redriven && run.ended.is_some() => {
                    self.queue.push_back(Item::RedriveRun {
                        execution,
                        frame,
                        generation,
                    });
                }
                Some(_) | None => self.push(execution, Input::RunLost { frame, generation }),
            }
        }
        Ok(())
    }
}
