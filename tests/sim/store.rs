//! The durable model: what a commit changes, all of it or nothing, and what must hold after each.
//!
//! Invariant: a record has an outcome, or a row, or neither, never two of them. What has neither is
//! above the watermark and outside the done set. A record that is redone has a row and its old result,
//! which is current until the row has become an outcome.

use std::collections::BTreeMap;

use iterd::{
    ids::Index,
    iteration::{Checkpoint, Counters, Ending, Options, Row, RowStatus, Run, RunStatus, Tally},
    limiter::LimiterState,
    time::Timestamp,
};

/// Everything that survives a crash.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) run: StoredRun,
    pub(crate) options: Options,
    pub(crate) limiter: LimiterState,
    pub(crate) rows: BTreeMap<Index, StoredRow>,
    pub(crate) outcomes: BTreeMap<Index, Outcome>,
    /// Results that are current while their records are redone.
    pub(crate) kept: BTreeMap<Index, Outcome>,
    /// How often each record was put back by a redo.
    pub(crate) redos: BTreeMap<Index, u32>,
    /// How many results were superseded of each record.
    pub(crate) superseded: BTreeMap<Index, u32>,
    /// What was counted, by day.
    pub(crate) days: BTreeMap<i64, Tally>,
}

/// The row of the run.
#[derive(Debug, Clone)]
pub(crate) struct StoredRun {
    pub(crate) checkpoint: String,
    pub(crate) status: RunStatus,
    pub(crate) watermark: Index,
    pub(crate) high_mark: Index,
    pub(crate) total: Option<u64>,
}

/// The row of a child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredRow {
    pub(crate) items: u32,
    pub(crate) status: RowStatus,
    pub(crate) at: Timestamp,
    /// Tries that failed.
    pub(crate) attempts: u32,
}

/// The current result or failure of a child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) items: u32,
    pub(crate) ending: Ending,
    pub(crate) attempts: u32,
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Run(StoredRun),
    Options(Options),
    Limiter(LimiterState),
    Row(Index, StoredRow),
    DropRow(Index),
    Outcome(Index, Outcome),
    DropOutcome(Index),
    /// The record is to be done again; its result stays.
    Redo(Index),
    Count(i64, Tally),
}

impl StoredRun {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            checkpoint: checkpoint.to_json(),
            status: checkpoint.status,
            watermark: checkpoint.watermark,
            high_mark: checkpoint.high_mark,
            total: checkpoint.total,
        }
    }

    pub(crate) fn read(&self) -> Checkpoint {
        let Self {
            checkpoint,
            status,
            watermark,
            high_mark,
            total,
        } = self;
        Checkpoint::from_json(checkpoint, *status, *watermark, *high_mark, *total).unwrap()
    }
}

