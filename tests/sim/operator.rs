//! What people do to a run while it is under way, and what they do when it waits for them.

use iterd::{
    ids::Index,
    iteration::{
        BreakerLimits, Decision, Ending, Input, Options, PauseReason, RowStatus, RunStatus,
        Tolerance,
    },
    time::Timestamp,
};

use crate::{
    process::Taken,
    scenario::options,
    store::{Outcome, StoredRow, Write},
    world::World,
};

impl World {
    /// Somebody does something, whatever it is good for.
    pub(crate) fn operate(&mut self) {
        let deed = self.rng.below(13);
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
            8 => self.hurry(),
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

    /// Some of what has ended is to be done again.
    fn put_back(&mut self) {
        let were = self
            .rng
            .pick(&[Ending::Done, Ending::Failed, Ending::Failed]);
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
            let row = StoredRow {
                items: outcome.items,
                status: RowStatus::Queued,
                at: Timestamp::MAX,
                attempts: 0,
            };
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

    fn hurry(&mut self) {
        let now = self.now();
        let mut taken = Taken::default();
        for (index, row) in &self.process.view.rows {
            if row.status == RowStatus::Retrying {
                let at = row.at.min(now);
                taken
                    .writes
                    .push(Write::Row(*index, StoredRow { at, ..*row }));
            }
        }
        taken.inputs.push(Input::Hurry { now });
        self.take(taken);
    }
}
