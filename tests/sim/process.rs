//! The volatile half of the world, as the daemon's shell has it: the run and the limiter in memory,
//! commits under way, effects to carry out, calls with handlers. A crash drops all of it.
//!
//! Invariant: memory runs ahead of the store by exactly the commits in the queue, and an effect is
//! carried out only after its own commit.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
};

use iterd::{
    ids::{Cursor, Generation, Index},
    iteration::{Context, Effect, Ending, Input, Parked, PutBack, RowStatus, Run, Tally},
    limiter::{Ask, Grant, Limiter, Limits, Share, Try},
    time::Timestamp,
};

use crate::store::{Outcome, Store, StoredRow, StoredRun, Write};
use crate::{model::Permit, scenario::RECORDS_MAX};

const DAY_US: i64 = 86_400_000_000;

/// Everything a process holds in memory.
pub(crate) struct Process {
    pub(crate) run: Run,
    pub(crate) limiter: Limiter,
    /// The store as it will be once all commits are through.
    pub(crate) view: Store,
    pub(crate) commits: VecDeque<Commit>,
    pub(crate) acts: VecDeque<Act>,
    pub(crate) calls: Vec<Call>,
    pub(crate) reading: Option<(Cursor, Index)>,
    pub(crate) loading: Option<(Option<Index>, u32)>,
    /// When the wake-up that was asked for comes, in time that nobody sets.
    pub(crate) timer: Option<i64>,
    /// The children that pages gave and that have neither a row nor an outcome: their payloads.
    pub(crate) children: BTreeMap<Index, u32>,
    pub(crate) draining: bool,
}

/// One transaction and what follows from it.
pub(crate) struct Commit {
    pub(crate) writes: Vec<Write>,
    pub(crate) acts: Vec<Act>,
    /// Calls whose outcome this makes durable, and whether the handler failed.
    pub(crate) closes: Vec<(Index, Generation, bool)>,
}

/// An effect to carry out after its commit.
pub(crate) struct Act {
    pub(crate) effect: Effect,
    /// What a dispatch took from the limiter.
    pub(crate) permit: Option<Permit>,
}

/// A call that a handler is busy with.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) index: Index,
    pub(crate) items: u32,
    pub(crate) generation: Generation,
    /// Tries that failed before.
    pub(crate) attempts: u32,
    pub(crate) fate: Fate,
    /// When it answers, in time that nobody sets.
    pub(crate) ends: i64,
}

/// How a call is going to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Done,
    /// After so many seconds of back-off it is tried again, if it may be.
    Failed {
        backoff_s: u32,
    },
    Throttled {
        retry_after_s: u32,
        closes: bool,
    },
    /// `None`: until an answer comes.
    Wait {
        seconds: Option<u32>,
    },
    Interrupted,
}

/// What the shell makes of an answer: inputs for the run, and what the same commit writes.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) inputs: Vec<Input>,
    pub(crate) writes: Vec<Write>,
    pub(crate) closes: Vec<(Index, Generation, bool)>,
}

impl Process {
    /// A process that takes over what is stored.
    pub(crate) fn start(store: &Store, limits: &Limits, now: Timestamp) -> Self {
        let limiter = Limiter::restore(limits.clone(), store.limiter.clone(), now).unwrap();
        Self {
            run: store.restore(),
            limiter,
            view: store.clone(),
            commits: VecDeque::new(),
            acts: VecDeque::new(),
            calls: Vec::new(),
            reading: None,
            loading: None,
            timer: None,
            children: BTreeMap::new(),
            draining: false,
        }
    }

