//! How an execution begins: under its name, with its row, its deadline and its first step.

use std::time::Duration;

use super::{Begun, Start, StartExecution, batch::Batch, live::Live, work::Work};
use crate::{
    asl::{Definition, intrinsic::uuid_of},
    ids::ExecutionId,
    machine::Input,
    runtime::{RuntimeError, Seat},
    store::{ExecutionKind, ExecutionRow, ExecutionStatus, Runs, TriggerChange},
    time::Timestamp,
};

/// How long an express execution may take: AWS's bound.
const EXPRESS_MAX: Duration = Duration::from_mins(5);

impl Work {
    /// Begins an execution, or answers that its name is taken.
    pub(super) fn begin(
        &mut self,
        start: Start,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let Start {
            asked,
            volatile,
            end,
            seat,
            beside,
            begun,
        } = start;
        let answer = match self.begin_seated(asked, seat, volatile, now, batch) {
            Ok(answer) => answer,
            Err(error @ RuntimeError::Damaged { .. }) => {
                begun.send(Err(error)).ok();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if matches!(answer, Begun::Running { new: true, .. }) {
            batch.changes.extend(beside);
        }
        if let (Some(end), Begun::Running { id, .. }) = (end, &answer) {
            self.waiting.entry(*id).or_default().push(end);
        }
        if volatile {
            begun.send(Ok(answer)).ok();
        } else {
            batch.after.begun.push((begun, answer));
        }
        Ok(())
    }

    /// Begins an execution in this batch, among those of a trigger where it has a seat, until its end.
    pub(super) fn begin_seated(
        &mut self,
        asked: StartExecution,
        seat: Option<Seat>,
        volatile: bool,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Begun, RuntimeError> {
        let begun = self.begin_asked(asked, volatile, now, batch)?;
        // Why looked for: the same start again is the same execution, which has its seat.
        if let (Some(seat), Begun::Running { id, .. }) = (seat, &begun)
            && !self.seats.contains_key(id)
        {
            let execution = *id;
            if !volatile {
                let trigger = seat.trigger().to_owned();
                batch
                    .changes
                    .push(TriggerChange::Started { execution, trigger }.into());
            }
            self.seats.insert(execution, seat);
        }
        Ok(begun)
    }

    /// Begins an execution in this batch; one of which nothing is written is volatile.
    pub(super) fn begin_asked(
        &mut self,
        asked: StartExecution,
        volatile: bool,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Begun, RuntimeError> {
        let (program, store) = (&asked.program, self.engine.store().clone());
        if let Some(answer) = self.there_already(&asked)? {
            return Ok(answer);
        }
        let definition = self
            .engine
            .programs()
            .definition(&store, program.definition)?;
        let id = store.next_execution_id();
        let name = asked
            .name
            .clone()
            .unwrap_or_else(|| uuid_of(rand::random(), rand::random()));
        let row = new_row(id, &asked, name.clone(), now);
        let limit = limit(&definition, program.kind);
        let mut live = Live::begin(&self.engine, definition, row, asked.input.clone(), volatile)?;
        if let Some(limit) = limit {
            live.set_deadline(now.after(limit));
        }
        if !volatile {
            let key = (program.machine.clone(), name.clone());
            self.beginning.insert(key.clone(), id);
            batch.after.names.push(key);
        }
        self.live.insert(id, live);
        let input = asked.input;
        self.tell(id, Input::Start { input }, now, batch)?;
        Ok(Begun::Running {
            id,
            name,
            started: now,
            new: true,
        })
    }

    /// What is to be answered where the name is taken: the same start again is the same execution.
    fn there_already(&self, asked: &StartExecution) -> Result<Option<Begun>, RuntimeError> {
        let Some(name) = asked
            .name
            .as_ref()
            .filter(|_| asked.program.kind == ExecutionKind::Standard)
        else {
            return Ok(None);
        };
        let there = self.find(&asked.program.machine, name)?;
        Ok(there.map(|there| {
            let same = there.input == asked.input.text();
            if same && there.status == ExecutionStatus::Running {
                Begun::Running {
                    id: there.id,
                    name: name.clone(),
                    started: there.started,
                    new: false,
                }
            } else {
                Begun::Exists {
                    name: name.clone(),
                    same,
                    started: there.started,
                }
            }
        }))
    }

    /// The execution of that name, whether its first commit is durable or not.
    fn find(&self, machine: &str, name: &str) -> Result<Option<ExecutionRow>, RuntimeError> {
        let key = (machine.to_owned(), name.to_owned());
        if let Some(live) = self.beginning.get(&key).and_then(|id| self.live.get(id)) {
            return Ok(Some(live.row.clone()));
        }
        Ok(self.engine.store().execution_named(machine, name)?)
    }
}

/// How long an execution may take in all.
fn limit(definition: &Definition, kind: ExecutionKind) -> Option<Duration> {
    let limit = definition.timeout();
    match kind {
        ExecutionKind::Express => Some(limit.unwrap_or(EXPRESS_MAX).min(EXPRESS_MAX)),
        ExecutionKind::Standard | ExecutionKind::Job => limit,
    }
}

fn new_row(id: ExecutionId, asked: &StartExecution, name: String, now: Timestamp) -> ExecutionRow {
    let program = &asked.program;
    ExecutionRow {
        id,
        kind: program.kind,
        machine: program.machine.clone(),
        name,
        runs: Runs::Definition(program.definition),
        version: program.version,
        alias: program.alias.clone(),
        role_arn: program.role_arn.clone(),
        trace_header: asked.trace_header.clone(),
        child_of: None,
        awake: false,
        status: ExecutionStatus::Running,
        input: asked.input.text().to_owned(),
        output: None,
        error: None,
        cause: None,
        redrives: 0,
        started: now,
        stopped: None,
        redriven: None,
        redrive_token: None,
    }
}
