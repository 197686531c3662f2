//! An execution in memory: its steps, and what of it is to be written.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    ExecutionEnd,
    logging::{Logged, Logging},
};
use crate::{
    arn::Place,
    asl::Definition,
    ids::{ExecutionId, FrameId, Generation, RunId},
    machine::{
        self, Context, Effect, Execution, Input, Machine, MapItem, Options, Outcome, Record,
        StepContext, is_activity,
    },
    payload::Payload,
    runtime::{
        Engine, RuntimeError,
        history::{Bounds, History},
        token::{TaskToken, Tokens},
    },
    store::{
        ActivityTaskRow, Change, ExecutionKind, ExecutionRow, ExecutionStatus, Runs, TimerKind,
        TimerRow,
    },
    time::Timestamp,
};

/// An execution in memory.
pub(super) struct Live {
    pub(super) row: ExecutionRow,
    pub(super) machine: Machine,
    state: Execution,
    history: History,
    pub(super) facts: Facts,
    tokens: Tokens,
    /// Whether its row says that something is under way; `None`: it has no row yet.
    stored: Option<bool>,
    /// When it was redriven, until its row says so.
    reopened: Option<Timestamp>,
    /// What of it is to be logged once it is durable.
    logged: Vec<Logged>,
    /// Nothing of it is written.
    pub(super) volatile: bool,
    /// Frames whose task or run is under way here.
    under_way: BTreeSet<FrameId>,
    /// The last step was cut short.
    cut_short: bool,
    output: Option<Payload>,
    renewed: Renewed,
    /// Changes of its timers since it was last written.
    timers: Vec<Change>,
    /// Commits on their way that hold something of it.
    pub(super) commits: u32,
    pub(super) touched: bool,
}

/// Tasks that were asked for again when the execution was taken up.
#[derive(Default)]
struct Renewed {
    frames: BTreeSet<FrameId>,
    /// When the last of them was.
    at: Option<Timestamp>,
    /// Not all of them have been yet.
    in_part: bool,
}

/// The frame whose task is asked for.
const fn asked(effect: &Effect) -> Option<FrameId> {
    if let Effect::Invoke { frame, .. } = effect {
        Some(*frame)
    } else {
        None
    }
}

/// What an execution can be asked of itself.
#[derive(Clone)]
pub(super) struct Facts {
    /// Empty where the definition does not ask.
    execution_arn: String,
    machine_arn: String,
    version_arn: Option<String>,
    alias_arn: Option<String>,
    name: String,
    machine: String,
    started: Timestamp,
    redrives: u32,
    redriven: Option<Timestamp>,
    input: Payload,
    /// The definition, for its children.
    pub(super) runs: Runs,
    pub(super) role_arn: Option<String>,
    logging: Option<Logging>,
}

impl Facts {
    fn of(
        engine: &Engine,
        definition: &Definition,
        row: &ExecutionRow,
        input: Payload,
    ) -> Result<Self, RuntimeError> {
        let place = engine.place();
        // Children are called machine/label.
        let name = row.machine.split('/').next().unwrap_or_default();
        let machine = engine.store().machine(name)?;
        let logging = machine.and_then(|machine| Logging::of(&machine.revision.logging));
        let (mut execution_arn, mut machine_arn) = (String::new(), String::new());
        if definition.uses_context() || logging.is_some() {
            execution_arn = arn_of(&place, row);
            machine_arn = place.machine(&row.machine);
        }
        Ok(Self {
            logging,
            execution_arn,
            machine_arn,
            version_arn: row
                .version
                .map(|version| place.version(&row.machine, version)),
            alias_arn: row
                .alias
                .as_ref()
                .map(|alias| place.alias(&row.machine, alias)),
            name: row.name.clone(),
            machine: row.machine.clone(),
            role_arn: row.role_arn.clone(),
            started: row.started,
            redrives: row.redrives,
            redriven: row.redriven,
            input,
            runs: row.runs.clone(),
        })
    }

