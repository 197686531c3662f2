//! The run itself: what it holds in memory, and the step.
//!
//! A step takes in what happened, then dispatches as slots, order, status and the limiter's permits
//! allow. What it changed is in [`Run::checkpoint`]; the shell commits that with the rows and results
//! of the same inputs, and only then carries the effects out.
//!
//! Invariant: a child is in one place: the source's queue, the queue of rows, in flight, rescued,
//! parked, held, or ended.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
};

use super::{
    Breaker, Checkpoint, Child, Counters, Effect, Ending, Input, OnInterrupt, Options, Parked,
    PauseReason, Row, RowStatus, RunStatus, Trial, WakeReason,
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

mod decide;
mod dispatch;
mod probation;
mod queue;
mod trial;
mod view;

pub use probation::Probation;
use probation::Shown;
use queue::RowQueue;
pub use view::Figures;

/// What a step may know of the world.
pub struct Context<'a> {
    /// The instant of the step.
    pub now: Timestamp,
    /// Asks the run's limiter for permits: what kind of try, for how many children, and whether
    /// first tries wait beside these. What it grants is spent.
    pub permits: &'a mut dyn FnMut(Try, NonZeroU32, bool) -> Grant,
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
    pub(super) left_out: u64,
    pub(super) trial: Option<Trial>,
    pub(super) window: Window,
    /// What is settled and was not read yet: what a former process had settled above its watermark, and
    /// children on which somebody decided before their turn. Ranges in order.
    pub(super) settled_before: VecDeque<(Index, Index)>,
    /// The high mark of a former process: what lies below and is not settled is in doubt.
    pub(super) doubt_until: Index,
    source: SourceQueue,
    flights: BTreeMap<Index, Flight>,
    /// First tries whose outcome was lost, to be dispatched again.
    rescued: VecDeque<(Index, Flight)>,
    parked: ParkedChildren,
    held: u64,
    /// Children whose outcome nobody knows and on which the next step of a live run decides.
    doubtful: Vec<(Index, Flight)>,
    queue: RowQueue,
    probation: Option<Probation>,
    /// A retry has got through under the probation; decided on at the end of the inputs of a step.
    mended: bool,
    generation: u32,
    retry_turn: bool,
    drain: Drain,
    wake: Option<(Timestamp, WakeReason)>,
}

/// What was read and not dispatched.
#[derive(Debug, Clone)]
struct SourceQueue {
    children: VecDeque<Child>,
    next: Index,
    from: Cursor,
    /// A page was asked for and has not come.
    reading: bool,
    /// The page will not come: reading it failed.
    broken: bool,
    end: End,
}

/// What is known of the source's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may follow.
    Unseen,
    /// Nothing followed when it was last read; a source that grows may have more by now.
    Seen,
    /// Nothing followed, and no child has ended since.
    Confirmed,
}

impl SourceQueue {
    /// Asks for the children that follow, unless it has.
    fn read(&mut self, effects: &mut Vec<Effect>) {
        if !self.reading {
            self.reading = true;
            effects.push(Effect::Read {
                from: self.from.clone(),
                first: self.next,
            });
        }
    }
}

/// Whether this process takes anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    Asked,
    /// Nothing is in flight any more, and that was told.
    Told,
}

/// A child that is, or was, with a handler.
#[derive(Debug, Clone, Copy)]
struct Flight {
    generation: Generation,
    items: u32,
    rowed: bool,
    kind: Try,
    /// It was dispatched after the handler was mended.
    on_probation: bool,
}

