//! `iterd serve`: be the daemon, and keep the jobs of a folder running.

use std::{io, net::SocketAddr, path::Path, pin::pin, sync::Arc, time::Duration};

use clap::Args;
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use super::{
    exit::{CONFLICT, Code, DONE, FAILED, Failure},
    session::{Session, adopt, note, working_runtime},
};
use crate::{
    api::{self, Api, HandlerAccess, KeyRing, OwnStates},
    config::{Settings, job::JobFolder},
    plugin::orphans,
    runtime::{Engine, Scheduler},
};

/// A writer that was silent for longer hangs; a commit takes milliseconds, and one that cannot be
/// written for now shows signs of life all the same.
const WRITER_SILENT_MAX: Duration = Duration::from_secs(20);

/// How long requests wait until the jobs of the folder are known.
const TAKING_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen on TCP, beside the socket in the state directory [default: 127.0.0.1:8083]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let overrides: Vec<(&str, String)> = arguments
        .listen
        .iter()
        .map(|address| ("listen", address.clone()))
        .collect();
    let settings = session.settings(&overrides)?;
    Session::begin_log(&settings, None)?;
    let directory = session.state_dir(&settings)?;
    note(&format!("state: {}", directory.display()));
    adopt();
    let engine = Session::engine(&directory, &settings, true, true)?;
    let runtime = working_runtime()?;
    let code = runtime.block_on(serve(session, &engine, &settings, &overrides));
    runtime.shutdown_timeout(Duration::from_secs(1));
    orphans::end_all();
    code
}

async fn serve(
    session: &Session,
    engine: &Engine,
    settings: &Settings,
    overrides: &[(&str, String)],
) -> Result<Code, Failure> {
    let fail = |error: io::Error| Failure::new(FAILED, format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(fail)?;
    let keys = KeyRing::open(engine.paths())?;
    let doors = Doors::open(engine, settings.config.listen, keys).await?;
    engine.spawn_services();
    let mut taking = pin!(take_over(engine, &settings.config.jobs_dir));
    // Why behind the jobs: whoever comes at once is not told that there are none. Why not for ever: where the disk is
    // full, they wait, and who asks is told of that.
    let taken = tokio::time::timeout(TAKING_MAX, &mut taking).await;
    let mut listening = doors.serve();
    if taken.is_err() {
        taking.await;
    }
    engine.resume_all().await?;
    engine.tell_triggers();
    let mut scheduler = Scheduler::start(engine.clone()).await;
    tell_systemd(&[NotifyState::Ready, NotifyState::Status("running")]);
    tokio::spawn(feed_watchdog(engine.clone()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        jobs = engine.live_jobs().len(),
        "serving"
    );
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(ended) = listening.join_next() => {
                let cause = ended.map_or_else(|error| error.to_string(), |()| "it ended".to_owned());
                return Err(Failure::new(FAILED, format!("cannot listen any more: {cause}")));
            }
            // Why: a job that was handed over may have a schedule.
            () = engine.jobs_changed() => scheduler.reload().await,
            _ = hangup.recv() => {
                tell_systemd(&[NotifyState::Reloading, monotonic()]);
                reload(session, engine, overrides).await;
                scheduler.reload().await;
                tell_systemd(&[NotifyState::Ready]);
            }
        }
    }
    tell_systemd(&[NotifyState::Stopping]);
    tracing::info!("finishing what is in flight");
    engine.shut_down(engine.config().shutdown_grace).await;
    tracing::info!("ended");
    Ok(Code(DONE))
}

/// Where requests come in: the socket in the state directory, and TCP. Whoever comes waits until they are
/// served.
struct Doors {
    socket: api::Socket,
    tcp: TcpListener,
    address: SocketAddr,
    api: Api,
    keys: KeyRing,
}

impl Doors {
    async fn open(engine: &Engine, address: SocketAddr, keys: KeyRing) -> Result<Self, Failure> {
        let refuse = |error| {
            Failure::new(
                CONFLICT,
                format!(
                    "cannot listen on {address}: {error}; name another address with --listen, or listen = \"..\" in iterd.toml"
                ),
            )
        };
        let tcp = TcpListener::bind(address).await.map_err(refuse)?;
        let address = tcp.local_addr().map_err(refuse)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "requests are signed, and neither they nor the answers are encrypted");
        }
        let file = engine.paths().socket();
        let socket = api::Socket::bind(file.clone()).map_err(|error| {
            let message = format!("cannot listen on {}: {error}", file.display());
            Failure::new(FAILED, message)
        })?;
        engine.listens_on(address);
        let api = Api::of_engine(engine.clone()).listening_on(address);
        let access = HandlerAccess::new(api.clone(), keys.clone());
        engine.grant_access(Arc::new(access));
        engine.answer_by(Arc::new(OwnStates::new(api.clone())));
        Ok(Self {
            socket,
            tcp,
            address,
            api,
            keys,
        })
    }

    fn serve(self) -> JoinSet<()> {
        let Self {
            socket,
            tcp,
            address,
            api,
            keys,
        } = self;
        let mut listening = JoinSet::new();
        listening.spawn(api::serve_unix(socket, api.clone(), keys.clone()));
        listening.spawn(api::serve_tcp(tcp, address, api, keys));
        tracing::info!(%address, "listening");
        listening
    }
}

/// Takes note of the jobs of the folder, and lets edits apply to what is live.
async fn take_over(engine: &Engine, folder: &Path) {
    if !folder.exists() {
        tracing::warn!(folder = %folder.display(), "there is no folder of jobs");
        return;
    }
    let jobs = match JobFolder::read(folder) {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::error!(%error, "cannot read the folder of jobs");
            return;
        }
    };
    for broken in &jobs.broken {
        tracing::error!(file = %broken.file.display(), error = %broken.error, "a job file does not count");
    }
    for file in jobs.jobs.values() {
        if let Err(error) = engine.take_edit(file).await {
            tracing::error!(job = file.name, %error, "an edit does not apply");
        }
    }
}

async fn reload(session: &Session, engine: &Engine, overrides: &[(&str, String)]) {
    match session.settings(overrides) {
        Ok(settings) => {
            let folder = settings.config.jobs_dir.clone();
            if settings.config.listen != engine.config().listen {
                tracing::warn!("the address to listen on changes with the next start");
            }
            engine.set_config(settings.config);
            take_over(engine, &folder).await;
            engine.take_settings().await;
            engine.tell_triggers();
            tracing::info!("reloaded");
        }
        Err(error) => tracing::error!(%error, "the settings stay as they were"),
    }
}

/// Feeds systemd's watchdog as long as the dispatcher runs (this task does) and the writer lives.
async fn feed_watchdog(engine: Engine) {
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Spec: sd_watchdog_enabled(3) recommends half the time.
    let mut ticks = tokio::time::interval(timeout / 2);
    loop {
        ticks.tick().await;
        // Why not a commit: it would wait where the disk is full; the pulse tells.
        engine.store().poke();
        let alive = engine
            .store()
            .pulse()
            .is_some_and(|pulse| pulse.silent < WRITER_SILENT_MAX.max(timeout));
        if alive {
            tell_systemd(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the writer shows no signs of life");
        }
    }
}

fn monotonic() -> NotifyState<'static> {
    NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Status("reloading"))
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
