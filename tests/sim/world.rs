//! The world of one seed: the clock, the dataset, the store, the process that lives until it dies,
//! and the loop that lets one thing happen at a time, in an order that only the seed knows.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use iterd::{
    ids::{Cursor, Index},
    iteration::{Checkpoint, Effect, Ending, Input, RowStatus, RunStatus, Trial},
    limiter::Limiter,
    time::Timestamp,
};

use crate::{
    model::Model,
    process::{Act, Call, Process, Taken},
    rng::Rng,
    scenario::Scenario,
    store::{Store, StoredRow, Write},
};

/// More events than any seed needs: the longest ones take a tenth.
const EVENTS_MAX: u32 = 200_000;

/// Crashes and deeds of an operator, after which the world calms down so that the run can end.
pub(crate) const TROUBLES_MAX: u32 = 60;

/// What was told of a simulation, kept where a panic does not take it away.
pub(crate) type Trace = Rc<RefCell<Vec<String>>>;

/// The world.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) scenario: Scenario,
    pub(crate) store: Store,
    pub(crate) process: Process,
    pub(crate) model: Model,
    /// Microseconds since the beginning; nobody sets it.
    pub(crate) elapsed: i64,
    /// What the clock on the wall shows beyond that.
    pub(crate) wall_offset: i64,
    pub(crate) records: usize,
    pub(crate) batch: u32,
    pub(crate) page: u32,
    /// How long the dataset was when a child last ended: the run must not end with less.
    records_at_last_end: u64,
    /// Answers to parked children that are on their way from outside, and when they come.
    pub(crate) callbacks: Vec<(i64, Index)>,
    /// Calls of former processes that may still answer.
    pub(crate) late: Vec<Call>,
    pub(crate) troubles: u32,
    /// How often each record was to be redone in all, as operators said.
    pub(crate) wanted: BTreeMap<Index, u32>,
    /// Commits up to the one with the last page of a redo that are not durable.
    pub(crate) redo_commits: usize,
    /// The day on the wall, and how often one had begun or come back.
    day: i64,
    visit: u32,
    trace: Option<Trace>,
}