    /// What an answer means. A late one means nothing.
    pub(crate) fn answer(
        &mut self,
        call: &Call,
        attempts_max: u32,
        now: Timestamp,
        taken: &mut Taken,
    ) {
        let (index, generation) = (call.index, call.generation);
        if !self.run.is_current(index, generation) {
            return;
        }
        if matches!(call.fate, Fate::Interrupted) {
            taken.inputs.push(Input::Interrupted { index, generation });
            taken.closes.push((index, generation, false));
            return;
        }
        let failed = matches!(call.fate, Fate::Failed { .. });
        let parked = self.parks(call, attempts_max, now);
        let attempts = call.attempts + u32::from(failed);
        taken.closes.push((index, generation, failed));
        self.children.remove(&index);
        if let Some(parked) = parked {
            let status = match parked {
                Parked::Retry { .. } | Parked::Excused { .. } => RowStatus::Retrying,
                Parked::Wait { .. } => RowStatus::Waiting,
            };
            let row = StoredRow {
                items: call.items,
                status,
                at: parked.at(),
                attempts,
            };
            taken.writes.push(Write::Row(index, row));
            taken.inputs.push(Input::Parked {
                index,
                generation,
                parked,
            });
            return;
        }
        let ending = if failed { Ending::Failed } else { Ending::Done };
        let outcome = Outcome {
            items: call.items,
            ending,
            attempts: attempts + u32::from(!failed),
        };
        taken.writes.push(Write::DropRow(index));
        taken.writes.push(Write::Outcome(index, outcome));
        taken.inputs.push(Input::Ended {
            index,
            generation,
            ending,
        });
    }

    /// Whether a child with a row, as one that had failed before has, got through with these inputs.
    pub(crate) fn gets_through(&self, taken: &Taken) -> bool {
        taken.inputs.iter().any(|input| {
            if let Input::Ended {
                index,
                ending: Ending::Done,
                ..
            }
            | Input::Parked {
                index,
                parked: Parked::Wait { .. },
                ..
            } = input
            {
                return self.view.rows.contains_key(index);
            }
            false
        })
    }

    /// What the child waits for after this answer, if it has not ended.
    fn parks(&mut self, call: &Call, attempts_max: u32, now: Timestamp) -> Option<Parked> {
        match call.fate {
            Fate::Interrupted | Fate::Done => None,
            Fate::Failed { backoff_s } => {
                let (at, throttled) = (later(now, backoff_s), false);
                (call.attempts + 1 < attempts_max).then_some(Parked::Retry { at, throttled })
            }
            Fate::Throttled {
                retry_after_s,
                closes,
            } => {
                if closes {
                    let time = std::time::Duration::from_secs(retry_after_s.into());
                    self.limiter.close(time, now);
                }
                let (at, throttled) = (later(now, retry_after_s), true);
                Some(Parked::Retry { at, throttled })
            }
            Fate::Wait { seconds } => {
                let at = seconds.map_or(Timestamp::MAX, |seconds| later(now, seconds));
                Some(Parked::Wait { at })
            }
        }
    }

    /// One step of the run, and its commit into the queue.
    pub(crate) fn step(&mut self, taken: Taken, now: Timestamp, visit: u32) -> Vec<Effect> {
        let Taken {
            inputs,
            mut writes,
            closes,
        } = taken;
        for write in &writes {
            self.view.apply(write);
        }
        let mut granted: u64 = 0;
        let limiter = &mut self.limiter;
        let mut permits = |kind: Try, count: NonZeroU32, first_waiting: bool| {
            let grant = limiter.ask(
                &Ask {
                    user: 1,
                    kind,
                    count,
                    weight: NonZeroU32::MIN,
                    first_waiting,
                    retry_share: Share::RETRIES_DEFAULT,
                },
                now,
            );
            if let Grant::Now(permits) = grant {
                assert!((1..=count.get()).contains(&permits));
                granted += u64::from(permits);
            }
            grant
        };
        let mut context = Context {
            now,
            permits: &mut permits,
        };
        let high_mark = self.view.run.high_mark;
        let put_back = PutBack::of(&inputs);
        let effects = self.run.step(inputs, &mut context);
        self.check_trial(&effects, high_mark);
        let mut acts = Vec::new();
        for effect in &effects {
            let waited = self.write_effect(effect, now, &mut writes);
            let dispatched = matches!(effect, Effect::Dispatch { .. });
            let permit = (dispatched && !waited).then_some(Permit { at: now, visit });
            granted -= u64::from(permit.is_some());
            acts.push(Act {
                effect: effect.clone(),
                permit,
            });
        }
        assert_eq!(granted, 0, "permits were taken and not used");
        if self.limiter.state().sequence() > self.view.limiter.sequence() {
            self.write(Write::Limiter(self.limiter.state().clone()), &mut writes);
        }
        let checkpoint = self.run.checkpoint();
        let counted = self.view.run.read().counters;
        let tally = Tally::between(&counted, &checkpoint.counters, put_back);
        self.write(Write::Count(now.0.div_euclid(DAY_US), tally), &mut writes);
        let run = StoredRun::of(&checkpoint);
        self.write(Write::Run(run), &mut writes);
        self.view.check(RECORDS_MAX as usize);
        let figures = self.run.figures();
        assert_eq!(figures.held, self.view.items(RowStatus::Held), "held");
        assert_eq!(
            figures.queued,
            self.view.children(RowStatus::Queued),
            "queued"
        );
        self.commits.push_back(Commit {
            writes,
            acts,
            closes,
        });
        effects
    }

