//! How the conductor works with Map Runs: begins them, takes them up after a restart, and feeds them.

use std::sync::Arc;

use super::{
    MapRunLimits, Order,
    batch::{Batch, Item},
    conclusion::Conclusion,
    items::ReadPage,
    live::Live,
    map_run::{Follow, MapRun, kind_of},
    reading::{self, Ask},
    work::{Work, alone},
};
use crate::{
    asl::intrinsic::uuid_of,
    ids::{ExecutionId, FrameId, Generation, Index, RunId},
    iteration::{self, RunStatus},
    machine::{Input, RunRequest, Source},
    payload::Payload,
    runtime::RuntimeError,
    store::{ExecutionKind, ExecutionRow, ExecutionStatus, MapRunRow, RunRow},
    time::Timestamp,
};

/// What a Map Run is told.
pub(super) enum RunInput {
    /// A child has ended.
    Ended(Index, ExecutionId),
    /// Something for its core.
    Core(iteration::Input),
    /// Items were read.
    Page(Box<ReadPage>),
    /// Its limits are these from now on.
    Limits(MapRunLimits),
    /// Rows of its queue are to be loaded.
    LoadQueue {
        after: Option<Index>,
        children_max: u32,
    },
}

/// The label of a Map that names none: AWS makes one up; ours is the same for the same Map.
const LABEL_CHARS_MAX: usize = 40;

impl Work {
    /// Begins the Map Run that an execution asked for.
    pub(super) fn begin_run(
        &mut self,
        execution: ExecutionId,
        (frame, generation): (FrameId, Generation),
        request: Arc<RunRequest>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let (Some(parent), Some(distributed)) = (self.live.get(&execution), request.distributed())
        else {
            return Ok(());
        };
        if !parent.waits_for_run(frame, generation) {
            // Why: it was stopped, or somebody beside it failed, before this came to its turn.
            return Ok(());
        }
        let row = MapRunRow {
            run: self.engine.store().next_run_id(),
            uuid: uuid_of(rand::random(), rand::random()),
            machine: parent.row.machine.clone(),
            label: label(distributed.label.as_deref(), request.state_name()),
            kind: kind_of(distributed.execution_type),
            generation,
            concurrency: u32::try_from(request.max_concurrency).unwrap_or(u32::MAX),
            tolerated_count: request.tolerance.count.unwrap_or(0),
            tolerated_percentage: request.tolerance.percentage.unwrap_or(0.0),
            aborted: 0,
            timed_out: 0,
            redrives: 0,
            redriven: None,
            failure: None,
            written: 0,
        };
        let run = row.run;
        let place = self.engine.place();
        let arn = place.map_run(&row.machine, &row.label, &row.uuid);
        let facts = parent.facts.clone();
        let (made, changes) = MapRun::begin(row, (execution, frame), request, facts, now);
        batch.changes.extend(changes);
        self.runs.insert(run, made);
        let tick = vec![RunInput::Core(iteration::Input::Tick)];
        batch.runs.push_back((run, tick));
        let started = Input::Started {
            frame,
            generation,
            by: Some(arn.into()),
        };
        self.tell(execution, started, now, batch).map(drop)
    }

    /// Takes up the Map Runs that were under way when the last process ended; blocks.
    pub(super) fn resume_runs(&mut self) -> Result<(), RuntimeError> {
        for row in self.engine.store().running_map_runs()? {
            alone(self.resume_run(row))?;
        }
        Ok(())
    }