impl Flight {
    /// A child with a row, not dispatched yet.
    const fn rowed(items: u32, kind: Try) -> Self {
        Self {
            generation: Generation(0),
            items,
            rowed: true,
            kind,
            on_probation: false,
        }
    }
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
            left_out: checkpoint.left_out,
            trial: checkpoint.trial,
            window: Window::new(checkpoint.watermark, checkpoint.cursor.clone()),
            settled_before: checkpoint.done.into(),
            doubt_until: checkpoint.high_mark,
            source: SourceQueue {
                children: VecDeque::new(),
                next: checkpoint.watermark,
                from: checkpoint.cursor,
                reading: false,
                broken: false,
                end: End::Unseen,
            },
            flights: BTreeMap::new(),
            rescued: VecDeque::new(),
            parked: ParkedChildren::default(),
            held,
            doubtful: Vec::new(),
            queue: RowQueue::new(queued),
            probation: checkpoint.probation,
            mended: false,
            generation: checkpoint.generation,
            retry_turn: false,
            drain: Drain::No,
            wake: None,
        };
        for row in rows {
            let kind = if row.tried { Try::Retry } else { Try::First };
            match row.status {
                RowStatus::InFlight => {
                    run.doubtful
                        .push((row.index, Flight::rowed(row.items, kind)));
                }
                RowStatus::Retrying | RowStatus::Waiting => run.parked.insert(
                    row.index,
                    parked::Entry {
                        at: row.at,
                        items: row.items,
                        status: row.status,
                        kind,
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
        self.decide_on_doubtful(&mut effects);
        self.attend_probation(context.now, &mut effects);
        self.judge(&mut effects);
        if self.status == RunStatus::Running && self.drain == Drain::No {
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

    /// The dispatch of a child whose outcome is still to come, where there is one.
    #[must_use]
    pub fn dispatched(&self, index: Index) -> Option<Generation> {
        Some(self.flights.get(&index)?.generation)
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Page {
                first,
                children,
                end,
            } => self.take_page(first, children, end),
            // Why the total stays: it is the best that is known until the new end is seen.
            Input::Grown if !self.status.is_ended() => self.source.end = End::Unseen,
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
            Input::Rowed { index } => self.give_row(index),
            Input::Interrupted { index, generation } => {
                if let Some(flight) = self.land(index, generation) {
                    self.counters.interrupted += 1;
                    self.take_doubtful(index, flight, effects);
                }
            }
            // Why: a tick may come early; what is still waited for is then asked for anew.
            Input::Tick => self.wake = None,
            Input::Mended => self.begin_probation(),
            Input::Pause(reason) => {
                self.source.broken |= matches!(reason, PauseReason::Source { .. });
                self.pause(reason, effects);
            }
            Input::Resume => self.resume(),
            Input::Abort => self.end(RunStatus::Aborted, effects),
            Input::Fail => self.end(RunStatus::Failed, effects),
            Input::Drain if self.drain == Drain::No => self.drain = Drain::Asked,
            Input::Grown | Input::Drain => {}
            Input::Options(options) => self.options = options,
            Input::Requeued {
                children,
                items,
                were,
            } => self.take_requeued(children, items, were),
            Input::Released {
                children,
                items,
                decision,
            } => self.take_released(children, items, decision),
            Input::Decided {
                index,
                items,
                stood,
                decision,
            } => self.take_decided(index, items, stood, decision),
            Input::Trial(trial) => {
                self.resume();
                self.trial = Some(trial);
            }
            Input::Queue { children } => self.take_queue(children),
            Input::Answered { index } => self.parked.answer(index),
        }
    }

    fn end(&mut self, status: RunStatus, effects: &mut Vec<Effect>) {
        if self.become_status(status) {
            effects.push(Effect::Ended(status));
        }
    }

    /// Why the trial only then: what pauses it half way, a breaker say, has not ended it.
    fn resume(&mut self) {
        let tried = matches!(self.pause, Some(PauseReason::Trial { .. }));
        let unfinished = self.status != RunStatus::Succeeded;
        if unfinished && self.become_status(RunStatus::Running) {
            self.breaker.reset(self.counters.failed);
            self.trial = self.trial.filter(|_| !tried);
        }
    }

    fn take_page(&mut self, first: Index, children: Vec<Child>, end: bool) {
        let source = &mut self.source;
        if !source.reading || first != source.next {
            return;
        }
        (source.reading, source.broken) = (false, false);
        source.end = match (children.is_empty(), end) {
            (true, _) => End::Confirmed,
            (false, true) => End::Seen,
            (false, false) => End::Unseen,
        };
        for child in &children {
            source.next += u64::from(child.items);
        }
        if let Some(last) = children.last() {
            source.from = last.end.clone();
        }
        source.children.extend(children);
        if source.end != End::Unseen {
            self.total = Some(source.next.saturating_sub(self.left_out));
        }
    }

    fn take_ended(&mut self, index: Index, generation: Generation, ending: Ending) {
        let Some(flight) = self.land(index, generation) else {
            return;
        };
        self.window.settle(index);
        let shown = match ending {
            Ending::Done => Shown::Good,
            Ending::Failed => Shown::Bad,
        };
        self.note_probation(index, flight, shown);
        self.breaker
            .record(ending == Ending::Failed, &self.options.pause_when);
        *self.counters.of(ending) += u64::from(flight.items);
    }

    fn take_parked(&mut self, index: Index, generation: Generation, parked: Parked) {
        let Some(flight) = self.land(index, generation) else {
            return;
        };
        self.window.settle(index);
        let (status, kind) = match parked {
            // Why its own kind: what was put off has not failed, and is no retry when it goes again.
            Parked::Retry {
                throttled: true, ..
            } => {
                self.counters.throttled += 1;
                (RowStatus::Retrying, flight.kind)
            }
            Parked::Retry {
                throttled: false, ..
            } => {
                self.note_probation(index, flight, Shown::Bad);
                self.breaker.record(true, &self.options.pause_when);
                (RowStatus::Retrying, Try::Retry)
            }
            Parked::Excused { .. } => {
                self.note_probation(index, flight, Shown::Bad);
                (RowStatus::Retrying, flight.kind)
            }
            Parked::Wait { .. } => {
                self.note_probation(index, flight, Shown::Good);
                (RowStatus::Waiting, flight.kind)
            }
        };
        self.parked.insert(
            index,
            parked::Entry {
                at: parked.at(),
                items: flight.items,
                status,
                kind,
            },
        );
    }

    /// Takes a child out of flight, where the generation is the one that was dispatched.
    fn land(&mut self, index: Index, generation: Generation) -> Option<Flight> {
        if !self.is_current(index, generation) {
            return None;
        }
        if self.source.end == End::Confirmed {
            self.source.end = End::Seen;
        }
        self.flights.remove(&index)
    }

    /// A child whose outcome nobody knows: again, or held.
    fn take_doubtful(&mut self, index: Index, flight: Flight, effects: &mut Vec<Effect>) {
        match (self.options.on_interrupt, flight.kind) {
            (OnInterrupt::Retry, Try::First) => self.rescued.push_back((index, flight)),
            // Why: it is a retry that is due at once, and has its row already.
            (OnInterrupt::Retry, Try::Retry) => self.parked.insert(
                index,
                parked::Entry {
                    at: Timestamp(i64::MIN),
                    items: flight.items,
                    status: RowStatus::Retrying,
                    kind: Try::Retry,
                },
            ),
            (OnInterrupt::Hold, _) => {
                self.held += u64::from(flight.items);
                self.window.settle(index);
                effects.push(Effect::Hold {
                    index,
                    rowed: flight.rowed,
                });
            }
        }
    }

    fn decide_on_doubtful(&mut self, effects: &mut Vec<Effect>) {
        if self.status.is_ended() {
            return;
        }
        for (index, flight) in std::mem::take(&mut self.doubtful) {
            self.take_doubtful(index, flight, effects);
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
        let tripped = self
            .breaker
            .trips(&self.options.pause_when, failed, self.total);
        if let Some(reason) = tripped
            && self.status == RunStatus::Running
            && !self.is_over()
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
                // run finds it in doubt, as a resumed one does here; late answers find no flight.
                self.doubtful.extend(std::mem::take(&mut self.flights));
            }
            if to == RunStatus::Running && std::mem::take(&mut self.source.broken) {
                self.source.reading = false;
            }
        }
        legal
    }

    /// Ends the run where nothing is left, and a drain where nothing is in flight.
    fn conclude(&mut self, effects: &mut Vec<Effect>) {
        if self.drain == Drain::Asked && self.flights.is_empty() {
            self.drain = Drain::Told;
            effects.push(Effect::Drained);
        }
        if self.status.is_ended() {
            return;
        }
        let over = self.is_over();
        if over && self.source.end == End::Seen {
            // Why: the run may have taken months since the source was last asked for more.
            if self.drain == Drain::No {
                self.source.read(effects);
            }
        } else if (over && self.held > 0) || self.is_stuck_on_held() {
            if self.status == RunStatus::Running {
                self.pause(PauseReason::Held { items: self.held }, effects);
            }
        } else if over && self.become_status(RunStatus::Succeeded) {
            effects.push(Effect::Ended(RunStatus::Succeeded));
        } else if let Some(trial) = self.finished_trial() {
            self.pause(trial, effects);
        }
    }

    /// Whether everything that is known of has an outcome or is held.
    fn is_over(&self) -> bool {
        self.source.end != End::Unseen
            && self.source.children.is_empty()
            && self.flights.is_empty()
            && self.rescued.is_empty()
            && self.parked.len() == 0
            && self.queue.len() == 0
    }
}
