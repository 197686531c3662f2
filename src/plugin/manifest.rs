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
    time::Duration,
};

use serde::{Deserialize, Deserializer};

use crate::time::parse_duration;

use super::access::CallerRole;
use crate::network::Grant;

mod http;
mod keys;

pub use http::{Http, Template};
pub(crate) use http::{Node, Part, Piece, Plan, ResponseForm, RetryAfter};

mod wasm;

pub use wasm::{Instance, Wasm};

/// File name of the manifest within the plugin's folder.
const FILE_NAME: &str = "plugin.toml";

/// What `provided` runs where no `command` is named.
pub(crate) const BOOTSTRAP: &str = "bootstrap";

/// Longest manifest read, in bytes: far beyond any real one, small enough to hold in memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most worker processes of one pool: beyond it the kernel's scheduler is the queue.
const WORKERS_MAX: u32 = 1024;

/// Most items in one worker at a time; also the threads of the Python shim.
const IN_FLIGHT_MAX: u32 = 1024;

/// Most items that are handed over together: a list that a handler can still keep in its head.
const BATCH_MAX: u32 = 1000;

/// Bounds of `line_bytes_max`: a line must hold a failure with its cause; the upper bound is what
/// one worker may make the daemon hold in memory.
const LINE_BYTES: std::ops::RangeInclusive<usize> = 1 << 16..=1 << 28;

/// Bounds of `timeout`: below, no handler could answer; above, it says nothing any more.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_hours(24 * 365);

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
    pub runtime: Option<Runtime>,
    /// How long one call may take, from 1 ms to a year: `"3s"`. What a job or a state allows holds too;
    /// the shorter of both counts. Default: as long as it takes.
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// Worker processes, 1 to 1024; default: the job's concurrency.
    pub workers: Option<NonZeroU32>,
    /// How long a call may give no sign of life (an answer, a heartbeat, a cursor); default: as long as it
    /// may take.
    #[serde(default, deserialize_with = "duration")]
    pub heartbeat: Option<Duration>,
    /// Items in one worker at a time, 1 to 1024. More than one promises that the handler copes
    /// with items side by side: the timeout of each runs from its hand-over.
    #[serde(default = "one")]
    pub in_flight: NonZeroU32,
    /// Items that the handler takes at a time, 1 to 1000; more than one come as a list, and each is
    /// answered for itself. The timeout of each runs from the hand-over of all.
    #[serde(default = "one")]
    pub batch: NonZeroU32,
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
    /// What the handler may do at the daemon, and with the services that tasks reach: its environment has
    /// the variables that clients of AWS go by, with a key of its own. `read-only` or `operator`; default:
    /// nothing.
    pub role: Option<CallerRole>,
    /// What a plugin may talk to: addresses, networks and names, with a port or without, as
    /// `10.0.0.0/8`, `192.168.3.4:8080`, `[::1]:80` or `name.example:443`. A web service (`http`) beside
    /// the public Internet, a component (`wasm`) nothing else.
    #[serde(default)]
    pub network: Vec<String>,
    /// `http` only: the request that is made for each record.
    pub http: Option<Http>,
    /// What a worker of a new version has to answer before anything depends on it.
    pub health: Option<Health>,
    /// What the kernel holds each worker process to.
    #[serde(default)]
    pub limits: Limits,
    /// `wasm` only: what its instances may have.
    pub wasm: Option<Wasm>,
    /// Longest answer of a worker, in bytes, 64 KiB to 256 MiB; default 8 MiB.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
}

/// What runs the handler of a Lambda function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Node.js: `index.handler` is `handler` of index.js, .cjs or .mjs.
    Nodejs,
    /// Python: `handler.main` is `main` of handler.py.
    Python,
    /// A program that speaks the runtime API: `bootstrap` in the folder, or `command`.
    Provided,
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
    /// An AWS Lambda handler behind the runtime API.
    Lambda,
    /// A WebAssembly component; in builds with the feature `wasm`.
    Wasm,
    /// A web service: a request for each item.
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

