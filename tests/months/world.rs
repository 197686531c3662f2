//! One machine for two months: the daemon's engine under a clock that the test sets, its socket, and the
//! commands of its owner, typed at the real binary.
//!
//! The clock moves only while the engine waits for it: to the instant that it waits for, or to the
//! next thing that happens in the story. So months pass in the time that their work takes.

use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use iterd::{
    api::{self, Api, KeyRing},
    config::{Config, job::JobFile},
    iteration::RunStatus,
    plugin::Launcher,
    runtime::{Engine, EngineSetup, RunView, RuntimeError, StateError},
    time::{Clock as _, HandClock, Timestamp},
};
use tokio::task::JoinHandle;

/// What never comes is not waited for any longer than this; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a file is looked at that another process writes.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) struct World {
    root: PathBuf,
    _directory: tempfile::TempDir,
    clock: Arc<HandClock>,
    machine: Option<Machine>,
}

/// The daemon's process, as far as it can be had within a test.
struct Machine {
    engine: Engine,
    socket: JoinHandle<()>,
}

/// What a command answered.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) fn at(now: Timestamp) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for folder in ["state", "jobs", "plugins/api", "world"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let world = Self {
            root,
            _directory: directory,
            clock: Arc::new(HandClock::at(now)),
            machine: None,
        };
        world.show(world.now());
        world
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Writes a file as editors do: beside it, then renamed over it.
    pub(crate) fn write(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path(relative);
        let fresh = path.with_extension("fresh~");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Starts the machine, and goes on with what ran on it.
    pub(crate) async fn boot(&mut self) {
        let engine = self.open();
        engine.spawn_services();
        engine.resume_all().await.unwrap();
        let keys = KeyRing::open(engine.paths()).unwrap();
        let socket = api::Socket::bind(engine.paths().socket()).unwrap();
        let api = Api::of_engine(engine.clone());
        let socket = tokio::spawn(api::serve_unix(socket, api, keys));
        self.machine = Some(Machine { engine, socket });
    }

    fn config(&self, disk_free_min: u64) -> Config {
        let mut config = Config::default();
        config.store.disk_free_min = disk_free_min;
        config.plugins_dir = self.path("plugins");
        config
    }

    /// So many bytes have to be free on the disk from now on, or it counts as full.
    pub(crate) fn want_free(&self, bytes: u64) {
        self.engine().set_config(self.config(bytes));
    }

    fn open(&self) -> Engine {
        let open = || {
            let setup = EngineSetup {
                config: self.config(0),
                clock: Arc::clone(&self.clock) as _,
                working: true,
                service: true,
                hidden: Vec::new(),
                launcher: Launcher {
                    program: env!("CARGO_BIN_EXE_iterd").into(),
                },
            };
            tokio::task::block_in_place(|| Engine::open(&self.path("state"), setup))
        };
        // Why again: tasks of the engine before may hold it for a moment after it was let go.
        let begun = std::time::Instant::now();
        loop {
            match open() {
                Err(RuntimeError::State(StateError::InUse { .. })) => {
                    assert!(begun.elapsed() < PATIENCE, "the state is never let go");
                    std::thread::yield_now();
                }
                opened => return opened.unwrap(),
            }
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.machine.as_ref().expect("a machine that runs").engine
    }

    /// The machine goes down; nothing in flight is waited for.
    pub(crate) async fn go_down(&mut self) {
        let machine = self.machine.take().expect("a machine that runs");
        machine.socket.abort();
        // Why dropped: that it was ended is no news.
        drop(machine.socket.await);
        machine.engine.shut_down(Duration::ZERO).await;
    }

    /// Hands the job file to the daemon as its folder would.
    pub(crate) async fn take_edit(&self) {
        let file = JobFile::read(&self.path("jobs/job.toml")).unwrap();
        self.engine().take_edit(&file).await.unwrap();
    }

    /// Types a command.
    pub(crate) async fn say(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iterd"));
        command
            .args(arguments)
            .arg("--state")
            .arg(self.path("state"))
            .arg("--config")
            .arg(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("USER", "anna")
            .current_dir(&self.root);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Types a command that has to succeed; what it answers on standard output.
    pub(crate) async fn order(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments).await;
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.err);
        said.out
    }

    /// The picture of the job.
    pub(crate) async fn picture(&self) -> serde_json::Value {
        let text = self.order(&["status", "job", "--json"]).await;
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the job's notifications have told that.
    pub(crate) async fn until_told(&self, what: &str) {
        self.until(what, || self.read("world/told").contains(what))
            .await;
    }

    /// Waits, in real time, until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{what} never comes");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets time pass until `until`, or until the run rests before that; whether it works still.
    pub(crate) async fn pass(&self, until: Timestamp) -> bool {
        loop {
            let next = match self.settle().await {
                Some(at) if at < until => at,
                Some(_) => {
                    self.set(until);
                    return self.settle().await.is_some();
                }
                None => return false,
            };
            self.set(next);
        }
    }

    /// Shows another time while nothing works.
    pub(crate) fn set(&self, now: Timestamp) {
        // Why first: the engine goes on at once, and a call of the new day must not be taken for one of
        // the old.
        self.show(now);
        self.clock.set(now);
    }

    fn show(&self, now: Timestamp) {
        self.write("world/clock", now.0.to_string());
    }

    /// Waits until nothing is under way; the instant that the run waits for, unless it rests.
    async fn settle(&self) -> Option<Timestamp> {
        let mut view = self.engine().view("job")?;
        let settled = view.wait_for(|view| rests(view) || self.waits(view).is_some());
        match tokio::time::timeout(PATIENCE, settled).await {
            Ok(Ok(view)) => self.waits(&view),
            // The run has ended.
            Ok(Err(_)) => None,
            Err(elapsed) => panic!("nothing happens any more: {elapsed}"),
        }
    }

    /// Until when the run waits, with nothing under way.
    fn waits(&self, view: &RunView) -> Option<Timestamp> {
        let figures = &view.figures;
        let quiet = figures.status == RunStatus::Running && figures.in_flight == 0;
        if quiet && view.disk_full {
            return Some(Timestamp::MAX);
        }
        let (at, _) = figures.wake?;
        (quiet && at > self.now()).then_some(at)
    }
}

fn rests(view: &RunView) -> bool {
    view.figures.status == RunStatus::Paused && view.figures.in_flight == 0
}
