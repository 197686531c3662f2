//! A Map Run of an execution: the pure core of runs, over children that are executions.
//!
//! It is stepped in the batch of its children, so that the end of a child, its result, the run's
//! checkpoint and the beginning of the next child are one commit. A child has its row from the commit that
//! dispatches it; what it waits for is its own business, and its slot is taken until it ends.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use super::{
    MapRunLimits,
    items::{Items, ReadPage},
    live::Facts,
};
use crate::{
    asl::{Definition, states::ExecutionType},
    ids::{Cursor, ExecutionId, FrameId, Generation, Index},
    integration::reader::ItemReader,
    iteration::{
        self, BreakerLimits, Checkpoint, Context, Decision, Effect, Ending, Input, OnInterrupt,
        Options, Order, Row, RowStatus, Run, RunStatus, Stood,
    },
    limiter::{Grant, Throttle},
    machine::{self, RunRequest, StepContext, no_token},
    payload::{Failure, Payload},
    store::{Change, ExecutionKind, ExecutionStatus, FailureRow, MapRunRow, ResultRow, RunRow},
    time::Timestamp,
};

/// Children under way at a time where the definition sets no bound. AWS has 10,000; here all of them share
/// two cores and one writer.
const CONCURRENCY_MAX: u32 = 1000;

/// A Map Run under way.
pub(super) struct MapRun {
    pub(super) row: MapRunRow,
    /// Who waits for it, and where.
    pub(super) parent: (ExecutionId, FrameId),
    pub(super) request: Arc<RunRequest>,
    pub(super) facts: Facts,
    run: Run,
    items: Items,
    /// Children under way, by their first item.
    under_way: BTreeMap<Index, UnderWay>,
    results: Vec<ResultRow>,
    failures: Vec<FailureRow>,
    /// Queued children whose rows are to go.
    taken: Vec<Index>,
    pub(super) touched: bool,
    limits_changed: bool,
}

/// A child that was under way in a former process: its first item, and its input where that says how many
/// items it has, or where it is needed when it has ended.
pub(super) type Left = (Index, ExecutionId, Option<String>);

/// A child under way.
struct UnderWay {
    execution: ExecutionId,
    /// As it was dispatched; `None`: by a former process.
    generation: Option<Generation>,
    items: u32,
    /// What it began with, where its own row does not tell that once it has ended: of an express one
    /// nothing is left.
    input: Option<Payload>,
}

/// What a step of a run asks for.
pub(super) enum Follow {
    /// Read the items that follow.
    Read { from: Cursor, first: Index },
    /// Begin a child with this input.
    Begin { index: Index, input: Payload },
    /// Have a child that had failed go on, or begin one in its place.
    Again { index: Index },
    /// Load rows of the queue.
    LoadQueue {
        after: Option<Index>,
        children_max: u32,
    },
    /// Take a child for failed, because its input could not be made.
    Refuse { index: Index, failure: Failure },
    /// End these.
    Stop(Vec<ExecutionId>),
    /// The run has ended so.
    Ended(RunStatus),
    /// Step once more in the next batch.
    Continue,
}

impl MapRun {
    /// One that is about to begin; with its rows.
    pub(super) fn begin(
        row: MapRunRow,
        parent: (ExecutionId, FrameId),
        request: Arc<RunRequest>,
        facts: Facts,
        now: Timestamp,
    ) -> (Self, Vec<Change>) {
        let run = RunRow {
            id: row.run,
            execution: parent.0,
            frame: parent.1,
            job: String::new(),
            plan: request.to_text(),
            checkpoint: Checkpoint::default(),
            started: now,
            changed: now,
            ended: None,
        };
        let changes = vec![
            Change::NewRun(run),
            Change::PutMapRun(Box::new(row.clone())),
        ];
        let made = Self::with(row, parent, request, facts, Checkpoint::default(), (&[], 0));
        (made, changes)
    }

