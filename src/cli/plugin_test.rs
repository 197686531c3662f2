//! `iterd plugin test`: run a handler once for one record, without any effect on a run.
//!
//! Works beside whoever serves: it asks for the record, and runs a worker of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        client::{self, Access},
        deploy::named,
        exit::{Code, DONE, FAILED, Failure, INTERRUPTED, INVALID, NOT_FOUND, USAGE},
        session::{Session, adopt, note, small_runtime},
        show::{number, plain, text},
    },
    config::{
        Config,
        job::{JobFile, PluginRef},
    },
    payload::Payload,
    plugin::{Stream, Version, orphans},
    runtime::{StatePaths, TestCall, Tested, Tester, plugin_folder},
    store::Store,
};

/// The longest record that is read from a file: what a worker is handed at most.
const RECORD_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Without --version, what the plugin's folder holds now is tried, deployed or not.
Exit codes: 0 a result, 1 the handler failed or did not start, 130 interrupted."
)]
pub(super) struct Arguments {
    /// A plugin's name or its folder (with a slash in it); default: the job's
    plugin: Option<String>,
    /// The job whose timeout holds, and whose records --item names
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// A record of the job that failed, waits or is in doubt: its id, else its index
    #[arg(long, value_name = "ID", requires = "job", conflicts_with_all = ["file", "json_item"])]
    item: Option<String>,
    /// The record, a JSON value in a file; - for standard input
    #[arg(long, value_name = "F", conflicts_with = "json_item")]
    file: Option<PathBuf>,
    /// The record itself
    #[arg(long, value_name = "JSON")]
    json_item: Option<String>,
    /// A version that is kept, instead of the folder
    #[arg(long, value_name = "N")]
    version: Option<u32>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let paths = StatePaths::new(&session.state_dir(&settings)?);
    let job = arguments
        .job
        .as_deref()
        .map(|job| job_file(&paths, job))
        .transpose()?;
    let mut call = record(session, arguments)?;
    call.timeout = job.as_ref().and_then(|job| job.process.timeout);
    let place = Place {
        arguments,
        paths: &paths,
        config: &settings.config,
        job: job.as_ref(),
    };
    let bench = Tester::open(&paths, &settings.config)?;
    let version = place.version(&bench)?;
    adopt();
    let runtime = small_runtime()?;
    let shown = (version.manifest.name.clone(), version.number.0);
    let (index, id) = (call.index, call.id.clone());
    let tested = runtime.block_on(async {
        tokio::select! {
            tested = bench.call(version, call) => Some(tested),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    orphans::end_all();
    let Some(tested) = tested else {
        return Ok(Code(INTERRUPTED));
    };
    let tested = tested?;
    let code = if tested.outcome.is_ok() { DONE } else { FAILED };
    let answer = answer(
        &tested,
        &shown,
        arguments.item.is_some().then_some((index, id)),
    );
    // Why not of one that did not start: its last words are the cause.
    if !session.json && tested.start.is_some() {
        for (_, line) in &tested.log {
            note(&format!("  | {}", plain(line)));
        }
    }
    session.answer(&answer, people)?;
    Ok(Code(code))
}

/// The record that the handler is called with.
fn record(session: &Session, arguments: &Arguments) -> Result<TestCall, Failure> {
    if let (Some(item), Some(job)) = (&arguments.item, &arguments.job) {
        let input = json!({ "job": job, "item": item });
        let found = client::call(session, "FindRecord", input, Access::Read)?;
        let attempts = u32::try_from(number(&found, "attempts")).unwrap_or(u32::MAX);
        return Ok(TestCall {
            record: parse(text(&found, "record"), "the stored record")?,
            index: number(&found, "index"),
            id: found["id"].as_str().map(str::to_owned),
            attempt: attempts.saturating_add(1),
            timeout: None,
        });
    }
    let record = match (&arguments.file, &arguments.json_item) {
        (Some(file), _) => parse(&read(file)?, &file.display().to_string())?,
        (None, Some(text)) => parse(text, "--json-item")?,
        (None, None) => {
            return Err(Failure::new(
                USAGE,
                "which record? name one that failed with --job JOB --item ID, or give it with --file F or --json-item '{..}'",
            ));
        }
    };
    Ok(TestCall {
        record,
        index: 0,
        id: None,
        attempt: 1,
        timeout: None,
    })
}

fn parse(text: &str, place: &str) -> Result<Payload, Failure> {
    Payload::parse(text.trim())
        .map_err(|error| Failure::new(INVALID, format!("{place} is no JSON value: {error}")))
}

fn read(file: &Path) -> Result<String, Failure> {
    use std::io::Read as _;

    let refuse = |error: std::io::Error| {
        Failure::new(INVALID, format!("cannot read {}: {error}", file.display()))
    };
    let mut text = String::new();
    let source: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(refuse)?)
    };
    source
        .take(RECORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(refuse)?;
    Ok(text)
}

fn job_file(paths: &StatePaths, job: &str) -> Result<JobFile, Failure> {
    let store = Store::open_read_only(paths.root())?;
    let row = store.job(job)?.ok_or_else(|| {
        Failure::new(
            NOT_FOUND,
            format!("no job {job:?}; iterd jobs lists what is known"),
        )
    })?;
    JobFile::parse(row.path.as_ref(), row.text)
        .map_err(|problems| Failure::new(INVALID, problems.to_string()))
}

/// Where the code is looked for that is to be tried.
struct Place<'a> {
    arguments: &'a Arguments,
    paths: &'a StatePaths,
    config: &'a Config,
    job: Option<&'a JobFile>,
}

impl Place<'_> {
    fn version(&self, tester: &Tester) -> Result<Version, Failure> {
        let plugin = self.plugin()?;
        let folder = plugin_folder(&plugin, self.config)
            .ok_or_else(|| Failure::new(INVALID, "the built-in plugin has no handler to test"))?;
        let Some(number) = self.arguments.version else {
            return Ok(tester.folder(&folder)?);
        };
        let store = Store::open_read_only(self.paths.root())?;
        let in_force = store.all_in_force()?;
        let name = match &plugin {
            PluginRef::Name(name) => in_force
                .iter()
                .find(|row| row.place == *name || row.plugin == *name)
                .map_or_else(|| name.clone(), |row| row.plugin.clone()),
            PluginRef::Folder(folder) => in_force
                .iter()
                .find(|row| Path::new(&row.place) == folder)
                .map_or_else(
                    || {
                        let name = folder.file_name().unwrap_or_default();
                        name.to_string_lossy().into_owned()
                    },
                    |row| row.plugin.clone(),
                ),
        };
        Ok(tester.stored(self.paths, &store, &name, number)?)
    }

