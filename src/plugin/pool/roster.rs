//! Who works on what: the pool's decisions, without any of its input and output.
//!
//! Calls go to the least loaded worker with room. There are as many workers as calls under way or
//! wanted, at least one and at most as many as the version allows; they are started when first
//! needed and kept. A version that has never started gets one worker until it has.
//!
//! **Finding a record that kills its worker.** A worker that dies with one call inside names the
//! culprit. With several inside, nobody is blamed: all are interrupted, and their keys become
//! *suspects*. A suspect runs alone: the least loaded worker is reserved, emptied, and given one
//! suspect at a time, while the others go on. So the culprit is found at its next try, the innocent
//! lose one try that does not count, and a key stays suspect until something answers for it.
//!
//! **A version that proves itself.** Where a deploy asks for it, a new version is a [canary](super::canary)
//! first: its workers take some of the calls beside those of the version in force, and it is promoted or
//! given up by what came of them.
//!
//! Invariant: a call is in exactly one place: waiting here, or in one worker, or answered.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use compact_str::CompactString;

use super::{
    super::{Answer, Call, Event, Version},
    canary::{Canary, Route},
};
use crate::payload::Failure;

mod rollout;

pub(crate) use rollout::Renewal;
pub use rollout::Rollout;

/// The first restart of a worker that died without having answered anything waits this long; each
/// further one twice as long. A Python interpreter takes about as long to start.
const RESTART_FIRST: Duration = Duration::from_millis(100);
/// And at most this long: what a repaired environment costs in waiting.
const RESTART_MAX: Duration = Duration::from_secs(10);

/// Failed starts in a row after which a version counts as one that cannot start. One may be bad
/// luck (memory was short), three are not.
const START_TRIES: u32 = 3;

/// Keys that are remembered as suspects. The oldest is forgotten first; it then costs one more
/// interruption. Larger than any pool's calls under way in practice.
const SUSPECTS_MAX: usize = 4096;

/// Names a worker within its pool, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub(crate) u64);

/// What the roster wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Start a worker, after a while.
    Start {
        worker: WorkerId,
        version: Arc<Version>,
        after: Duration,
    },
    /// Give calls to a worker; `alone` if it is a suspect.
    HandOver {
        worker: WorkerId,
        calls: Vec<Call>,
        alone: bool,
    },
    /// Let a worker finish what it holds, and end.
    Retire(WorkerId),
    /// End a worker that holds nothing.
    Kill(WorkerId),
    /// Nothing more will be asked of a worker: it is gone.
    Forget(WorkerId),
    /// Answer calls that no worker ever got as interrupted.
    Interrupt(Vec<Call>),
    /// Tell people.
    Tell(Event),
}

/// How a worker ended.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) pid: Option<u32>,
    /// For people.
    pub(crate) how: String,
    /// It was ready for calls at some time, and not only for a moment.
    pub(crate) started: bool,
    /// It answered a call at some time.
    pub(crate) answered: bool,
    /// The pool wanted it.
    pub(crate) expected: bool,
    /// Keys of the calls of which one may have killed it.
    pub(crate) suspects: Vec<CompactString>,
    /// What the handler itself said of why it does not start.
    pub(crate) failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Serves the current version.
    Current,
    /// Proves that a deployed version starts.
    Candidate,
    /// Finishes what it holds.
    Retired,
}

#[derive(Debug)]
struct Worker {
    version: Arc<Version>,
    duty: Duty,
    /// Ready for calls.
    live: bool,
    /// Calls in it.
    load: u32,
    /// How many of each batch in it are not answered yet; empty where calls come one by one.
    batches: Vec<Batch>,
    /// Takes nothing but suspects.
    reserved: bool,
    /// The suspect in it.
    suspect: Option<CompactString>,
    /// Its version has not proved itself: what it fails counts as no attempt.
    unproven: bool,
}

/// Calls that were handed over together.
#[derive(Debug)]
struct Batch {
    tickets: HashSet<u64>,
}

