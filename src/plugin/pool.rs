//! A pool of workers for the calls of one run.
//!
//! The [`Roster`] decides, a task for each [worker] carries out; this is what holds them together.
//! Everything goes through one short lock, under which nothing waits: a decision and the orders that
//! follow from it are one step, so that orders reach a worker in the order of the decisions.
//!
//! Invariant: every call that was submitted is answered exactly once, unless it was withdrawn, whatever happens
//! to workers and to the pool. An answer is sent after the roster knows of it, so that whoever submits the next
//! call because of it finds the room that it left.

use std::{
    collections::{HashMap, HashSet},
    io,
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender},
    },
    time::Instant,
};

pub use canary::Tally;
use renewal::Renewals;
use roster::Effect;
pub use roster::Rollout;
pub(crate) use roster::{End, Roster, WorkerId};

use crate::{arn::Place, ids::VersionNumber};

use super::{
    Access, Answer, Call, Composer, Event, Events, HostKind, Outcome, SecretSource, Spawner,
    Version,
    host::{self, identity},
    worker::{self, Order},
};

mod canary;
mod renewal;
mod roster;

/// What a pool is made of.
#[derive(Clone)]
pub struct PoolSpec {
    /// What it runs first.
    pub version: Version,
    /// Workers, where the manifest does not say: the job's concurrency.
    pub concurrency: NonZeroU32,
    /// Home and place for temporary files of the workers; created where missing.
    pub scratch: PathBuf,
    /// Where the Python shim is written; created where missing. Not writable for plugins.
    pub runtime_dir: PathBuf,
    /// What no plugin may read, whatever it is granted: the state directory, the configuration.
    pub hidden: Vec<PathBuf>,
    /// Where secrets are found.
    pub secrets: SecretSource,
    /// What handlers with a role are given.
    pub access: Arc<dyn Access>,
    /// Starts the workers and records them.
    pub spawner: Spawner,
    /// Evaluates the expressions of manifests.
    pub composer: Arc<dyn Composer>,
    /// Takes log lines and news.
    pub events: Arc<dyn Events>,
    /// The region and account that Lambda functions are told they run in.
    pub place: Place,
}

/// Why a plugin cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The manifest names the host that only builds with the feature `wasm` have.
    #[error(
        "plugin {name}: this build of iterd has no host \"wasm\"; build it with it: cargo build --release --features wasm"
    )]
    NoWasm {
        /// The plugin.
        name: String,
    },
    /// A version cannot be deployed into a pool of another kind.
    #[error(
        "plugin {name}: a run cannot change between host \"identity\" and another; start it anew"
    )]
    OtherKind {
        /// The plugin.
        name: String,
    },
    /// A directory or the shim could not be written.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Runs calls; see the module. Dropping it kills its workers and interrupts their calls.
pub struct Pool {
    kind: Kind,
}

enum Kind {
    Identity {
        name: String,
        version: VersionNumber,
        workers: Option<NonZeroU32>,
        in_flight: NonZeroU32,
        concurrency: NonZeroU32,
        answers: UnboundedSender<Answer>,
    },
    Workers(Arc<Shared>),
    /// Calls go to a test, which answers them itself.
    #[cfg(test)]
    Scripted {
        capacity: Arc<AtomicUsize>,
        calls: UnboundedSender<Call>,
    },
}

impl Pool {
    /// A pool whose workers are played by a test: it reads the calls and sends the answers.
    #[cfg(test)]
    pub(crate) fn scripted(capacity: Arc<AtomicUsize>, calls: UnboundedSender<Call>) -> Self {
        let kind = Kind::Scripted { capacity, calls };
        Self { kind }
    }

