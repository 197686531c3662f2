//! The task of one worker process: its pipes, its calls, its deadlines, its end.
//!
//! It starts the process, waits until it is ready, writes calls and reads answers, and when the
//! process ends it says what became of each call inside. Writing and reading are one task, so that
//! a full pipe in one direction never stops the other.
//!
//! **Who is to blame for a death.** A call that the worker never read (its bytes are still in the
//! pipe) is not. Of those it had read: if there is one, it fails with `Iterd.WorkerExited`; if there
//! are several, all are interrupted and become suspects, which the [roster](super::pool) runs alone
//! next time. A worker that was asked to end from outside (SIGTERM, SIGINT, SIGHUP: how service
//! managers stop a daemon with all its children) interrupts its calls; a suspect that was alone when
//! this happened a second time is blamed, so that a handler that kills itself ends in a failure.
//! A time-out blames the calls whose time is over; an answer beyond the bound its call.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use compact_str::CompactString;
use rustix::{fd::OwnedFd, process::Signal};
use tokio::{io::unix::AsyncFd, net::unix::pipe, sync::mpsc::UnboundedReceiver};

use super::{
    Answer, Call, Event, ItemRef, Outcome, Version, host,
    lines::{Lines, LogBudget, Tail},
    pool::{End, Shared, WorkerId},
    process::Process,
    procfs, protocol,
};
use crate::{
    ids::Generation,
    payload::{Failure, Payload},
};

mod composed;
mod end;
mod output;
mod start;

use composed::Composed;
use output::read_now;

pub(crate) use start::{run, watched};

/// A worker that must prove itself and does not say `{"ready": true}` is looked at when it has lived
/// this long, and gets its first call when two looks in a row find that it waits for something: a
/// missing file or a syntax error ends a program before it comes to that, however busy the machine is.
const PROBATION: Duration = Duration::from_millis(400);

/// From one look to the next.
const PROBATION_LOOK: Duration = Duration::from_millis(100);

/// A worker that is always busy gets its first call after this long.
const PROBATION_MAX: Duration = Duration::from_secs(10);

/// A worker that ends sooner, and never read a call, did not really start, whatever it seemed to:
/// on a busy machine the probation is short.
const SETTLED: Duration = Duration::from_secs(10);

/// Longest way from the start to being ready: some handlers load models of gigabytes; what hangs is
/// found out within the hour that somebody watches a new version.
const START_MAX: Duration = Duration::from_mins(5);

/// A worker that has closed its output or its input, or was asked to end by the end of its input,
/// has this long to go by itself.
const LEAVE: Duration = Duration::from_secs(5);

/// A worker that was asked to end by SIGTERM when no shutdown says how long, has this long.
const TERMINATE: Duration = Duration::from_secs(5);

/// A killed process that has not ended after this long (it hangs in the kernel, on a dead network
/// file system) is given up: its calls are answered, and it is reaped when it ends.
const UNKILLABLE: Duration = Duration::from_secs(10);

/// Reads of what a dead worker left in its pipe: with 64 KiB each, more than a pipe holds.
const DRAIN_READS_MAX: u32 = 32;

/// Where a handler is within a long item is passed on this often: a crash costs it so much of its way.
const CURSOR_EVERY: Duration = Duration::from_millis(200);

/// Items that a log line names at most.
const LOG_ITEMS_MAX: usize = 16;

/// Gives memory of the write buffer back beyond this.
const PENDING_KEPT: usize = 1 << 20;

/// What the pool wants of a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// Work on these; `alone` if it is one suspect.
    HandOver { calls: Vec<Call>, alone: bool },
    /// End after what is in flight.
    Retire,
    /// As [`Order::Retire`], but ask to end at `finish`, and kill after `grace`.
    Stop {
        finish: tokio::time::Instant,
        grace: Duration,
    },
    /// End at once.
    Kill,
}

/// Who a worker is, and whom it reports to.
pub(crate) struct Post {
    pub(crate) id: WorkerId,
    pub(crate) version: Arc<Version>,
    pub(crate) shared: Arc<Shared>,
}