#[derive(Debug)]
struct Candidate {
    version: Arc<Version>,
    tries: u32,
    /// A worker of it was ready elsewhere, so that its own need not prove it again.
    proven: bool,
    rollout: Rollout,
    /// What it has shown so far, once one of its workers was ready and it has to prove itself.
    canary: Option<Canary>,
    /// Deaths of its workers in a row without an answer in between.
    deaths: u32,
    /// It is the version in force, with other secrets.
    renewal: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Roster {
    concurrency: NonZeroU32,
    current: Arc<Version>,
    candidate: Option<Candidate>,
    workers: BTreeMap<WorkerId, Worker>,
    next_id: u64,
    waiting: VecDeque<Call>,
    waiting_suspects: VecDeque<Call>,
    /// What only the canary is to take.
    waiting_canary: VecDeque<Call>,
    suspects: Suspects,
    /// The current version has started at some time.
    proven: bool,
    /// Starts of the current version that failed in a row.
    failed_starts: u32,
    /// Deaths in a row without an answer of anybody in between.
    deaths: u32,
    /// Calls that somebody would submit if there were room; the most that was ever said.
    wanted: u32,
    /// What became of the last renewal.
    renewal: Renewal,
    stopped: bool,
}

impl Roster {
    /// A pool of one version; `concurrency` is the number of workers where the manifest names none.
    pub(crate) fn new(
        version: Arc<Version>,
        concurrency: NonZeroU32,
        out: &mut Vec<Effect>,
    ) -> Self {
        let mut roster = Self {
            concurrency,
            current: version,
            candidate: None,
            workers: BTreeMap::new(),
            next_id: 0,
            waiting: VecDeque::new(),
            waiting_suspects: VecDeque::new(),
            waiting_canary: VecDeque::new(),
            suspects: Suspects::default(),
            proven: false,
            failed_starts: 0,
            deaths: 0,
            wanted: 0,
            renewal: Renewal::Idle,
            stopped: false,
        };
        roster.staff(out);
        roster
    }

    pub(crate) fn current(&self) -> &Arc<Version> {
        &self.current
    }

    /// Calls that the current version can hold at a time.
    pub(crate) fn capacity(&self) -> usize {
        let calls = self
            .workers_max()
            .saturating_mul(self.current.manifest.calls_in_worker());
        usize::try_from(calls).unwrap_or(usize::MAX)
    }

    /// Calls that may be under way now: what ready workers can hold, and what retired ones still do.
    pub(crate) fn ready(&self) -> usize {
        let serves = self.serving() == Duty::Current;
        let calls = self.workers.values().map(|worker| match worker.duty {
            Duty::Current if serves && worker.live => worker.version.manifest.calls_in_worker(),
            Duty::Current if serves => 0,
            // Why its load: what a canary has taken leaves room with the others.
            Duty::Current | Duty::Candidate | Duty::Retired => worker.load,
        });
        let calls: usize = calls.map(|calls| calls as usize).sum();
        calls + self.room_alone()
    }

