//! `plugin.toml`: what a plugin's folder says about itself.
//!
//! Owns every key, its default and its bounds; never opens anything that the keys name. A manifest
//! that parses is consistent: the host has the keys it needs and none that it would ignore, every
//! number is within its bounds. Hosts that this build lacks parse all the same, so that a folder
//! can be checked anywhere; [`Pool::start`](super::Pool::start) refuses them.

use std::{
    collections::BTreeMap,
    fmt, fs,
    num::NonZeroU32,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

mod wasm;

pub use wasm::{Instance, Wasm};

/// File name of the manifest within the plugin's folder.
const FILE_NAME: &str = "plugin.toml";

/// Longest manifest read, in bytes: far beyond any real one, small enough to hold in memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most worker processes of one pool: beyond it the kernel's scheduler is the queue.
const WORKERS_MAX: u32 = 1024;

/// Most items in one worker at a time; also the threads of the Python shim.
const IN_FLIGHT_MAX: u32 = 1024;

/// Bounds of `line_bytes_max`: a line must hold a failure with its cause; the upper bound is what
/// one worker may make the daemon hold in memory.
const LINE_BYTES: std::ops::RangeInclusive<usize> = 1 << 16..=1 << 28;

/// What `plugin.toml` says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The plugin's identity: letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// What runs the handler; default `process`.
    #[serde(default)]
    pub host: HostKind,
    /// `process`: the function that the Python shim calls. `lambda`: `index.handler`. `wasm`: the
    /// component's file.
    pub handler: Option<String>,
    /// Program and arguments; a relative program with a slash is relative to the folder.
    pub command: Option<Vec<String>>,
    /// The interpreter of a Python handler; default `python3` of the PATH.
    pub python: Option<String>,
    /// `lambda` only: `nodejs`, `python` or `provided`.
    pub runtime: Option<String>,
    /// Worker processes, 1 to 1024; default: the job's concurrency.
    pub workers: Option<NonZeroU32>,
    /// Items in one worker at a time, 1 to 1024. More than one promises that the handler copes
    /// with items side by side: the timeout of each runs from its hand-over.
    #[serde(default = "one")]
    pub in_flight: NonZeroU32,
    /// When an edited folder becomes a new version; default: `watch` under `iterd run`, `deploy`
    /// under `iterd serve`.
    pub reload: Option<Reload>,
    /// Whether workers are locked in with Landlock.
    #[serde(default)]
    pub sandbox: SandboxMode,
    /// Absolute paths that workers may read, beside their own folder and the system's.
    #[serde(default)]
    pub read: Vec<PathBuf>,
    /// Absolute paths that workers may write, beside their scratch directory. Python's
    /// `multiprocessing` wants `/dev/shm`.
    #[serde(default)]
    pub write: Vec<PathBuf>,
    /// Environment variables of the workers.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values are looked up when a worker starts: `credential:NAME`,
    /// `file:PATH` or `env:NAME`.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// What the kernel holds each worker process to.
    #[serde(default)]
    pub limits: Limits,
    /// `wasm`: addresses that a component may connect to, as `10.0.0.0/8`, `192.168.3.4:8080`,
    /// `[::1]:80` or `name.example:443`; none unless named.
    #[serde(default)]
    pub network: Vec<String>,
    /// `wasm` only: what its instances may have.
    pub wasm: Option<Wasm>,
    /// Longest answer of a worker, in bytes, 64 KiB to 256 MiB; default 8 MiB.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
}

/// What runs a plugin's handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostKind {
    /// Worker processes that speak the line protocol, or a Python function behind the shim.
    #[default]
    Process,
    /// A command for each item.
    Exec,
    /// An AWS Lambda handler behind the runtime API; not in this build.
    Lambda,
    /// A WebAssembly component; in builds with the feature `wasm`.
    Wasm,
    /// A web service; not in this build.
    Http,
    /// Answers its input, in process: for measuring what iterd itself costs.
    Identity,
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Exec => "exec",
            Self::Lambda => "lambda",
            Self::Wasm => "wasm",
            Self::Http => "http",
            Self::Identity => "identity",
        })
    }
}

/// When an edited folder becomes a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reload {
    /// As soon as the folder has been quiet for half a second.
    Watch,
    /// When somebody deploys it.
    Deploy,
}

/// Whether workers are locked in with Landlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// Where the kernel has Landlock; elsewhere workers run without, and an event says so.
    #[default]
    Auto,
    /// Always; where the kernel has no Landlock no worker starts.
    On,
    /// Never.
    Off,
}

/// What the kernel holds each worker process to (`setrlimit`); `None`: as the daemon itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Address space, in bytes. Runtimes that reserve much more than they use (Node, Java) need
    /// several GiB.
    pub memory_bytes: Option<u64>,
    /// Open files and sockets.
    pub open_files: Option<u64>,
    /// Size of any file that it writes, in bytes.
    pub file_bytes: Option<u64>,
}

