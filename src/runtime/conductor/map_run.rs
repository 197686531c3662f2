//! A Map Run of an execution: the pure core of runs, over children that are executions.
//!
//! It is stepped in the batch of its children, so that the end of a child, its result, the run's
//! checkpoint and the beginning of the next child are one commit. A child has its row from the commit that
//! dispatches it; what it waits for is its own business, and its slot is taken until it ends.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use serde_json::Value;

use super::{MapRunLimits, live::Facts};
use crate::{
    asl::{Definition, states::ExecutionType},
    ids::{Cursor, ExecutionId, FrameId, Generation, Index, RunId},
    iteration::{
        self, BreakerLimits, Checkpoint, Child, Context, Decision, Effect, Ending, Input,
        OnInterrupt, Options, Order, Row, RowStatus, Run, RunStatus, Stood,
    },
    limiter::{Grant, Throttle},
    machine::{self, MapItem, RunRequest, Source, StepContext, no_token},
    payload::{Failure, Payload},
    store::{Change, ExecutionKind, ExecutionStatus, FailureRow, MapRunRow, ResultRow, RunRow},
    time::Timestamp,
};

/// Children under way at a time where the definition sets no bound. AWS has 10,000; here all of them share
/// two cores and one writer.
const CONCURRENCY_MAX: u32 = 1000;

/// Children that one page has.
const PAGE_CHILDREN: usize = 256;

/// A Map Run under way.
pub(super) struct MapRun {
    pub(super) row: MapRunRow,
    /// Who waits for it, and where.
    pub(super) parent: (ExecutionId, FrameId),
    pub(super) request: Arc<RunRequest>,
    pub(super) facts: Facts,
    run: Run,
    items: Items,
    /// Children under way, by their first item; those of a former process have no generation.
    under_way: BTreeMap<Index, (ExecutionId, Option<Generation>)>,
    results: Vec<ResultRow>,
    failures: Vec<FailureRow>,
    /// Queued children whose rows are to go.
    taken: Vec<Index>,
    pub(super) touched: bool,
    limits_changed: bool,
}

/// What is iterated over: the items of an array, or the entries of an object.
struct Items {
    values: Vec<(Option<String>, Value)>,
}

/// What a step of a run asks for.
pub(super) enum Follow {
    /// Begin a child with this input.
    Begin { index: Index, input: Payload },
    /// Have a child that had failed go on, or begin one with this input in its place.
    Again {
        index: Index,
        input: Result<Payload, Failure>,
    },
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

impl Items {
    fn of(source: &Source) -> Self {
        let values = match source {
            Source::Items(items) => match items.value() {
                Value::Array(items) => items.iter().map(|item| (None, item.clone())).collect(),
                Value::Object(items) => items
                    .iter()
                    .map(|(key, item)| (Some(key.clone()), item.clone()))
                    .collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
            },
            Source::Reader { .. } => Vec::new(),
        };
        Self { values }
    }

    /// How many items a child takes that begins with this one.
    fn size(&self, first: usize, request: &RunRequest) -> usize {
        let Some(batch) = &request.batch else {
            return 1;
        };
        let most = batch.max_items.map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        let bytes_max = batch.max_bytes.unwrap_or(u64::MAX);
        let (mut taken, mut bytes) = (0, 0);
        for (_, value) in self.values.iter().skip(first).take(most) {
            bytes += value.to_string().len() as u64 + 1;
            if taken > 0 && bytes > bytes_max {
                break;
            }
            taken += 1;
        }
        taken.max(1)
    }
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
        let made = Self::with(row, parent, request, facts, Checkpoint::default(), &[], 0);
        (made, changes)
    }

    /// One of a former process, or one that is redriven: with the children that are under way, and how many are
    /// queued.
    pub(super) fn restore(
        row: MapRunRow,
        run: &RunRow,
        request: Arc<RunRequest>,
        facts: Facts,
        children: &[(Index, ExecutionId)],
        queued: u64,
    ) -> Self {
        let parent = (run.execution, run.frame);
        let checkpoint = run.checkpoint.clone();
        Self::with(row, parent, request, facts, checkpoint, children, queued)
    }

