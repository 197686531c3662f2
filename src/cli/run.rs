//! `iterd run FILE`: run a job in the foreground, or go on with it, to its end.
//!
//! Where a daemon owns the state directory, the job is handed to it and followed.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    client::{self, Unanswered},
    dry_run::DryRun,
    exit::{self, Code, Failure},
    follow::{self, Standing},
    opening,
    progress::Progress,
    session::{Session, adopt, note, working_runtime},
};
use crate::{
    api::{self, Api, KeyRing},
    config::{ConfigError, Settings, job::JobFile},
    plugin::orphans,
    runtime::{Engine, RuntimeError, Started, StateError, StatePaths, on_behalf_of},
};

/// How often the picture is drawn anew.
const REDRAW_EVERY: Duration = Duration::from_millis(250);

/// How long the owner of a state directory may take from its lock to its socket: a start with a
/// migration, or with workers of a killed predecessor to be gone.
const OWNER_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(
    after_help = "Goes on with the job's unfinished run, also a paused, failed or stopped one. Exit codes: 0 finished,
10 paused, 11 failed, 12 stopped, 130 interrupted; each time the next command is told. Of a dry run: 0, or 3
where records cannot be read."
)]
pub(super) struct Arguments {
    /// The job file
    file: PathBuf,
    #[command(flatten)]
    opening: opening::Flags,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let file = JobFile::read(&arguments.file).map_err(|error| unread(&arguments.file, error))?;
    if arguments.dry.dry_run {
        return arguments.dry.main(session, &file, &settings);
    }
    let directory = session.state_dir(&settings)?;
    note(&format!("state: {}", directory.display()));
    // Why warnings alone: the progress line tells what goes well.
    let level = std::env::var_os("ITERD_LOG_LEVEL")
        .is_none()
        .then_some("warn");
    Session::begin_log(&settings, level)?;
    adopt();
    let runtime = working_runtime()?;
    let run = Run {
        session,
        arguments,
        file: &file,
        settings: &settings,
    };
    let mut unanswered_since = None;
    let code = loop {
        // Why outside of the runtime: opening blocks until the store is migrated.
        let in_use = match Session::engine(&directory, &settings, true, false) {
            Ok(engine) => break runtime.block_on(run.foreground(&engine)),
            Err(RuntimeError::State(error @ StateError::InUse { .. })) => error,
            Err(error) => break Err(error.into()),
        };
        let paths = StatePaths::new(&directory);
        match runtime.block_on(run.hand_over(&paths)) {
            Ok(Handed::Over(code)) => break Ok(code),
            Ok(Handed::OwnerEnded) => note("the process that ran it has ended; going on here"),
            // Why again: it may be on its way, from its lock to its socket or from there to its end.
            Ok(Handed::Unanswered) => {
                let since = *unanswered_since.get_or_insert_with(Instant::now);
                if since.elapsed() > OWNER_PATIENCE {
                    let message = format!("{in_use}; it does not answer");
                    break Err(Failure::new(exit::STATE, message));
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    runtime.shutdown_timeout(Duration::from_secs(1));
    orphans::end_all();
    code
}

/// What became of a job that was handed to another process.
enum Handed {
    /// It is over, or nobody watches it any more.
    Over(Code),
    /// That process has ended before the job had.
    OwnerEnded,
    /// That process owns the directory and does not answer.
    Unanswered,
}

/// One `iterd run`.
struct Run<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    file: &'a JobFile,
    settings: &'a Settings,
}

impl Run<'_> {
    async fn foreground(&self, engine: &Engine) -> Result<Code, Failure> {
        let mut interrupts = signals()?;
        let job = &self.file.name;
        let api = Api::of_engine(engine.clone());
        engine.spawn_services();
        listen(engine, &api)?;
        let (again, opening) = (
            self.arguments.opening.again,
            self.arguments.opening.opening()?,
        );
        let starting = engine.start_at(self.file, again, &opening);
        let started = tokio::select! {
            started = on_behalf_of(client::author(), starting) => started?,
            () = interrupts.next() => return Ok(Code(exit::INTERRUPTED)),
        };
        announce(job, started);
        let mut progress = Progress::new();
        let outcome = loop {
            let picture = api::call(&api, "DescribeJob", client::of_job(job), "").await?;
            if let Standing::Over(code) = follow::standing(&picture)
                && (code.0 == exit::PAUSED || engine.view(job).is_none())
            {
                break Some((picture, code));
            }
            progress.show(&picture);
            tokio::select! {
                () = tokio::time::sleep(REDRAW_EVERY) => {}
                () = interrupts.next() => break None,
            }
        };
        progress.end();
        let again = format!("iterd run {}", self.arguments.file.display());
        if let Some((picture, code)) = outcome {
            follow::conclude(self.session, &picture, &again)?;
            self.let_go(engine, &mut interrupts).await;
            return Ok(code);
        }
        note("finishing what is in flight; press Ctrl-C again to stop at once");
        self.let_go(engine, &mut interrupts).await;
        let picture = api::call(&api, "DescribeJob", client::of_job(job), "").await?;
        follow::interrupted(self.session, &picture, &again)?;
        Ok(Code(exit::INTERRUPTED))
    }

    /// Ends what is still live: this job's run where it was interrupted, or rests in a pause; and
    /// jobs that other commands have handed to this process.
    async fn let_go(&self, engine: &Engine, interrupts: &mut Interrupts) {
        let others = engine.live_jobs();
        for other in others.iter().filter(|other| **other != self.file.name) {
            note(&format!(
                "{other} ran here, too; it goes on with: iterd start {other}, or iterd run and its file"
            ));
        }
        // Why at once: a job that pauses because its plugin does not start has calls that wait for it.
        let paused = engine.live_jobs() == [self.file.name.as_str()]
            && engine.view(&self.file.name).is_some_and(|view| {
                let view = view.borrow();
                view.pause.is_some() && view.figures.in_flight > 0
            });
        let grace = if paused {
            Duration::ZERO
        } else {
            self.settings.config.shutdown_grace
        };
        tokio::select! {
            () = engine.shut_down(grace) => {}
            () = interrupts.next() => engine.shut_down(Duration::ZERO).await,
        }
    }

    /// Hands the job to the process that owns the directory, and follows it; Ctrl-C lets go of it.
    async fn hand_over(&self, paths: &StatePaths) -> Result<Handed, Failure> {
        let mut interrupts = signals()?;
        let path = std::path::absolute(&self.arguments.file)
            .map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
        let mut input = json!({ "file": path, "author": client::author() });
        self.arguments.opening.add_to(&mut input);
        match client::over_socket(paths, "StartJob", &input).await {
            Ok(_) => {}
            Err(Unanswered::Refused(failure)) => return Err(failure),
            Err(Unanswered::Gone(_) | Unanswered::Nobody) => {
                return Ok(tokio::select! {
                    () = tokio::time::sleep(REDRAW_EVERY) => Handed::Unanswered,
                    () = interrupts.next() => Handed::Over(Code(exit::INTERRUPTED)),
                });
            }
        }
        let job = &self.file.name;
        note(&format!(
            "another process owns this state directory and runs {job}; Ctrl-C stops watching"
        ));
        self.watch(paths, &mut interrupts).await
    }

    /// Shows how the job fares in the process that owns the directory.
    async fn watch(
        &self,
        paths: &StatePaths,
        interrupts: &mut Interrupts,
    ) -> Result<Handed, Failure> {
        let job = &self.file.name;
        let mut progress = Progress::new();
        loop {
            let picture =
                match client::over_socket(paths, "DescribeJob", &client::of_job(job)).await {
                    Ok(picture) => picture,
                    Err(Unanswered::Refused(failure)) => return Err(failure),
                    Err(Unanswered::Gone(_) | Unanswered::Nobody) => {
                        progress.end();
                        return Ok(Handed::OwnerEnded);
                    }
                };
            if let Standing::Over(code) = follow::standing(&picture) {
                progress.end();
                follow::conclude(self.session, &picture, &format!("iterd start {job}"))?;
                return Ok(Handed::Over(code));
            }
            progress.show(&picture);
            tokio::select! {
                () = tokio::time::sleep(REDRAW_EVERY) => {}
                () = interrupts.next() => {
                    progress.end();
                    note(&format!("{job} goes on; watch it with: iterd status {job}"));
                    return Ok(Handed::Over(Code(exit::INTERRUPTED)));
                }
            }
        }
    }
}

/// Lets other commands reach this process over the socket in the state directory.
fn listen(engine: &Engine, api: &Api) -> Result<(), Failure> {
    let keys = KeyRing::open(engine.paths())?;
    match api::Socket::bind(engine.paths().socket()) {
        Ok(socket) => drop(tokio::spawn(api::serve_unix(socket, api.clone(), keys))),
        Err(error) => tracing::warn!(%error, "other commands cannot reach this one"),
    }
    Ok(())
}

/// A job file that cannot be read: where it may be instead.
fn unread(file: &Path, error: ConfigError) -> Failure {
    let within = file.join("job.toml");
    let hint = match &error {
        ConfigError::Unreadable { .. } if within.is_file() => {
            format!("; a job is run by its file: iterd run {}", within.display())
        }
        ConfigError::Unreadable { .. } => {
            "; a job is run by its file, as in iterd run NAME/job.toml; by its name the daemon starts \
             one that it knows: iterd start NAME"
                .to_owned()
        }
        ConfigError::Invalid(_) | ConfigError::NoPlace { .. } => String::new(),
    };
    let mut failure = Failure::from(error);
    failure.message.push_str(&hint);
    failure
}

fn announce(job: &str, started: Started) {
    match started {
        Started::New => note(&format!("{job}: a new run")),
        Started::Resumed | Started::Running => {
            note(&format!("{job}: going on where it stood"));
        }
        Started::Finished => note(&format!(
            "{job}: finished already; --again begins a new run, and iterd retry {job} does what failed again"
        )),
    }
}

/// Ctrl-C and the order to end.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn signals() -> Result<Interrupts, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::new(exit::FAILED, format!("signals: {error}")))
    };
    Ok(Interrupts {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
    })
}
