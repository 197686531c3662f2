//! The conductor's loop: a batch of what happened, one commit, what follows from it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    ExecutionEnd, Order,
    activities::Activities,
    agenda::Agenda,
    batch::{After, Batch, Item},
    functions::Functions,
    live::Live,
    map_run::MapRun,
    redrive::Redrive,
    runs::RunInput,
    services::{Elsewhere, Served, Whom, seats_taken},
};
use crate::{
    ids::{ExecutionId, FrameId, Generation, RunId},
    machine::{Effect, Input},
    payload::Failure,
    plugin::Answer,
    runtime::{Engine, RuntimeError, Seat, history::Bounds},
    store::{
        ActivityTaskRow, AwaitedRow, Change, Committed, Line, MachineChange, StoreError, TimerKind,
        TimerRow, TriggerChange,
    },
    time::Timestamp,
};

/// Inputs that share a commit.
const BATCH_MAX: usize = 256;

/// Children of Map Runs that one commit begins.
const BEGUN_MAX: u32 = 512;

/// Commits on their way; while so many are, what happens gathers.
const COMMITS_MAX: usize = 2;

/// Executions that are taken up at a time at the start.
const RESUMED_MAX: u32 = 512;

/// The conductor.
pub(super) struct Work {
    pub(super) engine: Engine,
    line: Line,
    bounds: Bounds,
    pub(super) live: HashMap<ExecutionId, Live>,
    /// Those that were loaded in this batch.
    pub(super) loaded: Vec<ExecutionId>,
    /// Those whose rows give no execution; left as they are.
    damaged: HashSet<ExecutionId>,
    /// What is to be stepped before anything new is taken.
    pub(super) queue: VecDeque<Item>,
    pub(super) agenda: Agenda,
    on_their_way: VecDeque<(Committed, After)>,
    /// Names of executions whose first commit is on its way.
    pub(super) beginning: HashMap<(String, String), ExecutionId>,
    pub(super) activities: Activities,
    /// Tasks that nobody took come back here; no more than workers wait.
    pub(super) back: mpsc::UnboundedSender<ActivityTaskRow>,
    returned: mpsc::UnboundedReceiver<ActivityTaskRow>,
    /// Tasks that wait for messages come back here, to ask again.
    pub(super) patient: mpsc::UnboundedSender<Box<Served>>,
    asking: mpsc::UnboundedReceiver<Box<Served>>,
    pub(super) functions: Functions,
    pub(super) elsewhere: Elsewhere,
    /// Tasks that nobody waits for any more.
    pub(super) withdrawn: Vec<Whom>,
    /// Map Runs under way.
    pub(super) runs: HashMap<RunId, MapRun>,
    /// Executions whose end a task waits for.
    pub(super) awaited: HashMap<ExecutionId, Vec<AwaitedRow>>,
    /// Running executions that count among those of a trigger.
    pub(super) seats: HashMap<ExecutionId, Seat>,
    /// Redrives that wait until an end is durable.
    pub(super) redrives: HashMap<ExecutionId, Vec<Redrive>>,
    /// Who waits for an end.
    pub(super) waiting: HashMap<ExecutionId, Vec<oneshot::Sender<ExecutionEnd>>>,
}

impl Work {
    pub(super) fn new(engine: Engine, answers: mpsc::UnboundedSender<Answer>) -> Self {
        let (back, returned) = mpsc::unbounded_channel();
        let (patient, asking) = mpsc::unbounded_channel();
        Self {
            line: engine.store().line(),
            bounds: Bounds::of(&engine.config().history),
            live: HashMap::new(),
            loaded: Vec::new(),
            damaged: HashSet::new(),
            queue: VecDeque::new(),
            agenda: Agenda::new(),
            on_their_way: VecDeque::new(),
            beginning: HashMap::new(),
            activities: Activities::default(),
            back,
            returned,
            patient,
            asking,
            functions: Functions::new(answers),
            elsewhere: Elsewhere::default(),
            withdrawn: Vec::new(),
            runs: HashMap::new(),
            awaited: HashMap::new(),
            // Why here: nobody serves a trigger yet.
            seats: seats_taken(&engine),
            redrives: HashMap::new(),
            waiting: HashMap::new(),
            engine,
        }
    }