/// A call inside the worker, without its payload.
struct Flight {
    generation: Generation,
    item: ItemRef,
    key: CompactString,
    timeout: Duration,
    deadline: Option<Instant>,
    /// When it has to have given a further sign of life.
    sign_by: Option<Instant>,
    /// Where it is within its item and was not passed on yet.
    cursor: Option<Payload>,
    /// When such a place was passed on last.
    cursor_told: Option<Instant>,
    /// Where its line begins in all that was ever written to the worker.
    offset: u64,
    alone: bool,
}

impl Flight {
    /// When its time is over, one way or the other.
    fn due(&self) -> Option<Instant> {
        [self.deadline, self.sign_by].into_iter().flatten().min()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The launcher has not reported yet.
    Launching,
    /// The program runs, and will say when it is ready.
    Warming,
    /// The program runs, and counts as ready when it has lived for a while.
    Proving,
    /// It takes calls.
    Live,
}

/// Why the pool ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// Retired, or the pool stops.
    Wanted,
    /// A call's time was over.
    TimedOut,
    /// A line without end; the call that it claims to answer.
    TooLarge(Option<u64>),
    /// It has closed a pipe and went on living.
    Silent,
    /// It was not ready in time.
    StartTooSlow,
}

/// The next step towards the end of the process.
#[derive(Debug, Clone, Copy)]
enum Step {
    Terminate,
    Kill(Kill),
    GiveUp,
}

enum Wake {
    Order(Option<Order>),
    Readable,
    LogReadable,
    Writable,
    Timer,
    Ended,
}

struct Worker {
    post: Post,
    process: Process,
    end: AsyncFd<OwnedFd>,
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    out: Lines,
    err: Lines,
    tail: Tail,
    budget: LogBudget,
    /// Bytes for the worker; those before `written` have gone.
    pending: Vec<u8>,
    written: usize,
    /// Bytes that have gone since the start.
    written_total: u64,
    flights: HashMap<u64, Flight>,
    /// Not later than the earliest deadline in `flights`.
    next_deadline: Option<Instant>,
    began: Instant,
    phase: Phase,
    /// When the phase ends by itself: the probation, or the longest start.
    phase_ends: Option<Instant>,
    /// When its program began, while it proves itself, and what it had computed at the last look.
    proving: Option<(Instant, Option<u64>)>,
    refused: Option<String>,
    /// What the handler itself said of why it does not start.
    init_error: Option<Failure>,
    answered: bool,
    retiring: bool,
    finish: Option<Instant>,
    grace: Duration,
    step: Option<(Instant, Step)>,
    killed: Option<Kill>,
    /// Answers to calls that were taken out of `flights` and wait for the process to be gone.
    verdicts: Vec<Answer>,
}

impl Worker {
    /// Works until the process is gone.
    async fn work(mut self, orders: &mut UnboundedReceiver<Order>) -> (End, Vec<Answer>) {
        let mut open = true;
        loop {
            match self.wake(orders, open).await {
                Wake::Order(Some(order)) => self.obey(order),
                Wake::Order(None) => {
                    open = false;
                    self.kill(Kill::Wanted);
                }
                Wake::Readable => self.read_answers(pipe::Receiver::try_read),
                Wake::LogReadable => self.read_log(pipe::Receiver::try_read),
                Wake::Writable => self.write(),
                Wake::Ended => return self.finish(),
                Wake::Timer => {
                    // Answers that have come count, however late we look.
                    self.read_answers(read_now);
                    if self.on_time(Instant::now()) {
                        return self.finish();
                    }
                }
            }
        }
    }