    /// Starts a pool, with its first worker. Must be called within a tokio runtime, which carries
    /// the workers' tasks.
    ///
    /// `answers` gets exactly one answer for each submitted call. It is unbounded and yet bounded:
    /// there are never more answers in it than calls under way, [`Pool::capacity`], and five a second for
    /// each of these that say where a call is within its item.
    pub fn start(spec: PoolSpec, answers: UnboundedSender<Answer>) -> Result<Self, PoolError> {
        if spec.version.manifest.host == HostKind::Identity {
            let manifest = spec.version.manifest;
            let kind = Kind::Identity {
                workers: manifest.workers,
                in_flight: manifest.in_flight,
                concurrency: spec.concurrency,
                version: spec.version.number,
                name: manifest.name,
                answers,
            };
            return Ok(Self { kind });
        }
        refuse_missing_host(&spec.version)?;
        let shim = host::process::write_shim(&spec.runtime_dir)?;
        host::make_scratch(&spec.scratch)?;
        let mut effects = Vec::new();
        let version = Arc::new(spec.version.clone());
        let roster = Roster::new(version, spec.concurrency, &mut effects);
        let shared = Arc::new(Shared {
            capacity: AtomicUsize::new(roster.capacity()),
            ready: AtomicUsize::new(0),
            canary: AtomicBool::new(false),
            batch: AtomicU32::new(roster.current().manifest.batch.get()),
            changed: Notify::new(),
            desk: Mutex::new(Desk {
                roster,
                orders: HashMap::new(),
            }),
            spec,
            shim,
            answers,
            runtime: Handle::current(),
            ended: Notify::new(),
            told_unconfined: Mutex::new(None),
            renewals: Renewals::default(),
        });
        shared.decide(|_, out| out.append(&mut effects));
        renewal::watch(&shared, &shared.spec.version.manifest);
        Ok(Self {
            kind: Kind::Workers(shared),
        })
    }