    pub(super) fn context<'a>(&'a self, item: Option<&'a MapItem>) -> Context<'a> {
        Context {
            execution_id: &self.execution_arn,
            execution_name: &self.name,
            role_arn: self.role_arn.as_deref(),
            started: self.started,
            redrive_count: self.redrives,
            redriven: self.redriven,
            input: &self.input,
            machine_id: &self.machine_arn,
            machine_name: &self.machine,
            version_arn: self.version_arn.as_deref(),
            alias_arn: self.alias_arn.as_deref(),
            item,
        }
    }
}

impl Live {
    /// One that is about to begin.
    pub(super) fn begin(
        engine: &Engine,
        definition: Arc<Definition>,
        row: ExecutionRow,
        input: Payload,
        volatile: bool,
    ) -> Result<Self, RuntimeError> {
        let facts = Facts::of(engine, &definition, &row, input)?;
        Ok(Self {
            machine: Machine::new(definition, options(row.kind, &facts)),
            row,
            state: Execution::new(),
            history: History::new(),
            facts,
            tokens: engine.tokens().clone(),
            stored: None,
            reopened: None,
            logged: Vec::new(),
            volatile,
            under_way: BTreeSet::new(),
            renewed: Renewed::default(),
            cut_short: false,
            output: None,
            timers: Vec::new(),
            commits: 0,
            touched: false,
        })
    }