    async fn wake(&self, orders: &mut UnboundedReceiver<Order>, open: bool) -> Wake {
        let timer = [
            self.next_deadline,
            self.phase_ends,
            self.finish,
            self.step.map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min();
        // Why not biased: a worker that floods one pipe must not keep the others from their turn.
        tokio::select! {
            order = orders.recv(), if open => Wake::Order(order),
            () = readable(self.stdout.as_ref()) => Wake::Readable,
            () = readable(self.stderr.as_ref()) => Wake::LogReadable,
            () = writable(self.stdin.as_ref()), if !self.pending.is_empty() => Wake::Writable,
            () = until(timer) => Wake::Timer,
            _ = self.end.readable() => Wake::Ended,
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::HandOver { calls, alone } => self.hand_over(calls, alone),
            Order::Retire => self.retiring = true,
            Order::Stop { finish, grace } => {
                self.retiring = true;
                self.finish = Some(finish.into_std());
                self.grace = grace;
                if self.killed.is_none() {
                    self.step = None;
                }
            }
            Order::Kill => self.kill(Kill::Wanted),
        }
        self.leave_if_idle();
    }

    fn hand_over(&mut self, calls: Vec<Call>, alone: bool) {
        let now = Instant::now();
        let Composed {
            mut calls,
            together,
            refused,
        } = Composed::of(&self.post, calls);
        let manifest = &self.post.version.manifest;
        let batch = manifest.batch.get() > 1;
        if let Some(own) = host::time_of_each_call(manifest) {
            for call in &mut calls {
                call.timeout = Some(call.timeout.map_or(own, |timeout| timeout.min(own)));
            }
        }
        // Why the same for all: a batch is read whole, or not.
        let begin = self.pending.len();
        if batch && !calls.is_empty() {
            protocol::encode_batch(&calls, together.as_ref(), &mut self.pending);
        }
        for call in calls {
            let end = if batch { begin } else { self.pending.len() };
            let unwritten = end - self.written;
            let deadline = call.timeout.and_then(|timeout| now.checked_add(timeout));
            let heartbeat = self.post.version.manifest.heartbeat;
            let sign_by = heartbeat.and_then(|heartbeat| now.checked_add(heartbeat));
            let flight = Flight {
                generation: call.generation,
                item: ItemRef {
                    index: call.index,
                    id: call.id.clone(),
                },
                key: call.key.clone(),
                timeout: call.timeout.unwrap_or_default(),
                deadline,
                sign_by,
                cursor: None,
                cursor_told: None,
                offset: self.written_total + unwritten as u64,
                alone,
            };
            let deadlines = [self.next_deadline, deadline, sign_by];
            self.next_deadline = deadlines.into_iter().flatten().min();
            if !batch {
                protocol::encode(&call, &mut self.pending);
            }
            self.flights.insert(call.ticket, flight);
        }
        self.write();
        if !refused.is_empty() {
            self.post.shared.answered(self.post.id, refused);
        }
    }

    fn write(&mut self) {
        let Some(stdin) = &self.stdin else {
            self.pending.clear();
            return;
        };
        while self.written < self.pending.len() {
            match stdin.try_write(&self.pending[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.written_total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Why here: a worker that always lags behind never empties the buffer.
                    if self.written > PENDING_KEPT {
                        self.pending.drain(..self.written);
                        self.written = 0;
                    }
                    return;
                }
                // It reads no more. The pipe is kept, because it tells what was read.
                Err(_) => {
                    self.expect_end(Kill::Silent);
                    break;
                }
            }
        }
        self.written = 0;
        self.pending.clear();
        self.pending.shrink_to(PENDING_KEPT);
    }

    fn go_live(&mut self) {
        self.phase = Phase::Live;
        self.phase_ends = None;
        self.post.shared.tell(Event::WorkerStarted {
            pid: self.process.pid(),
            version: self.post.version.number,
        });
        self.post.shared.started(self.post.id);
    }

    /// Does what is due; whether the process is given up.
    fn on_time(&mut self, now: Instant) -> bool {
        let due = |at: &Instant| *at <= now;
        if self.next_deadline.is_some_and(|at| due(&at)) {
            self.expire(now);
        }
        if self.phase_ends.take_if(|at| due(at)).is_some() {
            match self.phase {
                Phase::Proving => {
                    if self.rests(now) {
                        self.go_live();
                    } else {
                        self.phase_ends = Some(now + PROBATION_LOOK);
                    }
                }
                Phase::Launching | Phase::Warming | Phase::Live => self.kill(Kill::StartTooSlow),
            }
        }
        if self.finish.take_if(|at| due(at)).is_some() {
            self.terminate();
        }
        match self.step.take_if(|(at, _)| due(at)) {
            Some((_, Step::Terminate)) => self.terminate(),
            Some((_, Step::Kill(reason))) => self.kill(reason),
            Some((_, Step::GiveUp)) => return true,
            None => {}
        }
        false
    }

    /// Whether the program waits for something, and did so when it was looked at before; or there is no
    /// telling.
    fn rests(&mut self, now: Instant) -> bool {
        let (since, before) = self.proving.unwrap_or((now, None));
        let Ok(found) = procfs::resting(self.process.pid()) else {
            return true;
        };
        self.proving = Some((since, found));
        let rests = found.is_some() && found == before;
        rests || now.duration_since(since) >= PROBATION_MAX
    }

    /// Fails the calls whose time is over, and kills the worker.
    fn expire(&mut self, now: Instant) {
        self.next_deadline = None;
        if self.killed.is_some() {
            return;
        }
        let expired: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.due().is_some_and(|at| at <= now))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in &expired {
            if let Some(mut flight) = self.flights.remove(ticket) {
                self.pass_cursor_on(*ticket, &mut flight);
                let failure = self.late(&flight, now);
                self.verdicts
                    .push(self.answer(*ticket, &flight, Outcome::Failed(failure)));
            }
        }
        self.next_deadline = self.flights.values().filter_map(Flight::due).min();
        if !expired.is_empty() {
            self.kill(Kill::TimedOut);
        }
    }