    fn with(
        row: MapRunRow,
        parent: (ExecutionId, FrameId),
        request: Arc<RunRequest>,
        facts: Facts,
        checkpoint: Checkpoint,
        children: &[(Index, ExecutionId)],
        queued: u64,
    ) -> Self {
        let items = Items::of(&request.source);
        let rows: Vec<Row> = children
            .iter()
            .map(|(index, _)| Row {
                index: *index,
                items: count(items.size(place(*index), &request)),
                status: RowStatus::Waiting,
                at: Timestamp::MAX,
                tried: false,
            })
            .collect();
        let run = Run::restore(options(&row), checkpoint, &rows, queued, 0);
        let under_way = children.iter().map(|(index, id)| (*index, (*id, None)));
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
    pub(super) fn began(&mut self, index: Index, child: ExecutionId) {
        if let Some((id, _)) = self.under_way.get_mut(&index) {
            *id = child;
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
        let Some((_, generation)) = self.under_way.remove(&index) else {
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
            self.fail(index, Failure::new(error, cause), now);
            Ending::Failed
        };
        let items = count(self.items.size(place(index), &self.request));
        vec![match generation {
            Some(generation) => Input::Ended {
                index,
                generation,
                ending,
            },
            None => Input::Decided {
                index,
                items,
                stood: Stood::Row(RowStatus::Waiting),
                decision: Decision::Ended(ending),
            },
        }]
    }

    /// A child's input could not be made.
    pub(super) fn refused(&mut self, index: Index, failure: Failure, now: Timestamp) -> Vec<Input> {
        let Some((_, Some(generation))) = self.under_way.remove(&index) else {
            return Vec::new();
        };
        self.fail(index, failure, now);
        vec![Input::Ended {
            index,
            generation,
            ending: Ending::Failed,
        }]
    }

    fn fail(&mut self, index: Index, failure: Failure, now: Timestamp) {
        self.failures.push(FailureRow {
            index,
            items: count(self.items.size(place(index), &self.request)),
            id: None,
            error: failure.error,
            cause: failure.cause,
            attempts: 1,
            version: 0,
            // Why empty: a child is made of the run's request again; one without would count as unreadable.
            payload: Some(String::new()),
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
        match *effect {
            Effect::Read { first, .. } => inputs.push(self.page(first)),
            Effect::Dispatch {
                index,
                generation,
                rowed,
                ..
            } => {
                self.under_way
                    .insert(index, (ExecutionId(0), Some(generation)));
                // Why at once: the child is a row from this commit on.
                inputs.push(Input::Rowed { index });
                if rowed {
                    self.taken.push(index);
                    let input = self.input_of(index, now);
                    follow.push(Follow::Again { index, input });
                    return;
                }
                follow.push(match self.input_of(index, now) {
                    Ok(input) => Follow::Begin { index, input },
                    Err(failure) => Follow::Refuse { index, failure },
                });
            }
            Effect::Ended(status) => {
                let left = std::mem::take(&mut self.under_way);
                if !left.is_empty() {
                    self.row.aborted += left.len() as u64;
                    self.limits_changed = true;
                    // Why: a redrive finds by these rows who is to be done again.
                    for index in left.keys() {
                        self.fail(*index, Failure::new("", ""), now);
                    }
                    let left = left.into_values().map(|(id, _)| id).collect();
                    follow.push(Follow::Stop(left));
                }
                follow.push(Follow::Ended(status));
            }
            Effect::LoadQueue {
                after,
                children_max,
            } => follow.push(Follow::LoadQueue {
                after,
                children_max,
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

    fn page(&self, first: Index) -> Input {
        let mut children = Vec::new();
        let mut next = place(first);
        while next < self.items.values.len() && children.len() < PAGE_CHILDREN {
            let items = self.items.size(next, &self.request);
            let items = items.min(self.items.values.len() - next);
            next += items;
            children.push(Child {
                items: count(items),
                end: Cursor::new(format!("1:{next}")),
                faulty: false,
            });
        }
        Input::Page {
            first,
            children,
            end: next >= self.items.values.len(),
        }
    }

    fn input_of(&self, index: Index, now: Timestamp) -> Result<Payload, Failure> {
        let first = place(index);
        let size = self.items.size(first, &self.request);
        let mut random = rand::random::<u64>;
        let mut context = StepContext {
            now,
            random: &mut random,
            token: &no_token,
            context: self.facts.context(None),
        };
        let mut inputs = Vec::with_capacity(size);
        for (offset, (key, value)) in self.items.values.iter().skip(first).take(size).enumerate() {
            let item = MapItem {
                index: index + offset as u64,
                value: value.clone().into(),
                key: key.clone(),
                source: Some("STATE_DATA".to_owned()),
            };
            let most = machine::PAYLOAD_BYTES_MAX;
            inputs.push(self.request.child_input(&item, &mut context, most)?);
        }
        if self.request.batch.is_some() {
            return Ok(self.request.batch_input(&inputs));
        }
        inputs
            .pop()
            .ok_or_else(|| Failure::new("States.Runtime", "the item is gone"))
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

fn place(index: Index) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
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

/// What the state that waits for the run is told; the results are read from the store. Blocks.
pub(super) fn outcome(
    store: &crate::store::Store,
    run: RunId,
    status: RunStatus,
) -> Result<Result<Payload, Failure>, crate::store::StoreError> {
    if status != RunStatus::Succeeded {
        return Ok(Err(Failure::new(
            "States.ExceedToleratedFailureThreshold",
            "The specified tolerated failure threshold was exceeded",
        )));
    }
    let (mut text, mut from) = (String::from("["), 0);
    loop {
        let page = store.results(run, from, Index::MAX, RESULTS_PAGE)?;
        for row in &page.rows {
            from = row.index + 1;
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(row.result.text());
        }
        // What is beyond the limit fails at the state, however much it is.
        if !page.more || text.len() > machine::PAYLOAD_BYTES_MAX {
            break;
        }
    }
    text.push(']');
    Ok(Payload::parse(text)
        .map_err(|error| Failure::new("States.DataLimitExceeded", error.to_string())))
}

/// Results that are read at a time.
const RESULTS_PAGE: u32 = 1000;