    /// Calls that may be under way at a time: workers times in-flight items. Whoever submits keeps
    /// to it. It changes when a version is deployed whose manifest says so, and with
    /// [`Pool::set_concurrency`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        match &self.kind {
            Kind::Identity {
                workers,
                in_flight,
                concurrency,
                ..
            } => {
                let workers = workers.unwrap_or(*concurrency);
                let calls = workers.get().saturating_mul(in_flight.get());
                usize::try_from(calls).unwrap_or(usize::MAX)
            }
            Kind::Workers(shared) => shared.capacity.load(Ordering::Relaxed),
            #[cfg(test)]
            Kind::Scripted { capacity, .. } => capacity.load(Ordering::Relaxed),
        }
    }

    /// Calls that the version in force takes together.
    #[must_use]
    pub fn batch(&self) -> NonZeroU32 {
        match &self.kind {
            Kind::Workers(shared) => NonZeroU32::new(shared.batch.load(Ordering::Relaxed)),
            Kind::Identity { .. } => None,
            #[cfg(test)]
            Kind::Scripted { .. } => None,
        }
        .unwrap_or(NonZeroU32::MIN)
    }

    /// Where the manifest does not name a number of workers, it is this one from now on. Workers
    /// beyond it stay until the next version, without calls.
    pub fn set_concurrency(&mut self, number: NonZeroU32) {
        match &mut self.kind {
            Kind::Identity { concurrency, .. } => *concurrency = number,
            Kind::Workers(shared) => {
                shared.decide(|roster, out| roster.set_concurrency(number, out));
            }
            #[cfg(test)]
            Kind::Scripted { .. } => {}
        }
    }

    /// Calls that may be under way now, at most [`Pool::capacity`] in the end: what those workers can
    /// hold that are ready, and what workers of a former version still do. 0 until the first is ready.
    ///
    /// Whoever takes a permit for each call takes it for no more than these: what is handed over
    /// later would begin later than it was permitted, and a burst of it all at once.
    #[must_use]
    pub fn ready(&self) -> usize {
        match &self.kind {
            Kind::Identity { .. } => self.capacity(),
            Kind::Workers(shared) => shared.ready.load(Ordering::Relaxed),
            #[cfg(test)]
            Kind::Scripted { capacity, .. } => capacity.load(Ordering::Relaxed),
        }
    }

    /// Says that so many calls would be under way if enough workers were ready; they are started.
    pub fn want(&self, calls: usize) {
        if let Kind::Workers(shared) = &self.kind {
            let calls = u32::try_from(calls).unwrap_or(u32::MAX);
            shared.decide(|roster, out| roster.want(calls, out));
        }
    }

    /// Wakes when [`Pool::ready`] or [`Pool::capacity`] has changed since it woke last.
    pub async fn changed(&self) {
        match &self.kind {
            Kind::Identity { .. } => std::future::pending().await,
            Kind::Workers(shared) => shared.changed.notified().await,
            #[cfg(test)]
            Kind::Scripted { .. } => std::future::pending().await,
        }
    }

    /// Somebody went on with what was held because no worker starts: should that still be so, the
    /// event comes again.
    pub fn forgive(&self) {
        if let Kind::Workers(shared) = &self.kind {
            shared.decide(|roster, _| roster.forgive());
        }
    }

    /// The version that new calls go to.
    #[must_use]
    pub fn version(&self) -> VersionNumber {
        match &self.kind {
            Kind::Identity { version, .. } => *version,
            Kind::Workers(shared) => shared.desk().roster.current().number,
            #[cfg(test)]
            Kind::Scripted { .. } => VersionNumber(1),
        }
    }

    /// Hands calls over to the least loaded workers at once; what finds no room waits for it.
    /// Never blocks. After a shutdown they are answered as interrupted.
    pub fn submit(&self, calls: Vec<Call>) {
        match &self.kind {
            Kind::Identity {
                version, answers, ..
            } => identity::answer(calls, *version, answers),
            Kind::Workers(shared) => shared.decide(|roster, out| roster.submit(calls, out)),
            #[cfg(test)]
            Kind::Scripted { calls: sender, .. } => {
                for call in calls {
                    // A test that has ended reads no calls any more.
                    sender.send(call).ok();
                }
            }
        }
    }

    /// Takes calls back that no worker has yet, and answers which: these are not answered. What a worker
    /// has, it finishes.
    #[must_use]
    pub fn withdraw(&self, tickets: &HashSet<u64>) -> Vec<u64> {
        match &self.kind {
            Kind::Workers(shared) => {
                let mut taken = Vec::new();
                shared.decide(|roster, out| taken = roster.withdraw(tickets, out));
                taken
            }
            Kind::Identity { .. } => Vec::new(),
            #[cfg(test)]
            Kind::Scripted { .. } => Vec::new(),
        }
    }

    /// Starts a worker of another version, and gives it calls once it is ready: all new ones, or as
    /// many as its [rollout](Rollout) lets it have until it has proved itself. Old workers finish what
    /// they hold. A version that cannot start, or is refuted, changes nothing; an event tells in any
    /// case. (A program that does not say `{"ready": true}` counts as started when it has lived for half
    /// a second and waits for something; one that is `proven`, because a worker of it was ready
    /// elsewhere, as soon as it runs.)
    ///
    /// The version in force, deployed again, ends a canary.
    pub fn deploy(
        &self,
        version: Version,
        proven: bool,
        rollout: Rollout,
    ) -> Result<(), PoolError> {
        match &self.kind {
            Kind::Identity { name, .. } => Err(PoolError::OtherKind { name: name.clone() }),
            Kind::Workers(_) if version.manifest.host == HostKind::Identity => {
                Err(PoolError::OtherKind {
                    name: version.manifest.name,
                })
            }
            Kind::Workers(shared) => {
                refuse_missing_host(&version)?;
                renewal::watch(shared, &version.manifest);
                let version = Arc::new(version);
                shared.decide(|roster, out| roster.deploy(version, proven, rollout, out));
                Ok(())
            }
            #[cfg(test)]
            Kind::Scripted { .. } => Ok(()),
        }
    }

    /// Whether a version proves itself.
    #[must_use]
    pub fn has_canary(&self) -> bool {
        match &self.kind {
            Kind::Workers(shared) => shared.canary.load(Ordering::Relaxed),
            Kind::Identity { .. } => false,
            #[cfg(test)]
            Kind::Scripted { .. } => false,
        }
    }

    /// The version that proves itself, and what it has shown, where there is one.
    #[must_use]
    pub fn canary(&self) -> Option<(VersionNumber, Tally)> {
        match &self.kind {
            Kind::Workers(shared) if shared.canary.load(Ordering::Relaxed) => {
                let desk = shared.desk();
                let (version, tally) = desk.roster.tally()?;
                Some((version.number, tally))
            }
            Kind::Workers(_) | Kind::Identity { .. } => None,
            #[cfg(test)]
            Kind::Scripted { .. } => None,
        }
    }

    /// Says that nothing is left but calls that the version in force has failed: a canary, where there
    /// is one, takes them all.
    pub fn leave_canary_alone(&self) {
        if let Kind::Workers(shared) = &self.kind {
            shared.decide(Roster::leave_canary_alone);
        }
    }

    /// Takes no more calls, gives those in workers `finish` to end, then asks the workers to end
    /// (SIGTERM) and kills after `grace` what did not. Returns when all are gone, which is after
    /// `finish` and `grace` and a moment at the latest. What was not answered is interrupted.
    ///
    /// `shutdown(Duration::ZERO, grace)` is an interrupt at once. Calling it again with a shorter
    /// `finish` hurries it.
    pub async fn shutdown(&self, finish: Duration, grace: Duration) {
        let Kind::Workers(shared) = &self.kind else {
            return;
        };
        shared.decide(Roster::stop);
        let finish = Instant::now() + finish;
        shared.order_all(|| Order::Stop { finish, grace });
        loop {
            let ended = shared.ended.notified();
            if shared.desk().roster.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Kind::Workers(shared) = &self.kind {
            shared.decide(Roster::stop);
            shared.order_all(|| Order::Kill);
        }
    }
}

