//! A rehearsal: one state, stepped as in an execution, with a mock in place of its work.
//!
//! The state is entered, evaluated, retried, caught and left by the code that runs executions; what that
//! code computes on its way it tells here ([`Finding`]), and only here. What a rehearsal changes: the
//! context object is given, a Map or Parallel does not begin with its iterations or branches, a Wait is
//! over at once, and the state is left for nowhere.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Effect, Execution, Input, Machine, MapItem, Outcome, Tolerance, context::StepContext,
    event::Assigned, execution::TOP, failure::Raised, frame::Phase, retry, step, step::Stepper,
};
use crate::{
    asl::states::{ItemReader, Map, State},
    ids::{FrameId, Generation},
    payload::{Failure, Payload},
};

/// What is rehearsed with a state.
#[derive(Debug, Clone)]
pub struct Script {
    /// The state's input.
    pub input: Payload,
    /// The variables that it sees.
    pub variables: Assigned,
    /// What `$$` and `$states.context` mean.
    pub context: Value,
    /// What stands in for the work of a Task, a Map or a Parallel.
    pub mock: Option<Mock>,
    /// How often the retrier that is responsible for the mock's error has retried already.
    pub retry_count: u32,
    /// How many iterations of a Map have failed.
    pub failed_items: Option<u64>,
    /// What the reader of a distributed Map has read, where that is known.
    pub read_items: Option<Payload>,
}

/// What stands in for work.
#[derive(Debug, Clone)]
pub enum Mock {
    /// It was done.
    Result(Payload),
    /// It failed.
    Error(Failure),
}

/// Something that the state computed, in the order of its computation.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The input behind `InputPath`; JSONPath.
    InputPath(Payload),
    /// What `Parameters` made of that, or that itself; JSONPath.
    Parameters(Payload),
    /// What `Arguments` are; JSONata.
    Arguments(Payload),
    /// The items behind `ItemsPath`; JSONPath.
    ItemsPath(Payload),
    /// What `ItemsPointer` found in what the reader has read.
    ItemsPointer(Payload),
    /// How many items there are.
    Items(u64),
    /// What each iteration is given, where there is an `ItemSelector`.
    ItemSelector(Payload),
    /// What each child is given, where items are put together.
    ItemBatcher(Payload),
    /// Iterations at a time; 0: as many as may be.
    MaxConcurrency(u64),
    /// How many failures the run survives.
    Tolerance(Tolerance),
    /// The state's own result.
    Result(Payload),
    /// What `ResultSelector` made of it, or that itself; JSONPath.
    ResultSelector(Payload),
    /// The result where `ResultPath` says; JSONPath.
    ResultPath(Payload),
    /// An error of the state.
    Raised {
        /// Its name.
        error: Option<String>,
        /// For people.
        cause: Option<String>,
    },
    /// The retrier that is responsible for it.
    Retrier {
        /// Its place in `Retry`.
        place: usize,
        /// How long it waits; `None`: it has retried as often as it may.
        delay: Option<Duration>,
    },
    /// The catcher that takes it.
    Catcher {
        /// Its place in `Catch`.
        place: usize,
    },
    /// The state was left.
    Left {
        /// With this output.
        output: Payload,
        /// For this state; `None`: it ends its scope.
        next: Option<Arc<str>>,
    },
}

/// How a rehearsal ended. What led to it is in its findings.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The state was left.
    Left,
    /// It failed, and a catcher led on.
    Caught,
    /// It failed, and would be retried.
    Retried,
    /// It failed.
    Failed {
        /// The error's name; a Fail state may have none.
        error: Option<String>,
        /// For people.
        cause: Option<String>,
    },
}

/// A rehearsal that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Rehearsed {
    /// How.
    pub ending: Ending,
    /// What the state computed.
    pub findings: Vec<Finding>,
    /// The variables as they are now.
    pub variables: Assigned,
}

/// Why a rehearsal came to no end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RehearsalError {
    /// The state has work done, and nothing stands in for it.
    #[error("the state has work done, and no mock stands in for it")]
    NoMock,
    /// More iterations are said to have failed than there are.
    #[error("more iterations failed than there are items")]
    FailedItems,
}

/// Most items that a rehearsal shows what the selector makes of. Why: each is an evaluation of some
/// milliseconds at worst, and all are made within one call; people look at fewer.
const ITEMS_SHOWN_MAX: usize = 1_000;

/// Most answers of a state that is rehearsed: work, or the end of a Wait.
const ANSWERS_MAX: u32 = 2;

