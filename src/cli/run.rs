//! `iterd run FILE`: run a job in the foreground, or go on with it, to its end.
//!
//! Where a daemon owns the state directory, the job is handed to it and followed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    client, exit,
    exit::{Code, Failure},
    follow::{self, Standing},
    progress::Progress,
    session::{Session, note, working_runtime},
};
use crate::{
    api::{self, Api, Key},
    config::{Settings, job::JobFile},
    runtime::{Engine, Pruner, RuntimeError, Started, StateError, StatePaths},
};

/// How often the picture is drawn anew.
const REDRAW_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job file
    file: PathBuf,
    /// Begin anew after a finished run
    #[arg(long)]
    again: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let file = JobFile::read(&arguments.file)?;
    let directory = session.state_dir(&settings)?;
    note(&format!("state: {}", directory.display()));
    // Why warnings alone: the progress line tells what goes well.
    let level = std::env::var_os("ITERD_LOG_LEVEL")
        .is_none()
        .then_some("warn");
    Session::begin_log(&settings, level)?;
    match Session::engine(&directory, &settings, true, false) {
        Ok(engine) => {
            let runtime = working_runtime()?;
            let code = runtime.block_on(foreground(session, arguments, &file, &engine, &settings));
            runtime.shutdown_timeout(Duration::from_secs(1));
            code
        }
        Err(RuntimeError::State(StateError::InUse { .. })) => {
            working_runtime()?.block_on(hand_over(session, arguments, &StatePaths::new(&directory)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn foreground(
    session: &Session,
    arguments: &Arguments,
    file: &JobFile,
    engine: &Engine,
    settings: &Settings,
) -> Result<Code, Failure> {
    let mut interrupts = signals()?;
    let api = Api::of_engine(engine.clone());
    tokio::spawn(engine.disk().clone().watch());
    tokio::spawn(Pruner::new(engine.clone()).work());
    let key = Key::read(&engine.paths().key())
        .map_err(|error| Failure::new(exit::STATE, error.to_string()))?;
    let (socket, served) = (engine.paths().socket(), api.clone());
    tokio::spawn(async move {
        if let Err(error) = api::serve_unix(&socket, served, vec![key]).await {
            tracing::warn!(%error, "other commands cannot reach this one");
        }
    });
    let started = tokio::select! {
        started = engine.start(file, arguments.again) => started?,
        () = interrupts.next() => return Ok(Code(exit::INTERRUPTED)),
    };
    announce(file, started);
    let mut progress = Progress::new();
    let again = again(&arguments.file);
    let outcome = loop {
        let picture = api::call(&api, "DescribeJob", client::of_job(&file.name), "").await?;
        if let Standing::Over(code) = follow::standing(&picture)
            && (code.0 == exit::PAUSED || engine.view(&file.name).is_none())
        {
            break Ok((picture, code));
        }
        progress.show(&picture);
        tokio::select! {
            () = tokio::time::sleep(REDRAW_EVERY) => {}
            () = interrupts.next() => break Err(()),
        }
    };
    progress.end();
    if let Ok((picture, code)) = outcome {
        // Why the grace: nothing is in flight, but the output may lack what came last.
        engine.shut_down(settings.config.shutdown_grace).await;
        follow::conclude(session, &picture, &again)?;
        return Ok(code);
    }
    note("finishing what is in flight; press Ctrl-C again to stop at once");
    tokio::select! {
        () = engine.shut_down(settings.config.shutdown_grace) => {}
        () = interrupts.next() => engine.shut_down(Duration::ZERO).await,
    }
    let picture = api::call(&api, "DescribeJob", client::of_job(&file.name), "").await?;
    note(&format!(
        "{}\ngo on: {again}",
        super::progress::line(&picture)
    ));
    Ok(Code(exit::INTERRUPTED))
}

/// Hands the job to the daemon that owns the directory, and follows it; Ctrl-C lets go of it.
async fn hand_over(
    session: &Session,
    arguments: &Arguments,
    paths: &StatePaths,
) -> Result<Code, Failure> {
    let mut interrupts = signals()?;
    let path = std::path::absolute(&arguments.file)
        .map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
    let input = json!({ "file": path, "again": arguments.again });
    let answer = ask(paths, "StartJob", &input).await?;
    let job = answer["job"].as_str().unwrap_or_default().to_owned();
    note("a daemon owns this state directory: it runs the job; Ctrl-C stops watching");
    let mut progress = Progress::new();
    loop {
        let picture = ask(paths, "DescribeJob", &client::of_job(&job)).await?;
        if let Standing::Over(code) = follow::standing(&picture) {
            progress.end();
            follow::conclude(session, &picture, &format!("iterd start {job}"))?;
            return Ok(code);
        }
        progress.show(&picture);
        tokio::select! {
            () = tokio::time::sleep(REDRAW_EVERY) => {}
            () = interrupts.next() => {
                progress.end();
                note(&format!("{job} goes on; watch it with: iterd status {job}"));
                return Ok(Code(exit::INTERRUPTED));
            }
        }
    }
}

async fn ask(paths: &StatePaths, operation: &str, input: &Value) -> Result<Value, Failure> {
    client::over_socket(paths, operation, input)
        .await?
        .ok_or_else(|| {
            let directory = paths.root().display();
            Failure::new(
                exit::STATE,
                format!("{directory} is in use by a process that does not answer; try again, or end that process"),
            )
        })
}

fn announce(file: &JobFile, started: Started) {
    let job = &file.name;
    match started {
        Started::New => note(&format!("{job}: a new run")),
        Started::Resumed | Started::Running => {
            note(&format!("{job}: going on where it stood"));
        }
        Started::Finished => note(&format!(
            "{job}: finished already; --again begins a new run"
        )),
    }
}

fn again(file: &Path) -> String {
    format!("iterd run {}", file.display())
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
