//! The reference: what each record has gone through, kept so simply that it cannot be wrong, and the
//! promises checked against it.

use std::collections::{BTreeMap, BTreeSet};

use iterd::{
    ids::{Generation, Index},
    iteration::{Ending, OnInterrupt, Options, RowStatus},
    time::Timestamp,
};

use crate::{
    scenario::Scenario,
    store::{Store, Write},
};

/// A call that was made and whose outcome is not durable.
pub(crate) type Open = BTreeMap<(Index, Generation), u32>;

/// What was seen from outside.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) open: Open,
    /// Records whose outcome nobody knows.
    pub(crate) doubt: BTreeSet<Index>,
    /// Records that an operator put back at some time.
    pub(crate) put_back: BTreeSet<Index>,
    /// Records that have a result, and are to have one until another outcome takes its place.
    pub(crate) results: BTreeSet<Index>,
    /// Durable failures of each child since it began.
    pub(crate) failures: BTreeMap<Index, u32>,
    /// The most slots that any call under way was allowed.
    pub(crate) slots: u32,
    /// The widest window and the most parked children that any options so far allow.
    pub(crate) window_max: u64,
    pub(crate) retrying_max: u64,
    /// The permit of each call.
    pub(crate) permits: Vec<Permit>,
    /// Calls, and each reason for one.
    pub(crate) calls: u64,
    pub(crate) reasons: u64,
    pub(crate) crashes: u32,
    /// Children that somebody sent to be tried at once.
    pub(crate) hurried: u64,
}

/// A permit that was spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permit {
    /// When it was taken, by the clock on the wall.
    pub(crate) at: Timestamp,
    /// How often a day had begun or come back on that clock by then.
    pub(crate) visit: u32,
}

/// A call about to be made.
pub(crate) struct Called {
    pub(crate) index: Index,
    pub(crate) items: u32,
    pub(crate) generation: Generation,
    /// When its permit was taken; `None`: it goes on after a Wait, whose permit is spent.
    pub(crate) permit: Option<Permit>,
}

impl Model {
    /// The options are these, and those of before still have effects.
    pub(crate) fn allow(&mut self, options: &Options, batch_max: u32) {
        self.slots = self.slots.max(options.slots);
        let (slots, batch) = (u64::from(options.slots), u64::from(batch_max));
        let window = u64::from(options.window_items_max) - 1 + batch;
        self.window_max = self.window_max.max(window).max(2 * slots * batch);
        let retrying = u64::from(options.parked_items_max.max(1)) - 1 + slots;
        self.retrying_max = self.retrying_max.max(retrying);
    }

    /// What must hold after every step.
    pub(crate) fn check_bounds(&self, view: &Store) {
        let window = view.run.high_mark - view.run.watermark;
        assert!(window <= self.window_max, "{window} items in the window");
        let retrying = view.children(RowStatus::Retrying);
        let retrying_max = self.retrying_max + self.hurried;
        assert!(retrying <= retrying_max, "{retrying} back off");
    }

    /// A call is made: `store` is what is durable at that moment.
    pub(crate) fn call(&mut self, call: &Called, store: &Store, scenario: &Scenario) {
        let end = call.index + u64::from(call.items);
        let range = call.index..end;
        assert!(
            end <= store.run.high_mark || store.rows.contains_key(&call.index),
            "{range:?} called beyond the durable high mark {}",
            store.run.high_mark
        );
        for ((first, generation), items) in &self.open {
            let apart = end <= *first || first + u64::from(*items) <= call.index;
            assert!(apart, "{range:?} called beside {first} ({generation:?})");
        }
        for (first, outcome) in store.outcomes.range(..end) {
            let apart = first + u64::from(outcome.items) <= call.index;
            assert!(apart, "{range:?} called though it has an outcome");
        }
        let waiting = store.children(RowStatus::Waiting);
        let under_way = self.open.len() as u64 + waiting + 1;
        let slots = u64::from(self.slots);
        assert!(under_way <= slots, "{under_way} under way in {slots} slots");
        if scenario.options.on_interrupt == OnInterrupt::Hold && scenario.keeps_options {
            let mut doubt = self.doubt.range(range.clone());
            assert_eq!(doubt.next(), None, "in doubt, held, and called");
        }
        if scenario.is_serial() && !self.put_back.contains(&call.index) {
            self.check_serial(call.index, store);
        }
        self.open.insert((call.index, call.generation), call.items);
        self.permits.extend(call.permit);
        self.calls += 1;
    }

