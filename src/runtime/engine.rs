//! The engine: it owns a state directory and which of its jobs are live.
//!
//! Opening it makes nothing run; [`super::jobs`] starts and ends jobs, [`super::control`] steers
//! them. What is durable goes through the store before it is true.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, OwnedMutexGuard, mpsc, watch};

use super::{
    Attendant, Chronicler, Courier, Lookout, Notifier, Pruner, Receiver, RuntimeError,
    author::author,
    chronicler,
    conductor::{self, Programs},
    disk::Disk,
    limiters::{Limiters, SharedLimiter},
    plugins::{Plugins, worker_record},
    reach::Reach,
    run::{Order, RunView, SPOOL_BYTES_MAX},
    state_dir::{StateDir, StatePaths},
    tester,
    token::Tokens,
    triggers::Triggers,
};
use crate::{
    config::Config,
    integration::{
        bucket::{Buckets, Elsewhere, Uploads},
        reader::Places,
        service::remote::StatesApi,
        source::PageBounds,
    },
    iteration::RunStatus,
    limiter::{Limits, Usage},
    plugin::{Access, Launcher, rescuer},
    store::{Change, EventKind, EventRow, Store, StoreSettings},
    time::{Clock, Timestamp},
};

/// How long a successor waits for the workers of a killed daemon to be gone.
const RESCUE_PATIENCE: Duration = Duration::from_secs(10);

/// What an engine is opened with.
pub struct EngineSetup {
    /// The settings in force.
    pub config: Config,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether jobs are kept running here; a command that only changes something keeps none.
    pub working: bool,
    /// Whether this is a service: relative output paths start in the state directory and not at
    /// the job's file, and a changed plugin waits for a deployment.
    pub service: bool,
    /// What plugins may not read beside the state directory.
    pub hidden: Vec<PathBuf>,
    /// The program that becomes a worker: this one, unless this one is no iterd.
    pub launcher: Launcher,
}

/// The owner of a state directory. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    store: Store,
    config: Mutex<Arc<Config>>,
    clock: Arc<dyn Clock>,
    working: bool,
    service: bool,
    disk: Disk,
    limiters: Limiters,
    plugins: Plugins,
    live: Mutex<HashMap<String, Live>>,
    /// Who changes a job holds its lock; one for each job that was changed here.
    turns: Turns,
    /// Who changes a state machine, or what belongs to one, holds it: what is there is read, judged and
    /// written in one step.
    machine_turn: Arc<tokio::sync::Mutex<()>>,
    /// Who puts finished records of a job back holds its lock; beside the other, which is taken for
    /// each page anew.
    redo_turns: Turns,
    closing: watch::Sender<bool>,
    jobs_changed: Notify,
    /// Whoever tells notifications holds it, so that none is told twice at once.
    telling: tokio::sync::Mutex<()>,
    /// Where orders for the conductor go, once there is one, and when it has ended.
    conductor: OnceLock<(mpsc::Sender<conductor::Order>, Gone)>,
    /// When the courier has ended, once there was one.
    courier: OnceLock<Gone>,
    /// Where clients reach it over TCP, whatever the settings say by now; set by who listens.
    listening: OnceLock<SocketAddr>,
    programs: Programs,
    tokens: Tokens,
    reach: Reach,
    triggers: Triggers,
    /// Last, so that the directory is given back when everything else is gone.
    state: StateDir,
}

type Turns = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// A live job: its run has an actor. Made and taken out by its keeper, in its turn.
pub(super) struct Live {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) view: watch::Receiver<RunView>,
    pub(super) quit: Arc<Notify>,
    pub(super) limiter: Arc<SharedLimiter>,
    pub(super) gone: Gone,
}

/// Tells when a live job is one no longer: its actor has ended and what follows from that is durable.
#[derive(Clone)]
pub(super) struct Gone(watch::Receiver<()>);

impl Gone {
    /// It is gone when the sender is dropped.
    pub(super) fn when_dropped() -> (watch::Sender<()>, Self) {
        let (sender, receiver) = watch::channel(());
        (sender, Self(receiver))
    }

