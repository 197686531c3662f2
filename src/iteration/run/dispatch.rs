//! Which child goes next: retries and new children by turns, as slots, bounds and permits allow.

use std::num::NonZeroU32;

use super::{Context, End, Flight, Run};
use crate::{
    ids::{Generation, Index},
    iteration::{Child, Effect, OnInterrupt, Order, RunStatus, WakeReason},
    limiter::{Grant, Throttle, Try},
    time::Timestamp,
};

/// Why nothing of a kind is dispatched for now.
type Blocked = Option<(Timestamp, Throttle)>;

/// What becomes of a child that the source gave and that is not dispatched.
enum Pass {
    /// A former process settled it; nothing is left to do.
    Settled,
    /// It is damaged.
    Fail,
    /// It is in doubt, and the user wants to be asked.
    Hold,
}

impl Run {
    /// Dispatches what may be dispatched, retries and first tries by turns.
    pub(super) fn dispatch(&mut self, context: &mut Context<'_>, effects: &mut Vec<Effect>) {
        let (mut no_first, mut no_retry): (Blocked, Blocked) = (None, None);
        self.wake_waiting(context.now, effects);
        loop {
            self.pass_settled(effects);
            if self.status != RunStatus::Running {
                self.wake = None;
                return;
            }
            let due = self.retry_due(context.now);
            let first = self.first_ready(context.now);
            let retry = match (due && no_retry.is_none(), first > 0 && no_first.is_none()) {
                (false, false) => break,
                (true, true) => {
                    self.retry_turn = !self.retry_turn;
                    self.retry_turn
                }
                (retry, _) => retry,
            };
            if retry {
                match (context.permits)(
                    Try::Retry,
                    NonZeroU32::MIN,
                    self.first_waits(0, context.now),
                ) {
                    Grant::Now(_) => self.dispatch_retry(effects),
                    Grant::NotBefore { at, why } => no_retry = Some((at, why)),
                }
            } else {
                let first = NonZeroU32::new(first).unwrap_or(NonZeroU32::MIN);
                let turns = due && no_retry.is_none();
                let count = if turns { NonZeroU32::MIN } else { first };
                let waiting = self.first_waits(count.get(), context.now);
                match (context.permits)(Try::First, count, waiting) {
                    Grant::Now(granted) => {
                        let granted = granted.clamp(1, count.get());
                        self.dispatch_first(granted, context.now, effects);
                    }
                    Grant::NotBefore { at, why } => no_first = Some((at, why)),
                }
            }
        }
        self.ask_for_wake(no_first, no_retry, context.now, effects);
    }

    /// Children whose Wait is over go on: they kept their slots, and their permit is spent.
    fn wake_waiting(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((at, index)) = self.parked.first_waiting()
            && at <= now
            && let Some(entry) = self.parked.remove(index)
        {
            self.launch(index, Flight::rowed(entry.items, entry.kind), effects);
        }
    }

    /// Whether a child that failed before may go now. In strict order it has its slot already, in
    /// relaxed order it needs one.
    fn retry_due(&self, now: Timestamp) -> bool {
        let due = self
            .parked
            .first_retrying()
            .is_some_and(|(at, _)| at <= now);
        due && self.flights.len() + self.parked.waiting() < self.slots()
    }

    /// How many first tries may go now, as far as slots and bounds have a say: what was rescued,
    /// what was put off and is due, what was put back, what the source gave.
    fn first_ready(&self, now: Timestamp) -> u32 {
        let free = self
            .slots()
            .saturating_sub(self.flights.len() + self.parked.waiting());
        let rescued = self.rescued.len().min(free);
        let put_off = self.parked.put_off_due(now, free - rescued);
        let room = self.room().min(free - rescued - put_off);
        let queued = self.queue.ready().min(room);
        let mut index = self.window.next();
        let mut fresh = 0;
        for child in self.source.children.iter().take(room - queued) {
            if index >= self.trial_until() || self.pass(index, child).is_some() {
                break;
            }
            index += u64::from(child.items);
            fresh += 1;
        }
        u32::try_from(rescued + put_off + queued + fresh).unwrap_or(u32::MAX)
    }

