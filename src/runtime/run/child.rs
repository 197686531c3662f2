//! A child under way in memory: its record, and the execution of its definition.

use std::time::Duration;

use compact_str::{CompactString, format_compact};

use crate::{
    ids::{FrameId, Generation, Index},
    iteration::{Parked, RowStatus},
    machine::{self, Effect, Execution, Machine, Outcome, Status, StepContext, WakeReason},
    payload::{Failure, Payload},
    plugin::Call,
    store::ChildRow,
    time::Timestamp,
};

/// When a child goes again whose attempts would be at an end, had one counted that does not: soon
/// enough for somebody who watches a deploy, and no loop.
const EXCUSED: Duration = Duration::from_mins(1);

/// What happens to a child next.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has a call to be handed over: [`Child::call`].
    Call,
    /// It waits.
    Parked(Parked),
    /// It ended with a result.
    Done(Payload),
    /// It ended with an error.
    Failed(Failure),
}

/// A child under way.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) items: u32,
    pub(super) id: Option<CompactString>,
    pub(super) payload: Payload,
    /// Tries that ended.
    pub(super) attempts: u32,
    /// The last failure, for the row.
    pub(super) failure: Option<Failure>,
    /// The plugin's version at the last try; 0 before.
    pub(super) version: u32,
    /// It has a row, which has to go when it ends.
    pub(super) rowed: bool,
    /// How often its record was put back by a redo.
    pub(super) redo: u32,
    /// When its last call set out; `None` before the first.
    pub(super) called: Option<Timestamp>,
    /// Where its handler is within the record, as it said last.
    pub(super) cursor: Option<Payload>,
    execution: Execution,
    invocation: Option<Invocation>,
}

/// The task that the child waits for.
#[derive(Debug, Clone)]
struct Invocation {
    frame: FrameId,
    generation: Generation,
    entry: u64,
    payload: Payload,
    timeout: Option<Duration>,
}

/// A row of which no child can be made.
#[derive(Debug)]
pub(super) struct Damaged {
    /// The row, where there is one.
    pub(super) row: Option<Box<ChildRow>>,
    /// What is wrong with it.
    pub(super) cause: String,
}

impl Child {
    /// A child that begins with this record.
    pub(super) fn new(items: u32, id: Option<CompactString>, payload: Payload) -> Self {
        Self {
            items,
            id,
            payload,
            attempts: 0,
            failure: None,
            version: 0,
            rowed: false,
            redo: 0,
            called: None,
            cursor: None,
            execution: Execution::new(),
            invocation: None,
        }
    }

    /// A child as its row has it. Where its state does not fit the definition any more, it begins
    /// anew, with its attempts.
    pub(super) fn restore(machine: &Machine, row: Option<ChildRow>) -> Result<Self, Damaged> {
        let Some(row) = row else {
            let cause = "its row is gone".to_owned();
            return Err(Damaged { row: None, cause });
        };
        let payload = match Payload::parse(row.payload.as_str()) {
            Ok(payload) => payload,
            Err(error) => {
                let cause = format!("its stored record is no JSON: {error}");
                let row = Some(Box::new(row));
                return Err(Damaged { row, cause });
            }
        };
        let stored = row
            .state
            .as_deref()
            .map(|state| Execution::from_blob(machine, &payload, state));
        let execution = match stored {
            Some(Ok(execution)) => execution,
            Some(Err(error)) => {
                tracing::warn!(index = row.index, %error, "an item begins anew");
                Execution::new()
            }
            None => Execution::new(),
        };
        Ok(Self {
            items: row.items,
            id: row.id.map(Into::into),
            payload,
            attempts: row.attempts,
            failure: row
                .error
                .map(|error| Failure::new(error, row.cause.unwrap_or_default())),
            version: row.version.unwrap_or(0),
            rowed: true,
            redo: row.redo,
            called: None,
            // Why nothing where it is damaged: the handler begins the record anew.
            cursor: row.cursor.and_then(|cursor| Payload::parse(cursor).ok()),
            execution,
            invocation: None,
        })
    }

    /// Sets out, or goes on from where it waited: begins where nothing began, wakes what is due,
    /// and calls again what was called and never answered.
    pub(super) fn set_out(&mut self, machine: &Machine, context: &mut StepContext<'_>) -> Verdict {
        if self.invocation.is_some() {
            return Verdict::Call;
        }
        let input = if self.execution.status() == Status::New {
            machine::Input::Start {
                input: self.payload.clone(),
            }
        } else {
            machine::Input::GoOn
        };
        self.step(machine, input, context)
    }

    /// The handler answered with a result.
    pub(super) fn succeed(
        &mut self,
        machine: &Machine,
        output: Payload,
        context: &mut StepContext<'_>,
    ) -> Verdict {
        self.attempts = self.attempts.saturating_add(1);
        self.cursor = None;
        let Some(invocation) = self.invocation.take() else {
            return Verdict::Call;
        };
        let input = machine::Input::TaskDone {
            frame: invocation.frame,
            generation: invocation.generation,
            output,
        };
        self.step(machine, input, context)
    }