    pub(super) async fn wait(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Removes what a killed predecessor left of objects that were never whole, and what nobody completed. Why in
/// a thread that nobody waits for: a bucket may be on a disk that does not answer; what is written is locked.
fn sweep_buckets(paths: &StatePaths, config: &Config) {
    let buckets = Buckets {
        root: paths.buckets(),
        named: config.buckets.clone(),
        elsewhere: None,
    };
    let uploads = Uploads {
        root: paths.uploads(),
    };
    let thread = std::thread::Builder::new().name("iterd-sweep".to_owned());
    let sweeping = thread.spawn(move || {
        if let Err(error) = uploads.sweep() {
            tracing::warn!(%error, "uploads that nobody completed are not removed");
        }
        buckets.sweep();
    });
    if let Err(error) = sweeping {
        tracing::warn!(%error, "what was left in buckets is not removed");
    }
}

/// The right to change a job, or the state machines, until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Engine {
    /// Owns the state directory: locks it, opens the store, kills what a killed predecessor left.
    /// Nothing is resumed yet. Blocks.
    pub fn open(directory: &Path, setup: EngineSetup) -> Result<Self, RuntimeError> {
        let state = StateDir::own(directory)?;
        let settings = StoreSettings {
            wal_bytes_max: setup.config.store.wal_bytes_max,
        };
        let store = Store::open(directory, settings)?;
        rescue(&store)?;
        let paths = state.paths().clone();
        if setup.working {
            state.empty_scratch()?;
            state.sweep_spool()?;
            tester::sweep(&paths.tests());
            sweep_buckets(&paths, &setup.config);
            // Why not waited for: it comes before everything that follows, and a full disk must not
            // keep the daemon from saying that it is full.
            store.commit_soon(chronicler::begin(&store, setup.clock.now())?)?;
        }
        let tokens = Tokens::read(&paths.token_key())?;
        let hidden = [paths.root().to_owned()]
            .into_iter()
            .chain(setup.hidden)
            .collect();
        let plugins = Plugins::new(
            store.clone(),
            paths,
            Arc::clone(&setup.clock),
            &setup.config,
            hidden,
            setup.launcher,
        )?;
        let triggers = Triggers::default();
        triggers.set(&setup.config);
        Ok(Self(Arc::new(Shared {
            disk: Disk::new(directory.to_owned(), setup.config.store.disk_free_min),
            limiters: Limiters::new(store.clone()),
            plugins,
            state,
            store,
            config: Mutex::new(Arc::new(setup.config)),
            clock: setup.clock,
            working: setup.working,
            service: setup.service,
            live: Mutex::default(),
            turns: Mutex::default(),
            redo_turns: Mutex::default(),
            machine_turn: Arc::default(),
            closing: watch::Sender::new(false),
            jobs_changed: Notify::new(),
            telling: tokio::sync::Mutex::new(()),
            conductor: OnceLock::new(),
            courier: OnceLock::new(),
            listening: OnceLock::new(),
            programs: Programs::default(),
            tokens,
            reach: Reach::default(),
            triggers,
        })))
    }

    /// Sets the services going that work behind the jobs, until the engine closes: they watch the
    /// disk, remove what is old, write down what happens, tell it, and, a service's, deliver messages.
    pub fn spawn_services(&self) {
        self.conduct();
        tokio::spawn(self.disk().clone().watch());
        tokio::spawn(Pruner::new(self.clone()).work());
        tokio::spawn(Chronicler::new(self.clone()).work());
        tokio::spawn(Lookout::new(self.clone()).work());
        tokio::spawn(Notifier::new(self.clone()).work());
        // Why a service's alone: a command goes away when its job is done, and has whatever settings were
        // at hand.
        if self.is_service() {
            let (working, gone) = Gone::when_dropped();
            let courier = Courier::new(self.clone());
            // Why ok: nobody spawns them twice.
            self.0.courier.set(gone).ok();
            tokio::spawn(async move {
                courier.work().await;
                drop(working);
            });
            tokio::spawn(Receiver::new(self.clone()).work());
            tokio::spawn(Attendant::new(self.clone()).work());
        }
    }

    /// From now on tasks may ask the daemon's own API, as they may ask AWS Step Functions; called once.
    pub fn answer_by(&self, api: Arc<dyn StatesApi>) {
        self.reach().answer_by(api);
    }

    /// From now on handlers with a role are given this; called once, by who listens.
    pub fn grant_access(&self, access: Arc<dyn Access>) {
        self.plugins().grant(access);
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where things lie.
    #[must_use]
    pub fn paths(&self) -> &StatePaths {
        self.0.state.paths()
    }

    /// The limiters.
    #[must_use]
    pub fn limiters(&self) -> &Limiters {
        &self.0.limiters
    }

    /// The plugins.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.0.plugins
    }

    /// The disk under the state directory.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The clock's instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Whether jobs are kept running here.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.0.working
    }

