//! Which child goes next: retries and new children by turns, as slots, bounds and permits allow.

use super::{Context, Flight, Run};
use crate::{
    ids::{Generation, Index},
    iteration::{Child, Effect, OnInterrupt, Order, WakeReason},
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
    /// Dispatches what may be dispatched, retries and new children by turns.
    pub(super) fn dispatch(&mut self, context: &mut Context<'_>, effects: &mut Vec<Effect>) {
        let (mut no_first, mut no_retry): (Blocked, Blocked) = (None, None);
        self.wake_waiting(context.now, effects);
        loop {
            self.pass_settled(effects);
            let due = no_retry.is_none() && self.due(context.now);
            let fresh = if no_first.is_none() { self.fresh() } else { 0 };
            let retry = match (due, fresh > 0) {
                (false, false) => break,
                (true, true) => {
                    self.retry_turn = !self.retry_turn;
                    self.retry_turn
                }
                (due, _) => due,
            };
            if retry {
                let kind = self.due_kind();
                match (context.permits)(kind, 1, fresh > 0) {
                    Grant::Now(_) => {
                        self.count_call(kind);
                        self.dispatch_due(effects);
                    }
                    Grant::NotBefore { at, why } => no_retry = Some((at, why)),
                }
            } else {
                let count = if due { 1 } else { fresh };
                match (context.permits)(Try::First, count, due) {
                    Grant::Now(granted) => self.dispatch_fresh(granted.min(count), effects),
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
            let flight = Flight {
                generation: Generation(0),
                items: entry.items,
                rowed: true,
                kind: Try::First,
            };
            self.launch(index, flight, effects);
        }
    }

    /// Whether a child that was dispatched before may go now.
    fn due(&self, now: Timestamp) -> bool {
        let due = !self.ready.is_empty()
            || self
                .parked
                .first_retrying()
                .is_some_and(|(at, _)| at <= now);
        // Why: in strict order what backs off has its slot already.
        due && (self.options.order == Order::Strict || self.occupied() < self.options.slots)
    }

    fn due_kind(&self) -> Try {
        self.ready
            .front()
            .map_or(Try::Retry, |(_, flight)| flight.kind)
    }

    /// How many new children may go now, as far as slots and bounds have a say.
    fn fresh(&self) -> u32 {
        if self.parked.retrying() >= self.options.parked_items_max as usize {
            return 0;
        }
        let room = self.options.slots.saturating_sub(self.occupied());
        let mut index = self.window.next();
        let mut ready = 0;
        for child in self.source.children.iter().take(room as usize) {
            if self.pass(index, child).is_some() {
                break;
            }
            index += u64::from(child.items);
            ready += 1;
        }
        ready
    }

    fn occupied(&self) -> u32 {
        let held = match self.options.order {
            Order::Relaxed => self.parked.waiting(),
            Order::Strict => self.parked.len() + self.ready.len(),
        };
        u32::try_from(self.flights.len() + held).unwrap_or(u32::MAX)
    }

    /// Passes over what needs no dispatch at the head of the source's queue.
    fn pass_settled(&mut self, effects: &mut Vec<Effect>) {
        while let Some(child) = self.source.children.front() {
            let index = self.window.next();
            let Some(pass) = self.pass(index, child) else {
                return;
            };
            let items = u64::from(child.items);
            match pass {
                Pass::Settled => {}
                Pass::Fail => {
                    self.counters.failed += items;
                    effects.push(Effect::Fail { index });
                }
                Pass::Hold => {
                    self.held += items;
                    effects.push(Effect::Hold {
                        index,
                        rowed: false,
                    });
                }
            }
            self.take_source(true);
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
    fn take_source(&mut self, settled: bool) -> Option<(Index, u32)> {
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

    fn dispatch_fresh(&mut self, count: u32, effects: &mut Vec<Effect>) {
        for _ in 0..count {
            self.make_room(effects);
            let Some((index, items)) = self.take_source(false) else {
                return;
            };
            let flight = Flight {
                generation: Generation(0),
                items,
                rowed: false,
                kind: Try::First,
            };
            self.count_call(Try::First);
            self.launch(index, flight, effects);
        }
    }

    /// Gives the child that holds the watermark back a row, so that the window stays bounded.
    fn make_room(&mut self, effects: &mut Vec<Effect>) {
        // Why: below two windows of slots, children that are merely under way would get rows.
        let bound = u64::from(self.options.window_items_max).max(2 * u64::from(self.options.slots));
        while self.window.next() - self.window.watermark() >= bound {
            let Some(front) = self.window.front() else {
                return;
            };
            if let Some(flight) = self.flights.get_mut(&front) {
                flight.rowed = true;
            } else if let Some((_, flight)) = self.ready.iter_mut().find(|(i, _)| *i == front) {
                flight.rowed = true;
            }
            effects.push(Effect::Spill { index: front });
            self.window.settle(front);
        }
    }

    fn dispatch_due(&mut self, effects: &mut Vec<Effect>) {
        if let Some((index, flight)) = self.ready.pop_front() {
            self.launch(index, flight, effects);
        } else if let Some((_, index)) = self.parked.first_retrying()
            && let Some(entry) = self.parked.remove(index)
        {
            let flight = Flight {
                generation: Generation(0),
                items: entry.items,
                rowed: true,
                kind: Try::Retry,
            };
            self.launch(index, flight, effects);
        }
    }

    fn count_call(&mut self, kind: Try) {
        match kind {
            Try::First => self.counters.first_tries += 1,
            Try::Retry => self.counters.retries += 1,
        }
    }

    fn launch(&mut self, index: Index, flight: Flight, effects: &mut Vec<Effect>) {
        self.generation = self.generation.wrapping_add(1);
        let flight = Flight {
            generation: Generation(self.generation),
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
        let due = [self.parked.first_retrying(), self.parked.first_waiting()]
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
        let slots = self.options.slots as usize;
        if !self.source.end && !self.source.reading && self.source.children.len() <= slots {
            self.source.reading = true;
            effects.push(Effect::Read {
                from: self.source.from.clone(),
                first: self.source.next,
            });
        }
        if self.queue.children > 0 && !self.queue.loading && self.ready.len() < slots {
            self.queue.loading = true;
            effects.push(Effect::LoadQueue {
                after: self.queue.after,
                children_max: Self::QUEUE_PAGE_MAX,
            });
        }
    }
}