/// What may happen next.
#[derive(Clone, Copy)]
enum Event {
    Commit,
    Act,
    Page,
    Queue,
    Answer(usize),
    Callback(usize),
    Timer,
    Redo,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Option<Trace>) -> Self {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::new(&mut rng);
        // A day in November 2023, so that the first midnight is some hours away.
        let wall_offset = 1_700_000_000_000_000;
        let limiter = Limiter::new(scenario.limits.clone(), Timestamp(wall_offset));
        let checkpoint = begin(&scenario);
        let options = scenario.options.clone();
        let mut store = Store::new(&checkpoint, options, limiter.state().clone());
        let sample = sample(&scenario, &mut rng);
        store.rows.extend(sample.iter().map(|at| (*at, queued(1))));
        let process = Process::start(&store, &scenario.limits, Timestamp(wall_offset));
        let mut model = Model::default();
        model.allow(&scenario.options, scenario.batch_max);
        model.reasons += sample.len() as u64;
        model.put_back.extend(sample);
        let mut world = Self {
            records: scenario.records_first,
            batch: scenario.batch_max,
            page: scenario.page_max,
            rng,
            scenario,
            store,
            process,
            model,
            elapsed: 0,
            wall_offset,
            records_at_last_end: 0,
            callbacks: Vec::new(),
            late: Vec::new(),
            troubles: 0,
            wanted: BTreeMap::new(),
            redo_commits: 0,
            day: 0,
            visit: 0,
            trace,
        };
        world.tell(|world| format!("{:?}", world.scenario));
        world.input(Input::Tick);
        world
    }

    /// Lets things happen until the run has ended for good.
    pub(crate) fn run(mut self) {
        for _ in 0..EVENTS_MAX {
            let calm = self.troubles >= TROUBLES_MAX;
            if !calm && self.rng.permille(self.scenario.crashes) {
                self.crash();
            } else if !calm && self.rng.permille(self.scenario.operator) {
                self.troubles += 1;
                self.operate();
            } else if !self.happen() && self.attend() {
                self.model.check_end(&self.store, &self.scenario);
                Model::check_redos(&self.store, &self.wanted);
                return;
            }
        }
        panic!("no end after {EVENTS_MAX} events");
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.elapsed + self.wall_offset)
    }

    pub(crate) fn tell(&self, line: impl FnOnce(&Self) -> String) {
        if let Some(trace) = &self.trace {
            let line = format!("{:>12} {}", self.elapsed, line(self));
            trace.borrow_mut().push(line);
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.take(Taken {
            inputs: vec![input],
            ..Taken::default()
        });
    }

    /// A step of the run.
    pub(crate) fn take(&mut self, taken: Taken) {
        if taken.inputs.is_empty() {
            return;
        }
        let now = self.now();
        let day = now.0.div_euclid(86_400_000_000);
        self.visit += u32::from(day != self.day);
        self.day = day;
        self.tell(|_| format!("take {:?}", taken.inputs));
        let ends = taken
            .inputs
            .iter()
            .any(|input| matches!(input, Input::Ended { .. }));
        if ends {
            self.records_at_last_end = self.records as u64;
        }
        let got_through = self.process.gets_through(&taken);
        let effects = self.process.step(taken, now, self.visit);
        let hurried = |only: &Effect| matches!(only, Effect::Hurry { only: None });
        if effects.iter().any(hurried) {
            assert!(got_through, "all are hurried although no retry got through");
            let rows = self.process.view.rows.values();
            let mut left = rows.filter(|row| row.status == RowStatus::Retrying);
            assert!(left.all(|row| row.at <= now), "some are not hurried");
        }
        self.model.check_bounds(&self.process.view);
        for effect in effects {
            self.tell(|_| format!("  {effect:?}"));
            if let Effect::Fail { index } = effect
                && self.scenario.is_serial()
            {
                self.model.check_serial(index, &self.process.view);
            }
            if effect == Effect::Ended(RunStatus::Succeeded) {
                let total = self.process.run.figures().total;
                let left_out = self.process.run.figures().left_out;
                let read = total.map(|total| total + left_out);
                assert!(read >= Some(self.records_at_last_end), "ended too early");
            }
        }
    }

    /// Lets one thing happen that was going to; answers whether there was any.
    pub(crate) fn happen(&mut self) -> bool {
        if self.rng.permille(20) {
            self.answer_late();
        }
        self.elapsed += i64::try_from(self.rng.below(2000)).unwrap();
        let mut events = self.events();
        if events.is_empty() {
            let calls = self.process.calls.iter().map(|call| call.ends);
            let callbacks = self.callbacks.iter().map(|(at, _)| *at);
            let next = calls.chain(callbacks).chain(self.process.timer).min();
            let Some(next) = next else {
                return false;
            };
            self.elapsed = self.elapsed.max(next);
            events = self.events();
        }
        match self.rng.pick(&events) {
            Event::Commit => self.commit(),
            Event::Act => {
                if let Some(act) = self.process.acts.pop_front() {
                    self.act(act);
                }
            }
            Event::Page => self.answer_read(),
            Event::Queue => self.answer_load(),
            Event::Answer(at) => self.answer_calls(at),
            Event::Callback(at) => self.answer_wait(at),
            Event::Redo => self.redo_page(),
            Event::Timer => {
                self.process.timer = None;
                self.input(Input::Tick);
            }
        }
        true
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut may = |enabled: bool, event| {
            if enabled {
                events.push(event);
            }
        };
        let process = &self.process;
        may(!process.commits.is_empty(), Event::Commit);
        may(!process.acts.is_empty(), Event::Act);
        let told = self.redo_commits == 0 && !process.draining;
        may(told && !self.redoable().is_empty(), Event::Redo);
        may(process.reading.is_some(), Event::Page);
        may(process.loading.is_some(), Event::Queue);
        may(
            process.timer.is_some_and(|at| at <= self.elapsed),
            Event::Timer,
        );
        for (at, call) in process.calls.iter().enumerate() {
            may(call.ends <= self.elapsed, Event::Answer(at));
        }
        for (at, (due, _)) in self.callbacks.iter().enumerate() {
            may(*due <= self.elapsed, Event::Callback(at));
        }
        events
    }

    /// The oldest commit becomes durable; its effects may be carried out from now on.
    fn commit(&mut self) {
        let Some(commit) = self.process.commits.pop_front() else {
            return;
        };
        self.redo_commits = self.redo_commits.saturating_sub(1);
        let (watermark, high_mark) = (self.store.run.watermark, self.store.run.high_mark);
        for write in &commit.writes {
            self.store.apply(write);
            self.model.see(write);
            if let Write::Redo(index) = write {
                self.model.failures.remove(index);
                self.model.reasons += 1;
            } else if let Write::DropOutcome(index) = write {
                self.model.failures.remove(index);
            } else if let Write::Outcome(index, outcome) = write {
                let failures = self.model.failures.get(index).copied().unwrap_or(0);
                let last = commit
                    .closes
                    .iter()
                    .any(|(i, _, failed)| i == index && *failed);
                let ours = u32::from(outcome.ending == Ending::Done || last);
                let decided = outcome.attempts == u32::MAX || outcome.attempts == 0;
                assert!(
                    decided || outcome.attempts == failures + ours,
                    "{index} has {} attempts after {failures} failures",
                    outcome.attempts
                );
            }
        }
        assert!(
            self.store.run.watermark >= watermark,
            "the watermark went back"
        );
        assert!(
            self.store.run.high_mark >= high_mark,
            "the high mark went back"
        );
        for (index, generation, failed) in commit.closes {
            let open = self.model.open.remove(&(index, generation));
            self.model.reasons += u64::from(open.is_some());
            if failed {
                *self.model.failures.entry(index).or_default() += 1;
            }
        }
        self.model.check_results(&self.store);
        self.process.acts.extend(commit.acts);
        self.tell(|_| "commit".to_owned());
    }

    fn act(&mut self, act: Act) {
        self.tell(|_| format!("act {:?}", act.effect));
        match act.effect {
            Effect::Dispatch {
                index,
                items,
                generation,
                rowed,
            } => {
                if self.process.run.is_current(index, generation) {
                    self.call(index, items, generation, rowed, act.permit);
                }
            }
            Effect::Read { from, first } => {
                assert!(self.process.reading.is_none(), "two reads at a time");
                let expected = if first == 0 {
                    Cursor::start()
                } else {
                    cursor(first)
                };
                assert_eq!(from, expected);
                self.process.reading = Some((from, first));
            }
            Effect::LoadQueue {
                after,
                children_max,
            } => {
                assert!(self.process.loading.is_none(), "two loads at a time");
                self.process.loading = Some((after, children_max));
            }
            Effect::Wake { at, .. } => {
                let mut wait = (at.0 - self.now().0).max(0);
                if self.rng.permille(50) {
                    wait /= 2; // a timer that fires early is no promise broken
                }
                self.process.timer = Some(self.elapsed + wait);
            }
            Effect::Ended(_) => self.kill(),
            Effect::Drained => {
                assert!(self.model.open.is_empty(), "drained with calls under way");
                self.restart();
            }
            Effect::Fail { .. }
            | Effect::Spill { .. }
            | Effect::Hold { .. }
            | Effect::Hurry { .. }
            | Effect::Paused(_) => {}
        }
    }

    /// The calls under way are of no use any more: their workers are killed.
    fn kill(&mut self) {
        self.late.append(&mut self.process.calls);
        self.model.lose();
    }

    /// The process dies, with whatever was not durable.
    fn crash(&mut self) {
        self.tell(|_| "crash".to_owned());
        self.troubles += 1;
        self.model.crashes += 1;
        self.kill();
        self.restart();
    }

    /// Another process takes over.
    pub(crate) fn restart(&mut self) {
        self.process = Process::start(&self.store, &self.scenario.limits, self.now());
        self.redo_commits = 0;
        self.batch = self.rng.between(1, self.scenario.batch_max);
        self.model
            .allow(&self.store.options, self.scenario.batch_max);
        for (index, row) in &self.store.rows {
            // Whoever was not told that the answer arrived sends it again.
            if row.status == RowStatus::Waiting && row.at == Timestamp::MAX {
                self.callbacks.push((self.elapsed + 1_000_000, *index));
            }
        }
        self.input(Input::Tick);
    }
}

