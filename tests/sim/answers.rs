//! What the outside makes of the run's calls: handlers, the source, the queue of rows, and those who
//! answer parked children. Each answer becomes one step.

use iterd::{
    ids::{Generation, Index},
    iteration::{Child, Input, PauseReason, RowStatus},
    time::Timestamp,
};

use crate::{
    model::{Called, Permit},
    process::{Call, Fate, Taken},
    rng::Rng,
    store::{StoredRow, Write},
    world::{TROUBLES_MAX, World, cursor},
};

/// A handler that hangs is given up after so long.
const TIMEOUT_US: i64 = 30_000_000;

impl World {
    pub(crate) fn call(
        &mut self,
        index: Index,
        items: u32,
        generation: Generation,
        rowed: bool,
        permit: Option<Permit>,
    ) {
        let attempts = if rowed {
            self.store.rows[&index].attempts
        } else {
            assert_eq!(
                self.process.children.get(&index),
                Some(&items),
                "no payload"
            );
            0
        };
        if self.process.commits.is_empty() && self.process.acts.is_empty() {
            let under_way = self.model.open.len() as u64 + 1;
            let slots = self.process.run.options().slots;
            if under_way + self.store.children(RowStatus::Waiting) <= slots.into() {
                self.model.slots = slots;
            }
        }
        let called = Called {
            index,
            items,
            generation,
            permit,
        };
        self.model.call(&called, &self.store, &self.scenario);
        let fate = self.fate(index);
        let latency = self
            .rng
            .below(u64::from(self.scenario.handler.latency_max_ms) * 1000);
        let mut ends = self.elapsed + i64::try_from(latency).unwrap();
        if self.rng.permille(self.scenario.handler.hangs) {
            ends = self.elapsed + TIMEOUT_US;
        }
        let call = Call {
            index,
            items,
            generation,
            attempts,
            fate,
            ends,
        };
        self.process.calls.push(call);
        if self.rng.permille(self.scenario.handler.rowed) {
            self.give_row(index, items, attempts);
        }
    }

    /// A first task's result, say, has to survive: the child gets a row while it is under way.
    fn give_row(&mut self, index: Index, items: u32, attempts: u32) {
        let row = StoredRow {
            items,
            status: RowStatus::InFlight,
            at: Timestamp::MAX,
            attempts,
        };
        self.take(Taken {
            inputs: vec![Input::Rowed { index }],
            writes: vec![Write::Row(index, row)],
            ..Taken::default()
        });
    }

    fn fate(&mut self, index: Index) -> Fate {
        let handler = self.scenario.handler.clone();
        let backoff_s = self.rng.between(0, 40);
        // Why: by index, so that a record that always fails does so after a restart, too.
        let always = Rng::new(index).permille(handler.always_fails);
        if self.rng.permille(handler.interrupted) {
            Fate::Interrupted
        } else if always || self.rng.permille(handler.fails) {
            Fate::Failed { backoff_s }
        } else if self.rng.permille(handler.throttled) {
            let closes = self.rng.permille(200);
            let retry_after_s = backoff_s;
            Fate::Throttled {
                retry_after_s,
                closes,
            }
        } else if self.rng.permille(handler.waits) {
            let seconds = self.rng.permille(500).then_some(backoff_s);
            Fate::Wait { seconds }
        } else {
            Fate::Done
        }
    }

    /// One or all calls that are ready answer, in one step.
    pub(crate) fn answer_calls(&mut self, at: usize) {
        let mut answers = vec![self.process.calls.swap_remove(at)];
        if self.rng.permille(300) {
            let elapsed = self.elapsed;
            let ready = self
                .process
                .calls
                .extract_if(.., |call| call.ends <= elapsed);
            answers.extend(ready);
        }
        let mut taken = Taken::default();
        let now = self.now();
        for call in &answers {
            if let Fate::Wait { seconds: None } = call.fate {
                let wait = i64::from(self.rng.between(0, 60)) * 1_000_000;
                self.callbacks.push((self.elapsed + wait, call.index));
            }
            self.process
                .answer(call, self.scenario.attempts_max, now, &mut taken);
        }
        self.take(taken);
    }

    /// The answer that a parked child waits for; nobody but such a child is told.
    pub(crate) fn answer_wait(&mut self, at: usize) {
        let (_, index) = self.callbacks.swap_remove(at);
        let row = self.process.view.rows.get(&index).copied();
        if let Some(row) = row
            && row.status == RowStatus::Waiting
            && row.at == Timestamp::MAX
        {
            let at = self.now();
            self.take(Taken {
                inputs: vec![Input::Answered { index }],
                writes: vec![Write::Row(index, StoredRow { at, ..row })],
                ..Taken::default()
            });
        }
    }

    pub(crate) fn answer_read(&mut self) {
        let Some((_, first)) = self.process.reading.take() else {
            return;
        };
        if self.scenario.operator > 0 && self.troubles < TROUBLES_MAX && self.rng.permille(20) {
            self.troubles += 1;
            let cause = "the disk is gone".to_owned();
            return self.input(Input::Pause(PauseReason::Source { cause }));
        }
        let (mut children, mut at) = (Vec::new(), first);
        let end = (first + u64::from(self.page)).min(self.records as u64);
        let damaged = |at: Index| self.scenario.damaged[usize::try_from(at).unwrap()];
        while at < end {
            let faulty = damaged(at);
            let border = self.process.run.border_after(at).unwrap_or(end).min(end);
            let mut items: u32 = 1;
            let next = |items: u32| at + u64::from(items);
            while !faulty && items < self.batch && next(items) < border && !damaged(next(items)) {
                items += 1;
            }
            self.process.children.insert(at, items);
            at = next(items);
            children.push(Child {
                items,
                end: cursor(at),
                faulty,
            });
        }
        let end = at >= self.records as u64;
        self.input(Input::Page {
            first,
            children,
            end,
        });
    }

    pub(crate) fn answer_load(&mut self) {
        let Some((after, children_max)) = self.process.loading.take() else {
            return;
        };
        // Why: a fraction of what may be loaded, so that short datasets have several pages.
        let page = self.rng.between(1, children_max.min(5)) as usize;
        let queued = self.store.rows.iter().filter(|(index, row)| {
            row.status == RowStatus::Queued && after.is_none_or(|after| **index > after)
        });
        let children = queued
            .map(|(index, row)| (*index, row.items))
            .take(page)
            .collect();
        self.input(Input::Queue { children });
    }

    /// An answer to a former process arrives.
    pub(crate) fn answer_late(&mut self) {
        if let Some(call) = self.late.pop() {
            let (index, generation) = (call.index, call.generation);
            let current = self.process.run.is_current(index, generation);
            assert!(!current, "{index} took an answer to a former process");
        }
    }
}