    /// Strict order with one slot: nothing goes past a record that has no outcome.
    pub(crate) fn check_serial(&self, index: Index, store: &Store) {
        let mut before = store.run.read().left_out;
        for (first, outcome) in store.outcomes.range(..index) {
            let stuck = (before..*first).find(|one| !self.put_back.contains(one));
            assert_eq!(stuck, None, "{index} went past a stuck record");
            before = first + u64::from(outcome.items);
        }
        let stuck = (before..index).find(|one| !self.put_back.contains(one));
        assert_eq!(stuck, None, "{index} went past a stuck record");
    }

    /// Takes in what is written of results.
    pub(crate) fn see(&mut self, write: &Write) {
        match write {
            Write::Outcome(index, outcome) if outcome.ending == Ending::Done => {
                self.results.insert(*index);
            }
            Write::Outcome(index, _) | Write::DropOutcome(index) => {
                self.results.remove(index);
            }
            Write::Run(_)
            | Write::Options(_)
            | Write::Limiter(_)
            | Write::Row(..)
            | Write::DropRow(_)
            | Write::Redo(_) => {}
        }
    }

    /// Whoever looks finds one current result of each record that had one and has no other outcome.
    pub(crate) fn check_results(&self, store: &Store) {
        for index in &self.results {
            let done = store.outcomes.get(index);
            let current = done.is_some_and(|outcome| outcome.ending == Ending::Done);
            let kept = store.kept.contains_key(index);
            assert!(
                current != kept,
                "{index} has a result: {current}, an old one: {kept}"
            );
        }
        for index in store.kept.keys() {
            assert!(self.results.contains(index), "{index} has a result again");
        }
    }

    /// Each record was redone as often as somebody wanted, and no more often; each redo that has ended
    /// has left one superseded result.
    pub(crate) fn check_redos(store: &Store, wanted: &BTreeMap<Index, u32>) {
        for (index, redos) in &store.redos {
            let wanted = wanted.get(index).copied().unwrap_or(0);
            assert!(
                *redos <= wanted,
                "{index} was redone {redos} times for {wanted}"
            );
            assert_eq!(
                store.superseded.get(index),
                Some(redos),
                "superseded of {index}"
            );
        }
        assert!(store.kept.is_empty(), "{:?} are kept", store.kept);
    }

    /// Calls were lost with their process.
    pub(crate) fn lose(&mut self) {
        let open = std::mem::take(&mut self.open);
        let slots = u64::from(self.slots);
        assert!(open.len() as u64 <= slots, "{open:?} lost in {slots} slots");
        self.reasons += open.len() as u64;
        for ((first, _), items) in open {
            self.doubt.extend(first..first + u64::from(items));
        }
    }

    /// What must hold at the end.
    pub(crate) fn check_end(&self, store: &Store, scenario: &Scenario) {
        let children = (store.outcomes.len() as u64).max(self.reasons.min(1));
        assert!(
            self.calls <= children + self.reasons,
            "{} calls of {children} children with {} reasons for more",
            self.calls,
            self.reasons
        );
        let items: u64 = store
            .outcomes
            .values()
            .map(|one| u64::from(one.items))
            .sum();
        assert_eq!(store.run.total, Some(items), "every record has one outcome");
        assert!(store.rows.is_empty(), "rows are left: {:?}", store.rows);
        if let Some(quota) = scenario.quota {
            self.check_quota(quota);
        }
        if let (Some((interval, burst)), false) = (scenario.pace, scenario.clock_jumps) {
            for window in self.permits.windows(burst + 1) {
                let took = window[burst].at.0 - window[0].at.0;
                assert!(took >= interval, "{window:?} within {took} us");
            }
        }
    }

    fn check_quota(&self, quota: u32) {
        // By visit: where the clock is set back, a day comes twice, and has its quota twice.
        for visit in self.permits.chunk_by(|one, next| one.visit == next.visit) {
            assert!(visit.len() <= quota as usize, "{visit:?} on one day");
        }
    }
}