/// A call by which a version shows that it works, whatever a run has for it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The record that the handler is given. Any result is a good one.
    pub item: toml::Value,
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
        keys::refuse_unknown(&table)?;
        let mut manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        if let Some(http) = &mut manifest.http {
            http.complete(
                &manifest.secrets,
                manifest.line_bytes_max,
                manifest.batch.get(),
            )?;
        }
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
            timeout: None,
            heartbeat: None,
            workers: None,
            in_flight: NonZeroU32::MIN,
            batch: NonZeroU32::MIN,
            reload: None,
            sandbox: SandboxMode::default(),
            read: Vec::new(),
            write: Vec::new(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            role: None,
            network: Vec::new(),
            http: None,
            health: None,
            limits: Limits::default(),
            wasm: None,
            line_bytes_max: line_bytes_max(),
        }
    }

    /// The expressions that are evaluated for each record, in the order in which the worker expects
    /// their values.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        self.http.as_ref().map_or(&[], |http| &http.plan.templates)
    }

    /// What `network` grants.
    pub(crate) fn grants(&self) -> Result<Vec<Grant>, ManifestError> {
        let grants = self.network.iter().map(|text| Grant::parse(text));
        grants
            .collect::<Result<_, _>>()
            .or_else(|problem| invalid("network", problem))
    }

    /// Items in one worker at a time.
    #[must_use]
    pub fn calls_in_worker(&self) -> u32 {
        self.in_flight.get().saturating_mul(self.batch.get())
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
        if self
            .timeout
            .is_some_and(|timeout| !TIMEOUT.contains(&timeout))
        {
            return invalid(
                "timeout",
                "is out of bounds; from \"1ms\" to \"365d\"".to_owned(),
            );
        }
        for (key, number, max) in [
            ("workers", self.workers, WORKERS_MAX),
            ("in_flight", Some(self.in_flight), IN_FLIGHT_MAX),
            ("batch", Some(self.batch), BATCH_MAX),
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
        self.check_variables()
    }

    /// The environment has names that are some, each once.
    fn check_variables(&self) -> Result<(), ManifestError> {
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
            None if self.runtime == Some(Runtime::Provided) && !folder.join(BOOTSTRAP).exists() => {
                missing("runtime", BOOTSTRAP)
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
            ("http", self.http.is_some()),
            ("network", !self.network.is_empty()),
            ("role", self.role.is_some()),
        ];
        let allowed: &[&str] = match self.host {
            HostKind::Process => &["handler", "command", "python", "role"],
            HostKind::Exec => &["command", "role"],
            HostKind::Lambda => &["handler", "command", "python", "runtime", "role"],
            HostKind::Wasm => &["handler", "network"],
            HostKind::Http => &["http", "network"],
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
        let takes_batches = matches!(
            self.host,
            HostKind::Process | HostKind::Lambda | HostKind::Http
        );
        if self.batch.get() > 1 && !takes_batches {
            return invalid(
                "batch",
                format!(
                    "means nothing to host = \"{}\", which takes one item at a time",
                    self.host
                ),
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
            HostKind::Http if self.http.is_none() => invalid(
                "http",
                "is missing; host = \"http\" makes a request for each item: http = { url = \"https://..\" }"
                    .to_owned(),
            ),
            HostKind::Http | HostKind::Wasm => self.grants().map(|_| ()),
            HostKind::Lambda => self.check_lambda(),
            HostKind::Exec | HostKind::Identity => Ok(()),
        }
    }

    fn check_lambda(&self) -> Result<(), ManifestError> {
        let Some(runtime) = self.runtime else {
            let problem = "is missing; it is one of \"nodejs\", \"python\" and \"provided\"";
            return invalid("runtime", problem.to_owned());
        };
        if self.in_flight.get() > 1 {
            let problem =
                "is more than 1, and a Lambda handler takes one event at a time; raise `workers`";
            return invalid("in_flight", problem.to_owned());
        }
        let example = match runtime {
            Runtime::Nodejs => "index.handler",
            Runtime::Python => "handler.main",
            Runtime::Provided if self.python.is_some() => {
                let problem = "goes with runtime = \"python\"".to_owned();
                return invalid("python", problem);
            }
            Runtime::Provided => return Ok(()),
        };
        if self.command.is_some() {
            let problem =
                "goes with runtime = \"provided\"; the others name a `handler`".to_owned();
            return invalid("command", problem);
        }
        if self.python.is_some() && runtime != Runtime::Python {
            return invalid("python", "goes with runtime = \"python\"".to_owned());
        }
        match self.handler.as_deref() {
            None => invalid(
                "handler",
                format!("is missing; write handler = \"{example}\""),
            ),
            Some(handler) if !is_lambda_handler(handler) => {
                let problem = format!("is {handler:?}; write \"file.function\", as in {example:?}");
                invalid("handler", problem)
            }
            Some(_) => Ok(()),
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

/// Whether a text has a module and a function: `index.handler`, `src/index.handler`.
fn is_lambda_handler(text: &str) -> bool {
    let inside = Path::new(text)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let (module, function) = text.rsplit_once('.').unwrap_or_default();
    inside && !module.is_empty() && is_variable(function) && !text.contains([':', '\0'])
}

/// A duration such as `"3s"`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
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
