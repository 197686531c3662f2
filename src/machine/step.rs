//! The step: routes an input to its frame, goes on while nothing blocks, and handles errors.
//!
//! What a state does is in `states/`; here is what all of them share: entering and leaving, retriers
//! and catchers, the end. Invariant: a step makes at most [`TRANSITIONS_MAX`] transitions and about
//! [`EFFECT_BYTES_MAX`] bytes of effects before it asks to be continued.

use std::sync::Arc;

use super::{
    Context, Effect, Event, Execution, Input, Machine, Outcome, Record, Status, StepContext,
    WakeReason,
    data::{Exit, Seen, located},
    execution::TOP,
    failure::{RUNTIME, Raised, TIMEOUT},
    fork,
    frame::{Frame, Phase},
    redrive,
    rehearsal::{Finding, Watch},
    retry,
    states::{self, Turn},
    status::FrameStatus,
};
use crate::{
    asl::{
        Catcher, QueryLanguage, StateId,
        states::{Kind, State},
    },
    ids::{FrameId, Generation},
    payload::Payload,
};

/// Transitions within one step. A loop of Choices is committed as often; 256 of them take well below
/// a millisecond, so that nobody waits for a step.
pub const TRANSITIONS_MAX: u32 = 256;

/// Payloads in the effects of one step, in bytes; a step may go beyond by one state's payloads. Keeps
/// a commit small.
pub const EFFECT_BYTES_MAX: usize = 1024 * 1024;

/// Tells the execution what happened, and answers what is to be done about it.
pub fn step(
    machine: &Machine,
    execution: &mut Execution,
    input: Input,
    context: &mut StepContext<'_>,
) -> Vec<Effect> {
    begin(machine, execution, input, context, None)
}

/// The same, for a state that is rehearsed.
pub(super) fn watched(
    machine: &Machine,
    execution: &mut Execution,
    input: Input,
    context: &mut StepContext<'_>,
    watch: &mut Watch,
) -> Vec<Effect> {
    begin(machine, execution, input, context, Some(watch))
}

fn begin(
    machine: &Machine,
    execution: &mut Execution,
    input: Input,
    context: &mut StepContext<'_>,
    watch: Option<&mut Watch>,
) -> Vec<Effect> {
    if execution.status.has_ended() {
        return Vec::new();
    }
    let mut stepper = Stepper {
        machine,
        execution,
        context,
        effects: Vec::new(),
        watch,
        transitions: 0,
        begun: Vec::new(),
        bytes: 0,
    };
    let next = stepper.take(input);
    stepper.run(next);
    stepper.note_begun();
    stepper.effects
}

/// A step under way.
pub(super) struct Stepper<'a, 'c> {
    pub(super) machine: &'a Machine,
    pub(super) execution: &'a mut Execution,
    pub(super) context: &'a mut StepContext<'c>,
    pub(super) effects: Vec<Effect>,
    pub(super) transitions: u32,
    /// Who is told what was computed; none in an execution.
    pub(super) watch: Option<&'a mut Watch>,
    /// Tasks that have begun by being asked for.
    pub(super) begun: Vec<(FrameId, Generation)>,
    bytes: usize,
}