    /// While something is tried first, nothing else is taken from the source.
    fn check_trial(&self, effects: &[Effect], high_mark: Index) {
        let checkpoint = self.run.checkpoint();
        let Some(trial) = checkpoint.trial else {
            return;
        };
        for effect in effects {
            if let Effect::Dispatch { index, rowed, .. } = effect {
                let fresh = !rowed && *index >= high_mark.max(trial.until);
                assert!(!fresh, "{index} is called, {trial:?}");
            }
        }
    }

    fn write(&mut self, write: Write, writes: &mut Vec<Write>) {
        self.view.apply(&write);
        writes.push(write);
    }

    /// Makes what backs off due by now: one child, or all.
    fn hurry(&mut self, only: Option<Index>, now: Timestamp, writes: &mut Vec<Write>) {
        let early: Vec<(Index, StoredRow)> = self
            .view
            .rows
            .iter()
            .filter(|(index, _)| only.is_none_or(|only| only == **index))
            .filter(|(_, row)| row.status == RowStatus::Retrying && row.at > now)
            .map(|(index, row)| (*index, *row))
            .collect();
        assert!(!early.is_empty(), "nothing to hurry: {only:?}");
        for (index, row) in early {
            self.write(Write::Row(index, StoredRow { at: now, ..row }), writes);
        }
    }

    /// Writes what the effect wants in the same commit. Answers whether it goes on after a Wait.
    fn write_effect(&mut self, effect: &Effect, now: Timestamp, writes: &mut Vec<Write>) -> bool {
        let row = |items, status| StoredRow {
            items,
            status,
            at: Timestamp::MAX,
            attempts: 0,
        };
        match effect {
            Effect::Dispatch {
                index,
                items,
                rowed: true,
                ..
            } => {
                let before = self.view.rows[index];
                assert_eq!(before.items, *items);
                let status = RowStatus::InFlight;
                self.write(Write::Row(*index, StoredRow { status, ..before }), writes);
                return before.status == RowStatus::Waiting;
            }
            Effect::Fail { index } => {
                let outcome = Outcome {
                    items: self.children.remove(index).unwrap(),
                    ending: Ending::Failed,
                    attempts: 0,
                };
                self.write(Write::Outcome(*index, outcome), writes);
            }
            Effect::Spill { index } => {
                let items = self.children[index];
                self.write(Write::Row(*index, row(items, RowStatus::InFlight)), writes);
            }
            Effect::Hold { index, rowed } => {
                assert_eq!(*rowed, self.view.rows.contains_key(index), "{effect:?}");
                let held = if *rowed {
                    let status = RowStatus::Held;
                    StoredRow {
                        status,
                        ..self.view.rows[index]
                    }
                } else {
                    row(self.children[index], RowStatus::Held)
                };
                self.children.remove(index);
                self.write(Write::Row(*index, held), writes);
            }
            Effect::Hurry { only } => self.hurry(*only, now, writes),
            Effect::Dispatch { index, .. } => {
                assert!(!self.view.rows.contains_key(index), "{effect:?}");
            }
            Effect::Read { .. }
            | Effect::LoadQueue { .. }
            | Effect::Wake { .. }
            | Effect::Paused(_)
            | Effect::Ended(_)
            | Effect::Drained => {}
        }
        false
    }
}

fn later(now: Timestamp, seconds: u32) -> Timestamp {
    now.after(std::time::Duration::from_secs(seconds.into()))
}