    /// Works until the engine closes.
    pub(super) async fn work(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        answers: mpsc::UnboundedReceiver<Answer>,
    ) {
        self.work_through(&mut orders, answers).await;
        self.engine.reach().shut_down();
        self.functions.shut_down().await;
    }

    async fn work_through(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        mut answers: mpsc::UnboundedReceiver<Answer>,
    ) {
        let mut closing = self.engine.closing();
        let clock = Arc::clone(self.engine.clock());
        let mut taken = Vec::with_capacity(BATCH_MAX);
        let mut answered = Vec::with_capacity(BATCH_MAX);
        let mut asking = Vec::with_capacity(BATCH_MAX);
        if let Err(error) = self.resume() {
            tracing::error!(%error, "cannot take up the executions that were under way");
        }
        loop {
            let room = self.on_their_way.len() < COMMITS_MAX;
            if room && self.agenda.next() <= self.engine.now() {
                // Why here too: a timer of the runtime comes a millisecond late, and by then something
                // else may always be there.
                let outcome = self.take_due();
                self.recover(outcome).await;
            }
            // Why not biased: whatever comes without an end must not keep the others waiting.
            tokio::select! {
                durable = durable(&mut self.on_their_way) => {
                    let outcome = durable.map_err(RuntimeError::from);
                    let outcome = outcome.map(|after| self.carry_out(after));
                    self.recover(outcome).await;
                    // Why not a batch at once: the room is for what came meanwhile, too.
                    continue;
                }
                got = orders.recv_many(&mut taken, BATCH_MAX), if room => {
                    if got == 0 {
                        return;
                    }
                }
                Some(news) = self.functions.news(), if room => self.take_news(news),
                Some(outcome) = self.elsewhere.outcome(), if room => self.take_outcome(outcome),
                Some(row) = self.returned.recv(), if room => self.queue.push_back(Item::PutBack(row)),
                _ = self.asking.recv_many(&mut asking, BATCH_MAX), if room => {
                    self.queue.extend(asking.drain(..).map(Item::Service));
                }
                _ = answers.recv_many(&mut answered, BATCH_MAX), if room => {
                    for answer in answered.drain(..) {
                        self.take_answer(answer);
                    }
                }
                () = clock.wait_until(self.agenda.next()), if room => {
                    let outcome = self.take_due();
                    self.recover(outcome).await;
                }
                // Why it yields: timers come from the runtime, which has this thread alone.
                () = tokio::task::yield_now(), if room && !self.queue.is_empty() => {}
                () = until_true(&mut closing) => return,
            }
            if !(self.queue.is_empty() && taken.is_empty()) {
                let outcome = self.batch(&mut taken).await;
                self.recover(outcome).await;
            }
        }
    }

    /// Should a batch be refused, all that is in memory may be ahead of what is stored: it is let go of,
    /// and everything goes on from its last commit.
    async fn recover(&mut self, outcome: Result<(), RuntimeError>) {
        let Err(error) = outcome else {
            return;
        };
        tracing::error!(%error, "executions go on from their last commit");
        // Why: one that was sent before may be written still, and what is stored is read behind it.
        for (committed, _) in std::mem::take(&mut self.on_their_way) {
            // Why ok: one that was refused is what is recovered from.
            committed.await.ok();
        }
        self.line = self.engine.store().line();
        // Also those that nothing is written of: what they wait for was in the queue. Who waits is told.
        self.live.clear();
        self.waiting.clear();
        self.queue.clear();
        self.agenda = Agenda::new();
        self.beginning.clear();
        self.activities.forget();
        // Why: whoever is awake asks again.
        self.functions.withdraw_all();
        self.elsewhere.withdraw_all();
        self.runs.clear();
        self.redrives.clear();
        // Why before those that were taken are given back: nobody may come in between.
        self.seats = seats_taken(&self.engine);
        if let Err(error) = self.resume() {
            tracing::error!(%error, "cannot take up the executions that were under way");
        }
        // Why: what was on its way to a worker waits again, and nothing else would tell.
        let polled = self.activities.polled().cloned().map(Item::HandOut);
        self.queue.extend(polled);
    }

