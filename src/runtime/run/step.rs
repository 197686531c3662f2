//! One step of the actor: what came in, through children and core, into one commit; and what is
//! done once that is durable.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    actor::{Actor, News, bounded, calls},
    child::{Child, Damaged, Verdict, put_off},
    commit::{Afterwards, Draft},
    days::StepTally,
    view::RunView,
};
use crate::{
    ids::{Generation, Index},
    integration::source::RecordError,
    iteration::{
        Context, Effect, Ending, Figures, Input, Parked, PutBack, RowStatus, RunStatus, WakeReason,
    },
    limiter::{Ask, Grant, Throttle, Try},
    payload::{Failure, Payload, gist},
    plugin::{Answer, Call, Outcome},
    runtime::{executions::machine_step, run_events},
    store::{Change, ChildRow, EventKind, EventRow, FailureRow, StoreError},
    time::Timestamp,
};

/// A handler that closes the limiter for less leaves no event: it is the daily business of a rate limit.
const CLOSED_MIN: Duration = Duration::from_mins(10);

/// What one step works on.
struct Step {
    now: Timestamp,
    draft: Draft,
    inputs: Vec<Input>,
    calls: Vec<Call>,
    tally: StepTally,
}

impl Actor {
    /// Takes in the news, writes what came of them, and keeps for later what has to wait until it
    /// is durable.
    pub(super) async fn step(&mut self, news: News) {
        let mut step = Step {
            now: self.clock.now(),
            draft: Draft::default(),
            inputs: news.inputs,
            calls: Vec::new(),
            tally: StepTally::default(),
        };
        step.draft.changes = news.changes;
        let mut dirty = !news.told.is_empty()
            || step.inputs.iter().any(|input| {
                !matches!(input, Input::Tick | Input::Page { .. } | Input::Options(_))
            });
        for answer in news.answers {
            self.take_answer(answer, &mut step);
        }
        for (index, generation, verdict) in news.verdicts {
            self.settle(index, generation, verdict, &mut step);
        }
        let mut inputs = std::mem::take(&mut step.inputs);
        self.follow_workers(&mut inputs);
        step.tally.put_back = PutBack::of(&inputs);
        let effects = self.step_core(inputs, step.now);
        let mut later = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                // Why at once: neither needs anything to be durable.
                Effect::Read { from, first } => self.pages.read(from, first),
                Effect::Wake { at, .. } => self.wake = Some(at),
                Effect::LoadQueue { .. }
                | Effect::Dispatch { .. }
                | Effect::Fail { .. }
                | Effect::Spill { .. }
                | Effect::Hold { .. }
                | Effect::Hurry { .. }
                | Effect::Paused(_)
                | Effect::Ended(_)
                | Effect::Drained => {
                    self.draft(&effect, &mut step);
                    later.push(effect);
                }
            }
        }
        dirty |= !later.is_empty() || !step.draft.is_empty();
        self.staff(step.now);
        if self.pool.has_canary() && !self.run.has_first_tries() {
            self.pool.leave_canary_alone();
        }
        self.publish(step.now);
        if dirty {
            self.commit(step, later, news.told).await;
        }
    }

    /// A version that was taken up may hold more or fewer calls than the one before.
    fn follow_workers(&self, inputs: &mut Vec<Input>) {
        let options = bounded(&self.wanted, &self.pool);
        if options.slots != self.run.options().slots {
            inputs.push(Input::Options(options));
        }
    }

    fn step_core(&mut self, inputs: Vec<Input>, now: Timestamp) -> Vec<Effect> {
        // A wake-up that came is over; the core asks again for what it still waits for.
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
        }
        let limiter = self.limiter.as_ref();
        let (weight, retry_share) = (self.weight, self.retry_share);
        let user = self.id.0.unsigned_abs();
        let closed = match self.hours.closed_until(now) {
            Some(until) => Some((until, Throttle::Hours)),
            None => (self.disk.is_full() || self.pool.ready() == 0)
                .then_some((Timestamp::MAX, Throttle::Paused)),
        };
        let batch = self.pool.batch();
        let idle = self.run.figures().in_flight == 0;
        let mut permits = |kind: Try, count: NonZeroU32, first_waiting: bool| {
            if let Some((at, why)) = closed {
                return Grant::NotBefore { at, why };
            }
            // Why not in parts: a permit is for a call of the handler, and the next answer makes room.
            let partial = kind == Try::First && count < batch && first_waiting;
            if partial && !idle {
                let (at, why) = (Timestamp::MAX, Throttle::Paused);
                return Grant::NotBefore { at, why };
            }
            let items = count.get();
            let count = NonZeroU32::new(items / batch.get()).unwrap_or(NonZeroU32::MIN);
            let ask = Ask {
                user,
                kind,
                count,
                weight,
                first_waiting,
                retry_share,
            };
            match limiter.map_or(Grant::Now(count.get()), |limiter| limiter.ask(&ask, now)) {
                Grant::Now(granted) => Grant::Now(granted.saturating_mul(batch.get()).min(items)),
                later @ Grant::NotBefore { .. } => later,
            }
        };
        self.run.step(
            inputs,
            &mut Context {
                now,
                permits: &mut permits,
            },
        )
    }

    /// Has more workers started where all that are ready hold what they can, and the limiter would let
    /// more go; where it will later, it is asked again then.
    fn staff(&mut self, now: Timestamp) {
        self.staff_at = None;
        let (figures, ready) = (self.run.figures(), self.pool.ready());
        let most = self
            .pool
            .capacity()
            .min(calls(&self.wanted, &self.pool) as usize);
        let ended = figures.counters.done + figures.counters.failed;
        let more = figures
            .total
            .is_none_or(|total| ended + (figures.in_flight as u64) < total);
        if figures.status != RunStatus::Running
            || ready >= most
            || figures.in_flight < ready
            || !more
        {
            return;
        }
        let usage = self.limiter.as_ref().map(|limiter| limiter.usage(now));
        match usage.filter(|usage| usage.why.is_some()) {
            None => self.pool.want(most),
            Some(usage) => self.staff_at = Some(usage.next_permit_at),
        }
    }

    fn take_answer(&mut self, answer: Answer, step: &mut Step) {
        let (index, generation) = (answer.ticket, answer.generation);
        if !self.run.is_current(index, generation) {
            tracing::warn!(index, "an answer came after its call was given up; refused");
            // Why here: what waited for that answer has its commit behind it.
            self.pool.submit(
                self.ghosts
                    .answered(index, generation)
                    .into_iter()
                    .collect(),
            );
            return;
        }
        if let Outcome::Failed(failure) = &answer.outcome
            && let Some(pause) = failure.close_limiter
        {
            self.close_limiter(pause, &failure.error, step);
        }
        let Some(child) = self.live.get_mut(&index) else {
            return;
        };
        child.version = answer.version.0;
        if let Outcome::Reached(cursor) = answer.outcome {
            self.keep_cursor(index, cursor, step);
            return;
        }
        let throttled = match &answer.outcome {
            Outcome::Failed(failure) => failure.puts_off().is_some(),
            Outcome::Done(_)
            | Outcome::FailedCanary(_)
            | Outcome::Reached(_)
            | Outcome::Interrupted => false,
        };
        step.tally
            .answered(answer.version.0, &answer.outcome, throttled);
        let machine = &self.machine;
        let verdict = match answer.outcome {
            Outcome::Reached(_) => return,
            Outcome::Interrupted => {
                step.inputs.push(Input::Interrupted { index, generation });
                return;
            }
            Outcome::Done(output) => {
                self.answered += 1;
                machine_step(step.now, |context| child.succeed(machine, output, context))
            }
            Outcome::FailedCanary(failure) => {
                self.answered += 1;
                let again =
                    machine_step(step.now, |context| child.again(machine, failure, context));
                Verdict::Parked(Parked::Excused { at: again })
            }
            Outcome::Failed(failure) => {
                self.answered += 1;
                if let Some(wait) = failure.puts_off() {
                    Verdict::Parked(put_off(step.now, wait))
                } else {
                    let cause = gist(&failure.cause);
                    self.last_failure = Some(format!("{}: {cause}", failure.error));
                    machine_step(step.now, |context| child.fail(machine, failure, context))
                }
            }
        };
        self.settle(index, generation, verdict, step);
    }

    /// Writes down where a handler is within its record: from now on the child has a row.
    fn keep_cursor(&mut self, index: Index, cursor: Payload, step: &mut Step) {
        self.answered += 1;
        if let Some(child) = self.live.get_mut(&index) {
            child.cursor = Some(cursor);
            child.rowed = true;
            let place = (self.id, index);
            let standing = (RowStatus::InFlight, step.now);
            step.draft
                .row(place, child, &self.machine, standing, step.now);
            step.inputs.push(Input::Rowed { index });
        }
    }

    /// A handler closes the limiter; a long closing of an open one is told.
    fn close_limiter(&self, pause: Duration, error: &str, step: &mut Step) {
        let Some(limiter) = &self.limiter else {
            return;
        };
        if pause >= CLOSED_MIN && limiter.usage(step.now).closed_until.is_none() {
            let until = step.now.after(pause).to_jiff();
            let detail = format!("until {until:.0}, by the handler: {error}");
            let event = EventRow::new(step.now, &self.job, EventKind::Closed, detail);
            step.draft.changes.push(Change::Event(event));
        }
        step.tally.closed += limiter.close(pause, step.now);
    }

    /// Writes what became of a child, and tells the core.
    fn settle(&mut self, index: Index, generation: Generation, verdict: Verdict, step: &mut Step) {
        if !self.run.is_current(index, generation) {
            return;
        }
        match verdict {
            Verdict::Call => self.go_on(index, generation, step),
            Verdict::Parked(parked) => {
                if let Some(child) = self.live.remove(&index) {
                    let status = match parked {
                        Parked::Retry { .. } | Parked::Excused { .. } => RowStatus::Retrying,
                        Parked::Wait { .. } => RowStatus::Waiting,
                    };
                    let standing = (status, parked.at());
                    let place = (self.id, index);
                    step.draft
                        .row(place, &child, &self.machine, standing, step.now);
                }
                step.inputs.push(Input::Parked {
                    index,
                    generation,
                    parked,
                });
            }
            Verdict::Done(output) => {
                if let Some(child) = self.live.remove(&index) {
                    step.tally.done(child.version, child.items);
                    step.draft.result(index, &child, output, step.now);
                    self.remove_row(index, &child, step);
                }
                step.inputs.push(ended(index, generation, Ending::Done));
            }
            Verdict::Failed(failure) => {
                if let Some(child) = self.live.remove(&index) {
                    self.remove_row(index, &child, step);
                    step.tally.failed(child.version, child.items);
                    step.draft
                        .failure(failure_row(index, child, failure, step.now));
                }
                step.inputs.push(ended(index, generation, Ending::Failed));
            }
        }
    }

    /// The child has a further call: what came of the one before has to survive.
    fn go_on(&mut self, index: Index, generation: Generation, step: &mut Step) {
        let Some(child) = self.live.get_mut(&index) else {
            return;
        };
        child.rowed = true;
        let standing = (RowStatus::InFlight, step.now);
        step.draft
            .row((self.id, index), child, &self.machine, standing, step.now);
        step.inputs.push(Input::Rowed { index });
        step.calls
            .extend(child.call(index, generation, &self.execution_name, step.now));
    }

    fn remove_row(&self, index: Index, child: &Child, step: &mut Step) {
        if !child.rowed {
            return;
        }
        let run = self.id;
        step.draft.changes.push(Change::RemoveChild { run, index });
        if self.exporter.is_some() {
            step.draft.changes.push(Change::LateResult { run, index });
        }
    }

    /// What an effect wants in the commit of its own step.
    fn draft(&mut self, effect: &Effect, step: &mut Step) {
        let now = step.now;
        match effect {
            Effect::Dispatch { index, rowed, .. } => self.draft_dispatch(*index, *rowed, step),
            Effect::Fail { index } => {
                if let Some(Err(error)) = self.pages.take(*index) {
                    step.draft.failure(failure_of_record(*index, error, now));
                }
            }
            Effect::Spill { index } => {
                if let Some(child) = self.live.get_mut(index) {
                    child.rowed = true;
                    let place = (self.id, *index);
                    let standing = (RowStatus::InFlight, now);
                    step.draft.row(place, child, &self.machine, standing, now);
                }
            }
            Effect::Hold { index, rowed } => self.draft_hold(*index, *rowed, step),
            Effect::Hurry { only } => step.draft.changes.push(Change::HurryChildren {
                run: self.id,
                only: *only,
                at: now,
            }),
            Effect::Paused(reason) => {
                // Why: whoever shares the limiter must not wait for one that asks for nothing.
                if let Some(limiter) = &self.limiter {
                    limiter.leave(self.id.0.unsigned_abs());
                }
                let last = self.last_failure.as_deref();
                tracing::info!(job = self.job, %reason, "paused");
                let event = run_events::paused(now, &self.job, reason, last);
                step.draft.changes.push(event);
            }
            Effect::Ended(status) => {
                tracing::info!(job = self.job, status = status.as_str(), "ended");
                let event = run_events::ended(now, &self.job, *status);
                step.draft.changes.push(event);
            }
            Effect::Read { .. }
            | Effect::LoadQueue { .. }
            | Effect::Wake { .. }
            | Effect::Drained => {}
        }
    }

    /// A child that sets out again from memory, as one does that was interrupted, changes nothing.
    fn draft_dispatch(&mut self, index: Index, rowed: bool, step: &mut Step) {
        if let Some(child) = self.live.get_mut(&index) {
            child.called = Some(step.now);
            return;
        }
        if rowed {
            step.draft.changes.push(Change::ChildStatus {
                run: self.id,
                index,
                status: RowStatus::InFlight,
                due: step.now,
            });
        } else if let Some(Ok(mut child)) = self.pages.take(index) {
            child.called = Some(step.now);
            self.live.insert(index, child);
        }
    }

    fn draft_hold(&mut self, index: Index, rowed: bool, step: &mut Step) {
        let (run, due) = (self.id, Timestamp::MAX);
        let child = self.live.remove(&index);
        if rowed {
            step.draft.changes.push(Change::ChildStatus {
                run,
                index,
                status: RowStatus::Held,
                due,
            });
            return;
        }
        let child = child.or_else(|| self.pages.take(index).and_then(Result::ok));
        if let Some(child) = child {
            let standing = (RowStatus::Held, due);
            step.draft
                .row((run, index), &child, &self.machine, standing, step.now);
        }
    }

    async fn commit(
        &mut self,
        mut step: Step,
        effects: Vec<Effect>,
        told: Vec<oneshot::Sender<()>>,
    ) {
        if let Some(limiter) = &self.limiter {
            step.draft
                .changes
                .extend(limiter.unsaved(&mut self.limiter_saved));
        }
        let mut changes = step.draft.finish(self.id);
        changes.extend(self.pages.positions(self.id));
        let counters = self.run.figures().counters;
        let counted = (&self.counted, &counters);
        let days = &mut self.days;
        let count = step
            .tally
            .finish(self.id, counted, || days.of(step.now), step.now);
        changes.extend(count);
        self.counted = counters;
        changes.push(Change::Checkpoint {
            run: self.id,
            checkpoint: Box::new(self.run.checkpoint()),
            at: step.now,
        });
        let afterwards = Afterwards {
            effects,
            calls: step.calls,
            told,
        };
        let committed = self.line.commit(changes).await;
        self.on_their_way.push(committed, afterwards);
    }

    /// What was waiting for its commit.
    pub(super) fn carry_out(
        &mut self,
        afterwards: Afterwards,
        news: &mut News,
    ) -> Result<(), StoreError> {
        let mut calls = afterwards.calls;
        for effect in afterwards.effects {
            match effect {
                Effect::Dispatch {
                    index, generation, ..
                } => calls.extend(self.set_out(index, generation, news)?),
                Effect::LoadQueue {
                    after,
                    children_max,
                } => news.inputs.push(self.load_queue(after, children_max)?),
                Effect::Drained => self.drained = true,
                Effect::Read { .. }
                | Effect::Wake { .. }
                | Effect::Fail { .. }
                | Effect::Spill { .. }
                | Effect::Hold { .. }
                | Effect::Hurry { .. }
                | Effect::Paused(_)
                | Effect::Ended(_) => {}
            }
        }
        self.pool.submit(self.ghosts.hold_back(calls));
        if let Some(exporter) = &self.exporter {
            exporter.nudge();
        }
        for told in afterwards.told {
            // Why ok: whoever does not wait any more does not want to know.
            told.send(()).ok();
        }
        Ok(())
    }

    /// Sends a child on its way, from memory or from its row. A row that cannot be read for now is
    /// the actor's error and not the child's.
    fn set_out(
        &mut self,
        index: Index,
        generation: Generation,
        news: &mut News,
    ) -> Result<Option<Call>, StoreError> {
        if !self.run.is_current(index, generation) {
            return Ok(None);
        }
        if !self.live.contains_key(&index) {
            let row = tokio::task::block_in_place(|| self.store.child(self.id, index))?;
            match Child::restore(&self.machine, row) {
                Ok(child) => {
                    self.live.insert(index, child);
                }
                Err(damaged) => {
                    self.give_up(index, generation, damaged, news);
                    return Ok(None);
                }
            }
        }
        let Some(child) = self.live.get_mut(&index) else {
            return Ok(None);
        };
        let machine = &self.machine;
        let verdict = machine_step(self.clock.now(), |context| child.set_out(machine, context));
        if matches!(verdict, Verdict::Call) {
            return Ok(child.call(index, generation, &self.execution_name, self.clock.now()));
        }
        news.verdicts.push((index, generation, verdict));
        Ok(None)
    }

    /// A child of which nothing is left to be called with.
    fn give_up(&self, index: Index, generation: Generation, damaged: Damaged, news: &mut News) {
        let cause = damaged.cause;
        tracing::error!(job = self.job, index, cause, "cannot go on with an item");
        let run = self.id;
        let now = self.clock.now();
        let row = failure_of_damaged(index, damaged.row.as_deref(), cause, now);
        let rows = vec![row];
        news.changes.push(Change::RemoveChild { run, index });
        news.changes.push(Change::Failures { run, rows });
        news.inputs.push(ended(index, generation, Ending::Failed));
    }

    fn load_queue(&self, after: Option<Index>, children_max: u32) -> Result<Input, StoreError> {
        let children = tokio::task::block_in_place(|| {
            self.store.queued_children(self.id, after, children_max)
        })?;
        Ok(Input::Queue { children })
    }

    /// Whether nothing is known that would keep an answer from coming, the hours aside: a limiter, a
    /// disk, a retry that is not due yet.
    fn could_have_answer(&self, figures: &Figures, now: Timestamp) -> bool {
        if figures.status != RunStatus::Running || self.disk.is_full() {
            return false;
        }
        match figures.wake {
            None => self.pages.waits_for().is_none(),
            Some((_, WakeReason::Due)) => false,
            // Why: without a worker the limiter is not asked, and the core waits for it all the same.
            Some((_, WakeReason::Throttled(_))) => {
                let limiter = self.limiter.as_ref();
                self.pool.ready() == 0
                    && limiter.is_none_or(|limiter| limiter.usage(now).why.is_none())
            }
        }
    }

    fn publish(&mut self, now: Timestamp) {
        let figures = self.run.figures();
        let ended = figures.counters.done + figures.counters.failed;
        self.pulse.note(now, ended, &figures);
        let off_hours = self.hours.closed_until(now);
        let works = off_hours.is_none() && self.could_have_answer(&figures, now);
        self.patience
            .note(now, self.answered, works || figures.in_flight > 0);
        let calls = self.live.values().filter_map(|child| child.called);
        self.view.send_replace(RunView {
            rate: self.pulse.rate(now, ended),
            figures,
            pause: self.run.pause_reason().cloned(),
            source_share: self.pages.share(),
            source_waits: self.pages.waits_for().cloned(),
            disk_full: self.disk.is_full(),
            starting: self.pool.ready() == 0,
            version: self.pool.version(),
            canary: self.pool.canary(),
            off_hours,
            oldest_call: calls.min(),
            idle_since: self.patience.idle_since(),
            capacity: self.pulse.capacity(),
            course: Arc::clone(&self.course),
        });
    }
}