    /// One of a former process, or one that is redriven: with the children that are under way (and their
    /// inputs, where those say how many items they have), and how many are queued.
    pub(super) fn restore(
        row: MapRunRow,
        run: &RunRow,
        request: Arc<RunRequest>,
        facts: Facts,
        (children, queued): (&[Left], u64),
    ) -> Self {
        let parent = (run.execution, run.frame);
        let checkpoint = run.checkpoint.clone();
        Self::with(row, parent, request, facts, checkpoint, (children, queued))
    }

    fn with(
        row: MapRunRow,
        parent: (ExecutionId, FrameId),
        request: Arc<RunRequest>,
        facts: Facts,
        checkpoint: Checkpoint,
        (children, queued): (&[Left], u64),
    ) -> Self {
        let items = Items::of(&request.source);
        let size = |index, input: &Option<String>| items.size(index, &request, input.as_deref());
        let rows: Vec<Row> = children
            .iter()
            .map(|(index, _, input)| Row {
                index: *index,
                items: size(*index, input),
                status: RowStatus::Waiting,
                at: Timestamp::MAX,
                tried: false,
            })
            .collect();
        let run = Run::restore(options(&row), checkpoint, &rows, queued, 0);
        let express = row.kind == ExecutionKind::Express;
        let under_way = children.iter().zip(&rows).map(|((index, id, input), row)| {
            let input = input.clone().filter(|_| express);
            let child = UnderWay {
                execution: *id,
                generation: None,
                items: row.items,
                input: input.and_then(|input| Payload::parse(input).ok()),
            };
            (*index, child)
        });
        Self {
            under_way: under_way.collect(),
            row,
            parent,
            request,
            facts,
            run,
            items,
            results: Vec::new(),
            failures: Vec::new(),
            taken: Vec::new(),
            touched: false,
            limits_changed: false,
        }
    }

    /// What its children run.
    pub(super) fn definition(&self) -> Option<Arc<Definition>> {
        Some(Arc::clone(&self.request.distributed()?.processor))
    }

    /// What its children are.
    pub(super) fn kind(&self) -> ExecutionKind {
        self.row.kind
    }

    /// Its limits are these from now on.
    pub(super) fn set_limits(&mut self, limits: MapRunLimits) -> Input {
        let row = &mut self.row;
        row.concurrency = limits.concurrency.unwrap_or(row.concurrency);
        row.tolerated_count = limits.tolerated_count.unwrap_or(row.tolerated_count);
        row.tolerated_percentage = limits
            .tolerated_percentage
            .unwrap_or(row.tolerated_percentage);
        self.limits_changed = true;
        Input::Options(options(&self.row))
    }

    /// A child is under way.
    pub(super) fn began(&mut self, index: Index, child: ExecutionId, input: Option<&Payload>) {
        let express = self.kind() == ExecutionKind::Express;
        if let Some(known) = self.under_way.get_mut(&index) {
            known.execution = child;
            known.input = input.filter(|_| express).cloned();
        }
    }

    /// A child has ended; what the core is to be told.
    pub(super) fn ended(
        &mut self,
        index: Index,
        status: ExecutionStatus,
        output: Option<&Payload>,
        (error, cause): (Option<&str>, Option<&str>),
        now: Timestamp,
    ) -> Vec<Input> {
        let Some(child) = self.under_way.remove(&index) else {
            return Vec::new();
        };
        let ending = if status == ExecutionStatus::Succeeded
            && let Some(output) = output
        {
            self.results.push(ResultRow {
                index,
                id: None,
                result: output.clone(),
                version: 0,
                attempts: 1,
                at: now,
                redo: 0,
            });
            Ending::Done
        } else {
            self.row.aborted += u64::from(status == ExecutionStatus::Aborted);
            self.row.timed_out += u64::from(status == ExecutionStatus::TimedOut);
            self.limits_changed |= status != ExecutionStatus::Failed;
            let (error, cause) = (error.unwrap_or_default(), cause.unwrap_or_default());
            let failure = Failure::new(error, cause);
            self.fail((index, child.items), failure, child.input.as_ref(), now);
            Ending::Failed
        };
        vec![match child.generation {
            Some(generation) => Input::Ended {
                index,
                generation,
                ending,
            },
            None => Input::Decided {
                index,
                items: child.items,
                stood: Stood::Row(RowStatus::Waiting),
                decision: Decision::Ended(ending),
            },
        }]
    }

