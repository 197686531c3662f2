//! What people do to a run while it is under way, and what they do when it waits for them.

use iterd::{
    ids::Index,
    iteration::{
        BreakerLimits, Decision, Ending, Input, Options, PauseReason, RowStatus, RunStatus,
        Tolerance,
    },
};

use crate::{
    process::Taken,
    scenario::options,
    store::{Outcome, StoredRow, Write},
    world::{World, queued},
};

impl World {
    /// Somebody does something, whatever it is good for.
    pub(crate) fn operate(&mut self) {
        let deed = self.rng.below(19);
        self.tell(|_| format!("deed {deed}"));
        match deed {
            0 => self.input(Input::Pause(PauseReason::Operator {
                author: "anna".to_owned(),
                note: String::new(),
            })),
            1 => self.input(Input::Resume),
            2 => {
                let mut options = options(&mut self.rng);
                if self.scenario.keeps_options {
                    let kept = self.scenario.options.clone();
                    options.slots = kept.slots;
                    options.order = kept.order;
                    options.on_interrupt = kept.on_interrupt;
                }
                self.change(options);
            }
            3 | 4 => {
                self.put_back();
                self.happen();
                self.put_back();
            }
            5 => self.release(),
            6 => self.input(Input::Abort),
            7 => {
                self.process.draining = true;
                self.input(Input::Drain);
            }
            8 => self.input(Input::Mended),
            9 if self.scenario.clock_jumps => {
                let hours = i64::from(self.rng.between(0, 100)) - 50;
                self.wall_offset += hours * 3_600_000_000;
            }
            10 => {
                let left = self.scenario.damaged.len() - self.records;
                self.records += usize::try_from(self.rng.below(left as u64 + 1)).unwrap();
                // Why not always: nobody looks all the time.
                if self.rng.permille(500) {
                    self.input(Input::Grown);
                }
            }
            11 => self.page = self.rng.between(1, 20),
            12..=14 => self.decide(),
            15 => self.try_first(),
            16 => self.redo(),
            _ => self.input(Input::Tick),
        }
    }

    /// Nothing is going to happen by itself. Answers whether that is the end; else somebody has to
    /// see to it, and it is an error of the run if nobody has.
    pub(crate) fn attend(&mut self) -> bool {
        let status = self.process.run.status();
        self.tell(|_| format!("attend {status:?}"));
        assert!(!self.process.draining, "a drain that never ends");
        match status {
            RunStatus::Running => panic!("stuck: {:?}", self.process.run.figures()),
            RunStatus::Paused if self.store.items(RowStatus::Held) > 0 => self.release(),
            RunStatus::Paused => self.input(Input::Resume),
            RunStatus::Failed | RunStatus::Aborted => {
                if self.rng.permille(500) {
                    self.restart();
                }
                let options = Options {
                    tolerance: Tolerance::EVERYTHING,
                    pause_when: BreakerLimits::default(),
                    ..self.process.run.options().clone()
                };
                self.change(options);
                self.input(Input::Resume);
            }
            RunStatus::Succeeded if self.troubles < 3 && self.scenario.operator > 0 => {
                self.troubles += 1;
                self.put_back();
            }
            RunStatus::Succeeded => return true,
        }
        false
    }

    fn change(&mut self, options: Options) {
        self.model.allow(&options, self.scenario.batch_max);
        self.take(Taken {
            inputs: vec![Input::Options(options.clone())],
            writes: vec![Write::Options(options)],
            ..Taken::default()
        });
    }

    /// Some of what has failed is to be tried again.
    fn put_back(&mut self) {
        let were = Ending::Failed;
        let rate = self.rng.pick(&[100, 500, 1000]);
        let mut taken = Taken::default();
        let (mut children, mut items) = (0, 0);
        let outcomes: Vec<(Index, Outcome)> = self
            .process
            .view
            .outcomes
            .iter()
            .map(|(index, outcome)| (*index, *outcome))
            .collect();
        for (index, outcome) in outcomes {
            let damaged = self.scenario.damaged[usize::try_from(index).unwrap()];
            if outcome.ending != were || damaged || !self.rng.permille(rate) {
                continue;
            }
            children += 1;
            items += u64::from(outcome.items);
            let row = queued(outcome.items);
            taken.writes.push(Write::DropOutcome(index));
            taken.writes.push(Write::Row(index, row));
            self.model
                .put_back
                .extend(index..index + u64::from(outcome.items));
        }
        if children > 0 {
            self.model.reasons += children;
            taken.inputs.push(Input::Requeued {
                children,
                items,
                were,
            });
            self.take(taken);
        }
    }

