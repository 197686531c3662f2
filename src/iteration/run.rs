//! The run itself: what it holds in memory, and the step.
//!
//! A step takes in what happened, then dispatches as slots, order, status and the limiter's permits
//! allow. What it changed is in [`Run::checkpoint`]; the shell commits that with the rows and results
//! of the same inputs, and only then carries the effects out.
//!
//! Invariant: a child is in one place: the source's queue, in flight, ready, parked, held, or ended.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Breaker, Checkpoint, Child, Counters, Effect, Ending, Input, OnInterrupt, Options, Parked,
    PauseReason, Row, RowStatus, RunStatus, WakeReason,
    breaker::share_exceeds,
    parked::{self, ParkedChildren},
    status::is_legal,
    window::Window,
};
use crate::{
    ids::{Cursor, Generation, Index},
    limiter::{Grant, Try},
    time::Timestamp,
};

mod dispatch;
mod view;

pub use view::Figures;

/// What a step may know of the world.
pub struct Context<'a> {
    /// The instant of the step.
    pub now: Timestamp,
    /// Asks the run's limiter for permits: what kind of try, for how many children, and whether
    /// children of the other kind want some too. What it grants is spent.
    pub permits: &'a mut dyn FnMut(Try, u32, bool) -> Grant,
}

/// A run under way.
#[derive(Debug, Clone)]
pub struct Run {
    pub(super) options: Options,
    pub(super) status: RunStatus,
    pub(super) pause: Option<PauseReason>,
    pub(super) counters: Counters,
    pub(super) breaker: Breaker,
    pub(super) total: Option<u64>,
    pub(super) window: Window,
    /// What a former process had settled above its watermark and this one has not read again yet:
    /// ranges in order.
    pub(super) settled_before: VecDeque<(Index, Index)>,
    /// The high mark of a former process: what lies below and is not settled is in doubt.
    pub(super) doubt_until: Index,
    source: SourceQueue,
    flights: BTreeMap<Index, Flight>,
    ready: VecDeque<(Index, Flight)>,
    parked: ParkedChildren,
    held: u64,
    doubtful_rows: Vec<Row>,
    queue: RowQueue,
    generation: u32,
    retry_turn: bool,
    draining: bool,
    wake: Option<(Timestamp, WakeReason)>,
}

/// What was read and not dispatched.
#[derive(Debug, Clone)]
struct SourceQueue {
    children: VecDeque<Child>,
    next: Index,
    from: Cursor,
    reading: bool,
    end: bool,
}

/// Rows put back by an operator, loaded a page at a time.
#[derive(Debug, Clone, Default)]
struct RowQueue {
    children: u64,
    after: Option<Index>,
    loading: bool,
}

/// A child that is, or is ready to be, with a handler.
#[derive(Debug, Clone, Copy)]
struct Flight {
    generation: Generation,
    items: u32,
    rowed: bool,
    kind: Try,
}

impl Run {
    /// The most rows asked for at a time by [`Effect::LoadQueue`]: they wait in memory, and 1,000 of
    /// them feed any handler while the next ones load.
    pub const QUEUE_PAGE_MAX: u32 = 1000;

