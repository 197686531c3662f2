//! Tasks that start executions: `states:startExecution`, with its end as the result or without.
//!
//! Invariant: the execution begins in the commit that takes the answer in, so each entry into such a state
//! starts one, however often the machine dies. Who waits for an end is told of it in one commit, too.

use serde_json::{Map, Value, json};

use super::Served;
use crate::{
    arn::{Place, is_name},
    ids::{ExecutionId, FrameId, Generation},
    integration::service::{Pattern, Refusal, named_failure, result},
    machine::Input,
    payload::{Failure, Payload},
    runtime::{
        Begun, RuntimeError, StartExecution,
        conductor::{
            arn_of,
            batch::{Batch, Item},
            work::Work,
        },
    },
    store::{AwaitedRow, Change, ExecutionKind, ExecutionRow, ExecutionStatus},
    time::Timestamp,
};

impl Work {
    /// Starts the execution that a task asks for.
    pub(in crate::runtime::conductor) fn start_for(
        &mut self,
        served: &Served,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let (execution, frame, generation) = served.whom();
        if !self.waits(execution, frame, generation)? {
            return Ok(());
        }
        let asked = served.asked(now);
        let started = self.start_as_told(served, now, batch)?;
        let started = started.map_err(|refusal| named_failure(&asked, &refusal));
        let told = started.and_then(|started| {
            let date = if asked.task.sdk {
                now.to_string().into()
            } else {
                Value::from(now.as_millis())
            };
            let answer = json!({ "ExecutionArn": started.arn, "StartDate": date });
            Ok((started.id, result(&asked, answer)?))
        });
        let input = match told {
            Err(failure) => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
            Ok((id, output)) => {
                let pattern = asked.task.pattern;
                if matches!(pattern, Pattern::Sync | Pattern::Sync2) {
                    let row = AwaitedRow {
                        child: id,
                        parent: execution,
                        frame,
                        generation,
                        parsed: pattern == Pattern::Sync2,
                    };
                    self.awaited.entry(id).or_default().push(row);
                    batch.changes.push(Change::Await(row));
                }
                if pattern == Pattern::RequestResponse {
                    Input::TaskDone {
                        frame,
                        generation,
                        output,
                    }
                } else {
                    Input::Submitted {
                        frame,
                        generation,
                        output,
                    }
                }
            }
        };
        self.tell(execution, input, now, batch).map(drop)
    }