    /// A child's input could not be made.
    pub(super) fn refused(&mut self, index: Index, failure: Failure, now: Timestamp) -> Vec<Input> {
        let Some(UnderWay {
            generation: Some(generation),
            items,
            ..
        }) = self.under_way.remove(&index)
        else {
            return Vec::new();
        };
        self.fail((index, items), failure, None, now);
        vec![Input::Ended {
            index,
            generation,
            ending: Ending::Failed,
        }]
    }

    /// What reads its items, while somebody takes it along.
    pub(super) fn take_reader(&mut self) -> Option<ItemReader> {
        self.items.take_reader()
    }

    /// Items were read, or cannot be; what the core is to be told.
    pub(super) fn take_page(&mut self, page: ReadPage) -> Option<Input> {
        Some(match self.items.take_page(page)? {
            Ok(page) => page,
            Err(failure) => {
                self.row.failure = Some(failure);
                self.limits_changed = true;
                Input::Fail
            }
        })
    }

    fn fail(
        &mut self,
        (index, items): (Index, u32),
        failure: Failure,
        input: Option<&Payload>,
        now: Timestamp,
    ) {
        self.failures.push(FailureRow {
            index,
            items,
            id: None,
            error: failure.error,
            cause: failure.cause,
            attempts: 1,
            version: 0,
            // Why not none: that would count as unreadable.
            payload: Some(input.map_or_else(String::new, |input| input.text().to_owned())),
            at: now,
            redo: 0,
        });
    }

    /// Steps once. At most `begin_max` children are begun.
    pub(super) fn step(
        &mut self,
        inputs: Vec<Input>,
        begin_max: &mut u32,
        now: Timestamp,
    ) -> Vec<Follow> {
        self.touched = true;
        let mut follow = Vec::new();
        let mut inputs = inputs;
        // A page leads to dispatches, and those to the next page; both are here at once.
        while !inputs.is_empty() {
            let mut short = false;
            let mut permits = |_, count: NonZeroU32, _| {
                let granted = count.get().min(*begin_max);
                *begin_max -= granted;
                if granted > 0 {
                    return Grant::Now(granted);
                }
                short = true;
                Grant::NotBefore {
                    at: Timestamp::MAX,
                    why: Throttle::Paused,
                }
            };
            let effects = self.run.step(
                std::mem::take(&mut inputs),
                &mut Context {
                    now,
                    permits: &mut permits,
                },
            );
            if short {
                follow.push(Follow::Continue);
            }
            for effect in effects {
                self.follow(&effect, now, &mut inputs, &mut follow);
            }
        }
        follow
    }

    fn follow(
        &mut self,
        effect: &Effect,
        now: Timestamp,
        inputs: &mut Vec<Input>,
        follow: &mut Vec<Follow>,
    ) {
        match effect {
            Effect::Read { from, first } => match self.items.page(*first, &self.request) {
                Some(page) => inputs.push(page),
                None => follow.push(Follow::Read {
                    from: from.clone(),
                    first: *first,
                }),
            },
            Effect::Dispatch {
                index,
                generation,
                items,
                rowed,
            } => {
                let index = *index;
                let child = UnderWay {
                    execution: ExecutionId(0),
                    generation: Some(*generation),
                    items: *items,
                    input: None,
                };
                self.under_way.insert(index, child);
                // Why at once: the child is a row from this commit on.
                inputs.push(Input::Rowed { index });
                if *rowed {
                    self.taken.push(index);
                    follow.push(Follow::Again { index });
                    return;
                }
                follow.push(match self.input_of(index, now) {
                    Ok(input) => Follow::Begin { index, input },
                    Err(failure) => Follow::Refuse { index, failure },
                });
            }
            Effect::Ended(status) => self.end(*status, now, follow),
            Effect::LoadQueue {
                after,
                children_max,
            } => follow.push(Follow::LoadQueue {
                after: *after,
                children_max: *children_max,
            }),
            // Nothing is damaged, held or parked here, and no limiter is asked.
            Effect::Fail { .. }
            | Effect::Spill { .. }
            | Effect::Hold { .. }
            | Effect::Hurry { .. }
            | Effect::Wake { .. }
            | Effect::Paused(_)
            | Effect::Drained => {}
        }
    }