    /// Takes up what was under way when the last process ended.
    fn resume(&mut self) -> Result<(), RuntimeError> {
        self.resume_runs()?;
        self.resume_awaited()?;
        let mut behind = ExecutionId(0);
        loop {
            let store = self.engine.store().clone();
            let ids = store.awake_executions(behind, RESUMED_MAX)?;
            let Some(last) = ids.last() else {
                return Ok(());
            };
            behind = *last;
            for id in ids {
                self.push(id, Input::Interrupted);
                alone(self.look_after_runs(id))?;
            }
        }
    }

    pub(super) const fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn push(&mut self, execution: ExecutionId, input: Input) {
        self.queue.push_back(Item::Execution {
            execution,
            input,
            timer: None,
        });
    }

    /// Queues what is due.
    fn take_due(&mut self) -> Result<(), RuntimeError> {
        let (now, store) = (self.engine.now(), self.engine.store().clone());
        let due = self.agenda.due(&store, now)?;
        for row in due.volatile {
            if self.live.contains_key(&row.execution) {
                self.withdrawn
                    .push((row.execution, row.frame, row.generation));
                self.push(row.execution, due_input(&row));
            }
        }
        for row in due.stored {
            self.queue.push_back(Item::Execution {
                execution: row.execution,
                input: due_input(&row),
                timer: Some(row),
            });
        }
        Ok(())
    }

    /// Steps what is queued and what was ordered, and sends one commit.
    async fn batch(&mut self, orders: &mut Vec<Order>) -> Result<(), RuntimeError> {
        let now = self.engine.now();
        let mut batch = Batch {
            begin_max: BEGUN_MAX,
            ..Batch::default()
        };
        let queued = self.queue.len().min(BATCH_MAX);
        let mut queued: Vec<_> = self.queue.drain(..queued).collect();
        // Why before the others: its queue is asked with the services of this batch.
        let receives = orders.extract_if(.., |order| matches!(order, Order::Receive(_)));
        queued.extend(receives.filter_map(Order::received));
        let asked = self.ask_services(&mut queued, now).await?;
        for item in queued {
            alone(self.take_up(item, now, &mut batch))?;
        }
        for order in orders.drain(..) {
            self.obey(order, now, &mut batch)?;
        }
        self.step_runs(now, &mut batch)?;
        let changes = self.seal(&mut batch)?;
        self.let_go_of_loaded();
        let mut at_once = After::default();
        if asked.is_none() && changes.is_empty() && self.on_their_way.is_empty() {
            at_once.effects = std::mem::take(&mut batch.at_once);
        } else {
            // Why: what nothing is written of may have called a service, or begun an execution, in this commit or in
            // one that is on its way.
            batch.after.effects.append(&mut batch.at_once);
        }
        self.carry_out(at_once);
        if let Some(asked) = asked {
            let committed = asked.commit(changes);
            self.on_their_way.push_back((committed, batch.after));
        } else if changes.is_empty() && self.on_their_way.is_empty() {
            self.carry_out(batch.after);
        } else {
            // Why also an empty one: what is answered may rest on a commit that is on its way.
            let committed = self.line.commit(changes).await;
            self.on_their_way.push_back((committed, batch.after));
        }
        Ok(())
    }