    /// Somebody has so many calls, with those under way, and waits for workers that are ready.
    pub(crate) fn want(&mut self, calls: u32, out: &mut Vec<Effect>) {
        self.wanted = self.wanted.max(calls);
        if !self.stopped {
            self.staff(out);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Whether a worker of this version has been ready before in this pool.
    pub(crate) fn is_proven(&self, version: &Version) -> bool {
        let candidate = self.candidate.as_ref();
        if candidate.is_some_and(|it| it.renewal && is_same(&it.version, version)) {
            // With other secrets it may well not start.
            return false;
        }
        (self.proven && is_same(&self.current, version))
            || candidate.is_some_and(|it| it.proven && is_same(&it.version, version))
    }

    pub(crate) fn submit(&mut self, calls: Vec<Call>, out: &mut Vec<Effect>) {
        if self.stopped {
            out.push(Effect::Interrupt(calls));
            return;
        }
        for call in calls {
            if self.suspects.contains(&call.key) {
                self.waiting_suspects.push_back(call);
            } else if self.canary().is_some_and(|it| it.is_for_canary(&call)) {
                self.waiting_canary.push_back(call);
            } else {
                self.waiting.push_back(call);
            }
        }
        self.assign(out);
    }

    /// Takes calls out that no worker has, and answers which.
    pub(crate) fn withdraw(&mut self, tickets: &HashSet<u64>, out: &mut Vec<Effect>) -> Vec<u64> {
        let mut taken = Vec::new();
        for waiting in [
            &mut self.waiting,
            &mut self.waiting_suspects,
            &mut self.waiting_canary,
        ] {
            waiting.retain(|call| {
                let wanted = !tickets.contains(&call.ticket);
                if !wanted {
                    taken.push(call.ticket);
                }
                wanted
            });
        }
        // Why: a worker may be kept free for one of them.
        self.assign(out);
        taken
    }

    /// The number of workers where the manifest names none is another one from now on.
    pub(crate) fn set_concurrency(&mut self, concurrency: NonZeroU32, out: &mut Vec<Effect>) {
        self.concurrency = concurrency;
        self.assign(out);
    }

    /// Somebody says that what kept workers from starting was mended: if it was not, that is told
    /// again.
    pub(crate) fn forgive(&mut self) {
        self.failed_starts = 0;
    }

    /// A worker is ready for calls.
    pub(crate) fn started(&mut self, id: WorkerId, out: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.live = true;
        match worker.duty {
            Duty::Current => self.proven = true,
            Duty::Candidate => self.candidate_started(out),
            Duty::Retired => {}
        }
        self.assign(out);
    }

    /// A worker answered some of its calls.
    pub(crate) fn answered(&mut self, id: WorkerId, answers: &mut [Answer], out: &mut Vec<Effect>) {
        let calls = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.load = worker.load.saturating_sub(calls);
            worker.settle(answers);
            if let Some(key) = worker.suspect.take() {
                self.suspects.remove(&key);
            }
            if worker.duty == Duty::Current {
                self.deaths = 0;
                self.failed_starts = 0;
            }
        }
        self.learn(id, answers, out);
        self.assign(out);
    }

    /// A worker is gone; these are the answers to what it held.
    pub(crate) fn ended(
        &mut self,
        id: WorkerId,
        end: End,
        answers: &mut [Answer],
        out: &mut Vec<Effect>,
    ) {
        let duty = self.workers.get(&id).map(|worker| worker.duty);
        // Why before the answers: they tell no more which calls were first tries.
        if duty == Some(Duty::Candidate) && !end.suspects.is_empty() {
            self.canary_died(&end, out);
        }
        self.learn(id, answers, out);
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        for key in &end.suspects {
            self.suspects.insert(key.clone());
        }
        let failed_start = !end.started && !end.expected;
        if worker.duty == Duty::Current && !end.expected {
            self.deaths = if end.answered {
                0
            } else {
                self.deaths.saturating_add(1)
            };
            self.failed_starts = if failed_start {
                self.failed_starts.saturating_add(1)
            } else {
                0
            };
            self.proven &= !failed_start;
        }
        let restart_after = match (&self.candidate, worker.duty) {
            (Some(candidate), Duty::Candidate) if candidate.canary.is_none() => {
                restart_delay(candidate.tries)
            }
            (Some(candidate), Duty::Candidate) => restart_delay(candidate.deaths),
            _ => restart_delay(self.deaths),
        };
        out.push(Effect::Tell(Event::WorkerEnded {
            pid: end.pid,
            version: worker.version.number,
            how: end.how.clone(),
            expected: end.expected,
            restart_after,
        }));
        match worker.duty {
            Duty::Candidate if !self.stopped => self.candidate_ended(end, out),
            Duty::Current if failed_start && self.failed_starts == START_TRIES => {
                out.push(Effect::Tell(Event::CannotStart {
                    version: worker.version.number,
                    cause: end.how,
                    failure: end.failure,
                }));
            }
            Duty::Candidate | Duty::Current | Duty::Retired => {}
        }
        self.assign(out);
    }

    /// Hands nothing over any more; what waits is interrupted.
    pub(crate) fn stop(&mut self, out: &mut Vec<Effect>) {
        self.stopped = true;
        self.candidate = None;
        let mut calls: Vec<Call> = self.waiting.drain(..).collect();
        calls.extend(self.waiting_suspects.drain(..));
        calls.extend(self.waiting_canary.drain(..));
        out.push(Effect::Interrupt(calls));
    }

    fn assign(&mut self, out: &mut Vec<Effect>) {
        if self.stopped {
            return;
        }
        self.assign_suspect(out);
        let mut batches: BTreeMap<WorkerId, Vec<Call>> = BTreeMap::new();
        self.assign_canary(&mut batches);
        while let Some(call) = self.waiting.pop_front() {
            if self
                .canary()
                .is_some_and(|it| it.route(&call) == Route::Canary)
                && let Some(id) = self.canary_taker(&call)
            {
                batches.entry(id).or_default().push(call);
                continue;
            }
            let serves = self.serving() == Duty::Current;
            let Some((id, worker)) = self.least_loaded(Duty::Current, |worker| {
                serves && !worker.reserved && worker.has_room()
            }) else {
                self.waiting.push_front(call);
                break;
            };
            let more = worker.version.manifest.batch.get() as usize - 1;
            let mut taken = vec![call];
            taken.extend(self.waiting.drain(..more.min(self.waiting.len())));
            self.put_in(id, &taken);
            if let Some(canary) = self.canary_mut() {
                for call in &taken {
                    canary.pass(call);
                }
            }
            if more > 0 {
                out.push(Effect::HandOver {
                    worker: id,
                    calls: taken,
                    alone: false,
                });
            } else {
                batches.entry(id).or_default().extend(taken);
            }
        }
        out.extend(batches.into_iter().map(|(worker, calls)| Effect::HandOver {
            worker,
            calls,
            alone: false,
        }));
        self.staff(out);
    }

    fn assign_suspect(&mut self, out: &mut Vec<Effect>) {
        if self.waiting_suspects.is_empty() {
            for worker in self.workers.values_mut().filter(|worker| worker.load == 0) {
                worker.reserved = false;
            }
            return;
        }
        let duty = self.serving();
        let reserved = self
            .workers
            .values()
            .any(|worker| worker.takes_calls(duty) && worker.reserved);
        let Some((id, worker)) = self.least_loaded(duty, |worker| worker.reserved || !reserved)
        else {
            return;
        };
        worker.reserved = true;
        if worker.load > 0 {
            return;
        }
        if let Some(call) = self.waiting_suspects.pop_front() {
            self.put_in(id, std::slice::from_ref(&call));
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.suspect = Some(call.key.clone());
            }
            match self.canary_mut() {
                Some(canary) if duty == Duty::Candidate => canary.take(&call),
                Some(canary) => canary.pass(&call),
                None => {}
            }
            out.push(Effect::HandOver {
                worker: id,
                calls: vec![call],
                alone: true,
            });
        }
    }