    /// The run is over: what is under way is stopped.
    fn end(&mut self, status: RunStatus, now: Timestamp, follow: &mut Vec<Follow>) {
        let left = std::mem::take(&mut self.under_way);
        if !left.is_empty() {
            self.row.aborted += left.len() as u64;
            self.limits_changed = true;
            // Why: a redrive finds by these rows who is to be done again.
            for (index, child) in &left {
                let failure = Failure::new("", "");
                self.fail((*index, child.items), failure, child.input.as_ref(), now);
            }
            let left = left.into_values().map(|child| child.execution).collect();
            follow.push(Follow::Stop(left));
        }
        follow.push(Follow::Ended(status));
    }

    /// The input of a child, made of its items; of each only once where they are read.
    pub(super) fn input_of(&mut self, index: Index, now: Timestamp) -> Result<Payload, Failure> {
        let items = self.items.take(index, &self.request);
        let mut random = rand::random::<u64>;
        let mut context = StepContext {
            now,
            random: &mut random,
            token: &no_token,
            context: self.facts.context(None),
        };
        let most = machine::PAYLOAD_BYTES_MAX;
        let mut inputs = Vec::with_capacity(items.len());
        for item in &items {
            inputs.push(self.request.child_input(item, &mut context, most)?);
        }
        let input = if self.request.batch.is_some() {
            self.request.batch_input(&inputs)
        } else {
            let gone = || Failure::new("States.Runtime", "the item is gone");
            inputs.pop().ok_or_else(gone)?
        };
        if input.text().len() > most {
            let cause = format!(
                "The input of a child of the state '{}' has a size exceeding the maximum number of bytes service limit.",
                self.request.state_name()
            );
            return Err(Failure::new("States.DataLimitExceeded", cause));
        }
        Ok(input)
    }

    /// What is to be written of the steps since the last time.
    pub(super) fn take_changes(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        self.touched = false;
        let run = self.row.run;
        if !self.results.is_empty() {
            let rows = std::mem::take(&mut self.results);
            changes.push(Change::Results { run, rows });
        }
        for index in std::mem::take(&mut self.taken) {
            changes.push(Change::RemoveChild { run, index });
        }
        if !self.failures.is_empty() {
            let rows = std::mem::take(&mut self.failures);
            changes.push(Change::Failures { run, rows });
        }
        if std::mem::take(&mut self.limits_changed) {
            changes.push(Change::PutMapRun(Box::new(self.row.clone())));
        }
        changes.push(Change::Checkpoint {
            run,
            checkpoint: Box::new(self.run.checkpoint()),
            at: now,
        });
    }
}

/// The type of children, as executions know it.
pub(super) const fn kind_of(children: ExecutionType) -> ExecutionKind {
    match children {
        ExecutionType::Standard => ExecutionKind::Standard,
        ExecutionType::Express => ExecutionKind::Express,
    }
}

fn options(row: &MapRunRow) -> Options {
    let slots = match row.concurrency {
        0 => CONCURRENCY_MAX,
        most => most,
    };
    Options {
        slots,
        // Spec: a child keeps its slot while it waits.
        order: Order::Strict,
        on_interrupt: OnInterrupt::Retry,
        window_items_max: 4096,
        parked_items_max: 0,
        tolerance: tolerance(row),
        pause_when: BreakerLimits::default(),
    }
}

/// Spec: the run fails where one of both is exceeded; where none is set, at the first failure.
fn tolerance(row: &MapRunRow) -> iteration::Tolerance {
    let percentage = (row.tolerated_percentage > 0.0).then_some(row.tolerated_percentage);
    let count = (row.tolerated_count > 0 || percentage.is_none()).then_some(row.tolerated_count);
    iteration::Tolerance { count, percentage }
}