    /// A run at its very beginning.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::restore(options, Checkpoint::default(), &[], 0, 0)
    }

    /// A run as a former process left it: its checkpoint, the rows that are in flight or parked, how
    /// many children are in the queue, and how many items are held.
    #[must_use]
    pub fn restore(
        options: Options,
        checkpoint: Checkpoint,
        rows: &[Row],
        queued: u64,
        held: u64,
    ) -> Self {
        let mut run = Self {
            options,
            status: checkpoint.status,
            pause: checkpoint.pause,
            counters: checkpoint.counters,
            breaker: checkpoint.breaker,
            total: checkpoint.total,
            window: Window::new(checkpoint.watermark, checkpoint.cursor.clone()),
            settled_before: checkpoint.done.into(),
            doubt_until: checkpoint.high_mark,
            source: SourceQueue {
                children: VecDeque::new(),
                next: checkpoint.watermark,
                from: checkpoint.cursor,
                reading: false,
                end: false,
            },
            flights: BTreeMap::new(),
            ready: VecDeque::new(),
            parked: ParkedChildren::default(),
            held,
            doubtful_rows: Vec::new(),
            queue: RowQueue {
                children: queued,
                ..RowQueue::default()
            },
            generation: 0,
            retry_turn: false,
            draining: false,
            wake: None,
        };
        for row in rows {
            match row.status {
                RowStatus::InFlight => run.doubtful_rows.push(*row),
                RowStatus::Retrying | RowStatus::Waiting => run.parked.insert(
                    row.index,
                    parked::Entry {
                        at: row.at,
                        items: row.items,
                        status: row.status,
                    },
                ),
                RowStatus::Held | RowStatus::Queued => {}
            }
        }
        run
    }

    /// Takes in what happened and answers what is to be done. Total: an input that fits nothing
    /// (a late answer, a page nobody asked for) changes nothing.
    pub fn step(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
        context: &mut Context<'_>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for input in inputs {
            self.take(input, &mut effects);
        }
        self.take_doubtful_rows(&mut effects);
        self.judge(&mut effects);
        if self.status == RunStatus::Running && !self.draining {
            self.dispatch(context, &mut effects);
            self.feed(&mut effects);
        } else {
            self.wake = None;
        }
        self.conclude(&mut effects);
        effects
    }

    /// Whether an outcome of this dispatch would be taken in; else it came too late.
    #[must_use]
    pub fn is_current(&self, index: Index, generation: Generation) -> bool {
        self.flights
            .get(&index)
            .is_some_and(|flight| flight.generation == generation)
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Page { children, end } => self.take_page(children, end),
            Input::Ended {
                index,
                generation,
                ending,
            } => self.take_ended(index, generation, ending),
            Input::Parked {
                index,
                generation,
                parked,
            } => self.take_parked(index, generation, parked),
            Input::Rowed { index } => {
                if let Some(flight) = self.flights.get_mut(&index) {
                    flight.rowed = true;
                    self.window.settle(index);
                }
            }
            Input::Interrupted { index, generation } => {
                if let Some(flight) = self.land(index, generation) {
                    self.counters.interrupted += 1;
                    self.take_doubtful(index, flight, effects);
                }
            }
            // Why: a tick may come early; what is still waited for is then asked for anew.
            Input::Tick => self.wake = None,
            Input::Hurry { now } => self.parked.hurry(now),
            Input::Pause(reason) => self.pause(reason, effects),
            Input::Resume => {
                if self.become_status(RunStatus::Running) {
                    self.breaker.reset();
                }
            }
            Input::Abort => {
                if self.become_status(RunStatus::Aborted) {
                    effects.push(Effect::Ended(RunStatus::Aborted));
                }
            }
            Input::Drain => {
                self.draining = true;
            }
            Input::Options(options) => self.options = options,
            Input::Requeued {
                children,
                items,
                were,
            } => self.take_requeued(children, items, were),
            Input::Released { items } => self.held = self.held.saturating_sub(items),
            Input::Queue { children } => self.take_queue(&children),
        }
    }

    fn take_page(&mut self, children: Vec<Child>, end: bool) {
        if !self.source.reading {
            return;
        }
        self.source.reading = false;
        self.source.end = end;
        for child in &children {
            self.source.next += u64::from(child.items);
        }
        if let Some(last) = children.last() {
            self.source.from = last.end.clone();
        }
        self.source.children.extend(children);
        self.total = end.then_some(self.source.next).or(self.total);
    }

    fn take_ended(&mut self, index: Index, generation: Generation, ending: Ending) {
        let Some(flight) = self.land(index, generation) else {
            return;
        };
        self.window.settle(index);
        self.breaker
            .record(ending == Ending::Failed, &self.options.pause_when);
        match ending {
            Ending::Done => self.counters.done += u64::from(flight.items),
            Ending::Failed => self.counters.failed += u64::from(flight.items),
        }
    }

    fn take_parked(&mut self, index: Index, generation: Generation, parked: Parked) {
        let Some(flight) = self.land(index, generation) else {
            return;
        };
        self.window.settle(index);
        let status = match parked {
            Parked::Retry { throttled, .. } => {
                if throttled {
                    self.counters.throttled += 1;
                } else {
                    self.breaker.record(true, &self.options.pause_when);
                }
                RowStatus::Retrying
            }
            Parked::Wait { .. } => RowStatus::Waiting,
        };
        self.parked.insert(
            index,
            parked::Entry {
                at: parked.at(),
                items: flight.items,
                status,
            },
        );
    }

    fn take_requeued(&mut self, children: u64, items: u64, were: Ending) {
        let count = match were {
            Ending::Done => &mut self.counters.done,
            Ending::Failed => &mut self.counters.failed,
        };
        *count = count.saturating_sub(items);
        self.queue.children += children;
        self.queue.after = None;
        if self.status.is_ended() {
            self.become_status(RunStatus::Running);
        }
    }

    fn take_queue(&mut self, children: &[(Index, u32)]) {
        if !self.queue.loading {
            return;
        }
        self.queue.loading = false;
        if children.is_empty() {
            self.queue.children = 0;
        }
        for (index, items) in children {
            self.queue.after = Some(*index);
            self.queue.children = self.queue.children.saturating_sub(1);
            let known = self.flights.contains_key(index)
                || self.parked.contains(*index)
                || self.ready.iter().any(|(ready, _)| ready == index);
            if !known {
                self.ready.push_back((
                    *index,
                    Flight {
                        generation: Generation(0),
                        items: *items,
                        rowed: true,
                        kind: Try::First,
                    },
                ));
            }
        }
    }

    /// Takes a child out of flight, where the generation is the one that was dispatched.
    fn land(&mut self, index: Index, generation: Generation) -> Option<Flight> {
        if !self.is_current(index, generation) {
            return None;
        }
        self.flights.remove(&index)
    }

    /// A child whose outcome nobody knows: again, or held.
    fn take_doubtful(&mut self, index: Index, flight: Flight, effects: &mut Vec<Effect>) {
        match self.options.on_interrupt {
            OnInterrupt::Retry => self.ready.push_back((index, flight)),
            OnInterrupt::Hold => {
                self.held += u64::from(flight.items);
                self.window.settle(index);
                effects.push(Effect::Hold {
                    index,
                    rowed: flight.rowed,
                });
            }
        }
    }

    fn take_doubtful_rows(&mut self, effects: &mut Vec<Effect>) {
        for row in std::mem::take(&mut self.doubtful_rows) {
            let kind = if row.tried { Try::Retry } else { Try::First };
            let flight = Flight {
                generation: Generation(0),
                items: row.items,
                rowed: true,
                kind,
            };
            self.take_doubtful(row.index, flight, effects);
        }
    }

    /// Pauses or fails the run where what happened says so.
    fn judge(&mut self, effects: &mut Vec<Effect>) {
        if self.status.is_ended() {
            return;
        }
        let failed = self.counters.failed;
        let tolerance = self.options.tolerance;
        let too_many = tolerance.count.is_some_and(|count| failed > count);
        let too_large = match (tolerance.percentage, self.total) {
            (Some(percent), Some(total)) => share_exceeds(failed, total, percent),
            (Some(_) | None, _) => false,
        };
        if (too_many || too_large) && self.become_status(RunStatus::Failed) {
            effects.push(Effect::Ended(RunStatus::Failed));
            return;
        }
        if let Some(reason) = self
            .breaker
            .trips(&self.options.pause_when, failed, self.total)
            && self.status == RunStatus::Running
        {
            self.pause(reason, effects);
        }
    }

    fn pause(&mut self, reason: PauseReason, effects: &mut Vec<Effect>) {
        if self.become_status(RunStatus::Paused) {
            self.pause = Some(reason.clone());
            effects.push(Effect::Paused(reason));
        }
    }

    fn become_status(&mut self, to: RunStatus) -> bool {
        let legal = is_legal(self.status, to);
        if legal {
            self.status = to;
            self.pause = None;
            if to.is_ended() {
                // Crash: what was in flight stays unsettled in the checkpoint, so a restart of the
                // run finds it in doubt; its late answers find no flight here.
                self.flights.clear();
            }
        }
        legal
    }

    /// Ends the run where nothing is left, and a drain where nothing is in flight.
    fn conclude(&mut self, effects: &mut Vec<Effect>) {
        if self.draining && self.flights.is_empty() {
            effects.push(Effect::Drained);
        }
        let over = self.source.end
            && self.source.children.is_empty()
            && self.flights.is_empty()
            && self.ready.is_empty()
            && self.parked.len() == 0
            && self.queue.children == 0;
        if self.status.is_ended() || !over {
            return;
        }
        if self.held > 0 {
            if self.status == RunStatus::Running {
                self.pause(PauseReason::Held { items: self.held }, effects);
            }
        } else if self.become_status(RunStatus::Succeeded) {
            effects.push(Effect::Ended(RunStatus::Succeeded));
        }
    }
}