    fn plugin(&self) -> Result<PluginRef, Failure> {
        let Some(what) = &self.arguments.plugin else {
            let job = self.job.map(|job| job.process.plugin.clone());
            return job.ok_or_else(|| {
                Failure::new(
                    USAGE,
                    "which plugin? write its name, its folder with a slash in it, or --job JOB",
                )
            });
        };
        if named(what)? != *what || what.contains('/') {
            return Ok(PluginRef::Folder(named(what)?.into()));
        }
        let named = PluginRef::Name(what.clone());
        if plugin_folder(&named, self.config).is_some_and(|folder| folder.is_dir()) {
            return Ok(named);
        }
        // A plugin that is named by its folder everywhere goes by the name in its manifest, too.
        let known = Store::open_read_only(self.paths.root())
            .and_then(|store| store.all_in_force())
            .unwrap_or_default();
        let mut places = known.iter().filter(|row| row.plugin == *what);
        match (places.next(), places.next()) {
            (Some(row), None) if row.place.contains('/') => {
                Ok(PluginRef::Folder(row.place.as_str().into()))
            }
            (Some(_), Some(_)) => Err(Failure::new(
                INVALID,
                format!("there are several plugins {what:?}; name its folder, with a slash in it"),
            )),
            _ => Ok(named),
        }
    }
}

fn answer(
    tested: &Tested,
    (plugin, version): &(String, u32),
    item: Option<(u64, Option<String>)>,
) -> Value {
    let lines = tested.log.iter().map(|(stream, line)| {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        json!({ "stream": stream, "line": line })
    });
    let mut answer = json!({
        "plugin": plugin,
        "version": (*version > 0).then_some(version),
        "log": lines.collect::<Vec<_>>(),
        "start_ms": tested.start.map(millis),
        "took_ms": millis(tested.took),
    });
    if let Some((index, id)) = item {
        answer["index"] = index.into();
        answer["id"] = id.into();
    }
    if tested.lines_dropped > 0 {
        answer["lines_dropped"] = tested.lines_dropped.into();
    }
    if let Some(why) = &tested.unconfined {
        answer["unconfined"] = why.as_str().into();
    }
    match &tested.outcome {
        Ok(result) => {
            answer["outcome"] = "done".into();
            answer["result"] = serde_json::from_str(result.text()).unwrap_or(Value::Null);
        }
        Err(failure) => {
            answer["outcome"] = "failed".into();
            answer["error"] = failure.error.as_str().into();
            answer["cause"] = failure.cause.as_str().into();
            answer["retry"] = failure.retry.into();
            answer["retry_after_s"] = failure.retry_after.map(|it| it.as_secs_f64()).into();
            answer["close_limiter_s"] = failure.close_limiter.map(|it| it.as_secs_f64()).into();
        }
    }
    answer
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn people(answer: &Value) -> String {
    let plugin = plain(text(answer, "plugin"));
    let version = match answer["version"].as_u64() {
        Some(version) => format!("version {version}"),
        None => "the folder as it is".to_owned(),
    };
    let took = number(answer, "took_ms");
    let mut lines = Vec::new();
    if text(answer, "outcome") == "done" {
        lines.push(answer["result"].to_string());
        lines.push(format!("{plugin}, {version}: done in {took} ms"));
    } else {
        let (error, cause) = (text(answer, "error"), text(answer, "cause"));
        lines.extend(cause.lines().map(|line| format!("  {}", plain(line))));
        lines.push(if answer["start_ms"].is_null() {
            format!("{plugin}, {version}: it does not start")
        } else {
            format!(
                "{plugin}, {version}: failed with {} after {took} ms",
                plain(error)
            )
        });
        if answer["retry"].as_bool() == Some(false) {
            lines.push("  the handler says that no retry would help".to_owned());
        }
        if let Some(wait) = answer["retry_after_s"].as_f64() {
            lines.push(format!(
                "  it would be tried again after {wait} s at the earliest"
            ));
        }
        if let Some(wait) = answer["close_limiter_s"].as_f64() {
            lines.push(format!("  it would close the limiter for {wait} s"));
        }
    }
    if let Some(dropped) = answer["lines_dropped"].as_u64() {
        lines.push(format!("  {dropped} log lines were dropped"));
    }
    if let Some(why) = answer["unconfined"].as_str() {
        lines.push(format!("  it was not fully confined: {}", plain(why)));
    }
    lines.join("\n")
}