    /// Whether there are first tries to use a permit, if there were one, beside so many: those that
    /// wait, and those that are still being read.
    fn first_waits(&self, beside: u32, now: Timestamp) -> bool {
        let beside = beside as usize;
        let due = self.rescued.len() + self.parked.put_off_due(now, beside + 1);
        let known = due + self.source_waits();
        let known = known.saturating_add(usize::try_from(self.queue.len()).unwrap_or(usize::MAX));
        let unread = self.source.end == End::Unseen && self.source.next < self.trial_until();
        let more = known > beside || unread;
        more && due + self.room() > beside
    }

    /// How many children may be taken that are not under way yet.
    fn room(&self) -> usize {
        let blocked = match self.options.order {
            Order::Relaxed => self.parked_full(),
            // Why: what waits for somebody's decision is stuck, and nothing goes past it.
            Order::Strict => self.held > 0,
        };
        if blocked {
            return 0;
        }
        let parked = match self.options.order {
            Order::Relaxed => self.parked.waiting(),
            Order::Strict => self.parked.len(),
        };
        self.slots()
            .saturating_sub(self.flights.len() + self.rescued.len() + parked)
    }

    /// Whether so many children back off that no new ones are taken.
    pub(super) fn parked_full(&self) -> bool {
        self.parked.retrying() >= self.options.parked_items_max.max(1) as usize
    }

    /// Whether nothing can go on until somebody decides on what is held.
    pub(super) fn is_stuck_on_held(&self) -> bool {
        self.options.order == Order::Strict
            && self.held > 0
            && self.flights.is_empty()
            && self.rescued.is_empty()
            && self.parked.len() == 0
    }

    fn slots(&self) -> usize {
        self.options.slots.max(1) as usize
    }

    /// Passes over what needs no dispatch at the head of the source's queue.
    fn pass_settled(&mut self, effects: &mut Vec<Effect>) {
        let failed = self.counters.failed;
        while let Some(child) = self.source.children.front() {
            let index = self.window.next();
            if index >= self.trial_until() {
                break;
            }
            let items = u64::from(child.items);
            match self.pass(index, child) {
                Some(Pass::Settled) => {}
                // Why: a damaged child takes its turn like any other, or strict order would break.
                Some(Pass::Fail) if self.room() > 0 => {
                    self.counters.failed += items;
                    effects.push(Effect::Fail { index });
                }
                Some(Pass::Hold) => {
                    self.held += items;
                    effects.push(Effect::Hold {
                        index,
                        rowed: false,
                    });
                }
                Some(Pass::Fail) | None => break,
            }
            self.take_source(true, effects);
        }
        if self.counters.failed > failed {
            self.judge(effects);
        }
    }

    /// Whether the child needs no dispatch, and what it needs instead.
    fn pass(&self, index: Index, child: &Child) -> Option<Pass> {
        let end = index + u64::from(child.items);
        let at = self
            .settled_before
            .partition_point(|(_, settled_end)| *settled_end <= index);
        // Why: a child that reaches beyond what is settled is done whole; better twice than never.
        let settled = self
            .settled_before
            .get(at)
            .is_some_and(|(first, settled_end)| *first <= index && end <= *settled_end);
        if settled {
            Some(Pass::Settled)
        } else if child.faulty {
            Some(Pass::Fail)
        } else if index < self.doubt_until && self.options.on_interrupt == OnInterrupt::Hold {
            Some(Pass::Hold)
        } else {
            None
        }
    }

    /// Moves the first child of the source's queue into the window.
    fn take_source(&mut self, settled: bool, effects: &mut Vec<Effect>) -> Option<(Index, u32)> {
        self.make_room(effects);
        let child = self.source.children.pop_front()?;
        let index = self.window.next();
        self.window.push(child.items, child.end, settled);
        let next = self.window.next();
        while self
            .settled_before
            .front()
            .is_some_and(|(_, end)| *end <= next)
        {
            self.settled_before.pop_front();
        }
        Some((index, child.items))
    }

