//! The hidden first argument of the binary: a process that becomes a worker.
//!
//! The daemon starts its own binary as `iterd __worker` with an empty environment and sends it a
//! spec on standard input, before the first line of the protocol. The launcher ties its
//! life to the daemon's, gives up what a worker must not have, says so in one line on standard
//! output, and executes the worker's program in its own place.
//!
//! Why a program and not a function between fork and exec: that function would have to be unsafe
//! code. Why a pipe and not arguments or variables: those can be read by others, and the spec
//! carries secrets. The launcher reads exactly the spec's bytes; the rest of the pipe is the
//! worker's.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use rustix::process::{
    Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use serde::{Deserialize, Serialize};

use super::{
    Limits,
    host::{Grounds, Role},
    orphans, procfs,
    sandbox::{self, Confinement, SandboxSpec},
};

/// The argument that makes the binary a launcher.
pub const ARGUMENT: &str = "__worker";

/// Longest spec, in bytes; an environment and a command line of the largest size fit.
const SPEC_BYTES_MAX: usize = 4 << 20;

/// Added to a worker's badness when memory is short: of a thousand, so that the kernel takes a
/// worker, which costs one restart, before it takes the daemon.
const OOM_SCORE: &[u8] = b"500";

/// Exit status of a launcher that could not become a worker; what shells use for "cannot execute".
const EXIT_REFUSED: u8 = 126;

/// What a launcher becomes. Its `Debug` text has the names of the variables alone: some are secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct WorkerSpec {
    /// The daemon's process number: if it is not our parent any more, it has died meanwhile.
    pub(crate) parent: u32,
    pub(crate) role: Role,
    /// Program and arguments; none where the worker is this binary alone.
    pub(crate) command: Vec<String>,
    /// Where it runs: the version's folder.
    pub(crate) folder: PathBuf,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) sandbox: SandboxSpec,
}

impl fmt::Debug for WorkerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerSpec")
            .field("parent", &self.parent)
            .field("role", &self.role)
            .field("command", &self.command)
            .field("folder", &self.folder)
            .field("env", &self.env.keys())
            .field("limits", &self.limits)
            .field("sandbox", &self.sandbox)
            .finish()
    }
}

/// The launcher's one line on standard output.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "launch", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The next thing is the worker's program.
    Starting {
        /// How far the process is locked in.
        confinement: Confinement,
    },
    /// There will be no worker.
    Refused {
        /// For people.
        cause: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("cannot read the worker's orders: {0}")]
    Spec(#[source] io::Error),
    #[error("the daemon has ended")]
    Orphaned,
    #[error("cannot {what}: {source}")]
    Setup {
        what: &'static str,
        source: io::Error,
    },
    #[error("there is no program {program:?} in {places}")]
    NoProgram { program: String, places: String },
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
    #[error("cannot execute {}: {source}", program.display())]
    Execute { program: PathBuf, source: io::Error },
}

