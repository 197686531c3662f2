//! What every command needs: the settings, the state directory, and where its words go.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::exit::{FAILED, Failure, INVALID};
use crate::{
    config::{ConfigPlace, Environment, Settings},
    integration::service::remote::check_names,
    plugin::{Launcher, orphans},
    runtime::{Engine, EngineSetup, StatePaths, check_triggers},
    telemetry,
    time::SystemClock,
};

/// What the command line says to every command.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) state: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) json: bool,
}

impl Session {
    /// The settings in force; `overrides` are a command's own flags.
    pub(super) fn settings(&self, overrides: &[(&str, String)]) -> Result<Settings, Failure> {
        let environment = Environment::of_process();
        let place = ConfigPlace::find(self.config.as_deref(), &environment)?;
        let settings = Settings::load(&place, &environment, overrides)?;
        // Why here: which services there are, the settings themselves do not know.
        check_names(&settings.config.services)
            .map_err(|error| Failure::new(INVALID, error.to_string()))?;
        // As little do they know the language of mappings.
        check_triggers(&settings.config).map_err(|problem| {
            let problem = settings.problem(&problem.key, problem.message);
            Failure::new(INVALID, problem.to_string())
        })?;
        Ok(settings)
    }

    /// The state directory in force.
    pub(super) fn state_dir(&self, settings: &Settings) -> Result<PathBuf, Failure> {
        let directory = match &self.state {
            Some(directory) => directory.clone(),
            None => settings.config.state_dir(&Environment::of_process())?,
        };
        std::path::absolute(&directory)
            .map_err(|error| Failure::new(FAILED, format!("{}: {error}", directory.display())))
    }

    /// Where things lie, for a command that asks; it says so on standard error.
    pub(super) fn paths(&self) -> Result<StatePaths, Failure> {
        let paths = self.paths_quietly()?;
        note(&format!("state: {}", paths.root().display()));
        Ok(paths)
    }

    /// The same, for a command that has said so.
    pub(super) fn paths_quietly(&self) -> Result<StatePaths, Failure> {
        let settings = self.settings(&[])?;
        let directory = self.state_dir(&settings)?;
        Ok(StatePaths::new(&directory))
    }

    /// Opens the engine; `working` keeps jobs running, `service` is the daemon's way.
    pub(super) fn engine(
        directory: &Path,
        settings: &Settings,
        working: bool,
        service: bool,
    ) -> Result<Engine, crate::runtime::RuntimeError> {
        let setup = EngineSetup {
            config: settings.config.clone(),
            clock: Arc::new(SystemClock),
            working,
            service,
            hidden: hidden(settings.folder()),
            launcher: Launcher::default(),
        };
        Engine::open(directory, setup)
    }

    /// Begins logging as the settings have it, and tells what is odd in the environment.
    pub(super) fn begin_log(settings: &Settings, level: Option<&str>) -> Result<(), Failure> {
        let log = &settings.config.log;
        telemetry::init(log.format, level.unwrap_or(&log.level))
            .map_err(|error| Failure::new(FAILED, error.to_string()))?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    /// The answer as JSON, or as `people` would have it.
    pub(super) fn answer(
        &self,
        value: &Value,
        people: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            print(&value.to_string())
        } else {
            let text = people(value);
            print(text.trim_end())
        }
    }
}

/// A line for people, on standard error.
pub(super) fn note(line: &str) {
    // Why ok: nobody reads a closed standard error.
    writeln!(std::io::stderr(), "{line}").ok();
}

/// The answer, on standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write_out(format!("{text}\n").as_bytes())
}

/// Writes to standard output; that nobody reads any more (`| head`) is no failure.
pub(super) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().write_all(bytes) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            std::process::exit(i32::from(super::exit::DONE))
        }
        Err(error) => Err(Failure::new(FAILED, format!("cannot write: {error}"))),
    }
}

/// What handlers may not read of the settings' folder: all of it where it is one in /etc, of which they
/// may read the rest. Elsewhere they read nothing that they are not granted.
fn hidden(folder: &Path) -> Vec<PathBuf> {
    let etc = Path::new("/etc");
    // Why by its real path: a link in /etc may lead to a folder that is nobody's business of ours.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let within = folder.starts_with(etc) && folder != etc;
    within.then_some(folder).into_iter().collect()
}

/// Takes charge of whatever handlers may leave running outside of their groups.
pub(super) fn adopt() {
    if let Err(error) = orphans::adopt() {
        // Why it goes on: a service manager ends such processes, too.
        tracing::warn!(%error, "what leaves a worker's group cannot be adopted");
    }
}

/// A runtime for a command that only asks.
pub(super) fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    runtime(1)
}

/// A runtime for jobs: actors and blocking steps beside one another.
pub(super) fn working_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    // Why at least two: a step that blocks on the disk must not hold up the others.
    runtime(cores.max(2))
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("iterd")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(FAILED, format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_etc_are_hidden_from_handlers_and_etc_is_not() {
        for (folder, expected) in [
            ("/etc/iterd", &["/etc/iterd"][..]),
            ("/etc", &[]),
            ("/home/u/.config/iterd", &[]),
            ("", &[]),
        ] {
            let found = hidden(Path::new(folder));
            assert_eq!(
                found,
                expected.iter().map(PathBuf::from).collect::<Vec<_>>()
            );
        }
    }
}