/// Where the run begins: at the first record or behind some, whole or with a trial.
fn begin(scenario: &Scenario) -> Checkpoint {
    let from = scenario.from;
    let start = if from == 0 {
        Cursor::start()
    } else {
        cursor(from)
    };
    let tried = scenario.first.map(|first| (from + first, first, false));
    let sampled = (scenario.sample > 0).then_some((from, scenario.sample.into(), true));
    let trial = sampled.or(tried).map(|(until, records, sample)| Trial {
        until,
        records,
        sample,
    });
    Checkpoint {
        trial,
        ..Checkpoint::begin_at(from, start)
    }
}

/// The records that are tried before all others.
fn sample(scenario: &Scenario, rng: &mut Rng) -> BTreeSet<Index> {
    let records = scenario.records_first as u64;
    let mut sample = BTreeSet::new();
    for _ in 0..scenario.sample {
        let at = scenario.from + rng.below(records - scenario.from);
        if !scenario.damaged[usize::try_from(at).unwrap()] {
            sample.insert(at);
        }
    }
    sample
}

/// A row of the queue.
pub(crate) fn queued(items: u32) -> StoredRow {
    StoredRow {
        items,
        status: RowStatus::Queued,
        at: Timestamp::MAX,
        attempts: 0,
    }
}

pub(crate) fn cursor(index: Index) -> Cursor {
    Cursor::new(format!("1:{index}"))
}