    /// Gives the child that holds the watermark back a row, so that the window stays bounded.
    fn make_room(&mut self, effects: &mut Vec<Effect>) {
        let items_max = u64::from(self.options.window_items_max);
        // Why: below two windows of slots, children that are merely under way would get rows.
        let children_min = self.slots().saturating_mul(2);
        while self.window.next() - self.window.watermark() >= items_max
            && self.window.len() >= children_min
            && let Some(front) = self.window.front()
        {
            self.give_row(front);
            self.window.settle(front);
            effects.push(Effect::Spill { index: front });
        }
    }

    /// Takes in that a child under way has a row of its own.
    pub(super) fn give_row(&mut self, index: Index) {
        let mut rescued = self.rescued.iter_mut();
        let flight = match self.flights.get_mut(&index) {
            Some(flight) => Some(flight),
            None => rescued.find(|(i, _)| *i == index).map(|(_, flight)| flight),
        };
        if let Some(flight) = flight {
            flight.rowed = true;
            self.window.settle(index);
        }
    }

    fn dispatch_retry(&mut self, effects: &mut Vec<Effect>) {
        if let Some((_, index)) = self.parked.first_retrying()
            && let Some(entry) = self.parked.remove(index)
        {
            self.counters.retries += 1;
            self.launch(index, Flight::rowed(entry.items, Try::Retry), effects);
        }
    }

    fn dispatch_first(&mut self, count: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        for _ in 0..count {
            let Some((index, flight)) = self.next_first(now, effects) else {
                return;
            };
            self.counters.first_tries += 1;
            self.launch(index, flight, effects);
        }
    }

    fn next_first(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Option<(Index, Flight)> {
        if let Some(rescued) = self.rescued.pop_front() {
            return Some(rescued);
        }
        if let Some((at, index)) = self.parked.first_put_off()
            && at <= now
            && let Some(entry) = self.parked.remove(index)
        {
            return Some((index, Flight::rowed(entry.items, Try::First)));
        }
        if let Some((index, items)) = self.queue.pop() {
            return Some((index, Flight::rowed(items, Try::First)));
        }
        let (index, items) = self.take_source(false, effects)?;
        let flight = Flight {
            rowed: false,
            ..Flight::rowed(items, Try::First)
        };
        Some((index, flight))
    }

    fn launch(&mut self, index: Index, flight: Flight, effects: &mut Vec<Effect>) {
        self.generation = self.generation.wrapping_add(1);
        let flight = Flight {
            generation: Generation(self.generation),
            on_probation: self.probation.is_some(),
            ..flight
        };
        effects.push(Effect::Dispatch {
            index,
            items: flight.items,
            generation: flight.generation,
            rowed: flight.rowed,
        });
        self.flights.insert(index, flight);
    }

    fn ask_for_wake(
        &mut self,
        no_first: Blocked,
        no_retry: Blocked,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let throttled = [no_first, no_retry]
            .into_iter()
            .flatten()
            .map(|(at, why)| (at, WakeReason::Throttled(why)));
        // Why: what is due already waits for a slot or a permit, and those wake the run themselves.
        let parked = &self.parked;
        let due = [
            parked.first_retrying(),
            parked.first_put_off(),
            parked.first_waiting(),
        ]
        .into_iter()
        .flatten()
        .filter(|(at, _)| *at > now)
        .map(|(at, _)| (at, WakeReason::Due));
        let wake = throttled
            .chain(due)
            .filter(|(at, _)| *at < Timestamp::MAX)
            .min_by_key(|(at, _)| *at);
        if let Some((at, reason)) = wake
            && self.wake != wake
        {
            effects.push(Effect::Wake { at, reason });
        }
        self.wake = wake;
    }

    /// Asks for more to dispatch where it runs low.
    pub(super) fn feed(&mut self, effects: &mut Vec<Effect>) {
        if self.source.end == End::Unseen && self.source.children.len() <= self.slots() {
            self.source.read(effects);
        }
        self.queue.load(effects);
    }
}
