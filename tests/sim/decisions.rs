//! What somebody decides on one child, wherever it stands: it has ended, it goes before its turn, it is
//! tried again at once.

use iterd::{
    ids::Index,
    iteration::{Decision, Ending, Input, RowStatus, RunStatus, Stood, Trial},
};

use crate::{
    process::Taken,
    store::{Outcome, StoredRow, Write},
    world::{World, queued},
};

impl World {
    /// Somebody decides on a child that a record is a part of.
    pub(crate) fn decide(&mut self) {
        let Some(index) = self.rng.below(self.records as u64 + 1).checked_sub(1) else {
            return;
        };
        let Some((index, items)) = self.child_of(index) else {
            return;
        };
        let view = &self.process.view;
        let stood = match (view.rows.get(&index), view.outcomes.get(&index)) {
            (Some(row), _) => Stood::Row(row.status),
            (None, Some(outcome)) => Stood::Ended(outcome.ending),
            (None, None) => Stood::Nowhere,
        };
        let now = self.now();
        let decision = self.rng.pick(&[
            Decision::Ended(Ending::Failed),
            Decision::Ended(Ending::Done),
            Decision::Again,
            Decision::AtOnce(now),
        ]);
        let ends = matches!(decision, Decision::Ended(_));
        let damaged = self.scenario.damaged[usize::try_from(index).unwrap()];
        let senseless = match stood {
            Stood::Ended(_) => ends || damaged,
            Stood::Nowhere => damaged && !ends,
            Stood::Row(_) => false,
        };
        // Why: as the shell has it, nothing but what ended is decided on once the run has.
        let over = self.process.run.status() != RunStatus::Running
            && self.process.run.status() != RunStatus::Paused;
        if senseless || (over && !matches!(stood, Stood::Ended(_))) {
            return;
        }
        self.tell(|_| format!("decide {index}+{items} {stood:?} {decision:?}"));
        self.carry_out_decision((index, items), stood, decision);
    }

    fn carry_out_decision(
        &mut self,
        (index, items): (Index, u32),
        stood: Stood,
        decision: Decision,
    ) {
        let mut taken = Taken::default();
        let before = self.process.view.rows.get(&index).copied();
        let row = |status, at| StoredRow {
            status,
            at,
            ..before.unwrap_or(queued(items))
        };
        if matches!(stood, Stood::Ended(_)) {
            taken.writes.push(Write::DropOutcome(index));
        }
        let write = match decision {
            Decision::Again => Write::Row(index, row(RowStatus::Queued, self.now())),
            Decision::AtOnce(at) => Write::Row(index, row(RowStatus::Retrying, at)),
            Decision::Ended(ending) => {
                taken.writes.push(Write::DropRow(index));
                let attempts = u32::MAX;
                let outcome = Outcome {
                    items,
                    ending,
                    attempts,
                };
                Write::Outcome(index, outcome)
            }
        };
        taken.writes.push(write);
        let process = &mut self.process;
        for call in process.calls.iter().filter(|call| call.index == index) {
            if process.run.is_current(index, call.generation) {
                taken.closes.push((index, call.generation, false));
            }
        }
        process.children.remove(&index);
        let range = index..index + u64::from(items);
        self.model.doubt.retain(|one| !range.contains(one));
        self.model.put_back.extend(range);
        self.model.reasons += u64::from(!matches!(decision, Decision::Ended(_)));
        self.model.hurried += u64::from(matches!(decision, Decision::AtOnce(_)));
        taken.inputs.push(Input::Decided {
            index,
            items,
            stood,
            decision,
        });
        self.take(taken);
    }

    /// The child that a record is a part of; one that was not read yet is made up.
    fn child_of(&mut self, index: Index) -> Option<(Index, u32)> {
        let process = &self.process;
        if index < self.scenario.from {
            return None;
        }
        if let Some(known) = process.view.known(index) {
            return Some(known);
        }
        let checkpoint = process.run.checkpoint();
        assert!(index >= checkpoint.watermark, "{index} has no trace");
        let read = process.children.range(..=index).next_back();
        if let Some((first, items)) = read
            && index < first + u64::from(*items)
        {
            return Some((*first, *items));
        }
        if index < process.run.figures().read {
            return None;
        }
        let border = process.run.border_after(index).unwrap_or(Index::MAX);
        let border = border.min(self.records as u64);
        let sound = |at: Index| !self.scenario.damaged[usize::try_from(at).unwrap()];
        let mut items = 1;
        while items < self.batch
            && index + u64::from(items) < border
            && sound(index)
            && sound(index + u64::from(items))
            && process.view.known(index + u64::from(items)).is_none()
        {
            items += 1;
        }
        Some((index, self.rng.between(1, items)))
    }

    /// Somebody wants to see the first records before the rest.
    pub(crate) fn try_first(&mut self) {
        let until = self.rng.below(self.records as u64 + 1);
        self.input(Input::Trial(Trial {
            until,
            records: until,
            sample: false,
        }));
    }
}
