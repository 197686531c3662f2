//! AWS Lambda handlers: a worker of ours that serves the runtime API to the user's runtime.
//!
//! The worker starts one child, the runtime (Node.js, Python, or a program of the user's), and gives it
//! each call as an invocation, over HTTP on a loopback port that the kernel chose. What the runtime
//! posts is the answer, and what it prints is the log. Spec: the AWS Lambda runtime API, 2018-06-01.
//!
//! Invariant: the worker takes a call out of its standard input when the runtime asks for one, never
//! before. So the pool knows for each call whether the runtime can have seen it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    HostError,
    process::{file_name, interpreter, write_own},
    served,
};
use crate::{
    arn::Place,
    payload::Failure,
    plugin::{Manifest, Runtime, Version, manifest::BOOTSTRAP},
    time::{Clock as _, SystemClock},
};

mod api;
mod desk;
mod event;
mod peer;
mod told;
mod work;

pub(crate) use told::{request_id, trace_id};

/// Runs a handler in Node.js.
const NODE_BOOTSTRAP: &str = include_str!("bootstrap.cjs");

/// Runs a handler in Python with AWS's own runtime client.
const PYTHON_BOOTSTRAP: &str = include_str!("bootstrap.py");

/// What a function without a bound on its memory is told that it has, in MiB: AWS's own default.
const MEMORY_MIB: u64 = 128;

/// The version that calls without a qualifier go to.
const LATEST: &str = "$LATEST";

/// What the worker has to know of its function.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The function's name in full.
    arn: String,
    /// Longest result.
    result_bytes_max: usize,
    /// How long one invocation may take, as the manifest says.
    timeout: Option<Duration>,
    /// Whether calls come in batches.
    batches: bool,
}

impl Settings {
    /// What a manifest says, of a function in this region and account.
    pub(crate) fn of(manifest: &Manifest, place: &Place) -> Self {
        Self {
            arn: format!(
                "arn:aws:lambda:{}:{}:function:{}",
                place.region, place.account, manifest.name
            ),
            result_bytes_max: served::result_bytes_max(manifest.line_bytes_max),
            timeout: manifest.timeout,
            batches: manifest.batch.get() > 1,
        }
    }
}

/// Program and arguments of the runtime.
pub(crate) fn command(version: &Version, runtime_dir: &Path) -> Vec<String> {
    let manifest = &version.manifest;
    let handler = manifest.handler.clone().unwrap_or_default();
    let bootstrap = bootstrap(manifest, runtime_dir)
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .unwrap_or_default();
    match manifest.runtime {
        Some(Runtime::Nodejs) => vec!["node".to_owned(), bootstrap, handler],
        Some(Runtime::Python) => {
            // Why -B: the folder is a version and must not change.
            let python = interpreter(version);
            vec![python, "-B".to_owned(), bootstrap, handler]
        }
        Some(Runtime::Provided) | None => manifest
            .command
            .clone()
            .unwrap_or_else(|| vec![format!("./{BOOTSTRAP}")]),
    }
}

/// Our part of a runtime, and where it lies.
fn bootstrap(manifest: &Manifest, runtime_dir: &Path) -> Option<(PathBuf, &'static str)> {
    let (stem, end, text) = match manifest.runtime? {
        Runtime::Nodejs => ("lambda", "cjs", NODE_BOOTSTRAP),
        Runtime::Python => ("lambda", "py", PYTHON_BOOTSTRAP),
        Runtime::Provided => return None,
    };
    Some((runtime_dir.join(file_name(stem, end, text)), text))
}

/// Writes our part of the runtime where workers can read it; `None` where there is none.
pub(crate) fn write_bootstrap(
    manifest: &Manifest,
    runtime_dir: &Path,
) -> Result<Option<PathBuf>, HostError> {
    let Some((path, text)) = bootstrap(manifest, runtime_dir) else {
        return Ok(None);
    };
    match write_own(&path, text) {
        Ok(()) => Ok(Some(path)),
        Err(source) => Err(HostError::Prepare { path, source }),
    }
}

/// What AWS tells a function in its environment. The runtimes of ours add AWS_EXECUTION_ENV, because
/// they know their version.
pub(crate) fn environment(version: &Version, place: &Place) -> BTreeMap<String, String> {
    let manifest = &version.manifest;
    let name = &manifest.name;
    let memory = manifest.limits.memory_bytes.map(|bytes| bytes >> 20);
    let day = SystemClock.now().to_jiff().strftime("%Y/%m/%d").to_string();
    let instance: u128 = rand::random();
    [
        ("_HANDLER", manifest.handler.clone().unwrap_or_default()),
        (
            "LAMBDA_TASK_ROOT",
            version.folder.to_string_lossy().into_owned(),
        ),
        ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", LATEST.to_owned()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            memory.unwrap_or(MEMORY_MIB).to_string(),
        ),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        (
            "AWS_LAMBDA_LOG_STREAM_NAME",
            format!("{day}/[{LATEST}]{instance:032x}"),
        ),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_REGION", place.region.clone()),
        ("AWS_DEFAULT_REGION", place.region.clone()),
        ("TZ", ":UTC".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Why a runtime did not start, in one line for people.
pub(crate) fn in_a_line(failure: &Failure) -> String {
    let message = told::message(&failure.cause);
    format!("{}: {}", failure.error, message.replace(['\n', '\r'], " "))
}

/// Serves calls until standard input ends, the runtime does, or an invocation takes too long.
pub(crate) fn serve(command: &mut Command, settings: Settings) -> ExitCode {
    match work::serve(command, settings) {
        Ok(code) => code,
        Err(error) => {
            // Why ok: nobody hears it where standard error is gone.
            io::Write::write_fmt(&mut io::stderr(), format_args!("{error}\n")).ok();
            ExitCode::FAILURE
        }
    }
}