/// Rehearses the first state of the machine.
///
/// # Errors
/// The script does not fit the state.
pub fn rehearse(
    machine: &Machine,
    script: Script,
    context: &mut StepContext<'_>,
) -> Result<Rehearsed, RehearsalError> {
    let state = machine.definition().state(machine.definition().start());
    let mut execution = Execution::new();
    let mut watch = Watch {
        context: script.context,
        variables: script.variables,
        read_items: script.read_items,
        findings: Vec::new(),
    };
    let mut mock = script.mock;
    let start = Input::Start {
        input: script.input,
    };
    let mut effects = step::watched(machine, &mut execution, start, context, &mut watch);
    for _ in 0..ANSWERS_MAX {
        let Some(frame) = execution.frame(TOP) else {
            break;
        };
        let generation = frame.generation;
        let is_task = frame.phase == Phase::Task;
        let works = match frame.phase {
            Phase::Task | Phase::Run => true,
            Phase::Waiting => false,
            Phase::Ready { .. } | Phase::BackingOff | Phase::Forked(_) => break,
        };
        let input = if works {
            let mock = mock.take().ok_or(RehearsalError::NoMock)?;
            let outcome = outcome(state, mock, script.failed_items, &watch.findings)?;
            if let Err(failure) = &outcome {
                retried_before(&mut execution, state, failure, script.retry_count);
            }
            answer(is_task, generation, outcome)
        } else {
            Input::Woken {
                frame: TOP,
                generation,
            }
        };
        effects = step::watched(machine, &mut execution, input, context, &mut watch);
    }
    Ok(Rehearsed {
        ending: ending(&effects, &watch.findings),
        variables: execution
            .frame(TOP)
            .map_or(watch.variables, |frame| frame.variables.clone()),
        findings: watch.findings,
    })
}

/// What the work came to. An error that is mocked is the state's; else a Map is judged by its failures.
fn outcome(
    state: &State,
    mock: Mock,
    failed: Option<u64>,
    findings: &[Finding],
) -> Result<Result<Payload, Failure>, RehearsalError> {
    let (items, tolerance) = counts(findings);
    let failed = failed.filter(|_| state.map().is_some()).unwrap_or(0);
    if items.is_some_and(|items| failed > items) {
        return Err(RehearsalError::FailedItems);
    }
    let result = match mock {
        Mock::Error(failure) => return Ok(Err(failure)),
        Mock::Result(result) => result,
    };
    if tolerance.is_some_and(|tolerance| is_exceeded(tolerance, failed, items)) {
        return Ok(Err(Failure::new(
            "States.ExceedToleratedFailureThreshold",
            "The specified tolerated failure threshold was exceeded",
        )));
    }
    Ok(Ok(result))
}

/// How many items a Map has, and how many failures it survives, as far as it came to find out.
fn counts(findings: &[Finding]) -> (Option<u64>, Option<Tolerance>) {
    let (mut items, mut tolerance) = (None, None);
    for finding in findings {
        if let Finding::Items(found) = finding {
            items = Some(*found);
        }
        if let Finding::Tolerance(found) = finding {
            tolerance = Some(*found);
        }
    }
    (items, tolerance)
}

/// Whether so many failures are more than the state says it survives. Recorded: where it says nothing,
/// none is too many.
fn is_exceeded(tolerance: Tolerance, failed: u64, items: Option<u64>) -> bool {
    #[expect(
        clippy::cast_precision_loss,
        reason = "items of one payload are far fewer than 2^53"
    )]
    let share =
        |percent: f64| items.is_some_and(|items| failed as f64 * 100.0 > percent * items as f64);
    tolerance.count.is_some_and(|count| failed > count) || tolerance.percentage.is_some_and(share)
}

/// The execution as if the retrier that is responsible for the failure had retried so often.
fn retried_before(execution: &mut Execution, state: &State, failure: &Failure, count: u32) {
    let raised = Raised::from(failure.clone());
    if let Some(place) = retry::retrier(&state.retry, &raised)
        && let Some(frame) = execution.frame_mut(TOP)
    {
        frame.retries = vec![0; state.retry.len()];
        frame.retries[place] = count;
    }
}

/// The input that answers what the frame waits for.
fn answer(
    waits_for_task: bool,
    generation: Generation,
    outcome: Result<Payload, Failure>,
) -> Input {
    let frame = TOP;
    match (waits_for_task, outcome) {
        (false, outcome) => Input::RunEnded {
            frame,
            generation,
            outcome,
        },
        (true, Ok(output)) => Input::TaskDone {
            frame,
            generation,
            output,
        },
        (true, Err(failure)) => Input::TaskFailed {
            frame,
            generation,
            failure,
        },
    }
}

