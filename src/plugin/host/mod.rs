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
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    HostKind, Manifest, PoolError, PoolSpec, SecretError, Version, launch::WorkerSpec,
    pool::Shared, sandbox::SandboxSpec,
};

mod batch;
pub mod exec;
pub(crate) mod http;
pub mod identity;
pub mod lambda;
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
    #[error("cannot write {}: {source}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("role: {0}")]
    Access(String),
}

/// What a worker's process is, once it is locked in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The user's program, which speaks the line protocol itself.
    Program,
    /// Ours, which runs the command for each item.
    Exec(exec::Settings),
    /// Ours, which serves the runtime API of AWS Lambda to the command.
    Lambda(lambda::Settings),
    /// Ours, which makes a request for each item.
    Http(Box<http::Settings>),
    /// Ours, which calls a component for each item.
    #[cfg(feature = "wasm")]
    Wasm(wasm::Settings),
}

/// What a worker of ours stands on: what a program would find around itself.
pub(crate) struct Grounds {
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The version's folder.
    #[cfg(feature = "wasm")]
    pub(crate) folder: PathBuf,
    /// What the process is locked in to.
    #[cfg(feature = "wasm")]
    pub(crate) sandbox: SandboxSpec,
}

impl Role {
    /// What a manifest asks for, and the command that goes with it.
    fn of(version: &Version, shared: &Shared) -> (Self, Vec<String>) {
        let manifest = &version.manifest;
        let command = manifest.command.clone().unwrap_or_default();
        match manifest.host {
            HostKind::Exec => {
                let output_bytes_max = served::result_bytes_max(manifest.line_bytes_max);
                (Self::Exec(exec::Settings { output_bytes_max }), command)
            }
            HostKind::Lambda => (
                Self::Lambda(lambda::Settings::of(manifest, &shared.spec.place)),
                lambda::command(version, &shared.spec.runtime_dir),
            ),
            HostKind::Http => (
                Self::Http(Box::new(http::Settings::of(manifest))),
                Vec::new(),
            ),
            #[cfg(feature = "wasm")]
            HostKind::Wasm => (Self::Wasm(wasm::Settings::of(manifest)), Vec::new()),
            // Such a pool is refused before it has workers.
            #[cfg(not(feature = "wasm"))]
            HostKind::Wasm => (Self::Program, Vec::new()),
            HostKind::Process | HostKind::Identity => {
                (Self::Program, process::command(version, &shared.shim))
            }
        }
    }

    /// Becomes the worker. Returns an error where the user's program cannot be executed, else when a
    /// worker of ours has ended.
    pub(crate) fn serve(self, command: Option<Command>, grounds: &Grounds) -> io::Result<ExitCode> {
        let command = command.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
        let served: Result<(), Box<dyn std::error::Error>> = match self {
            Self::Program => return Err(command?.exec()),
            Self::Exec(settings) => exec::serve(&mut command?, settings).map_err(Into::into),
            Self::Lambda(settings) => return Ok(lambda::serve(&mut command?, settings)),
            Self::Http(settings) => http::serve(*settings, &grounds.env).map_err(Into::into),
            #[cfg(feature = "wasm")]
            Self::Wasm(settings) => wasm::serve(&settings, grounds).map_err(Into::into),
        };
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
    let (role, command) = Role::of(version, shared);
    let compiled = compiled(manifest, settings)?;
    let mut own = vec![version.folder.clone(), shared.shim.clone()];
    own.extend(version.environment.clone());
    own.extend(lambda::write_bootstrap(manifest, &settings.runtime_dir)?);
    let paths = own.iter().chain([&settings.scratch]);
    let granted = manifest.read.iter().chain(&manifest.write);
    for path in paths.chain(granted).chain(&settings.hidden) {
        if path.to_str().is_none() {
            return Err(HostError::Path(path.clone()));
        }
    }
    let secrets = settings.secrets.look_up(&manifest.secrets)?;
    shared.renewals.given(version, &secrets);
    let access = match manifest.role {
        Some(role) => {
            let given = settings.access.variables(&manifest.name, role);
            given.map_err(HostError::Access)?
        }
        None => BTreeMap::new(),
    };
    let env = environment(version, access, secrets, settings);
    let mut read = manifest.read.clone();
    if manifest.host == HostKind::Http {
        // One that is named by a relative path lies in the folder, which is granted.
        let certificates = env.get(http::CERTIFICATES).map(PathBuf::from);
        read.extend(certificates.filter(|file| file.is_absolute()));
    }
    Ok(WorkerSpec {
        parent: std::process::id(),
        role,
        command,
        folder: version.folder.clone(),
        env,
        limits: manifest.limits,
        sandbox: SandboxSpec {
            mode: manifest.sandbox,
            own,
            scratch: settings.scratch.clone(),
            compiled,
            read,
            write: manifest.write.clone(),
            hidden: settings.hidden.clone(),
        },
    })
}

/// Whether the workers of a plugin say when they are ready for calls.
pub(crate) fn says_ready(manifest: &Manifest) -> bool {
    matches!(
        manifest.host,
        HostKind::Exec | HostKind::Lambda | HostKind::Http | HostKind::Wasm
    ) || manifest.python_handler().is_some()
}

/// How long the pool lets each call of a plugin take, whatever the call says. Why not that of a Lambda
/// function: its worker ends what takes longer itself, in the words of AWS.
pub(crate) fn time_of_each_call(manifest: &Manifest) -> Option<Duration> {
    manifest
        .timeout
        .filter(|_| manifest.host != HostKind::Lambda)
}

/// The whole environment of a worker: nothing of the daemon's own but where programs are, the
/// language and the time zone.
fn environment(
    version: &Version,
    access: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    settings: &PoolSpec,
) -> BTreeMap<String, String> {
    let manifest = &version.manifest;
    // A component has neither programs nor a home; what it knows of the daemon is what it is told.
    if manifest.host == HostKind::Wasm {
        return manifest.env.clone().into_iter().chain(secrets).collect();
    }
    let scratch = settings.scratch.to_string_lossy();
    let own = |name: &str| std::env::var(name).ok();
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), own_path()),
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
    if manifest.host == HostKind::Http {
        let certificates = own(http::CERTIFICATES);
        env.extend(certificates.map(|file| (http::CERTIFICATES.to_owned(), file)));
    }
    if manifest.host == HostKind::Lambda {
        env.extend(lambda::environment(version, &settings.place));
    }
    // Before what the manifest names, which wins.
    env.extend(access);
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

/// Where programs are looked for: as the daemon does.
pub(crate) fn own_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned())
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