    fn start_as_told(
        &mut self,
        served: &Served,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Result<Started, Refusal>, RuntimeError> {
        let given = served.wanted.parameters.value();
        let text = |name: &str| given.get(name).and_then(Value::as_str);
        let arn = text("StateMachineArn").unwrap_or_default();
        let machine = match self.engine.resolve_machine(arn) {
            Ok(machine) if machine.label.is_none() => machine,
            Ok(_) => {
                let message = format!("Invalid Arn: '{arn}' names a part of a state machine");
                return Ok(Err(Refusal::new("InvalidArn", message)));
            }
            Err(error) => return refused(error, arn).map(Err),
        };
        let name = text("Name").map(str::to_owned);
        if let Some(name) = name.as_ref().filter(|name| !is_name(name)) {
            let message = format!("Invalid Name: '{name}'");
            return Ok(Err(Refusal::new("InvalidName", message)));
        }
        let input = match given.get("Input") {
            None | Some(Value::Null) => json!({}).into(),
            Some(Value::String(text)) => match Payload::parse(text.as_str()) {
                Ok(input) => input,
                Err(error) => {
                    let message = format!("Invalid State Machine Execution Input: '{error}'");
                    return Ok(Err(Refusal::new("InvalidExecutionInput", message)));
                }
            },
            Some(other) => other.clone().into(),
        };
        let asked = StartExecution {
            program: (&machine).into(),
            name,
            input,
            trace_header: text("TraceHeader").map(str::to_owned),
        };
        let place = self.engine.place();
        let kind = asked.program.kind;
        let begun = match self.begin_asked(asked, false, now, batch) {
            Ok(begun) => begun,
            Err(error) => return refused(error, arn).map(Err),
        };
        Ok(match begun {
            Begun::Running { id, name, .. } => Ok(Started {
                id,
                arn: match kind {
                    ExecutionKind::Express => place.express(&machine.name, &name, &id.to_string()),
                    ExecutionKind::Standard | ExecutionKind::Job => {
                        place.execution(&machine.name, &name)
                    }
                },
            }),
            Begun::Exists { name, .. } => {
                let arn = place.execution(&machine.name, &name);
                let message = format!("Execution Already Exists: '{arn}'");
                Err(Refusal::new("ExecutionAlreadyExists", message))
            }
        })
    }

    /// Takes up who waited when the last process ended.
    pub(in crate::runtime::conductor) fn resume_awaited(&mut self) -> Result<(), RuntimeError> {
        let store = self.engine.store().clone();
        self.awaited.clear();
        for row in store.awaited()? {
            self.awaited.entry(row.child).or_default().push(row);
        }
        for child in self.awaited.keys() {
            let ended = store.execution(*child)?;
            // Also one that is gone: who waits for it would wait for ever.
            if ended.is_none_or(|row| row.status != ExecutionStatus::Running) {
                self.queue.push_back(Item::AwaitedEnd(*child));
            }
        }
        Ok(())
    }

    /// An execution has ended, durably: whoever waits for it is told.
    pub(in crate::runtime::conductor) fn tell_parent(
        &mut self,
        child: ExecutionId,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        let Some(rows) = self.awaited.remove(&child) else {
            return Ok(());
        };
        batch.changes.push(Change::Unawait(child));
        let (ended, place) = (self.engine.store().execution(child)?, self.engine.place());
        for row in rows {
            let input = told_of_end(&row, ended.as_ref(), &place);
            self.tell(row.parent, input, now, batch)?;
        }
        Ok(())
    }

    /// A frame wants nothing of what it started any more: that is stopped.
    pub(in crate::runtime::conductor) fn stop_awaited(
        &mut self,
        parent: ExecutionId,
        frame: FrameId,
        generation: Generation,
    ) {
        // Why of that generation: one that an earlier try began is left alone, as AWS does.
        let of_frame = |row: &&AwaitedRow| {
            (row.parent, row.frame, row.generation) == (parent, frame, generation)
        };
        if let Some(row) = self.awaited.values().flatten().find(of_frame).copied() {
            let stop = Input::Stop {
                error: None,
                cause: None,
            };
            self.push(row.child, stop);
        }
    }
}

/// An execution that was begun.
struct Started {
    id: ExecutionId,
    arn: String,
}

/// What is wrong with the machine that was named, in AWS's words; what is wrong with us is an error.
fn refused(error: RuntimeError, arn: &str) -> Result<Refusal, RuntimeError> {
    Ok(match error {
        RuntimeError::UnknownMachine { .. } => Refusal::new(
            "StateMachineDoesNotExist",
            format!("State Machine Does Not Exist: '{arn}'"),
        ),
        RuntimeError::MachineDeleting { .. } => Refusal::new(
            "StateMachineDeleting",
            format!("State Machine Is Deleting: '{arn}'"),
        ),
        RuntimeError::Arn(_) | RuntimeError::ArnKind { .. } => {
            Refusal::new("InvalidArn", format!("Invalid Arn: '{error}'"))
        }
        RuntimeError::Damaged { .. } => Refusal::new("InternalFailure", error.to_string()),
        RuntimeError::State(_)
        | RuntimeError::Store(_)
        | RuntimeError::Config(_)
        | RuntimeError::Job(_)
        | RuntimeError::UnknownJob { .. }
        | RuntimeError::UnknownLimiter { .. }
        | RuntimeError::UnknownItem { .. }
        | RuntimeError::Conflict(_)
        | RuntimeError::Plugin { .. }
        | RuntimeError::Io { .. }
        | RuntimeError::Services(_)
        | RuntimeError::Closed => return Err(error),
    })
}

/// What a task is told whose execution has ended; `None`: nothing of it is left.
fn told_of_end(row: &AwaitedRow, ended: Option<&ExecutionRow>, place: &Place) -> Input {
    let (frame, generation) = (row.frame, row.generation);
    let failed = |cause: String| Input::TaskFailed {
        frame,
        generation,
        failure: Failure::new("States.TaskFailed", cause),
    };
    let Some(ended) = ended else {
        return failed("the execution is gone".to_owned());
    };
    let told = described(ended, place, row.parsed);
    if ended.status == ExecutionStatus::Succeeded {
        Input::TaskDone {
            frame,
            generation,
            output: told.into(),
        }
    } else {
        failed(told.to_string())
    }
}

/// An ended execution, as a task that waited for it is told.
fn described(ended: &ExecutionRow, place: &Place, parsed: bool) -> Value {
    let data = |text: &str| -> Value {
        let value = parsed.then(|| serde_json::from_str(text).ok()).flatten();
        value.unwrap_or_else(|| text.into())
    };
    let mut told = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            told.insert(name.to_owned(), value);
        }
    };
    let included = || Some(json!({ "Included": true }));
    let output = ended.output.as_deref();
    put("Cause", ended.cause.clone().map(Value::from));
    put("Error", ended.error.clone().map(Value::from));
    put("ExecutionArn", Some(arn_of(place, ended).into()));
    put("Input", Some(data(&ended.input)));
    put("InputDetails", included());
    put("Name", Some(ended.name.clone().into()));
    put("Output", output.map(data));
    put("OutputDetails", output.and_then(|_| included()));
    put("StartDate", Some(ended.started.as_millis().into()));
    put(
        "StateMachineArn",
        Some(place.machine(&ended.machine).into()),
    );
    put("Status", Some(ended.status.told().into()));
    put("StopDate", ended.stopped.map(|at| at.as_millis().into()));
    Value::Object(told)
}