/// Becomes a worker: what `main` does when its first argument is [`ARGUMENT`]. Returns only where
/// that failed, or after the last item of a worker of ours.
#[must_use]
pub fn main() -> ExitCode {
    match launch() {
        Ok(code) => code,
        Err(error) => {
            let cause = error.to_string();
            report(&Report::Refused { cause }).ok();
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn launch() -> Result<ExitCode, LaunchError> {
    let spec = read_spec().map_err(LaunchError::Spec)?;
    prepare(&spec)?;
    let path = spec.env.get("PATH").map_or("", String::as_str);
    let program = match spec.command.first() {
        Some(program) => Some(find_program(program, path, &spec.folder)?),
        None => None,
    };
    let confinement = sandbox::enter(&spec.sandbox, program.as_deref())?;
    report(&Report::Starting { confinement }).map_err(|source| LaunchError::Setup {
        what: "report to the daemon",
        source,
    })?;
    let me = procfs::stat(std::process::id()).ok().flatten();
    let mark = me.map(|me| orphans::mark_of(me.pid, me.start_time));
    let command = program.as_ref().map(|program| {
        let mut command = Command::new(program);
        command
            .args(spec.command.iter().skip(1))
            .env_clear()
            .envs(&spec.env)
            .env(orphans::MARK, mark.unwrap_or_default())
            .current_dir(&spec.folder);
        command
    });
    spec.role
        .serve(
            command,
            &Grounds {
                env: spec.env,
                #[cfg(feature = "wasm")]
                folder: spec.folder,
                #[cfg(feature = "wasm")]
                sandbox: spec.sandbox,
            },
        )
        .map_err(|source| LaunchError::Execute {
            source,
            program: program.unwrap_or_default(),
        })
}

/// Everything but the sandbox: the bond to the daemon first, so that nothing below outlives it.
fn prepare(spec: &WorkerSpec) -> Result<(), LaunchError> {
    let setup = |what, result: rustix::io::Result<()>| {
        result.map_err(|errno| LaunchError::Setup {
            what,
            source: errno.into(),
        })
    };
    setup(
        "tie the worker to the daemon",
        set_parent_process_death_signal(Some(Signal::KILL)),
    )?;
    // Why after it: a daemon that died before has sent no signal.
    if getppid().is_none_or(|pid| u32::try_from(pid.as_raw_pid()) != Ok(spec.parent)) {
        return Err(LaunchError::Orphaned);
    }
    setup(
        "give up new privileges",
        rustix::thread::set_no_new_privs(true),
    )?;
    for (resource, limit) in [
        (Resource::Core, Some(0)),
        (Resource::As, spec.limits.memory_bytes),
        (Resource::Nofile, spec.limits.open_files),
        (Resource::Fsize, spec.limits.file_bytes),
    ] {
        if limit.is_some() {
            let limit = Rlimit {
                current: limit,
                maximum: limit,
            };
            setup("set a limit", setrlimit(resource, limit))?;
        }
    }
    // Why the result is nothing: a container may forbid it, and then all scores are alike.
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE).ok();
    std::env::set_current_dir(&spec.folder).map_err(|source| LaunchError::Setup {
        what: "enter the plugin's folder",
        source,
    })
}

/// The spec as it travels: its length in decimal digits, a newline, JSON.
pub(crate) fn encode(spec: &WorkerSpec) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(spec)?;
    let mut bytes = format!("{}\n", json.len()).into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

fn read_spec() -> io::Result<WorkerSpec> {
    // Why a duplicate: the standard library's own handle reads ahead.
    decode(&mut File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn decode(input: &mut impl Read) -> io::Result<WorkerSpec> {
    let mut length = 0_usize;
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => break,
            digit @ b'0'..=b'9' => length = length * 10 + usize::from(digit - b'0'),
            other => {
                return Err(io::Error::other(format!(
                    "byte {other} instead of a length; {ARGUMENT} is for the daemon's own use"
                )));
            }
        }
        if length > SPEC_BYTES_MAX {
            return Err(io::Error::other(format!(
                "they have more than {SPEC_BYTES_MAX} bytes; shorten the environment or the command"
            )));
        }
    }
    let mut json = vec![0; length];
    input.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn report(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// The file of a program: as it is where it has a slash (relative to the folder), else the first
/// executable of that name in the PATH.
fn find_program(program: &str, path: &str, folder: &Path) -> Result<PathBuf, LaunchError> {
    if program.contains('/') {
        let file = folder.join(program);
        return if file.is_file() {
            Ok(file)
        } else {
            Err(LaunchError::NoProgram {
                program: program.to_owned(),
                places: folder.display().to_string(),
            })
        };
    }
    std::env::split_paths(OsStr::new(path))
        .map(|place| place.join(program))
        .find(|file| {
            file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
        })
        .ok_or_else(|| LaunchError::NoProgram {
            program: program.to_owned(),
            places: format!("PATH ({path})"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> WorkerSpec {
        WorkerSpec {
            parent: 1,
            role: Role::Program,
            command: vec!["sh".to_owned()],
            folder: PathBuf::from("/"),
            env: BTreeMap::new(),
            limits: Limits::default(),
            sandbox: SandboxSpec {
                mode: crate::plugin::SandboxMode::Off,
                own: Vec::new(),
                scratch: PathBuf::new(),
                compiled: None,
                read: Vec::new(),
                write: Vec::new(),
                hidden: Vec::new(),
            },
        }
    }

    #[test]
    fn the_spec_leaves_the_rest_of_the_pipe_to_the_worker() {
        let mut bytes = encode(&spec()).unwrap();
        bytes.extend_from_slice(b"{\"id\":1}\n");
        let mut input = bytes.as_slice();
        assert_eq!(decode(&mut input).unwrap().command, ["sh"]);
        assert_eq!(input, b"{\"id\":1}\n");
    }

    #[test]
    fn the_text_for_people_names_variables_and_tells_no_value() {
        let mut spec = spec();
        spec.env.insert("TOKEN".to_owned(), "s3cret".to_owned());
        let text = format!("{spec:?}");
        assert!(text.contains("TOKEN") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn what_is_no_spec_is_refused_without_reading_on() {
        for (text, expected) in [
            ("", "failed to fill"),
            ("x\n", "instead of a length"),
            ("99999999999999999999999999\n", "more than"),
            ("3\n{}", "failed to fill"),
            ("2\n{}", "missing field"),
        ] {
            let message = decode(&mut text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let found = |program, path| find_program(program, path, Path::new("/bin"));
        assert_eq!(found("./sh", "").unwrap(), Path::new("/bin/./sh"));
        assert_eq!(found("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        let message = found("no-such", "/usr/bin:/bin").unwrap_err().to_string();
        assert_eq!(
            message,
            "there is no program \"no-such\" in PATH (/usr/bin:/bin)"
        );
        assert!(found("/etc/passwd/x", "").is_err());
    }
}