fn ending(effects: &[Effect], findings: &[Finding]) -> Ending {
    let caught = |finding: &Finding| matches!(finding, Finding::Catcher { .. });
    let left = |finding: &Finding| matches!(finding, Finding::Left { .. });
    let ending = match (findings.iter().any(caught), findings.iter().any(left)) {
        (true, _) => Ending::Caught,
        (false, true) => Ending::Left,
        (false, false) => Ending::Retried,
    };
    let failed = effects.iter().find_map(|effect| match effect {
        Effect::Ended {
            outcome: Outcome::Failed { error, cause },
        } => Some(Ending::Failed {
            error: error.clone(),
            cause: cause.clone(),
        }),
        Effect::Ended { .. }
        | Effect::Invoke { .. }
        | Effect::Wake { .. }
        | Effect::StartRun { .. }
        | Effect::RedriveRun { .. }
        | Effect::Cancel { .. }
        | Effect::Record(_)
        | Effect::Continue => None,
    });
    failed.unwrap_or(ending)
}

/// Who watches a state that is rehearsed.
pub(super) struct Watch {
    /// The context object.
    pub(super) context: Value,
    /// The variables that the state begins with.
    pub(super) variables: Assigned,
    read_items: Option<Payload>,
    findings: Vec<Finding>,
}

impl Watch {
    /// The context object, with the item under way.
    pub(super) fn context_of(&self, item: Option<&MapItem>) -> Value {
        let mut object = self.context.clone();
        if let (Some(item), Value::Object(fields)) = (item, &mut object) {
            fields.insert("Map".into(), json!({ "Item": item.object() }));
        }
        object
    }
}

impl Stepper<'_, '_> {
    /// Tells what was computed, where somebody watches.
    pub(super) fn tell(&mut self, finding: impl FnOnce() -> Finding) {
        if let Some(watch) = self.watch.as_deref_mut() {
            watch.findings.push(finding());
        }
    }

    /// Whether a state is rehearsed, so that nothing begins that the state would wait for.
    pub(super) fn is_rehearsal(&self) -> bool {
        self.watch.is_some()
    }

    /// Waits for what stands in for the iterations or branches.
    pub(super) fn await_mock(&mut self, id: FrameId) {
        if let Some(frame) = self.execution.frame_mut(id) {
            frame.enter(Phase::Run);
            frame.ask();
        }
    }

    /// What a reader has read, where that is known: the items behind its pointer, as many as it takes.
    pub(super) fn read_items(
        &mut self,
        reader: &ItemReader,
        max_items: Option<i64>,
    ) -> Option<Vec<MapItem>> {
        let mut read = self.watch.as_deref()?.read_items.clone()?;
        if let Some(pointer) = &reader.config.items_pointer {
            read = read.value().pointer(pointer)?.clone().into();
            self.tell(|| Finding::ItemsPointer(read.clone()));
        }
        let mut items = items_of(&read);
        // Spec: 0 is as many as there are.
        let most = max_items.and_then(|most| usize::try_from(most).ok());
        if let Some(most @ 1..) = most {
            items.truncate(most);
        }
        Some(items)
    }

    /// Tells how many items there are, and what the selector makes of each; the answer is what each
    /// iteration is given, where that is shown.
    pub(super) fn tell_items(
        &mut self,
        id: FrameId,
        map: &Map,
        input: &Payload,
        items: Vec<MapItem>,
    ) -> Result<Option<Vec<Payload>>, Raised> {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        self.tell(|| Finding::Items(count));
        if items.len() > ITEMS_SHOWN_MAX {
            return Ok(None);
        }
        let Some(selector) = &map.item_selector else {
            return Ok(Some(items.into_iter().map(|item| item.value).collect()));
        };
        let bytes_max = self.machine.options().payload_bytes_max;
        let (mut selected, mut bytes) = (Vec::new(), 0_usize);
        for item in &items {
            let made = super::states::map::select(self, id, selector, input, item)?;
            bytes = bytes.saturating_add(made.text().len());
            if bytes > bytes_max {
                return Ok(None);
            }
            selected.push(made);
        }
        self.tell(|| Finding::ItemSelector(list(&selected)));
        Ok(Some(selected))
    }
}

/// The items of an array, or the entries of an object.
pub(super) fn items_of(items: &Payload) -> Vec<MapItem> {
    let item = |index: usize, key: Option<&String>, value: &Value| MapItem {
        index: u64::try_from(index).unwrap_or(u64::MAX),
        value: value.clone().into(),
        key: key.cloned(),
        source: None,
    };
    match items.value() {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items
                .map(|(index, value)| item(index, None, value))
                .collect()
        }
        Value::Object(entries) => {
            let entries = entries.iter().enumerate();
            let entry = |(index, (key, value))| item(index, Some(key), value);
            entries.map(entry).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Payloads as one list.
pub(super) fn list(payloads: &[Payload]) -> Payload {
    let values = payloads.iter().map(|payload| payload.value().clone());
    Value::Array(values.collect()).into()
}