    /// The handler, or the host on its behalf, said why not.
    pub(super) fn fail(
        &mut self,
        machine: &Machine,
        failure: Failure,
        context: &mut StepContext<'_>,
    ) -> Verdict {
        self.attempts = self.attempts.saturating_add(1);
        self.failure = Some(failure.clone());
        let Some(invocation) = self.invocation.take() else {
            return Verdict::Call;
        };
        let input = machine::Input::TaskFailed {
            frame: invocation.frame,
            generation: invocation.generation,
            failure,
        };
        self.step(machine, input, context)
    }

    /// When it would go again had this failure counted as an attempt, which it does not: at once where
    /// it had not failed before.
    pub(super) fn again(
        &self,
        machine: &Machine,
        failure: Failure,
        context: &mut StepContext<'_>,
    ) -> Timestamp {
        let now = context.now;
        if self.attempts == 0 {
            return now;
        }
        let mut other = self.clone();
        match other.fail(machine, failure, context) {
            Verdict::Parked(parked) => parked.at(),
            Verdict::Call | Verdict::Done(_) | Verdict::Failed(_) => now.after(EXCUSED),
        }
    }

    /// The call to hand over; `execution` names the run's execution in the idempotency key.
    pub(super) fn call(
        &mut self,
        index: Index,
        generation: Generation,
        execution: &str,
        now: Timestamp,
    ) -> Option<Call> {
        self.called = Some(now);
        let invocation = self.invocation.as_ref()?;
        let mut key = match &self.id {
            Some(id) => format_compact!("{execution}:{id}:{}", invocation.entry),
            None => format_compact!("{execution}:{index}:{}", invocation.entry),
        };
        // Why: to whoever honours keys, a redo under the old one would be answered with the old result.
        if self.redo > 0 {
            key.push_str(&format_compact!(":redo{}", self.redo));
        }
        Some(Call {
            ticket: index,
            index,
            id: self.id.clone(),
            generation,
            payload: invocation.payload.clone(),
            attempt: self.attempts.saturating_add(1),
            key,
            timeout: invocation.timeout,
            cursor: self.cursor.clone(),
        })
    }

    /// The frame for a row of that status; `None` where a fresh start repeats all that happened: no
    /// try has ended, and nothing was waited for.
    pub(super) fn state(&self, machine: &Machine, status: RowStatus) -> Option<String> {
        let happened = self.attempts > 0 || status == RowStatus::Waiting;
        happened.then(|| self.execution.to_blob(machine))
    }

    fn step(
        &mut self,
        machine: &Machine,
        input: machine::Input,
        context: &mut StepContext<'_>,
    ) -> Verdict {
        let effects = machine::step(machine, &mut self.execution, input, context);
        for effect in effects {
            match effect {
                Effect::Invoke {
                    frame,
                    generation,
                    entry,
                    payload,
                    timeout,
                    ..
                } => {
                    self.invocation = Some(Invocation {
                        frame,
                        generation,
                        entry,
                        payload,
                        timeout,
                    });
                    return Verdict::Call;
                }
                Effect::Wake { at, reason, .. } => {
                    return Verdict::Parked(match reason {
                        WakeReason::Retry { .. } => Parked::Retry {
                            at,
                            throttled: false,
                        },
                        WakeReason::Wait => Parked::Wait { at },
                    });
                }
                Effect::Ended { outcome } => return Verdict::of(outcome),
                Effect::StartRun { .. } | Effect::RedriveRun { .. } => {
                    let cause = "a Map Run within an item is not possible here";
                    return Verdict::Failed(Failure::new("States.Runtime", cause));
                }
                Effect::Continue => {
                    // Why here: a child's steps need no commit of their own.
                    return self.step(machine, machine::Input::Continue, context);
                }
                Effect::Record(_) | Effect::Cancel { .. } => {}
            }
        }
        let cause = "the definition asks for nothing";
        Verdict::Failed(Failure::new("States.Runtime", cause))
    }
}

impl Verdict {
    fn of(outcome: Outcome) -> Self {
        let failure = |error: Option<String>, cause: Option<String>| {
            Self::Failed(Failure::new(
                error.unwrap_or_default(),
                cause.unwrap_or_default(),
            ))
        };
        match outcome {
            Outcome::Succeeded(output) => Self::Done(output),
            Outcome::Failed { error, cause } | Outcome::Aborted { error, cause } => {
                failure(error, cause)
            }
            Outcome::TimedOut => failure(Some("States.Timeout".to_owned()), None),
        }
    }
}

/// What a throttled child waits for: the instant until which its limiter is closed.
pub(super) fn put_off(now: Timestamp, by: Duration) -> Parked {
    Parked::Retry {
        at: now.after(by),
        throttled: true,
    }
}