    fn take_up(
        &mut self,
        item: Item,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        match item {
            Item::Execution {
                execution,
                input,
                timer,
            } => {
                let live = self.live.get(&execution);
                if let Some(row) = timer
                    && (self.activities.is_beating(&row)
                        || live.is_some_and(|live| live.has_renewed(&row)))
                {
                    // Why: its sign of life came in time, or its task was asked for again; the row that takes its
                    // place is on its way to the file.
                    batch.after.timers.push(row);
                    return Ok(());
                }
                let known = self.tell(execution, input, now, batch)?;
                if let Some(row) = &timer {
                    // Why before it is durable: whoever was asked is late in any case.
                    self.withdrawn.push((execution, row.frame, row.generation));
                }
                if self.damaged.contains(&execution) {
                    if let Some(row) = timer {
                        self.agenda.set_aside(row);
                    }
                    return Ok(());
                }
                if let Some(row) = timer {
                    if !known {
                        let frame = row.frame;
                        batch
                            .changes
                            .push(Change::RemoveTimers { execution, frame });
                    }
                    // Why: the row goes with the commit of this step.
                    batch.after.timers.push(row);
                }
                Ok(())
            }
            // Taken out before: what it was answered came instead.
            Item::Service(_) | Item::Receive(_) => Ok(()),
            Item::Received(received) => self.start_received(received, now, batch),
            Item::StartFor(served) => self.start_for(&served, now, batch),
            Item::AwaitedEnd(child) => self.tell_parent(child, now, batch),
            Item::Run(run, inputs) => {
                batch.runs.push_back((run, inputs));
                Ok(())
            }
            Item::HandOut(activity) => self.hand_out(&activity, now, batch),
            Item::PutBack(row) => self.put_back(row, batch),
            Item::StartRun {
                execution,
                frame,
                generation,
                request,
            } => self.begin_run(execution, (frame, generation), request, now, batch),
            Item::Redrive(asked) => self.redrive(asked, now, batch),
            Item::RedriveRun {
                execution,
                frame,
                generation,
            } => self.redrive_run(execution, (frame, generation), now, batch),
        }
    }

    fn obey(
        &mut self,
        order: Order,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), RuntimeError> {
        match order {
            Order::Start(start) => self.begin(*start, now, batch),
            // Taken out before: it waits among what is queued.
            Order::Receive(_) => Ok(()),
            Order::Limits { run, limits, done } => {
                let known = self.runs.contains_key(&run);
                if known {
                    batch.runs.push_back((run, vec![RunInput::Limits(limits)]));
                }
                batch.after.told.push((done, known));
                Ok(())
            }
            Order::Page { run, page } => {
                batch.runs.push_back((run, vec![RunInput::Page(page)]));
                Ok(())
            }
            Order::Tell { execution, input } => self.tell(execution, input, now, batch).map(drop),
            Order::Poll {
                activity,
                poll,
                taken,
            } => {
                let known = self.poll(&activity, poll, now, batch)?;
                taken.send(known).ok();
                Ok(())
            }
            Order::Answer {
                token,
                answer,
                done,
            } => {
                let known = self.answer(token, answer, now, batch)?;
                batch.after.told.push((done, known));
                Ok(())
            }
            Order::Redrive(asked) => self.redrive(asked, now, batch),
            Order::Stop {
                execution,
                error,
                cause,
                done,
            } => {
                let input = Input::Stop { error, cause };
                let known = self.tell(execution, input, now, batch)?;
                let ending = self.live.get(&execution).and_then(|live| live.row.stopped);
                let stopped = match (known, ending) {
                    (true, _) => Some(now),
                    (false, Some(at)) => Some(at),
                    (false, None) => {
                        let row = self.engine.store().execution(execution)?;
                        row.and_then(|row| row.stopped)
                    }
                };
                batch.after.stopped.push((done, stopped));
                Ok(())
            }
        }
    }

    /// Whether a frame waits for the answer to its task.
    pub(super) fn waits(
        &mut self,
        execution: ExecutionId,
        frame: FrameId,
        generation: Generation,
    ) -> Result<bool, RuntimeError> {
        let live = self.live(execution)?;
        Ok(live.is_some_and(|live| live.waits(frame, generation)))
    }

    /// An execution that is running.
    pub(super) fn live(
        &mut self,
        execution: ExecutionId,
    ) -> Result<Option<&mut Live>, RuntimeError> {
        if !self.live.contains_key(&execution) {
            if self.damaged.contains(&execution) {
                return Ok(None);
            }
            let processor = |run| self.runs.get(&run)?.definition();
            let live = match Live::load(&self.engine, execution, processor) {
                Err(error @ RuntimeError::Damaged { .. }) => {
                    // Why alone: the others have nothing to do with what is wrong with it.
                    tracing::error!(%error, "an execution cannot go on");
                    self.damaged.insert(execution);
                    return Ok(None);
                }
                loaded => loaded?,
            };
            let Some(live) = live else {
                return Ok(None);
            };
            self.live.insert(execution, live);
            self.loaded.push(execution);
        }
        let live = self.live.get_mut(&execution);
        Ok(live.filter(|live| !live.has_ended()))
    }

