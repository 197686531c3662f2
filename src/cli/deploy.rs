//! `iterd deploy PLUGIN`: put a version of a plugin in force.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, FAILED, Failure},
    session::Session,
    show::{number, plain, text},
};

#[derive(Debug, Args)]
#[command(
    after_help = "A worker of the version has to start before anything changes; else exit code 3, with its last words.\n\
Where another version is in force, the new one proves itself first: one record at a time until three are done, then a tenth of \
them until twenty have ended, then all. What it fails costs no attempt and goes to the version in force; if that one has no \
trouble with it, the new version is withdrawn: exit code 3 where that happens within ten seconds."
)]
pub(super) struct Arguments {
    /// A plugin's name, its folder (with a slash in it), or a job that uses it
    plugin: String,
    /// Take this folder instead of the plugin's own
    #[arg(long, value_name = "FOLDER", conflicts_with = "version")]
    from: Option<PathBuf>,
    /// Put an earlier version back in force
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// Go on with jobs that were paused because their calls kept failing
    #[arg(long)]
    resume: bool,
    /// Put it in force without letting it prove itself; an earlier version (--version) always is
    #[arg(long)]
    at_once: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let from = arguments.from.as_deref().map(absolute).transpose()?;
    let input = json!({
        "plugin": named(&arguments.plugin)?,
        "from": from,
        "version": arguments.version,
        "resume": arguments.resume,
        "at_once": arguments.at_once,
        "author": client::author(),
    });
    let answer = client::call(session, "DeployPlugin", input, Access::Change)?;
    session.answer(&answer, people)?;
    Ok(Code(DONE))
}

/// A plugin as the command line names it: a folder by its whole path, since whoever serves stands in
/// another one.
pub(super) fn named(plugin: &str) -> Result<String, Failure> {
    if plugin.contains('/') || matches!(plugin, "." | "..") {
        let folder = absolute(Path::new(plugin))?;
        return Ok(folder.to_string_lossy().into_owned());
    }
    Ok(plugin.to_owned())
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::new(FAILED, error.to_string()))
}

pub(super) fn people(answer: &Value) -> String {
    let plugin = plain(text(answer, "plugin"));
    let version = number(answer, "version");
    let canary = text(answer, "stage") == "canary";
    let first = match (answer["changed"].as_bool(), answer["before"].as_u64()) {
        (Some(false), _) => format!(
            "version {version} of {plugin} has this content and is in force already; nothing has changed"
        ),
        (_, Some(before)) if canary => format!(
            "version {version} of {plugin} proves itself beside version {before}: it takes over by itself, or is withdrawn (iterd plugin show {plugin})"
        ),
        (_, Some(before)) => {
            format!("version {version} of {plugin} is in force, after version {before}")
        }
        (_, None) => format!("version {version} of {plugin} is in force"),
    };
    let mut lines = vec![first];
    let jobs = answer["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    lines.extend(jobs.iter().map(|it| job(it, version)));
    lines.join("\n")
}

fn job(job: &Value, version: u64) -> String {
    let name = plain(text(job, "job"));
    let calls = match text(job, "switch") {
        "done" => format!("its calls go to version {version}"),
        "canary" => format!("some of its calls go to version {version}"),
        "pending" => format!("its workers of version {version} have not started yet"),
        _ => "it takes it up when it next runs".to_owned(),
    };
    let pause = match (job["resumed"].as_bool(), job["paused"].as_bool()) {
        (Some(true), _) => "; it goes on".to_owned(),
        (_, Some(true)) => format!("; it is paused, go on: iterd resume {name}"),
        _ => String::new(),
    };
    format!("{name}: {calls}{pause}")
}