    /// Some results are wrong, and their records are to be done again. What is meant is found in what
    /// is durable, and the pages of it are handed over one by one.
    fn redo(&mut self) {
        let rate = self.rng.pick(&[100, 500, 1000]);
        let results = self.store.outcomes.iter();
        let done = results.filter(|(_, outcome)| outcome.ending == Ending::Done);
        let found: Vec<Index> = done.map(|(index, _)| *index).collect();
        for index in found {
            if self.rng.permille(rate) {
                let times = self.store.redos.get(&index).copied().unwrap_or(0);
                self.wanted.insert(index, times + 1);
            }
        }
    }

    /// What of the wanted redos can be put back now: durable results, not redone as often as wanted.
    pub(crate) fn redoable(&self) -> Vec<Index> {
        let times = |index: &Index| self.store.redos.get(index).copied().unwrap_or(0);
        let wanted = self.wanted.iter();
        let open = wanted.filter(|(index, wanted)| times(index) < **wanted);
        let done = |index: &Index| {
            let outcome = self.store.outcomes.get(index);
            outcome.is_some_and(|outcome| outcome.ending == Ending::Done)
        };
        open.map(|(index, _)| *index).filter(done).collect()
    }

    /// The next page of the redo, once the one before is durable; a crash loses the page, and whoever
    /// wanted it says so again.
    pub(crate) fn redo_page(&mut self) {
        let size = self.rng.between(1, 5) as usize;
        let page: Vec<Index> = self.redoable().into_iter().take(size).collect();
        let items = page
            .iter()
            .map(|index| u64::from(self.store.outcomes[index].items))
            .sum();
        let mut taken = Taken::default();
        for index in &page {
            let end = index + u64::from(self.store.outcomes[index].items);
            self.model.put_back.extend(*index..end);
            taken.writes.push(Write::Redo(*index));
        }
        taken.inputs.push(Input::Requeued {
            children: page.len() as u64,
            items,
            were: Ending::Done,
        });
        self.take(taken);
        self.redo_commits = self.process.commits.len();
    }

    /// Somebody decides on one of the children that are held, or on all.
    fn release(&mut self) {
        let all = self.rng.permille(300);
        let again = self.rng.permille(600);
        let ending = self.rng.pick(&[Ending::Done, Ending::Failed]);
        let mut taken = Taken::default();
        let (mut children, mut items) = (0, 0);
        let held: Vec<(Index, StoredRow)> = self
            .process
            .view
            .rows
            .iter()
            .filter(|(_, row)| row.status == RowStatus::Held)
            .map(|(index, row)| (*index, *row))
            .collect();
        for (index, row) in held {
            if children > 0 && !all {
                break;
            }
            children += 1;
            items += u64::from(row.items);
            if again {
                let status = RowStatus::Queued;
                taken
                    .writes
                    .push(Write::Row(index, StoredRow { status, ..row }));
            } else {
                let outcome = Outcome {
                    items: row.items,
                    ending,
                    attempts: u32::MAX,
                };
                taken.writes.push(Write::DropRow(index));
                taken.writes.push(Write::Outcome(index, outcome));
            }
            let range = index..index + u64::from(row.items);
            self.model.doubt.retain(|one| !range.contains(one));
            self.model.put_back.extend(range);
        }
        if children > 0 {
            let decision = if again {
                Decision::Again
            } else {
                Decision::Ended(ending)
            };
            taken.inputs.push(Input::Released {
                children,
                items,
                decision,
            });
            self.take(taken);
        }
    }
}
