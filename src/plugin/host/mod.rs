//! The kinds of hosts, a file for each, and what they have in common: how a worker is launched.
//!
//! A host says which program a worker is: the user's own, or this binary in a `Role`, which speaks
//! the line protocol for code that does not. Everything else about workers (their life, their calls,
//! their confinement, their death) is the pool's and the same for all.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde::{Deserialize, Serialize};

use super::{
    HostKind, Manifest, PoolError, PoolSpec, SecretError, Version, launch::WorkerSpec,
    pool::Shared, sandbox::SandboxSpec,
};

pub mod exec;
pub mod identity;
pub mod process;
mod served;
#[cfg(feature = "wasm")]
pub mod wasm;

/// Where programs are looked for when the daemon itself has no PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a worker cannot be described.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{} is no UTF-8; workers cannot be told such a path", .0.display())]
    Path(PathBuf),
    #[error("cannot prepare {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
}

/// What a worker's process is, once it is locked in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The user's program, which speaks the line protocol itself.
    Program,
    /// Ours, which runs the command for each item.
    Exec(exec::Settings),
    /// Ours, which calls a component for each item.
    #[cfg(feature = "wasm")]
    Wasm(wasm::Settings),
}

/// What a worker of ours stands on: what a program would find around itself.
#[cfg_attr(
    not(feature = "wasm"),
    expect(dead_code, reason = "only a component has to be given these by us")
)]
pub(crate) struct Grounds {
    /// The version's folder.
    pub(crate) folder: PathBuf,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// What the process is locked in to.
    pub(crate) sandbox: SandboxSpec,
}

impl Role {
    /// What a manifest asks for, and the command that goes with it.
    fn of(manifest: &Manifest, shared: &Shared) -> (Self, Vec<String>) {
        let command = manifest.command.clone().unwrap_or_default();
        match manifest.host {
            HostKind::Exec => {
                let output_bytes_max = served::result_bytes_max(manifest.line_bytes_max);
                (Self::Exec(exec::Settings { output_bytes_max }), command)
            }
            #[cfg(feature = "wasm")]
            HostKind::Wasm => (Self::Wasm(wasm::Settings::of(manifest)), command),
            #[cfg(not(feature = "wasm"))]
            HostKind::Wasm => (Self::Program, command),
            HostKind::Process | HostKind::Lambda | HostKind::Http | HostKind::Identity => {
                (Self::Program, process::command(manifest, &shared.shim))
            }
        }
    }

    /// Becomes the worker. Returns an error where the user's program cannot be executed, else when a
    /// worker of ours has ended.
    pub(crate) fn serve(self, command: Option<Command>, grounds: Grounds) -> io::Result<ExitCode> {
        let command = command.ok_or(io::Error::from(io::ErrorKind::InvalidInput));
        let served: Result<(), Box<dyn std::error::Error>> = match self {
            Self::Program => return Err(command?.exec()),
            Self::Exec(settings) => exec::serve(&mut command?, settings).map_err(Into::into),
            #[cfg(feature = "wasm")]
            Self::Wasm(settings) => wasm::serve(&settings, &grounds).map_err(Into::into),
        };
        drop(grounds);
        Ok(match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                writeln!(io::stderr(), "the worker cannot go on: {error}").ok();
                ExitCode::FAILURE
            }
        })
    }
}

/// Everything that the launcher needs to know about a worker of this version. Reads secrets.
pub(crate) fn worker_spec(version: &Version, shared: &Shared) -> Result<WorkerSpec, HostError> {
    let manifest = &version.manifest;
    let settings = &shared.spec;
    let (role, command) = Role::of(manifest, shared);
    let compiled = compiled(manifest, settings)?;
    let paths = [&version.folder, &settings.scratch, &shared.shim];
    let granted = manifest.read.iter().chain(&manifest.write);
    for path in paths.into_iter().chain(granted).chain(&settings.hidden) {
        if path.to_str().is_none() {
            return Err(HostError::Path(path.clone()));
        }
    }
    Ok(WorkerSpec {
        parent: std::process::id(),
        role,
        command,
        folder: version.folder.clone(),
        env: environment(
            manifest,
            settings.secrets.look_up(&manifest.secrets)?,
            &settings.scratch,
        ),
        limits: manifest.limits,
        sandbox: SandboxSpec {
            mode: manifest.sandbox,
            own: vec![version.folder.clone(), shared.shim.clone()],
            scratch: settings.scratch.clone(),
            compiled,
            read: manifest.read.clone(),
            write: manifest.write.clone(),
            hidden: settings.hidden.clone(),
        },
    })
}

/// Whether the workers of a plugin say when they are ready for calls.
pub(crate) fn says_ready(manifest: &Manifest) -> bool {
    matches!(manifest.host, HostKind::Exec | HostKind::Wasm) || manifest.python_handler().is_some()
}

/// The whole environment of a worker: nothing of the daemon's own but where programs are, the
/// language and the time zone.
fn environment(
    manifest: &Manifest,
    secrets: BTreeMap<String, String>,
    scratch: &Path,
) -> BTreeMap<String, String> {
    // A component has neither programs nor a home; what it knows of the daemon is what it is told.
    if manifest.host == HostKind::Wasm {
        return manifest.env.clone().into_iter().chain(secrets).collect();
    }
    let scratch = scratch.to_string_lossy();
    let own = |name: &str| std::env::var(name).ok();
    let mut env = BTreeMap::from([
        (
            "PATH".to_owned(),
            own("PATH").unwrap_or_else(|| PATH.to_owned()),
        ),
        ("HOME".to_owned(), scratch.to_string()),
        // Why: the usual place for temporary files is not granted, and libraries look here first.
        ("TMPDIR".to_owned(), scratch.to_string()),
        (
            "LANG".to_owned(),
            own("LANG").unwrap_or_else(|| "C.UTF-8".to_owned()),
        ),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
    ]);
    // Without one, the system's own time zone holds.
    env.extend(own("TZ").map(|zone| ("TZ".to_owned(), zone)));
    env.extend(manifest.env.clone());
    env.extend(secrets);
    env
}

/// Where workers of this plugin keep what they have compiled, made where it is missing.
///
/// Why one for each plugin: what one worker writes, another executes, and that must not lead from one
/// plugin to the next. Why not in the scratch directory: that is emptied at every start of the daemon.
fn compiled(manifest: &Manifest, settings: &PoolSpec) -> Result<Option<PathBuf>, HostError> {
    if manifest.host != HostKind::Wasm {
        return Ok(None);
    }
    let path = settings.runtime_dir.join("compiled").join(&manifest.name);
    match make_private(&path) {
        Ok(()) => Ok(Some(path)),
        Err(source) => Err(HostError::Prepare { path, source }),
    }
}

/// Creates the workers' home, which nobody but the daemon's user may enter.
pub(crate) fn make_scratch(path: &Path) -> Result<(), PoolError> {
    make_private(path).map_err(|source| prepare(path, source))
}

fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn prepare(path: &Path, source: io::Error) -> PoolError {
    PoolError::Prepare {
        path: path.to_owned(),
        source,
    }
}