    /// A worker takes these calls, together.
    fn put_in(&mut self, id: WorkerId, calls: &[Call]) {
        if let Some(worker) = self.workers.get_mut(&id) {
            let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
            worker.load = worker.load.saturating_add(count);
            if worker.version.manifest.batch.get() > 1 {
                let tickets = calls.iter().map(|call| call.ticket).collect();
                worker.batches.push(Batch { tickets });
            }
        }
    }

    fn least_loaded(
        &mut self,
        duty: Duty,
        fits: impl Fn(&Worker) -> bool,
    ) -> Option<(WorkerId, &mut Worker)> {
        self.workers
            .iter_mut()
            .filter(|(_, worker)| worker.takes_calls(duty) && fits(worker))
            .min_by_key(|(_, worker)| worker.load)
            .map(|(id, worker)| (*id, worker))
    }

    /// Starts workers until there are as many as calls under way.
    fn staff(&mut self, out: &mut Vec<Effect>) {
        self.staff_canary(out);
        if self.serving() != Duty::Current {
            return;
        }
        let of_current = |worker: &&Worker| worker.duty == Duty::Current;
        let held: u32 = self
            .workers
            .values()
            .filter(of_current)
            .map(|worker| worker.load)
            .sum();
        let waiting = self.waiting.len() + self.waiting_suspects.len();
        let under_way = held.saturating_add(u32::try_from(waiting).unwrap_or(u32::MAX));
        let wanted = if self.proven {
            let calls = under_way.max(self.wanted);
            let batch = self.current.manifest.batch.get();
            calls.div_ceil(batch).clamp(1, self.workers_max())
        } else {
            1
        };
        let there = self.workers.values().filter(of_current).count();
        for _ in there..usize::try_from(wanted).unwrap_or(usize::MAX) {
            let after = restart_delay(self.deaths);
            self.start(self.current.clone(), Duty::Current, after, out);
        }
    }