    /// What a call fails with whose time is over.
    fn late(&self, flight: &Flight, now: Instant) -> Failure {
        let killed = "the worker and all that it had started were killed";
        match self.post.version.manifest.heartbeat {
            Some(heartbeat) if flight.deadline.is_none_or(|at| at > now) => Failure::new(
                "States.HeartbeatTimeout",
                format!("no sign of life for {heartbeat:?}; {killed}"),
            ),
            Some(_) | None => {
                let timeout = flight.timeout;
                let cause = format!("no answer within {timeout:?} of the hand-over; {killed}");
                Failure::new("States.Timeout", cause)
            }
        }
    }

    /// A call gave a sign of life, and may have said where it is.
    fn take_heartbeat(&mut self, ticket: u64, cursor: Option<Payload>) {
        let now = Instant::now();
        let heartbeat = self.post.version.manifest.heartbeat;
        let Some(flight) = self.flights.get_mut(&ticket) else {
            return;
        };
        flight.sign_by = heartbeat.and_then(|heartbeat| now.checked_add(heartbeat));
        flight.cursor = cursor.or(flight.cursor.take());
        // Why not each: a place is written to disk, and a handler may have thousands a second.
        let waits = |told: Instant| now.duration_since(told) < CURSOR_EVERY;
        if flight.cursor.is_none() || flight.cursor_told.is_some_and(waits) {
            return;
        }
        if let Some(mut flight) = self.flights.remove(&ticket) {
            flight.cursor_told = Some(now);
            self.pass_cursor_on(ticket, &mut flight);
            self.flights.insert(ticket, flight);
        }
    }

    /// Tells where a call is, if that was not told yet.
    fn pass_cursor_on(&self, ticket: u64, flight: &mut Flight) {
        if let Some(cursor) = flight.cursor.take() {
            let outcome = Outcome::Reached(cursor);
            self.post
                .shared
                .pass_on(self.answer(ticket, flight, outcome));
        }
    }

    fn leave_if_idle(&mut self) {
        if self.retiring && self.flights.is_empty() && self.step.is_none() && self.killed.is_none()
        {
            // The end of its input: how a loop over lines ends in any language.
            self.stdin = None;
            self.pending.clear();
            self.finish = None;
            let patience = LEAVE.min(self.grace / 2);
            self.step = Some((Instant::now() + patience, Step::Terminate));
        }
    }

    /// The process has done what comes before its end; it is killed if that does not follow.
    fn expect_end(&mut self, reason: Kill) {
        if self.step.is_none() {
            self.step = Some((Instant::now() + LEAVE, Step::Kill(reason)));
        }
    }

    fn terminate(&mut self) {
        self.process.signal(Signal::TERM);
        self.step = Some((Instant::now() + self.grace, Step::Kill(Kill::Wanted)));
    }

    fn kill(&mut self, reason: Kill) {
        self.killed.get_or_insert(reason);
        self.process.signal(Signal::KILL);
        self.step = Some((Instant::now() + UNKILLABLE, Step::GiveUp));
    }

    fn answer(&self, ticket: u64, flight: &Flight, outcome: Outcome) -> Answer {
        Answer {
            ticket,
            generation: flight.generation,
            version: self.post.version.number,
            outcome,
        }
    }
}

async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        // An error shows again when the pipe is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

async fn writable(pipe: Option<&pipe::Sender>) {
    match pipe {
        Some(pipe) => drop(pipe.writable().await),
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