    /// Steps an execution; whether it was running.
    pub(super) fn tell(
        &mut self,
        execution: ExecutionId,
        input: Input,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, RuntimeError> {
        let bounds = self.bounds;
        let Some(live) = self.live(execution)? else {
            return Ok(false);
        };
        if !live.touched {
            batch.touched.push(execution);
        }
        let volatile = live.volatile;
        let mut effects = live.step(input, now);
        if live.is_full(bounds) {
            effects.extend(live.step(Input::HistoryFull, now));
        }
        if let Some((run, index)) = live.row.child_of
            && live.has_ended()
        {
            batch
                .runs
                .push_back((run, vec![RunInput::Ended(index, execution)]));
        }
        for effect in effects {
            if matches!(effect, Effect::Continue) {
                // Why before it is durable: nobody outside sees it, and what comes of it is in a later
                // commit of the same line.
                self.push(execution, Input::Continue);
            } else if volatile {
                batch.at_once.push((execution, effect));
            } else {
                batch.after.effects.push((execution, effect));
            }
        }
        Ok(true)
    }

    /// Everything that is to be written of a batch.
    fn seal(&mut self, batch: &mut Batch) -> Result<Vec<Change>, RuntimeError> {
        let mut changes = std::mem::take(&mut batch.changes);
        let now = self.engine.now();
        for run in batch.stepped.drain(..) {
            if let Some(run) = self.runs.get_mut(&run)
                && run.touched
            {
                run.take_changes(now, &mut changes);
            }
        }
        let mut ended = false;
        for execution in batch.touched.drain(..) {
            let Some(live) = self.live.get_mut(&execution) else {
                continue;
            };
            if live.volatile {
                for logged in live.take_logged() {
                    logged.write();
                }
                live.touched = false;
                for row in live.take_volatile_timers() {
                    self.agenda.put_volatile(row);
                }
                continue;
            }
            live.take_changes(
                &self.engine,
                self.bounds,
                &mut changes,
                &mut batch.after.due,
            )?;
            batch.after.logged.extend(live.take_logged());
            live.commits += 1;
            if live.has_ended() {
                ended = true;
                if self.seats.contains_key(&execution) {
                    changes.push(TriggerChange::Ended(execution).into());
                }
            }
            batch.after.executions.push(execution);
        }
        if ended {
            // A machine that is to go may have waited for it.
            changes.push(MachineChange::FinishDeletes.into());
        }
        Ok(changes)
    }
}

/// What is damaged is told, and left as it is: the others have nothing to do with it.
pub(super) fn alone(outcome: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    if let Err(error @ RuntimeError::Damaged { .. }) = outcome {
        tracing::error!(%error, "something of an execution cannot go on");
        return Ok(());
    }
    outcome
}

async fn until_true(watched: &mut watch::Receiver<bool>) {
    // Why ok: the engine goes only behind whoever works for it.
    watched.wait_for(|closing| *closing).await.ok();
}

/// What a timer that is due says to its execution.
fn due_input(row: &TimerRow) -> Input {
    let (frame, generation) = (row.frame, row.generation);
    let late = |error: &str| Input::TaskFailed {
        frame,
        generation,
        failure: Failure::new(error, ""),
    };
    match row.kind {
        TimerKind::Wake => Input::Woken { frame, generation },
        TimerKind::Timeout => late("States.Timeout"),
        TimerKind::Heartbeat => late("States.HeartbeatTimeout"),
        TimerKind::Deadline => Input::TimedOut,
    }
}

/// What is to be done after the next commit that has become durable; waits for ever where none is on
/// its way. Cancelling loses nothing.
async fn durable(commits: &mut VecDeque<(Committed, After)>) -> Result<After, StoreError> {
    std::future::poll_fn(|context| poll(commits, context)).await
}

fn poll(
    commits: &mut VecDeque<(Committed, After)>,
    context: &mut Context<'_>,
) -> Poll<Result<After, StoreError>> {
    let Some((committed, _)) = commits.front_mut() else {
        return Poll::Pending;
    };
    let outcome = ready!(Pin::new(committed).poll(context));
    let after = commits.pop_front().map(|(_, after)| after);
    Poll::Ready(outcome.map(|()| after.unwrap_or_default()))
}