fn ended(index: Index, generation: Generation, ending: Ending) -> Input {
    Input::Ended {
        index,
        generation,
        ending,
    }
}

fn failure_of_record(index: Index, error: RecordError, now: Timestamp) -> FailureRow {
    FailureRow {
        index,
        items: 1,
        id: None,
        error: error.error.to_owned(),
        cause: error.cause,
        attempts: 0,
        version: 0,
        payload: None,
        at: now,
        redo: 0,
    }
}

fn failure_of_damaged(
    index: Index,
    row: Option<&ChildRow>,
    cause: String,
    now: Timestamp,
) -> FailureRow {
    FailureRow {
        index,
        items: row.map_or(1, |row| row.items),
        id: row.and_then(|row| row.id.clone()),
        error: "Iterd.Damaged".to_owned(),
        cause,
        attempts: row.map_or(0, |row| row.attempts),
        version: row.and_then(|row| row.version).unwrap_or(0),
        payload: None,
        at: now,
        redo: row.map_or(0, |row| row.redo),
    }
}

fn failure_row(index: Index, child: Child, failure: Failure, now: Timestamp) -> FailureRow {
    FailureRow {
        index,
        items: child.items,
        id: child.id.map(Into::into),
        error: failure.error,
        cause: failure.cause,
        attempts: child.attempts,
        version: child.version,
        payload: Some(child.payload.text().to_owned()),
        at: now,
        redo: child.redo,
    }
}