/// A Python function: a file within the plugin's folder, and the function's name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Relative to the folder, without `..`; ends in `.py`.
    pub file: String,
    /// An identifier.
    pub function: String,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read {}: {source}; a plugin's folder holds a plugin.toml", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no TOML, or a value has the wrong type; the text shows line and column.
    #[error("plugin.toml: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A key that no plugin has.
    #[error("plugin.toml: unknown key `{key}`{}", nearest.map_or(String::new(), |near| format!("; did you mean `{near}`?")))]
    UnknownKey {
        /// As written; keys of a table with the table's name before it.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value out of its bounds, or keys that do not go together.
    #[error("plugin.toml: `{key}` {problem}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What is wrong with it and how it is mended.
        problem: String,
    },
}

const KEYS: &[&str] = &[
    "name",
    "host",
    "handler",
    "command",
    "python",
    "runtime",
    "workers",
    "in_flight",
    "reload",
    "sandbox",
    "read",
    "write",
    "env",
    "secrets",
    "limits",
    "network",
    "wasm",
    "line_bytes_max",
];
const LIMIT_KEYS: &[&str] = &["memory_bytes", "open_files", "file_bytes"];

impl Manifest {
    /// Reads the manifest of a plugin's folder.
    pub fn load(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(FILE_NAME);
        let read = || {
            let bytes = fs::metadata(&path)?.len();
            if bytes > FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!(
                    "it has {bytes} bytes, at most {FILE_BYTES_MAX} are read"
                )));
            }
            fs::read_to_string(&path)
        };
        match read() {
            Ok(text) => {
                let manifest = Self::parse(&text)?;
                manifest.check_files(folder)?;
                Ok(manifest)
            }
            Err(source) => Err(ManifestError::Read { path, source }),
        }
    }

    /// Reads the text of a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let table: toml::Table = toml::from_str(text)?;
        refuse_unknown(&table, KEYS, "")?;
        if let Some(toml::Value::Table(limits)) = table.get("limits") {
            refuse_unknown(limits, LIMIT_KEYS, "limits.")?;
        }
        if let Some(toml::Value::Table(table)) = table.get("wasm") {
            refuse_unknown(table, wasm::KEYS, "wasm.")?;
        }
        let manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The plugin that every installation has: [`HostKind::Identity`] under the name `identity`.
    #[must_use]
    pub fn identity() -> Self {
        Self {
            name: "identity".to_owned(),
            host: HostKind::Identity,
            handler: None,
            command: None,
            python: None,
            runtime: None,
            workers: None,
            in_flight: NonZeroU32::MIN,
            reload: None,
            sandbox: SandboxMode::default(),
            read: Vec::new(),
            write: Vec::new(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            limits: Limits::default(),
            network: Vec::new(),
            wasm: None,
            line_bytes_max: line_bytes_max(),
        }
    }

    /// The Python function behind the shim, if this plugin is one.
    #[must_use]
    pub fn python_handler(&self) -> Option<Handler> {
        (self.host == HostKind::Process)
            .then(|| self.handler.as_deref().and_then(parse_handler))
            .flatten()
    }

    fn check(&self) -> Result<(), ManifestError> {
        if !is_name(&self.name) {
            return invalid(
                "name",
                format!(
                    "{:?} is no name; use letters, digits, - and _, at most 64",
                    self.name
                ),
            );
        }
        self.check_program()?;
        self.check_wasm()?;
        for (key, number, max) in [
            ("workers", self.workers, WORKERS_MAX),
            ("in_flight", Some(self.in_flight), IN_FLIGHT_MAX),
        ] {
            if let Some(number) = number.filter(|number| number.get() > max) {
                return invalid(key, format!("is {number}; at most {max}"));
            }
        }
        if !LINE_BYTES.contains(&self.line_bytes_max) {
            return invalid(
                "line_bytes_max",
                format!(
                    "is {}; between {} and {}",
                    self.line_bytes_max,
                    LINE_BYTES.start(),
                    LINE_BYTES.end()
                ),
            );
        }
        for (key, paths) in [("read", &self.read), ("write", &self.write)] {
            if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
                return invalid(
                    key,
                    format!("names {}; write an absolute path", path.display()),
                );
            }
        }
        for (key, names) in [
            ("env", self.env.keys().collect::<Vec<_>>()),
            ("secrets", self.secrets.keys().collect()),
        ] {
            if let Some(name) = names.iter().find(|name| !is_variable(name)) {
                return invalid(
                    key,
                    format!("names {name:?}; a variable is letters, digits and _"),
                );
            }
        }
        if let Some(name) = self
            .secrets
            .keys()
            .find(|name| self.env.contains_key(*name))
        {
            return invalid("secrets", format!("names {name}, which `env` names too"));
        }
        if let Some((name, _)) = self.env.iter().find(|(_, value)| value.contains('\0')) {
            return invalid("env", format!("gives {name} a value with a NUL in it"));
        }
        Ok(())
    }

    /// What the manifest names as part of the folder is there.
    fn check_files(&self, folder: &Path) -> Result<(), ManifestError> {
        let missing = |key, file: &str| {
            invalid(
                key,
                format!("names {file}, which is not in {}", folder.display()),
            )
        };
        if let Some(handler) = self.python_handler()
            && !folder.join(&handler.file).is_file()
        {
            return missing("handler", &handler.file);
        }
        if let Some(file) = self.component()
            && !folder.join(file).is_file()
        {
            return missing("handler", file);
        }
        match self.command.as_deref() {
            Some([program, ..]) if program.contains('/') && !folder.join(program).exists() => {
                missing("command", program)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The keys that say what runs fit the host.
    fn check_program(&self) -> Result<(), ManifestError> {
        let present = [
            ("handler", self.handler.is_some()),
            ("command", self.command.is_some()),
            ("python", self.python.is_some()),
            ("runtime", self.runtime.is_some()),
        ];
        let allowed: &[&str] = match self.host {
            HostKind::Process => &["handler", "command", "python"],
            HostKind::Exec => &["command"],
            HostKind::Lambda => &["handler", "runtime"],
            HostKind::Wasm => &["handler"],
            HostKind::Http => &["handler", "command"],
            HostKind::Identity => &[],
        };
        if let Some((key, _)) = present
            .iter()
            .find(|(key, on)| *on && !allowed.contains(key))
        {
            return invalid(key, format!("means nothing to host = \"{}\"", self.host));
        }
        if self.command.as_ref().is_some_and(|words| {
            words.first().is_none_or(String::is_empty) || words.iter().any(|w| w.contains('\0'))
        }) {
            return invalid(
                "command",
                "needs a program as its first word, without NUL".to_owned(),
            );
        }
        match self.host {
            HostKind::Process => self.check_process(),
            HostKind::Exec if self.command.is_none() => invalid(
                "command",
                "is missing; host = \"exec\" runs it for each item: command = [\"sh\", \"handler.sh\"]"
                    .to_owned(),
            ),
            HostKind::Exec if self.in_flight.get() > 1 => invalid(
                "in_flight",
                "means nothing to host = \"exec\", which runs a command for each item; raise `workers`"
                    .to_owned(),
            ),
            HostKind::Lambda => match self.runtime.as_deref() {
                Some("nodejs" | "python" | "provided") => Ok(()),
                _ => invalid("runtime", "is one of nodejs, python, provided".to_owned()),
            },
            HostKind::Exec | HostKind::Wasm | HostKind::Http | HostKind::Identity => Ok(()),
        }
    }

    fn check_process(&self) -> Result<(), ManifestError> {
        match (&self.handler, &self.command) {
            (Some(handler), None) if parse_handler(handler).is_none() => invalid(
                "handler",
                format!(
                    "is {handler:?}; write \"file.py:function\" with a file of this folder, or command = [..] for other languages"
                ),
            ),
            (None, Some(_)) if self.python.is_some() => invalid(
                "python",
                "goes with `handler`; a `command` names its own interpreter".to_owned(),
            ),
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (Some(_), Some(_)) => invalid("command", "and `handler` exclude each other".to_owned()),
            (None, None) => invalid(
                "handler",
                "is missing; write handler = \"handler.py:function\", or command = [\"program\", \"argument\"]"
                    .to_owned(),
            ),
        }
    }
}

fn invalid<T>(key: &'static str, problem: String) -> Result<T, ManifestError> {
    Err(ManifestError::Invalid { key, problem })
}

fn refuse_unknown(
    table: &toml::Table,
    known: &'static [&'static str],
    prefix: &str,
) -> Result<(), ManifestError> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(ManifestError::UnknownKey {
            key: format!("{prefix}{key}"),
            nearest: nearest(key, known),
        }),
    }
}

/// The known key that looks most like the given one, if any looks like it at all.
fn nearest(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    // Why 0.7: a swapped or missing letter scores above it, two unrelated short words below.
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), *name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn parse_handler(text: &str) -> Option<Handler> {
    let (file, function) = text.rsplit_once(':')?;
    let inside = Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let is_python = Path::new(file).extension().is_some_and(|end| end == "py");
    (inside && is_python && is_variable(function)).then(|| Handler {
        file: file.to_owned(),
        function: function.to_owned(),
    })
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// Default of `line_bytes_max`: thirty times what AWS lets a task answer (256 KiB).
const fn line_bytes_max() -> usize {
    8 << 20
}

#[cfg(test)]
mod tests;