impl<'a> Stepper<'a, '_> {
    /// Takes the input in; the answer is a frame that can go on.
    fn take(&mut self, input: Input) -> Option<FrameId> {
        match input {
            Input::Start { input } => self.start(input),
            Input::Started {
                frame,
                generation,
                by,
            } => self.note_start(frame, generation, by),
            Input::Submitted {
                frame,
                generation,
                output,
            } => self.note_submission(frame, generation, output),
            Input::TaskDone {
                frame,
                generation,
                output,
            } => {
                let state = self.answered(frame, generation, FrameStatus::Task)?;
                states::task::done(self, frame, state, output)
            }
            Input::TaskFailed {
                frame,
                generation,
                failure,
            } => {
                let state = self.answered(frame, generation, FrameStatus::Task)?;
                states::task::failed(self, frame, state, failure.into())
            }
            Input::Woken { frame, generation } => self.wake(frame, generation),
            Input::RunEnded {
                frame,
                generation,
                outcome,
            } => {
                let state = self.answered(frame, generation, FrameStatus::Run)?;
                states::run::ended(self, frame, state, outcome)
            }
            Input::RunRedriven {
                frame,
                generation,
                run,
                count,
            } => self.note_redrive(frame, generation, run, count),
            Input::RunLost { frame, generation } => {
                self.answered(frame, generation, FrameStatus::Run)?;
                Some(frame)
            }
            Input::Redriven { count, runs } => redrive::go_on(self, count, &runs),
            Input::Continue => None,
            Input::HistoryFull => {
                self.end_full();
                None
            }
            Input::GoOn => self.go_on(),
            Input::Interrupted => {
                self.ask_again();
                None
            }
            Input::Stop { error, cause } => {
                self.stop(error, cause);
                None
            }
            Input::TimedOut => {
                self.time_out();
                None
            }
        }
    }

    fn start(&mut self, input: Payload) -> Option<FrameId> {
        if self.execution.status != Status::New {
            return None;
        }
        self.execution.set_status(Status::Running);
        let start = self.machine.definition().start();
        let mut frame = Frame::new(TOP, None, start, input.clone());
        if let Some(watch) = self.watch.as_deref() {
            frame.variables.clone_from(&watch.variables);
        }
        self.execution.add(frame);
        self.bytes += input.text().len();
        let Context {
            role_arn,
            version_arn,
            alias_arn,
            ..
        } = self.context.context;
        self.note(0, || Event::ExecutionStarted {
            input,
            role: role_arn.map(Into::into),
            version: version_arn.map(Into::into),
            alias: alias_arn.map(Into::into),
        });
        Some(TOP)
    }

    fn end_full(&mut self) {
        let cause = "The execution reached the maximum number of history events.";
        self.end_in_error(Raised::new(RUNTIME, cause));
    }

    fn time_out(&mut self) {
        let event = Event::ExecutionTimedOut {
            error: None,
            cause: None,
        };
        self.end(Status::TimedOut, event, Outcome::TimedOut);
    }

    fn stop(&mut self, error: Option<String>, cause: Option<String>) {
        let event = Event::ExecutionAborted {
            error: error.clone(),
            cause: cause.clone(),
        };
        self.end(Status::Aborted, event, Outcome::Aborted { error, cause });
    }

    fn wake(&mut self, id: FrameId, generation: Generation) -> Option<FrameId> {
        if let Some(state) = self.answered(id, generation, FrameStatus::Waiting) {
            return states::wait::over(self, id, state);
        }
        self.answered(id, generation, FrameStatus::BackingOff)?;
        Some(id)
    }

    fn go_on(&mut self) -> Option<FrameId> {
        let frame = self.execution.frame(TOP)?;
        let (generation, status) = (frame.generation, frame.phase.status());
        if status == FrameStatus::Task {
            self.execution
                .frame_mut(TOP)?
                .enter(Phase::Ready { again: true });
            return Some(TOP);
        }
        self.wake(TOP, generation)
    }

    /// Has every task done again that went with a process.
    fn ask_again(&mut self) {
        let definition = self.machine.definition();
        let lost = |frame: &&Frame| {
            let state = definition.state(frame.state);
            matches!(frame.phase, Phase::Task)
                && !frame.submitted
                && matches!(&state.kind, Kind::Task(task) if !states::task::is_activity(&task.resource))
        };
        let lost: Vec<FrameId> = self
            .execution
            .all_frames()
            .filter(lost)
            .map(|frame| frame.id)
            .collect();
        for id in lost {
            if let Some(frame) = self.execution.frame_mut(id) {
                if let Kind::Task(task) = &definition.state(frame.state).kind
                    && task.waits_for_token()
                {
                    // Why: somebody may have its token already, and can answer by it.
                    frame.ask_the_same();
                }
                frame.enter(Phase::Ready { again: true });
                self.execution.ready.insert(id);
            }
        }
    }

    /// The state of the frame, if it waits for just this answer.
    pub(super) fn asked(
        &self,
        id: FrameId,
        generation: Generation,
        status: FrameStatus,
    ) -> Option<&'a State> {
        let frame = self.execution.frame(id)?;
        (frame.generation == generation && frame.phase.status() == status)
            .then(|| self.machine.definition().state(frame.state))
    }

    /// The same; the frame waits no longer, and is in its state still.
    fn answered(
        &mut self,
        id: FrameId,
        generation: Generation,
        status: FrameStatus,
    ) -> Option<&'a State> {
        let state = self.asked(id, generation, status)?;
        self.execution
            .frame_mut(id)?
            .enter(Phase::Ready { again: true });
        Some(state)
    }

    /// Goes on while something can, up to the step's bounds.
    fn run(&mut self, mut current: Option<FrameId>) {
        loop {
            let Some(id) = current.or_else(|| self.execution.ready.pop_first()) else {
                return;
            };
            if self.transitions >= TRANSITIONS_MAX || self.bytes >= EFFECT_BYTES_MAX {
                self.execution.ready.insert(id);
                self.effects.push(Effect::Continue);
                return;
            }
            self.transitions += 1;
            current = self.advance(id);
        }
    }

    /// Executes the frame's state; the answer is a frame that can go on at once.
    fn advance(&mut self, id: FrameId) -> Option<FrameId> {
        let state = self.begin(id)?;
        let turn = match &state.kind {
            Kind::Pass(pass) => states::pass::enter(self, id, state, pass),
            Kind::Task(task) => states::task::enter(self, id, state, task),
            Kind::Choice(choice) => states::choice::enter(self, id, state, choice),
            Kind::Wait(wait) => states::wait::enter(self, id, state, wait),
            Kind::Succeed => states::succeed::enter(self, id, state),
            Kind::Fail(fail) => Err(states::fail::enter(self, id, state, fail)),
            Kind::Map(map) => states::map::enter(self, id, state, map),
            Kind::Parallel(parallel) => states::parallel::enter(self, id, state, parallel),
        };
        match turn {
            Ok(Turn::Leave(exit)) => self.leave(id, state, exit, state.next),
            Ok(Turn::Choose(next, exit)) => self.leave(id, state, exit, Some(next)),
            Ok(Turn::Blocked) => None,
            Err(raised) => self.fail(id, raised),
        }
    }

    /// Notes the entry into the state, unless it is a retry of it.
    fn begin(&mut self, id: FrameId) -> Option<&'a State> {
        let now = self.context.now;
        let entry = self.execution.counters.entries + 1;
        let frame = self.execution.frame_mut(id)?;
        let state = self.machine.definition().state(frame.state);
        if frame.phase != (Phase::Ready { again: true }) {
            frame.entry = entry;
            frame.entered = now;
            frame.entered_after = frame.last_event;
            frame.retries.clear();
            let input = frame.data.clone();
            self.execution.counters.entries = entry;
            let event = self.record(id, || Event::StateEntered {
                kind: state.kind.name(),
                name: state.name.clone(),
                input,
            });
            self.execution.frame_mut(id)?.entered_event = event;
        }
        Some(state)
    }

    /// The state is done: checks its output, and enters the next one or ends the frame.
    pub(super) fn leave(
        &mut self,
        id: FrameId,
        state: &State,
        exit: Exit,
        next: Option<StateId>,
    ) -> Option<FrameId> {
        let Exit { output, assigned } = exit;
        if self.exceeds(&output) {
            return self.fail(id, Raised::too_large(&state.name));
        }
        self.record(id, || Event::StateExited {
            kind: state.kind.name(),
            name: state.name.clone(),
            output: output.clone(),
            assigned: assigned.clone().filter(|assigned| !assigned.is_empty()),
        });
        if let Some(assigned) = &assigned {
            self.bytes = assigned
                .iter()
                .fold(self.bytes, |bytes, (_, value)| bytes + value.text().len());
            self.execution.assign(id, assigned);
        }
        if self.is_rehearsal() {
            let definition = self.machine.definition();
            let next = next.map(|next| Arc::clone(&definition.state(next).name));
            self.tell(|| Finding::Left { output, next });
            return None;
        }
        let Some(next) = next else {
            return self.finish(id, output);
        };
        let frame = self.execution.frame_mut(id)?;
        frame.state = next;
        frame.data = output;
        frame.inherited = false;
        frame.enter(Phase::Ready { again: false });
        Some(id)
    }

    /// The frame has its output: the execution's, or an iteration's.
    fn finish(&mut self, id: FrameId, output: Payload) -> Option<FrameId> {
        let parent = self.execution.frame(id)?.parent;
        if let Some((parent, index)) = parent {
            return fork::done(self, id, parent, index, output);
        }
        let event = Event::ExecutionSucceeded {
            output: output.clone(),
        };
        self.end(Status::Succeeded, event, Outcome::Succeeded(output));
        None
    }

    /// An error in the frame's state: a retry, a catcher, or the end of the frame and the same
    /// question for the state that it is an iteration or a branch of.
    pub(super) fn fail(&mut self, mut id: FrameId, mut raised: Raised) -> Option<FrameId> {
        self.place_cause(id, &mut raised);
        self.record_evaluation(id, &raised);
        redrive::keep_at_failure(self, id, &raised);
        loop {
            let frame = self.execution.frame(id)?;
            let (parent, index) = match frame.parent {
                Some((parent, index)) => (Some(parent), index),
                None => (None, 0),
            };
            let state = self.machine.definition().state(frame.state);
            // Recorded: a Map whose expressions fail has failed as if it had begun.
            let in_vain = raised.evaluation.is_some() && state.map().is_some();
            let began = raised.of_run || in_vain || frame.phase.status() == FrameStatus::Forked;
            raised.of_run = false;
            raised.evaluation = None;
            fork::drop_all(self, id);
            self.tell(|| Finding::Raised {
                error: raised.error.clone(),
                cause: raised.cause.clone(),
            });
            if self.retry(id, state, &raised) {
                return None;
            }
            if began {
                self.record(id, || match state.map() {
                    Some(_) => Event::MapStateFailed,
                    None => Event::ParallelStateFailed,
                });
            }
            if let Some(catcher) = retry::catcher(&state.catch, &raised) {
                self.tell(|| Finding::Catcher {
                    place: place_of(state, catcher),
                });
                match self.caught(id, state, catcher, &raised) {
                    // What a catcher makes is not for a catcher again: that would have no end.
                    Ok(exit) if self.exceeds(&exit.output) => {
                        raised = Raised::too_large(&state.name);
                        redrive::keep_at_failure(self, id, &raised);
                    }
                    Ok(exit) => return self.leave(id, state, exit, Some(catcher.next)),
                    Err(failure) => {
                        raised = failure;
                        self.place_cause(id, &mut raised);
                        self.record_evaluation(id, &raised);
                        redrive::keep_at_failure(self, id, &raised);
                    }
                }
            }
            let Some(parent) = parent else {
                self.end_in_error(raised);
                return None;
            };
            fork::failed(self, id, parent, index);
            id = parent;
        }
    }

    /// How a state is left whose error is caught.
    fn caught(
        &mut self,
        id: FrameId,
        state: &State,
        catcher: &Catcher,
        raised: &Raised,
    ) -> Result<Exit, Raised> {
        let error = raised.output();
        let input = self.state_input(id);
        let seen = match state.language {
            QueryLanguage::JsonPath => Seen::of(&error),
            QueryLanguage::Jsonata => Seen {
                error: Some(&error),
                ..Seen::of(&input)
            },
        };
        let place = place_of(state, catcher);
        let around = format!("Catch[{place}]/Assign");
        let assigned = self.assigned(id, catcher.assign.as_ref(), &around, seen)?;
        let output = match (state.language, &catcher.output) {
            (QueryLanguage::JsonPath, _) => self.place(id, &catcher.result_path, error)?,
            (QueryLanguage::Jsonata, None) => error,
            (QueryLanguage::Jsonata, Some(output)) => {
                let around = format!("Catch[{place}]/Output");
                self.compute(id, seen, |scope| located(output, scope, &around))?
            }
        };
        Ok(Exit { output, assigned })
    }

    /// The event of an expression that failed. Recorded: where that is the first thing that the state
    /// does, the event names the one before the entry, and what follows names it.
    fn record_evaluation(&mut self, id: FrameId, raised: &Raised) {
        let Some(evaluation) = &raised.evaluation else {
            return;
        };
        let Some(frame) = self.execution.frame(id) else {
            return;
        };
        let early = frame.last_event == frame.entered_event && !evaluation.of_value;
        let previous = if early {
            frame.entered_after
        } else {
            frame.last_event
        };
        let state = self.machine.definition().state(frame.state);
        let event = self.note(previous, || Event::EvaluationFailed {
            state: state.name.clone(),
            location: evaluation.location.clone(),
            error: raised.error.clone().unwrap_or_default(),
            cause: raised.cause.clone().unwrap_or_default(),
        });
        if let Some(frame) = self.execution.frame_mut(id) {
            frame.last_event = event;
        }
    }

    /// Says in the cause which state it was, as AWS does.
    fn place_cause(&self, id: FrameId, raised: &mut Raised) {
        if let Some(frame) = self.execution.frame(id)
            && raised.unplaced
        {
            raised.unplaced = false;
            if self.is_rehearsal() {
                // Recorded: there is nothing else that it could be.
                return;
            }
            let state = self.machine.definition().state(frame.state);
            raised.cause = Some(format!(
                "An error occurred while executing the state '{}' (entered at the event id #{}). {}",
                state.name,
                frame.entered_event,
                raised.cause.as_deref().unwrap_or_default()
            ));
        }
    }

    /// Whether a retrier takes the error; then the frame backs off.
    fn retry(&mut self, id: FrameId, state: &State, raised: &Raised) -> bool {
        let Some(place) = retry::retrier(&state.retry, raised) else {
            return false;
        };
        let retrier = &state.retry[place];
        let now = self.context.now;
        let Some(frame) = self.execution.frame_mut(id) else {
            return false;
        };
        let before = frame.retries.get(place).copied().unwrap_or(0);
        if before >= retrier.max_attempts {
            self.tell(|| Finding::Retrier { place, delay: None });
            return false;
        }
        frame.retries.resize(state.retry.len(), 0);
        frame.retries[place] = before + 1;
        frame.enter(Phase::BackingOff);
        let delay = retry::delay(
            retrier,
            before,
            raised.retry_after,
            &mut self.context.random,
        );
        let reason = WakeReason::Retry {
            error: raised.error.clone().unwrap_or_default(),
            attempt: frame.retry_count().saturating_add(1),
        };
        self.effects.push(Effect::Wake {
            frame: id,
            generation: frame.ask(),
            at: now + delay,
            reason,
        });
        self.tell(|| Finding::Retrier {
            place,
            delay: Some(delay),
        });
        true
    }

    fn end_in_error(&mut self, raised: Raised) {
        let Raised { error, cause, .. } = raised;
        let event = Event::ExecutionFailed {
            error: error.clone(),
            cause: cause.clone(),
        };
        self.end(Status::Failed, event, Outcome::Failed { error, cause });
    }

    fn end(&mut self, status: Status, event: Event, outcome: Outcome) {
        redrive::keep_at_end(self, status);
        self.execution.set_status(status);
        // Recorded: what ends the execution from outside names no event before it.
        let last = match status {
            Status::Aborted | Status::TimedOut => 0,
            Status::New | Status::Running | Status::Succeeded | Status::Failed => {
                self.execution.frame(TOP).map_or(0, |top| top.last_event)
            }
        };
        let ids: Vec<FrameId> = self.execution.all_frames().map(|frame| frame.id).collect();
        for id in ids {
            self.drop_frame(id);
        }
        self.note(last, || event);
        self.effects.push(Effect::Ended { outcome });
    }

    /// Takes a frame out and calls off what it asked for.
    pub(super) fn drop_frame(&mut self, id: FrameId) -> Option<Frame> {
        let frame = self.execution.remove(id)?;
        match frame.phase {
            Phase::Task | Phase::Waiting | Phase::BackingOff | Phase::Run => {
                self.effects.push(Effect::Cancel {
                    frame: id,
                    generation: frame.generation,
                });
            }
            Phase::Ready { .. } | Phase::Forked(_) => {}
        }
        Some(frame)
    }

    /// An event of the frame, after its latest one.
    pub(super) fn record(&mut self, id: FrameId, event: impl FnOnce() -> Event) -> u64 {
        let last = self.execution.frame(id).map_or(0, |frame| frame.last_event);
        let event = self.note(last, event);
        if let Some(frame) = self.execution.frame_mut(id) {
            frame.last_event = event;
        }
        event
    }

    /// An event after the given one. Events are counted even where nobody records them, because
    /// messages name them.
    pub(super) fn note(&mut self, previous: u64, event: impl FnOnce() -> Event) -> u64 {
        self.execution.counters.events += 1;
        let id = self.execution.counters.events;
        if self.machine.options().records {
            self.effects.push(Effect::Record(Box::new(Record {
                id,
                previous,
                at: self.context.now,
                event: event(),
            })));
        }
        id
    }

    /// Whether a payload is beyond the limit; what is not counts towards the step's bound.
    pub(super) fn exceeds(&mut self, payload: &Payload) -> bool {
        let bytes = payload.text().len();
        self.bytes = self.bytes.saturating_add(bytes);
        bytes > self.machine.options().payload_bytes_max
    }

    /// The event of a failed attempt: a time-out has one of its own.
    pub(super) fn record_task_failure(
        &mut self,
        id: FrameId,
        resource: &Arc<str>,
        raised: &Raised,
    ) {
        self.record(id, || {
            let (resource, error, cause) =
                (resource.clone(), raised.error.clone(), raised.cause.clone());
            if raised.is(TIMEOUT) {
                Event::TaskTimedOut {
                    resource,
                    error,
                    cause,
                }
            } else {
                Event::TaskFailed {
                    resource,
                    error,
                    cause,
                }
            }
        });
    }
}

/// The place of a catcher among those of its state.
fn place_of(state: &State, catcher: &Catcher) -> usize {
    let place = state
        .catch
        .iter()
        .position(|own| std::ptr::eq(own, catcher));
    place.unwrap_or_default()
}