fn refuse_missing_host(version: &Version) -> Result<(), PoolError> {
    match version.manifest.host {
        HostKind::Process
        | HostKind::Exec
        | HostKind::Lambda
        | HostKind::Http
        | HostKind::Identity => Ok(()),
        HostKind::Wasm if cfg!(feature = "wasm") => Ok(()),
        HostKind::Wasm => Err(PoolError::NoWasm {
            name: version.manifest.name.clone(),
        }),
    }
}

/// What the pool's handle and its workers' tasks share.
pub(crate) struct Shared {
    desk: Mutex<Desk>,
    capacity: AtomicUsize,
    ready: AtomicUsize,
    canary: AtomicBool,
    /// Calls that belong together, at the most.
    batch: AtomicU32,
    /// One of the two above has changed.
    changed: Notify,
    pub(crate) spec: PoolSpec,
    pub(crate) shim: PathBuf,
    answers: UnboundedSender<Answer>,
    runtime: Handle,
    /// A worker has ended.
    ended: Notify,
    told_unconfined: Mutex<Option<VersionNumber>>,
    pub(crate) renewals: Renewals,
}

struct Desk {
    roster: Roster,
    orders: HashMap<WorkerId, UnboundedSender<Order>>,
}

impl Shared {
    /// A worker is ready for calls.
    pub(crate) fn started(self: &Arc<Self>, worker: WorkerId) {
        self.decide(|roster, out| roster.started(worker, out));
    }

    /// A worker answered some of its calls.
    pub(crate) fn answered(self: &Arc<Self>, worker: WorkerId, mut answers: Vec<Answer>) {
        self.decide(|roster, out| roster.answered(worker, &mut answers, out));
        self.send(answers);
    }

    /// Passes on where a call is, which is none of the roster's business.
    pub(crate) fn pass_on(&self, reached: Answer) {
        self.send([reached]);
    }