    fn resume_run(&mut self, row: MapRunRow) -> Result<(), RuntimeError> {
        let store = self.engine.store().clone();
        let damaged = |cause: String| RuntimeError::Damaged {
            what: format!("map run {}", row.uuid),
            cause,
        };
        let run = store.run(row.run)?;
        let run = run.ok_or_else(|| damaged("it is gone".to_owned()))?;
        let parent = store.execution(run.execution)?;
        let parent = parent.ok_or_else(|| damaged("its execution is gone".to_owned()))?;
        let processor = |run| self.runs.get(&run)?.definition();
        let Some((machine, facts)) = Live::program(&self.engine, &parent, processor)? else {
            return Ok(());
        };
        let live = Live::load(&self.engine, run.execution, processor)?;
        let waited_for = live.is_some_and(|live| live.waits_for_run(run.frame, row.generation));
        let request = RunRequest::from_text(&machine, &run.plan)
            .map_err(|error| damaged(error.to_string()))?;
        let batched = request.batch.is_some() && matches!(request.source, Source::Reader { .. });
        let mut children = Vec::new();
        for (index, child) in store.running_children(row.run)? {
            let input = if batched || row.kind == ExecutionKind::Express {
                store.execution(child)?.map(|row| row.input)
            } else {
                None
            };
            children.push((index, child, input));
        }
        let queued = store.queued_count(row.run)?;
        let id = row.run;
        let request = Arc::new(request);
        let made = MapRun::restore(row, &run, request, facts, (&children, queued));
        self.runs.insert(id, made);
        // Why: the process may have ended between the end of who asked for it and its own.
        let first = if waited_for {
            iteration::Input::Tick
        } else {
            iteration::Input::Abort
        };
        self.queue
            .push_back(Item::Run(id, vec![RunInput::Core(first)]));
        Ok(())
    }

    /// Tells Map Runs what happened to them, and what comes of that, until there is nothing more.
    pub(super) fn step_runs(
        &mut self,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        while let Some((id, inputs)) = batch.runs.pop_front() {
            let Some(run) = self.runs.get_mut(&id) else {
                continue;
            };
            if !run.touched {
                batch.stepped.push(id);
            }
            let mut told = Vec::with_capacity(inputs.len());
            for input in inputs {
                match input {
                    RunInput::Core(input) => told.push(input),
                    RunInput::Page(page) => told.extend(run.take_page(*page)),
                    RunInput::Limits(limits) => told.push(run.set_limits(limits)),
                    RunInput::LoadQueue {
                        after,
                        children_max,
                    } => {
                        let store = self.engine.store();
                        let children = store.queued_children(id, after, children_max)?;
                        told.push(iteration::Input::Queue { children });
                    }
                    RunInput::Ended(index, child) => {
                        let Some(end) = self.live.get(&child).and_then(Live::ended) else {
                            continue;
                        };
                        let why = (end.error.as_deref(), end.cause.as_deref());
                        let output = end.output.as_ref();
                        told.extend(run.ended(index, end.status, output, why, now));
                    }
                }
            }
            for follow in run.step(told, &mut batch.begin_max, now) {
                self.follow_run(id, follow, now, batch)?;
            }
        }
        Ok(())
    }

    fn follow_run(
        &mut self,
        id: RunId,
        follow: Follow,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        match follow {
            Follow::Read { from, first } => {
                if let Some(run) = self.runs.get_mut(&id) {
                    let ask = Ask {
                        from,
                        first,
                        reader: run.take_reader(),
                        request: Arc::clone(&run.request),
                        engine: self.engine.clone(),
                    };
                    self.read(id, ask);
                }
                Ok(())
            }
            Follow::Begin { index, input } => self.begin_child(id, index, input, now, batch),
            Follow::Again { index } => self.begin_again(id, index, now, batch),
            Follow::LoadQueue {
                after,
                children_max,
            } => {
                batch.after.queues.push((id, after, children_max));
                Ok(())
            }
            Follow::Refuse { index, failure } => {
                if let Some(run) = self.runs.get_mut(&id) {
                    let inputs = run.refused(index, failure, now);
                    let inputs = inputs.into_iter().map(RunInput::Core).collect();
                    batch.runs.push_back((id, inputs));
                }
                Ok(())
            }
            Follow::Stop(children) => {
                for child in children {
                    let stop = Input::Stop {
                        error: None,
                        cause: None,
                    };
                    self.tell(child, stop, now, batch)?;
                }
                Ok(())
            }
            Follow::Ended(status) => {
                batch.after.runs.push((id, status));
                Ok(())
            }
            Follow::Continue => {
                let tick = vec![RunInput::Core(iteration::Input::Tick)];
                self.queue.push_back(Item::Run(id, tick));
                Ok(())
            }
        }
    }