    /// One from its rows; `processor` knows what the children of a Map Run run. `None` where it is not
    /// running any more. Blocks.
    pub(super) fn load(
        engine: &Engine,
        id: ExecutionId,
        processor: impl Fn(RunId) -> Option<Arc<Definition>>,
    ) -> Result<Option<Self>, RuntimeError> {
        let row = engine.store().execution(id)?;
        match row {
            Some(row) if row.status == ExecutionStatus::Running => {
                Self::restore(engine, row, processor)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// One that had ended and goes on from what it left, with its row as it is from now on. `None` where it
    /// left nothing. Blocks.
    pub(super) fn redriven(
        engine: &Engine,
        row: ExecutionRow,
        processor: impl Fn(RunId) -> Option<Arc<Definition>>,
    ) -> Result<Option<Self>, RuntimeError> {
        if engine.store().frames(row.id)?.is_empty() {
            return Ok(None);
        }
        let restored = Self::restore(engine, row, processor)?;
        Ok(restored.map(|live| Self {
            reopened: live.row.redriven,
            under_way: BTreeSet::new(),
            stored: Some(false),
            ..live
        }))
    }

    /// What an execution runs and can be asked, whether it has ended or not; `None` for that of a job.
    pub(super) fn program(
        engine: &Engine,
        row: &ExecutionRow,
        processor: impl Fn(RunId) -> Option<Arc<Definition>>,
    ) -> Result<Option<(Machine, Facts)>, RuntimeError> {
        let Runs::Definition(definition) = row.runs else {
            return Ok(None);
        };
        let damaged = |cause: String| RuntimeError::Damaged {
            what: format!("execution {}", row.id),
            cause,
        };
        let definition = match row.child_of {
            None => engine.programs().definition(engine.store(), definition)?,
            Some((run, _)) => {
                let found = processor(run);
                found.ok_or_else(|| damaged(format!("its run {run} is gone")))?
            }
        };
        let input =
            Payload::parse(row.input.clone()).map_err(|error| damaged(error.to_string()))?;
        let facts = Facts::of(engine, &definition, row, input)?;
        let machine = Machine::new(definition, options(row.kind, &facts));
        Ok(Some((machine, facts)))
    }

    fn restore(
        engine: &Engine,
        row: ExecutionRow,
        processor: impl Fn(RunId) -> Option<Arc<Definition>>,
    ) -> Result<Option<Self>, RuntimeError> {
        let (id, store) = (row.id, engine.store());
        let damaged = |cause: String| RuntimeError::Damaged {
            what: format!("execution {id}"),
            cause,
        };
        let Some((machine, facts)) = Self::program(engine, &row, processor)? else {
            return Ok(None);
        };
        let input = facts.input.clone();
        let state = Execution::restore(&machine, &input, store.frames(id)?)
            .map_err(|error| damaged(error.to_string()))?;
        let under_way = state.frames_with_runs().map(|(frame, _)| frame).collect();
        Ok(Some(Self {
            machine,
            state,
            history: History::load(store, id)?,
            facts,
            tokens: engine.tokens().clone(),
            stored: Some(row.awake),
            reopened: None,
            logged: Vec::new(),
            volatile: false,
            under_way,
            renewed: Renewed::default(),
            cut_short: false,
            output: None,
            timers: Vec::new(),
            commits: 0,
            touched: false,
            row,
        }))
    }

    /// Whether a frame waits for the answer to its task.
    pub(super) fn waits(&self, frame: FrameId, generation: Generation) -> bool {
        self.state.waits_for_task(frame, generation)
    }

    /// The frames that wait for a Map Run.
    pub(super) fn runs(&self) -> Vec<(FrameId, Generation)> {
        self.state.frames_with_runs().collect()
    }

    /// Whether a frame waits for the Map Run that it asked for then.
    pub(super) fn waits_for_run(&self, frame: FrameId, generation: Generation) -> bool {
        let mut waiting = self.state.frames_with_runs();
        !self.has_ended() && waiting.any(|one| one == (frame, generation))
    }

    /// Whether the execution has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.row.status != ExecutionStatus::Running
    }

    /// Whether something is under way that no row would bring back.
    pub(super) fn is_awake(&self) -> bool {
        self.cut_short || !self.under_way.is_empty()
    }

    /// Whether a time-out is one of a task that was asked for again since, and so has all its time.
    pub(super) fn has_renewed(&self, timer: &TimerRow) -> bool {
        matches!(timer.kind, TimerKind::Timeout | TimerKind::Heartbeat)
            && self.renewed.at.is_some_and(|at| timer.due <= at)
            && self.renewed.frames.contains(&timer.frame)
    }

    /// Whether its history has so many events that it fails.
    pub(super) fn is_full(&self, bounds: Bounds) -> bool {
        self.row.kind == ExecutionKind::Standard
            && !self.has_ended()
            && bounds.ends(self.state.event_count())
    }

    /// What an input ends that is under way here.
    fn hear(&mut self, input: &Input) {
        match input {
            Input::TaskDone {
                frame, generation, ..
            }
            | Input::TaskFailed {
                frame, generation, ..
            }
            | Input::RunEnded {
                frame, generation, ..
            }
            | Input::RunLost {
                frame, generation, ..
            }
            | Input::Woken {
                frame, generation, ..
            } => {
                // Why only then: a late answer must not take away what the frame waits for now.
                if self.state.is_last_asked(*frame, *generation) {
                    self.wait_no_more(*frame);
                }
            }
            Input::Continue => self.cut_short = false,
            Input::Submitted {
                frame, generation, ..
            } => {
                // Why: whoever has the token answers, and a row waits for that as well as memory.
                if self.state.is_last_asked(*frame, *generation) {
                    self.under_way.remove(frame);
                }
            }
            Input::Start { .. }
            | Input::Started { .. }
            | Input::GoOn
            | Input::Redriven { .. }
            | Input::RunRedriven { .. }
            | Input::Interrupted
            | Input::HistoryFull
            | Input::Stop { .. }
            | Input::TimedOut => {}
        }
    }

    /// Steps once; answers what is to be done when that is durable.
    pub(super) fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.touched = true;
        let goes_on = self.renewed.in_part && matches!(input, Input::Continue);
        let renews = goes_on || matches!(input, Input::Interrupted);
        self.hear(&input);
        let mut random = rand::random::<u64>;
        let (id, tokens) = (self.row.id, &self.tokens);
        let token = |frame, generation| {
            tokens
                .make(TaskToken {
                    execution: id,
                    frame,
                    generation,
                })
                .into()
        };
        let effects = machine::step(
            &self.machine,
            &mut self.state,
            input,
            &mut StepContext {
                now,
                random: &mut random,
                token: &token,
                context: self.facts.context(None),
            },
        );
        let mut later = Vec::new();
        for effect in effects {
            self.take_in(effect, now, &mut later);
        }
        if renews {
            self.renewed.at = Some(now);
            self.renewed.frames.extend(later.iter().filter_map(asked));
            self.renewed.in_part = self.cut_short;
        }
        later
    }

    fn take_in(&mut self, effect: Effect, now: Timestamp, later: &mut Vec<Effect>) {
        match &effect {
            Effect::Record(_) => {
                if let Effect::Record(record) = effect {
                    self.take_record(*record);
                }
                return;
            }
            Effect::Wake {
                frame,
                generation,
                at,
                ..
            } => self.put_timer(*frame, TimerKind::Wake, *generation, *at),
            Effect::Invoke {
                frame,
                generation,
                resource,
                payload,
                timeout,
                heartbeat,
                ..
            } => {
                if is_activity(resource) {
                    self.timers
                        .push(Change::PutActivityTask(Box::new(ActivityTaskRow {
                            place: None,
                            activity: resource.split(':').nth(6).unwrap_or_default().to_owned(),
                            execution: self.row.id,
                            frame: *frame,
                            generation: *generation,
                            input: payload.text().to_owned(),
                            timeout: *timeout,
                            heartbeat: *heartbeat,
                        })));
                    // Spec: of an activity's task, both count from when a worker has it.
                    later.push(effect);
                    return;
                }
                self.under_way.insert(*frame);
                for (kind, limit) in [
                    (TimerKind::Timeout, timeout),
                    (TimerKind::Heartbeat, heartbeat),
                ] {
                    if let Some(limit) = limit {
                        self.timers.push(Change::PutTimer(TimerRow {
                            execution: self.row.id,
                            frame: *frame,
                            kind,
                            generation: *generation,
                            due: now.after(*limit),
                            beat: (kind == TimerKind::Heartbeat).then_some(*limit),
                        }));
                    }
                }
            }
            Effect::StartRun { frame, .. } | Effect::RedriveRun { frame, .. } => {
                self.under_way.insert(*frame);
            }
            Effect::Cancel { frame, .. } => self.wait_no_more(*frame),
            Effect::Continue => self.cut_short = true,
            Effect::Ended { outcome } => self.end(outcome, now),
        }
        later.push(effect);
    }

    /// The execution may take so long.
    pub(super) fn set_deadline(&mut self, at: Timestamp) {
        self.put_timer(FrameId(0), TimerKind::Deadline, Generation(0), at);
    }

    fn put_timer(
        &mut self,
        frame: FrameId,
        kind: TimerKind,
        generation: Generation,
        due: Timestamp,
    ) {
        self.timers.push(Change::PutTimer(TimerRow {
            execution: self.row.id,
            frame,
            kind,
            generation,
            due,
            beat: None,
        }));
    }

    fn wait_no_more(&mut self, frame: FrameId) {
        self.under_way.remove(&frame);
        let execution = self.row.id;
        self.timers.push(Change::RemoveTimers { execution, frame });
        self.timers
            .push(Change::RemoveActivityTask { execution, frame });
    }

    fn end(&mut self, outcome: &Outcome, now: Timestamp) {
        let row = &mut self.row;
        row.stopped = Some(now);
        row.awake = false;
        self.under_way.clear();
        self.cut_short = false;
        row.status = match outcome {
            Outcome::Succeeded(output) => {
                self.output = Some(output.clone());
                ExecutionStatus::Succeeded
            }
            Outcome::Failed { error, cause } => {
                (row.error, row.cause) = (error.clone(), cause.clone());
                ExecutionStatus::Failed
            }
            Outcome::TimedOut => ExecutionStatus::TimedOut,
            Outcome::Aborted { error, cause } => {
                (row.error, row.cause) = (error.clone(), cause.clone());
                ExecutionStatus::Aborted
            }
        };
    }

    /// How it ended; `None` where it goes on.
    pub(super) fn ended(&self) -> Option<ExecutionEnd> {
        Some(ExecutionEnd {
            id: self.row.id,
            name: self.row.name.clone(),
            status: self.row.status,
            output: self.output.clone(),
            error: self.row.error.clone(),
            cause: self.row.cause.clone(),
            started: self.row.started,
            stopped: self.row.stopped?,
        })
    }

    fn take_record(&mut self, record: Record) {
        if let Some(logging) = self.facts.logging {
            self.logged.push(Logged {
                execution: self.facts.execution_arn.clone(),
                redrives: self.facts.redrives,
                record: record.clone(),
                logging,
            });
        }
        if self.row.kind == ExecutionKind::Standard {
            self.history.push(record);
        }
    }

    /// What is to be logged of the steps since the last time.
    pub(super) fn take_logged(&mut self) -> Vec<Logged> {
        std::mem::take(&mut self.logged)
    }

    /// Timers that it waits for, where nothing of it is written.
    pub(super) fn take_volatile_timers(&mut self) -> Vec<TimerRow> {
        let timers = std::mem::take(&mut self.timers);
        let put = timers.into_iter().filter_map(|change| {
            if let Change::PutTimer(row) = change {
                return Some(row);
            }
            None
        });
        put.collect()
    }

    /// Everything that is to be written of what the steps since the last time have changed; with when
    /// its timers are due.
    pub(super) fn take_changes(
        &mut self,
        engine: &Engine,
        bounds: Bounds,
        changes: &mut Vec<Change>,
        due: &mut Vec<Timestamp>,
    ) -> Result<(), RuntimeError> {
        self.touched = false;
        let execution = self.row.id;
        changes.extend(self.redrive_change());
        let timers = std::mem::take(&mut self.timers);
        if self.has_ended() {
            if self.row.kind == ExecutionKind::Express {
                // Why: nobody can ask for an express execution that has ended.
                if self.stored.is_some() {
                    changes.push(Change::RemoveExecution { execution });
                }
                return Ok(());
            }
            self.row.output = self.output.as_ref().map(|output| output.text().to_owned());
            if self.stored.is_some() {
                changes.push(self.end_change());
            } else {
                changes.push(Change::NewExecution(self.row.clone()));
            }
            if let Some(remains) = self.state.take_remains(&self.machine) {
                changes.push(Change::Frames {
                    execution,
                    changes: remains,
                });
            }
        } else {
            self.row.awake = self.is_awake();
            if self.stored.is_none() {
                changes.push(Change::NewExecution(self.row.clone()));
            } else if self.stored != Some(self.row.awake) {
                let awake = self.row.awake;
                changes.push(Change::Awake { execution, awake });
            }
            changes.push(Change::Frames {
                execution,
                changes: self.state.take_changes(&self.machine),
            });
            for change in timers {
                if let Change::PutTimer(row) = &change {
                    due.push(row.due);
                }
                // Why not before it has a row: there is nothing to remove.
                let removes = matches!(
                    change,
                    Change::RemoveTimers { .. } | Change::RemoveActivityTask { .. }
                );
                if self.stored.is_some() || !removes {
                    changes.push(change);
                }
            }
        }
        self.stored = Some(self.row.awake);
        if !self.history.is_empty() {
            self.history
                .take_changes(engine.store(), execution, bounds, changes)?;
        }
        Ok(())
    }

    fn redrive_change(&mut self) -> Option<Change> {
        let at = self.reopened.take()?;
        Some(Change::RedriveExecution {
            execution: self.row.id,
            redrives: self.row.redrives,
            token: self.row.redrive_token.clone(),
            at,
        })
    }

    fn end_change(&self) -> Change {
        Change::EndExecution {
            execution: self.row.id,
            status: self.row.status,
            output: self.row.output.clone(),
            error: self.row.error.clone(),
            cause: self.row.cause.clone(),
            at: self.row.stopped.unwrap_or_default(),
        }
    }
}

fn options(kind: ExecutionKind, facts: &Facts) -> Options {
    Options {
        records: kind == ExecutionKind::Standard || facts.logging.is_some(),
        redrivable: kind == ExecutionKind::Standard,
        ..Options::default()
    }
}

/// How an execution is called.
#[must_use]
pub fn arn_of(place: &Place, row: &ExecutionRow) -> String {
    match row.kind {
        ExecutionKind::Express => place.express(&row.machine, &row.name, &row.id.to_string()),
        ExecutionKind::Job | ExecutionKind::Standard => place.execution(&row.machine, &row.name),
    }
}