    fn start(&mut self, version: Arc<Version>, duty: Duty, after: Duration, out: &mut Vec<Effect>) {
        let worker = WorkerId(self.next_id);
        self.next_id += 1;
        self.workers.insert(
            worker,
            Worker {
                version: version.clone(),
                duty,
                live: false,
                load: 0,
                batches: Vec::new(),
                reserved: false,
                suspect: None,
                unproven: duty == Duty::Candidate,
            },
        );
        out.push(Effect::Start {
            worker,
            version,
            after,
        });
    }

    fn workers_max(&self) -> u32 {
        self.current
            .manifest
            .workers
            .unwrap_or(self.concurrency)
            .get()
    }
}

impl Worker {
    fn takes_calls(&self, duty: Duty) -> bool {
        self.live && self.duty == duty
    }

    fn has_room(&self) -> bool {
        let manifest = &self.version.manifest;
        // Why batches: a part of one that is answered makes no room, or the next would wait in the pipe
        // while its time runs.
        if manifest.batch.get() > 1 {
            self.batches.len() < manifest.in_flight.get() as usize
        } else {
            self.load < manifest.in_flight.get()
        }
    }

    /// Calls in it were answered.
    fn settle(&mut self, answers: &[Answer]) {
        if self.batches.is_empty() {
            return;
        }
        for answer in answers {
            let of = |batch: &Batch| batch.tickets.contains(&answer.ticket);
            if let Some(place) = self.batches.iter().position(of) {
                let batch = &mut self.batches[place];
                batch.tickets.remove(&answer.ticket);
                if batch.tickets.is_empty() {
                    self.batches.swap_remove(place);
                }
            }
        }
    }
}

/// Why the folder too: a job may be given another plugin, whose numbers are its own.
fn is_same(one: &Version, other: &Version) -> bool {
    one.number == other.number && one.folder == other.folder
}

fn restart_delay(deaths: u32) -> Duration {
    match deaths.checked_sub(1) {
        None => Duration::ZERO,
        // Why 16: beyond it the factor is out of reach of the maximum anyway.
        Some(doublings) => RESTART_FIRST
            .saturating_mul(1 << doublings.min(16))
            .min(RESTART_MAX),
    }
}

/// Keys of calls that may kill their worker, the oldest forgotten first.
#[derive(Debug, Default)]
struct Suspects {
    keys: HashSet<CompactString>,
    order: VecDeque<CompactString>,
}

impl Suspects {
    fn contains(&self, key: &CompactString) -> bool {
        !self.keys.is_empty() && self.keys.contains(key)
    }

    fn insert(&mut self, key: CompactString) {
        if self.keys.insert(key.clone()) {
            self.order.push_back(key);
        }
        if self.order.len() > SUSPECTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &CompactString) {
        if self.keys.remove(key) {
            self.order.retain(|other| other != key);
        }
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