    /// A worker is gone; these are the answers to what it held. Orders that it did not read any
    /// more are answered here.
    pub(crate) fn ended(
        self: &Arc<Self>,
        worker: WorkerId,
        end: End,
        mut answers: Vec<Answer>,
        mut orders: UnboundedReceiver<Order>,
    ) {
        let mut version = self.spec.version.number;
        self.decide(|roster, out| {
            roster.ended(worker, end, &mut answers, out);
            out.push(Effect::Forget(worker));
            version = roster.current().number;
        });
        // From here on the roster gives it nothing, and nobody holds the other end.
        while let Ok(order) = orders.try_recv() {
            if let Order::HandOver { calls, .. } = order {
                answers.extend(calls.iter().map(|call| interrupted(call, version)));
            }
        }
        self.send(answers);
        self.ended.notify_waiters();
    }

    /// Whether workers of this version have started before, so that the next one needs no proof.
    pub(crate) fn is_proven(&self, version: &Version) -> bool {
        self.desk().roster.is_proven(version)
    }

    pub(crate) fn tell(&self, event: Event) {
        self.spec.events.event(event);
    }

    /// Tells that a version's workers are not locked in, once.
    pub(crate) fn tell_unconfined(&self, version: VersionNumber, why: String) {
        let mut told = self
            .told_unconfined
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.replace(version) != Some(version) {
            drop(told);
            self.tell(Event::Unconfined { version, why });
        }
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        // Why a poisoned lock is taken: the roster's methods are total, and a pool that answered
        // nothing any more would be worse than one worker too many.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the roster decide and carries out what follows. Answers and events go out after the
    /// lock is released: whoever takes them may call the pool.
    fn decide(self: &Arc<Self>, decision: impl FnOnce(&mut Roster, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let mut events = Vec::new();
        let mut undone = Vec::new();
        let version = {
            let mut desk = self.desk();
            decision(&mut desk.roster, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Tell(event) => events.push(event),
                    Effect::Interrupt(calls) => undone.extend(calls),
                    Effect::Start {
                        worker,
                        version,
                        after,
                    } => {
                        let (sender, orders) = tokio::sync::mpsc::unbounded_channel();
                        desk.orders.insert(worker, sender);
                        let post = worker::Post {
                            id: worker,
                            version,
                            shared: self.clone(),
                        };
                        self.runtime.spawn(worker::run(post, orders, after));
                    }
                    Effect::HandOver {
                        worker,
                        calls,
                        alone,
                    } => desk.order(worker, Order::HandOver { calls, alone }),
                    Effect::Forget(worker) => drop(desk.orders.remove(&worker)),
                    Effect::Retire(worker) => desk.order(worker, Order::Retire),
                    Effect::Kill(worker) => desk.order(worker, Order::Kill),
                }
            }
            let (capacity, ready) = (desk.roster.capacity(), desk.roster.ready());
            let batch = desk.roster.current().manifest.batch.get();
            self.batch.store(batch, Ordering::Relaxed);
            self.canary
                .store(desk.roster.tally().is_some(), Ordering::Relaxed);
            let before = self.capacity.swap(capacity, Ordering::Relaxed);
            if self.ready.swap(ready, Ordering::Relaxed) != ready || before != capacity {
                self.changed.notify_one();
            }
            desk.roster.current().number
        };
        for event in events {
            self.tell(event);
        }
        self.send(undone.iter().map(|call| interrupted(call, version)));
    }

    fn order_all(&self, order: impl Fn() -> Order) {
        for sender in self.desk().orders.values() {
            // A worker that has ended meanwhile needs no orders.
            sender.send(order()).ok();
        }
    }

    fn send(&self, answers: impl IntoIterator<Item = Answer>) {
        for answer in answers {
            // Nobody listens any more: the run is being torn down, and what is not answered is
            // dispatched again by its successor.
            self.answers.send(answer).ok();
        }
    }
}

fn interrupted(call: &Call, version: VersionNumber) -> Answer {
    Answer {
        ticket: call.ticket,
        generation: call.generation,
        version,
        outcome: Outcome::Interrupted,
    }
}

impl Desk {
    fn order(&self, worker: WorkerId, order: Order) {
        if let Some(sender) = self.orders.get(&worker) {
            sender.send(order).ok();
        }
    }
}