impl Store {
    pub(crate) fn new(checkpoint: &Checkpoint, options: Options, limiter: LimiterState) -> Self {
        Self {
            run: StoredRun::of(checkpoint),
            options,
            limiter,
            rows: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            kept: BTreeMap::new(),
            redos: BTreeMap::new(),
            superseded: BTreeMap::new(),
            days: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, write: &Write) {
        match write.clone() {
            Write::Run(run) => self.run = run,
            Write::Options(options) => self.options = options,
            Write::Limiter(limiter) => self.limiter = limiter,
            Write::Row(index, row) => {
                self.rows.insert(index, row);
            }
            Write::DropRow(index) => {
                self.rows.remove(&index);
            }
            Write::Outcome(index, outcome) => {
                if self.kept.remove(&index).is_some() {
                    *self.superseded.entry(index).or_default() += 1;
                }
                let before = self.outcomes.insert(index, outcome);
                assert!(before.is_none(), "{index} ended twice: {before:?}");
            }
            Write::DropOutcome(index) => {
                self.outcomes.remove(&index);
            }
            Write::Redo(index) => {
                let old = self.outcomes.remove(&index).expect("it has a result");
                assert_eq!(old.ending, Ending::Done, "{index} is redone");
                *self.redos.entry(index).or_default() += 1;
                let row = StoredRow {
                    items: old.items,
                    status: RowStatus::Queued,
                    at: Timestamp::MAX,
                    attempts: 0,
                };
                let row = self.rows.insert(index, row);
                assert!(row.is_none(), "{index} had a row: {row:?}");
                self.kept.insert(index, old);
            }
            Write::Count(day, tally) => self.days.entry(day).or_default().add(&tally),
        }
    }

    /// The run as a new process finds it.
    pub(crate) fn restore(&self) -> Run {
        let row = |(index, row): (&Index, &StoredRow)| Row {
            index: *index,
            items: row.items,
            status: row.status,
            at: row.at,
            tried: row.attempts > 0,
        };
        let rows: Vec<Row> = self.rows.iter().map(row).collect();
        let mut run = Run::restore(
            self.options.clone(),
            self.run.read(),
            &rows,
            self.children(RowStatus::Queued),
            self.items(RowStatus::Held),
        );
        let high_mark = self.run.high_mark;
        let rows = self
            .rows
            .range(high_mark..)
            .map(|(at, row)| (*at, row.items));
        let outcomes = self.outcomes.range(high_mark..);
        run.restore_ahead(rows.chain(outcomes.map(|(at, one)| (*at, one.items))));
        run
    }

    /// The child with a row or an outcome of which that record is a part.
    pub(crate) fn known(&self, index: Index) -> Option<(Index, u32)> {
        let row = self.rows.range(..=index).next_back();
        let outcome = self.outcomes.range(..=index).next_back();
        let row = row.map(|(at, row)| (*at, row.items));
        let outcome = outcome.map(|(at, one)| (*at, one.items));
        let holds = |(at, items): &(Index, u32)| index < at + u64::from(*items);
        row.filter(holds).or(outcome.filter(holds))
    }

    pub(crate) fn children(&self, status: RowStatus) -> u64 {
        let rows = self.rows.values();
        rows.filter(|row| row.status == status).count() as u64
    }

    pub(crate) fn items(&self, status: RowStatus) -> u64 {
        let rows = self.rows.values().filter(|row| row.status == status);
        rows.map(|row| u64::from(row.items)).sum()
    }

    pub(crate) fn ended(&self, ending: Ending) -> u64 {
        let outcomes = self.outcomes.values().filter(|one| one.ending == ending);
        outcomes.map(|outcome| u64::from(outcome.items)).sum()
    }

    /// What must hold after every commit, for a dataset of at most so many records.
    pub(crate) fn check(&self, records_max: usize) {
        let mut places = vec![0_u8; records_max];
        let rows = self.rows.iter().map(|(index, row)| (*index, row.items));
        let outcomes = self.outcomes.iter().map(|(index, one)| (*index, one.items));
        for (index, items) in rows.chain(outcomes) {
            let first = usize::try_from(index).unwrap();
            for place in &mut places[first..first + items as usize] {
                *place += 1;
            }
        }
        let checkpoint = self.run.read();
        for (at, place) in places.into_iter().enumerate() {
            let index = at as Index;
            let in_done_set = |(first, end): &(Index, Index)| (*first..*end).contains(&index);
            let settled = index < checkpoint.watermark || checkpoint.done.iter().any(in_done_set);
            // Beyond the high mark are those on which somebody decided before their turn.
            let may_be = match index {
                _ if index < checkpoint.left_out => 0..=0,
                _ if index >= checkpoint.high_mark => 0..=1,
                _ => u8::from(settled)..=u8::from(settled),
            };
            assert!(
                may_be.contains(&place),
                "{index} has {place} where {may_be:?} may be; {index} has so many outcomes and rows, settled: {settled}, {checkpoint:?}"
            );
        }
        for index in self.kept.keys() {
            assert!(self.rows.contains_key(index), "{index} is not redone");
        }
        let redone: u32 = self.redos.values().sum();
        let behind = checkpoint.done.last().map_or(0, |(_, end)| *end);
        assert!(checkpoint.high_mark >= behind.max(checkpoint.watermark));
        let counters = checkpoint.counters;
        assert_eq!(counters.done, self.ended(Ending::Done), "done");
        assert_eq!(counters.failed, self.ended(Ending::Failed), "failed");
        assert!(counters.redone >= u64::from(redone), "redone");
        let mut sum = Tally::default();
        for tally in self.days.values() {
            sum.add(tally);
        }
        let redone = 0;
        let expected = Counters { redone, ..counters };
        assert_eq!(sum.counters(), expected, "the days do not add up");
    }
}
