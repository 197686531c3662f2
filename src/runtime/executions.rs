//! The execution around a run: the machine of the whole job, from its start to its end.
//!
//! Owns the steps of that machine and their rows. Each function answers the changes of one commit;
//! nothing is carried out here.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::RuntimeError;
use crate::{
    asl,
    ids::{ExecutionId, FrameId, Generation, RunId},
    iteration::{Checkpoint, RunStatus},
    machine::{
        self, Context, Effect, Execution, Input, Machine, Options, Outcome, Row, StepContext,
    },
    payload::{Failure, Payload},
    store::{Change, ExecutionRow, ExecutionStatus, RunRow, Runs},
    time::Timestamp,
};

/// How the machines of jobs are run: a record may be as large as the settings let it, and what
/// failed is told by the run, not by a history of events.
pub(super) const JOB_OPTIONS: Options = Options {
    payload_bytes_max: usize::MAX,
    records: false,
    redrivable: false,
};

/// A job that was begun.
pub(super) struct Begun {
    pub(super) run: RunRow,
    pub(super) changes: Vec<Change>,
}

/// Begins an execution of a job, up to its run.
pub(super) fn begin(
    job: &str,
    definition: &str,
    stored_plan: String,
    (execution, run): (ExecutionId, RunId),
    checkpoint: Checkpoint,
    now: Timestamp,
) -> Result<Begun, RuntimeError> {
    let name = name_of(job, execution);
    let row = ExecutionRow::of_job(execution, job, name, definition.to_owned(), now);
    let machine = machine_of(definition)?;
    let (mut live, waiting) = set_out(&machine, now)?;
    let run = RunRow {
        id: run,
        execution,
        frame: waiting.0,
        job: job.to_owned(),
        plan: stored_plan,
        checkpoint,
        started: now,
        changed: now,
        ended: None,
    };
    let changes = vec![
        Change::NewExecution(row),
        Change::NewRun(run.clone()),
        Change::Frames {
            execution,
            changes: live.take_changes(&machine),
        },
    ];
    Ok(Begun { run, changes })
}

/// How an execution is called, unique within its job.
pub(super) fn name_of(job: &str, execution: ExecutionId) -> String {
    format!("{job}-{execution}")
}

/// Ends the execution whose run has ended; `rows` are its frames.
pub(super) fn conclude(
    execution: &ExecutionRow,
    rows: Vec<Row>,
    checkpoint: &Checkpoint,
    now: Timestamp,
) -> Result<Vec<Change>, RuntimeError> {
    let definition = match &execution.runs {
        Runs::Text(text) => text,
        Runs::Definition(_) => return Ok(Vec::new()),
    };
    let machine = machine_of(definition)?;
    // Why anew: an execution that was reopened has no frames, and its one state is its run.
    let (mut live, (frame, generation)) = set_out(&machine, now)?;
    if !rows.is_empty() {
        live = Execution::restore(&machine, empty_input(), rows).map_err(|error| {
            RuntimeError::Damaged {
                what: format!("execution {}", execution.name),
                cause: error.to_string(),
            }
        })?;
    }
    let run_ended = |outcome| Input::RunEnded {
        frame,
        generation,
        outcome,
    };
    let input = match checkpoint.status {
        RunStatus::Aborted => Input::Stop {
            error: None,
            cause: Some("stopped by an operator".to_owned()),
        },
        RunStatus::Failed => run_ended(Err(Failure::new(
            "States.ExceedToleratedFailureThreshold",
            "The specified tolerated failure threshold was exceeded",
        ))),
        RunStatus::Succeeded | RunStatus::Running | RunStatus::Paused => {
            run_ended(Ok(summary(checkpoint)))
        }
    };
    let effects = step(&machine, &mut live, input, now);
    let outcome = effects.into_iter().find_map(|effect| match effect {
        Effect::Ended { outcome } => Some(outcome),
        Effect::Invoke { .. }
        | Effect::Wake { .. }
        | Effect::StartRun { .. }
        | Effect::RedriveRun { .. }
        | Effect::Cancel { .. }
        | Effect::Record(_)
        | Effect::Continue => None,
    });
    Ok(match outcome {
        Some(outcome) => vec![end(execution.id, outcome, now)],
        None => vec![Change::Frames {
            execution: execution.id,
            changes: live.take_changes(&machine),
        }],
    })
}

/// The execution waiting for its run, and what it asked for it with.
fn set_out(
    machine: &Machine,
    now: Timestamp,
) -> Result<(Execution, (FrameId, Generation)), RuntimeError> {
    let mut live = Execution::new();
    let input = Input::Start {
        input: empty_input().clone(),
    };
    step(machine, &mut live, input, now)
        .into_iter()
        .find_map(|effect| match effect {
            Effect::StartRun {
                frame, generation, ..
            } => Some((frame, generation)),
            Effect::Invoke { .. }
            | Effect::RedriveRun { .. }
            | Effect::Wake { .. }
            | Effect::Cancel { .. }
            | Effect::Record(_)
            | Effect::Continue
            | Effect::Ended { .. } => None,
        })
        .map(|waiting| (live, waiting))
        .ok_or_else(|| RuntimeError::Job("the job's definition starts no run".to_owned()))
}

/// What a job's Map state has as its result. Why not the results themselves: they are as many as
/// the records, and stand in the results table.
fn summary(checkpoint: &Checkpoint) -> Payload {
    let counters = checkpoint.counters;
    json!({ "done": counters.done, "failed": counters.failed }).into()
}

fn end(execution: ExecutionId, outcome: Outcome, at: Timestamp) -> Change {
    let (status, output, error, cause) = match outcome {
        Outcome::Succeeded(output) => {
            let output = output.text().to_owned();
            (ExecutionStatus::Succeeded, Some(output), None, None)
        }
        Outcome::Failed { error, cause } => (ExecutionStatus::Failed, None, error, cause),
        Outcome::TimedOut => (ExecutionStatus::TimedOut, None, None, None),
        Outcome::Aborted { error, cause } => (ExecutionStatus::Aborted, None, error, cause),
    };
    Change::EndExecution {
        execution,
        status,
        output,
        error,
        cause,
        at,
    }
}

fn machine_of(definition: &str) -> Result<Machine, RuntimeError> {
    asl::Definition::parse(definition, asl::Dialect::Iterd)
        .map(|definition| Machine::new(Arc::new(definition), JOB_OPTIONS))
        .map_err(|error| RuntimeError::Job(format!("the definition is wrong: {error}")))
}

fn step(machine: &Machine, live: &mut Execution, input: Input, now: Timestamp) -> Vec<Effect> {
    machine_step(now, |context| machine::step(machine, live, input, context))
}

/// A job's execution is started with nothing.
fn empty_input() -> &'static Payload {
    static EMPTY: OnceLock<Payload> = OnceLock::new();
    EMPTY.get_or_init(|| Value::Object(serde_json::Map::new()).into())
}

/// Runs a step of a job's machine, with the instant and the random numbers that a shell may draw.
/// The definitions that jobs are written as ask for no facts of their execution.
pub(super) fn machine_step<T>(now: Timestamp, step: impl FnOnce(&mut StepContext<'_>) -> T) -> T {
    let mut random = rand::random::<u64>;
    step(&mut StepContext {
        now,
        random: &mut random,
        token: &machine::no_token,
        context: Context {
            execution_id: "",
            execution_name: "",
            role_arn: None,
            started: now,
            redrive_count: 0,
            redriven: None,
            input: empty_input(),
            machine_id: "",
            machine_name: "",
            version_arn: None,
            alias_arn: None,
            item: None,
        },
    })
}
