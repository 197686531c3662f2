//! The run by itself: messages in, effects out. One file for each area.
//!
//! [`Bench`] holds a run and plays the shell for it, as far as a test has no interest in that: it
//! remembers the generation of each dispatch and answers every question for permits the same way.

mod decide;
mod dispatch;
mod order;
mod pause;
mod probation;
mod queue;
mod restore;
mod retry;

use std::{collections::BTreeMap, num::NonZeroU32};

use super::*;
use crate::{
    ids::{Cursor, Generation, Index},
    limiter::{Grant, Throttle, Try},
    time::Timestamp,
};

/// One slot, everything else as wide as it goes.
fn options() -> Options {
    Options {
        slots: 1,
        order: Order::Relaxed,
        on_interrupt: OnInterrupt::Retry,
        window_items_max: 4096,
        parked_items_max: 10_000,
        tolerance: Tolerance::EVERYTHING,
        pause_when: BreakerLimits::default(),
    }
}

fn slots(slots: u32) -> Options {
    Options { slots, ..options() }
}

fn strict(slots: u32) -> Options {
    Options {
        slots,
        order: Order::Strict,
        ..options()
    }
}

/// The instant so many seconds after the beginning.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn retry(seconds: i64) -> Parked {
    Parked::Retry {
        at: at(seconds),
        throttled: false,
    }
}

fn operator() -> PauseReason {
    PauseReason::Operator {
        author: "anna".to_owned(),
        note: String::new(),
    }
}

/// A row in the store.
fn row(index: Index, status: RowStatus) -> Row {
    Row {
        index,
        items: 1,
        status,
        at: at(0),
        tried: status == RowStatus::Retrying,
    }
}

/// A run and what a test has seen of it.
struct Bench {
    run: Run,
    now: Timestamp,
    /// What the limiter answers; the first answer serves once, the last one for good.
    grants: Vec<Grant>,
    /// What the limiter answers to retries, where it makes a difference.
    retry_grant: Option<Grant>,
    /// What the limiter was asked: the kind, how many, and whether first tries wait beside them.
    asked: Vec<(Try, u32, bool)>,
    /// The last step's.
    effects: Vec<Effect>,
    generations: BTreeMap<Index, Generation>,
    /// The index behind the last page that [`Bench::page`] gave.
    read: Index,
}

impl Bench {
    fn new(options: Options) -> Self {
        Self::with(Run::new(options))
    }

    /// After a crash: what the run had in memory is gone.
    fn restored(options: Options, checkpoint: Checkpoint, rows: &[Row]) -> Self {
        let count = |status| rows.iter().filter(|row| row.status == status).count() as u64;
        let (queued, held) = (count(RowStatus::Queued), count(RowStatus::Held));
        Self::with(Run::restore(options, checkpoint, rows, queued, held))
    }

    fn with(run: Run) -> Self {
        let read = run.checkpoint().watermark;
        let mut bench = Self {
            run,
            now: at(0),
            grants: vec![Grant::Now(u32::MAX)],
            retry_grant: None,
            asked: Vec::new(),
            effects: Vec::new(),
            generations: BTreeMap::new(),
            read,
        };
        bench.step(Input::Tick);
        bench
    }

    /// What a successor of this process finds: the stored text read back, and these rows.
    fn restart(&self, options: Options, rows: &[Row]) -> Self {
        let checkpoint = self.run.checkpoint();
        let back = Checkpoint::from_json(
            &checkpoint.to_json(),
            checkpoint.status,
            checkpoint.watermark,
            checkpoint.high_mark,
            checkpoint.total,
        )
        .unwrap();
        assert_eq!(back, checkpoint);
        Self::restored(options, back, rows)
    }

    fn step(&mut self, input: Input) -> &mut Self {
        self.steps([input])
    }

    fn steps(&mut self, inputs: impl IntoIterator<Item = Input>) -> &mut Self {
        let Self { grants, asked, .. } = self;
        let retry_grant = self.retry_grant;
        let mut permits = |kind, count: NonZeroU32, waiting| {
            asked.push((kind, count.get(), waiting));
            if let (Try::Retry, Some(grant)) = (kind, retry_grant) {
                grant
            } else if grants.len() > 1 {
                grants.remove(0)
            } else {
                grants[0]
            }
        };
        let mut context = Context {
            now: self.now,
            permits: &mut permits,
        };
        self.effects = self.run.step(inputs, &mut context);
        for effect in &self.effects {
            if let Effect::Dispatch {
                index, generation, ..
            } = effect
            {
                self.generations.insert(*index, *generation);
            }
        }
        self
    }

    fn tick(&mut self, seconds: i64) -> &mut Self {
        self.now = at(seconds);
        self.step(Input::Tick)
    }

    /// The next page: as many records as the text has letters, `.` a sound one, `x` a damaged one.
    fn page(&mut self, records: &str, end: bool) -> &mut Self {
        let sizes: Vec<(u32, bool)> = records.chars().map(|c| (1, c == 'x')).collect();
        self.children(&sizes, end)
    }

    /// The next page, of children with so many items, damaged or not.
    fn children(&mut self, sizes: &[(u32, bool)], end: bool) -> &mut Self {
        let first = self.read;
        let children = sizes
            .iter()
            .map(|(items, faulty)| {
                self.read += u64::from(*items);
                Child {
                    items: *items,
                    end: cursor(self.read),
                    faulty: *faulty,
                }
            })
            .collect();
        self.step(Input::Page {
            first,
            children,
            end,
        })
    }

    fn ended(&self, index: Index, ending: Ending) -> Input {
        Input::Ended {
            index,
            generation: self.generations[&index],
            ending,
        }
    }

    fn done(&mut self, index: Index) -> &mut Self {
        self.step(self.ended(index, Ending::Done))
    }

    fn failed(&mut self, index: Index) -> &mut Self {
        self.step(self.ended(index, Ending::Failed))
    }

    fn parked(&mut self, index: Index, parked: Parked) -> &mut Self {
        self.step(Input::Parked {
            index,
            generation: self.generations[&index],
            parked,
        })
    }

    fn interrupted(&mut self, index: Index) -> &mut Self {
        self.step(Input::Interrupted {
            index,
            generation: self.generations[&index],
        })
    }

    /// What the last step dispatched.
    fn dispatched(&self) -> Vec<Index> {
        let mut dispatched = Vec::new();
        for effect in &self.effects {
            if let Effect::Dispatch { index, .. } = effect {
                dispatched.push(*index);
            }
        }
        dispatched
    }

    /// The last step's effects that are no dispatch, no reading and no wake-up.
    fn told(&self) -> Vec<Effect> {
        let told = |effect: &&Effect| {
            !matches!(
                effect,
                Effect::Dispatch { .. } | Effect::Read { .. } | Effect::Wake { .. }
            )
        };
        self.effects.iter().filter(told).cloned().collect()
    }

    fn asks(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(wanted)
    }
}

fn cursor(index: Index) -> Cursor {
    Cursor::new(format!("1:{index}"))
}

fn throttled(seconds: i64) -> Grant {
    Grant::NotBefore {
        at: at(seconds),
        why: Throttle::Pace,
    }
}