    /// What the limiter of a live job has spent and has left.
    #[must_use]
    pub fn usage_of(&self, job: &str) -> Option<Usage> {
        let limiter = self.live().get(job).map(|live| Arc::clone(&live.limiter))?;
        Some(limiter.usage(self.now()))
    }

    /// What the limiter of a live job allows, what is spent of it, and how many live jobs share it.
    #[must_use]
    pub fn limits_of(&self, job: &str) -> Option<(Limits, Usage, u32)> {
        let (limiter, sharers) = {
            let live = self.live();
            let limiter = Arc::clone(&live.get(job)?.limiter);
            let sharing = live.values().filter(|other| {
                let working = other.view.borrow().figures.status == RunStatus::Running;
                working && Arc::ptr_eq(&other.limiter, &limiter)
            });
            let sharers = sharing.count();
            (limiter, u32::try_from(sharers).unwrap_or(u32::MAX))
        };
        Some((limiter.limits(), limiter.usage(self.now()), sharers))
    }

    /// Whether it is a service's.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.0.service
    }

    /// What the URLs of this daemon's own queues begin with.
    #[must_use]
    pub fn queues(&self) -> String {
        let config = self.config();
        let address = self.0.listening.get().unwrap_or(&config.listen);
        format!("http://{address}/{}", config.account)
    }

    /// It is reached over TCP at this address from now on; called once, by who listens.
    pub fn listens_on(&self, address: SocketAddr) {
        // Why ok: nobody listens twice.
        self.0.listening.set(address).ok();
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        let config = self.0.config.lock();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }

    /// Other settings from now on, for what starts from now on; live runs take them up with
    /// [`Engine::take_settings`].
    pub fn set_config(&self, config: Config) {
        self.0.disk.set_free_min(config.store.disk_free_min);
        let config = Arc::new(config);
        *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&config);
        // Why behind it: whoever serves a trigger looks at the settings, too.
        self.0.triggers.set(&config);
    }

    /// What a live run shows of itself; `None` where the job is not live.
    #[must_use]
    pub fn view(&self, job: &str) -> Option<watch::Receiver<RunView>> {
        self.live().get(job).map(|live| live.view.clone())
    }

    /// The jobs that are live, by name.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<String> {
        let mut names: Vec<String> = self.live().keys().cloned().collect();
        names.sort();
        names
    }

    /// Where orders for a live job go.
    pub(super) fn orders(&self, job: &str) -> Option<mpsc::Sender<Order>> {
        self.live().get(job).map(|live| live.orders.clone())
    }

    pub(super) fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else changes the job. Why: whether it is live, what is stored of it and what
    /// is done about it have to be one step, or it is started twice, or told what it never hears.
    ///
    /// Invariant: whoever holds the turn finds the job live with an actor that takes orders, or not
    /// live and with its last run as it is stored. One that is just ending is waited for.
    pub(super) async fn turn(&self, job: &str) -> Turn {
        loop {
            let turn = self.turn_of_keeper(job).await;
            let ending = {
                let live = self.live();
                let ending = live.get(job).filter(|live| live.orders.is_closed());
                ending.map(|live| live.gone.clone())
            };
            let Some(mut gone) = ending else {
                return turn;
            };
            drop(turn);
            gone.wait().await;
        }
    }

    /// As [`Engine::turn`], for the one whom that waits for.
    pub(super) async fn turn_of_keeper(&self, job: &str) -> Turn {
        turn_in(&self.0.turns, job).await
    }

    /// Waits until nobody else puts finished records of the job back.
    pub(super) async fn redo_turn(&self, job: &str) -> Turn {
        turn_in(&self.0.redo_turns, job).await
    }

    /// Waits until nobody else changes a state machine or an activity, or what belongs to one.
    pub async fn machine_turn(&self) -> Turn {
        Arc::clone(&self.0.machine_turn).lock_owned().await
    }

    /// Takes a job among the live ones; refused once the engine is closing, so that nothing sets out
    /// behind the back of whoever closes it.
    pub(super) fn enliven(&self, job: String, new: Live) -> Result<(), RuntimeError> {
        let mut live = self.live();
        if *self.0.closing.borrow() {
            return Err(RuntimeError::Closed);
        }
        live.insert(job, new);
        Ok(())
    }

    /// Wakes when a job was taken note of, or its file.
    pub async fn jobs_changed(&self) {
        self.0.jobs_changed.notified().await;
    }

    pub(super) fn tell_jobs_changed(&self) {
        self.0.jobs_changed.notify_one();
    }

    /// Waits until nobody else tells notifications.
    pub(super) async fn telling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.telling.lock().await
    }

    /// Says whether the engine is closing, and wakes when it begins to.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    pub(super) fn begin_closing(&self) {
        self.0.closing.send_replace(true);
    }

    /// Takes note of how the conductor is reached; whether there was none before.
    pub(super) fn set_conductor(&self, orders: mpsc::Sender<conductor::Order>, gone: Gone) -> bool {
        self.0.conductor.set((orders, gone)).is_ok()
    }

    pub(super) fn orders_of_conductor(&self) -> Option<&mpsc::Sender<conductor::Order>> {
        self.0.conductor.get().map(|(orders, _)| orders)
    }

    /// Waits until the conductor has ended, which it does when the engine closes.
    pub(super) async fn conductor_gone(&self) {
        if let Some((_, gone)) = self.0.conductor.get() {
            gone.clone().wait().await;
        }
    }

    /// Waits until the courier has ended, which it does when the engine closes.
    pub(super) async fn courier_gone(&self) {
        if let Some(gone) = self.0.courier.get() {
            gone.clone().wait().await;
        }
    }

    /// Definitions of machines that were read lately.
    pub(super) fn programs(&self) -> &Programs {
        &self.0.programs
    }

    /// The triggers in force.
    pub(super) fn triggers(&self) -> &Triggers {
        &self.0.triggers
    }

    /// Makes task tokens and reads them.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The way to services elsewhere.
    pub(super) fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// Where item readers find things.
    pub(super) fn reader_places(&self) -> Result<Places, RuntimeError> {
        Ok(Places {
            buckets: self.buckets()?,
            spool_dir: self.paths().spool(),
            spool_bytes_max: SPOOL_BYTES_MAX,
            free_min: self.disk().free_min(),
        })
    }

    /// The buckets.
    pub fn buckets(&self) -> Result<Buckets, RuntimeError> {
        let config = self.config();
        let away = self.reach().services(&config)?;
        let elsewhere = match away.filter(|services| services.has("s3")) {
            Some(services) => Some(Elsewhere {
                services,
                runtime: self.reach().runtime()?,
            }),
            None => None,
        };
        Ok(Buckets {
            root: self.paths().buckets(),
            named: config.buckets.clone(),
            elsewhere,
        })
    }

    /// How much of a source is read at a time.
    pub(super) fn page_bounds(&self) -> PageBounds {
        let items = self.config().items.clone();
        PageBounds {
            records_max: items.page_items_max as usize,
            bytes_max: usize::try_from(items.page_bytes_max).unwrap_or(usize::MAX),
            record_bytes_max: usize::try_from(items.record_bytes_max).unwrap_or(usize::MAX),
        }
    }

    /// Something that people may want to know later, done by whoever is being worked for.
    pub(super) fn event(&self, job: &str, kind: EventKind, detail: impl Into<String>) -> Change {
        Change::Event(EventRow::new(self.now(), job, kind, detail).by(author()))
    }

    /// As [`Engine::event`], done by whom an order names.
    pub(super) fn event_by(
        &self,
        author: &str,
        job: &str,
        kind: EventKind,
        detail: impl Into<String>,
    ) -> Change {
        let author = Some(author.to_owned());
        Change::Event(EventRow::new(self.now(), job, kind, detail).by(author))
    }
}

async fn turn_in(turns: &Turns, job: &str) -> Turn {
    let turn = {
        let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(job.to_owned()).or_default())
    };
    turn.lock_owned().await
}

/// Kills what a killed predecessor left running; nothing may be dispatched before.
pub(super) fn rescue(store: &Store) -> Result<(), RuntimeError> {
    let rows = store.workers()?;
    if rows.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = rows.iter().map(worker_record).collect();
    let killed = rescuer::rescue(&records, RESCUE_PATIENCE).map_err(|error| RuntimeError::Io {
        what: "cannot take over from the last daemon".to_owned(),
        error: std::io::Error::other(error),
    })?;
    if killed > 0 {
        // Why no warning: it belongs to every start after a kill.
        tracing::info!(killed, "killed processes that the last daemon left running");
    }
    store.commit_blocking(rows.into_iter().map(Change::WorkerEnded).collect())?;
    Ok(())
}