    /// Has a child of a redriven run go on, or one begin in its place: with the input that it had, or with
    /// what its items give where it never began.
    fn begin_again(
        &mut self,
        id: RunId,
        index: Index,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        if self.redrive_child(id, index, now, batch)? {
            return Ok(());
        }
        let store = self.engine.store();
        let before = store.newest_child(id, index)?.map(|row| row.input);
        let kept = store.child(id, index)?.map(|child| child.payload);
        let before = before.or(kept.filter(|input| !input.is_empty()));
        let input = match before.map(Payload::parse) {
            Some(Ok(input)) => Ok(input),
            Some(Err(_)) | None => match self.runs.get_mut(&id) {
                Some(run) => run.input_of(index, now),
                None => return Ok(()),
            },
        };
        match input {
            Ok(input) => self.begin_child(id, index, input, now, batch),
            Err(failure) => self.follow_run(id, Follow::Refuse { index, failure }, now, batch),
        }
    }

    fn begin_child(
        &mut self,
        id: RunId,
        index: Index,
        input: Payload,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let Some(run) = self.runs.get(&id) else {
            return Ok(());
        };
        let Some(definition) = run.definition() else {
            return Ok(());
        };
        let child = self.engine.store().next_execution_id();
        let row = ExecutionRow {
            id: child,
            kind: run.kind(),
            machine: format!("{}/{}", run.row.machine, run.row.label),
            name: uuid_of(rand::random(), rand::random()),
            runs: run.facts.runs.clone(),
            version: None,
            alias: None,
            role_arn: run.facts.role_arn.clone(),
            trace_header: None,
            child_of: Some((id, index)),
            awake: false,
            status: ExecutionStatus::Running,
            input: input.text().to_owned(),
            output: None,
            error: None,
            cause: None,
            redrives: 0,
            started: now,
            stopped: None,
            redriven: None,
            redrive_token: None,
        };
        let limit = definition.timeout();
        let mut live = Live::begin(&self.engine, definition, row, input.clone(), false)?;
        if let Some(limit) = limit {
            live.set_deadline(now.after(limit));
        }
        self.live.insert(child, live);
        if let Some(run) = self.runs.get_mut(&id) {
            run.began(index, child, Some(&input));
        }
        self.tell(child, Input::Start { input }, now, batch)
            .map(drop)
    }

    /// Has items read; what comes of it is an order. Why at once, and not behind the commit: nothing
    /// changes by it.
    fn read(&self, run: RunId, ask: Ask) {
        let orders = self.engine.orders_of_conductor().cloned();
        tokio::spawn(async move {
            if let (Some(page), Some(orders)) = (reading::read(ask).await, orders) {
                let page = Box::new(page);
                // Why ok: a conductor that is gone has no runs.
                orders.send(Order::Page { run, page }).await.ok();
            }
        });
    }

    /// A Map Run has ended, durably: its results are written, and whoever waits is told.
    pub(super) fn run_is_over(&mut self, id: RunId, status: RunStatus) {
        let Some(run) = self.runs.remove(&id) else {
            return;
        };
        let execution = run.parent.0;
        let conclusion = Conclusion {
            row: run.row,
            parent: run.parent,
            request: run.request,
            status,
        };
        conclusion.draw(&self.engine);
        self.hurry_redrives(execution);
    }

    /// The same, of a run of a former process whose state waits.
    pub(super) fn conclude_again(&self, row: MapRunRow, run: &RunRow) -> Result<(), RuntimeError> {
        let Some(parent) = self.live.get(&run.execution) else {
            return Ok(());
        };
        let request = RunRequest::from_text(&parent.machine, &run.plan).map_err(|error| {
            RuntimeError::Damaged {
                what: format!("map run {}", row.uuid),
                cause: error.to_string(),
            }
        })?;
        let conclusion = Conclusion {
            row,
            parent: (run.execution, run.frame),
            request: Arc::new(request),
            status: run.checkpoint.status,
        };
        conclusion.draw(&self.engine);
        Ok(())
    }
}

/// The label of a Map's children.
fn label(given: Option<&str>, state: &str) -> String {
    if let Some(given) = given {
        return given.to_owned();
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label: String = state
        .chars()
        .filter(allowed)
        .take(LABEL_CHARS_MAX)
        .collect();
    if label.is_empty() {
        "Map".to_owned()
    } else {
        label
    }
}
