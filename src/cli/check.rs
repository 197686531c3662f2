//! `iterd check FILE`: look at a job without running it.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    exit::{Code, DONE, FAILED, Failure, INVALID},
    session::Session,
    show::{count, duration, number, plain, seconds, text},
    unit::{self, Need},
};
use crate::{
    config::{Config, job::JobFile},
    ids::Cursor,
    integration::source::{self, OpenContext, PageBounds, Progress, SourceSpec},
    payload::gist,
    plugin::Manifest,
    runtime::{Plan, plugin_folder, plugin_manifest},
};

/// Records that are shown.
const SAMPLE: usize = 3;

/// Beyond this many characters a record of the sample is cut.
const SAMPLE_CHARS_MAX: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job file
    file: PathBuf,
    /// Show the state machine that the job is, too
    #[arg(long)]
    definition: bool,
    /// Show what the shipped systemd service would hide from the job, too, and the drop-in that opens it
    #[arg(long)]
    as_service: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let file = JobFile::read(&arguments.file)?;
    let manifest = plugin_manifest(&file.process.plugin, &settings.config)?;
    let plan = Plan::of(&file, &manifest.name, &settings.config, None)?;
    let looked = look(&plan.source, &settings.config)?;
    let least = plan.limits.least_time(looked.records, plan.weight);
    let service = arguments
        .as_service
        .then(|| unit::look(&needs(&file, &manifest, &plan, &settings.config)));
    let definition: Value = serde_json::from_str(&plan.definition).unwrap_or(Value::Null);
    let answer = json!({
        "job": file.name,
        "plugin": manifest.name,
        "records": looked.records,
        "least_s": least.as_secs_f64(),
        "malformed": looked.malformed,
        "first_malformed": looked.first_malformed,
        "sample": looked.sample,
        "definition": definition,
        "service": service.map(|found| json!({ "problems": found.problems, "drop_in": found.drop_in })),
    });
    let again = arguments.file.display();
    session.answer(&answer, |answer| {
        people(answer, arguments.definition, &again.to_string())
    })?;
    Ok(Code(DONE))
}

/// The paths that the job needs as a service. A relative output lies in the state directory then.
fn needs(file: &JobFile, manifest: &Manifest, plan: &Plan, config: &Config) -> Vec<Need> {
    let need = |path: &Path, what, write| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let path = path.canonicalize().unwrap_or(path);
        Need { path, what, write }
    };
    let mut needs = vec![
        need(&file.file, "job file", false),
        need(&plan.source.path, "source", false),
    ];
    if let Some(folder) = plugin_folder(&file.process.plugin, config) {
        needs.push(need(&folder, "plugin", false));
    }
    let granted = |paths: &[PathBuf], write| -> Vec<Need> {
        let granted = paths.iter().map(|path| need(path, "plugin", write));
        granted.collect()
    };
    needs.extend(granted(&manifest.read, false));
    needs.extend(granted(&manifest.write, true));
    let written = file.output.as_ref().and_then(|output| output.get("path"));
    let output = written.and_then(Value::as_str).map(Path::new);
    if let Some(folder) = output
        .filter(|path| path.is_absolute())
        .and_then(Path::parent)
    {
        needs.push(need(folder, "output", true));
    }
    needs
}

struct Looked {
    records: u64,
    malformed: u64,
    first_malformed: Vec<String>,
    sample: Vec<Value>,
}

fn look(spec: &SourceSpec, config: &Config) -> Result<Looked, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(INVALID, error.to_string());
    let spool = tempdir()?;
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("counting records {bar:24} {percent}%")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut progress = |progress: Progress| {
        if let Some(extent) = progress.extent {
            bar.set_length(extent.bytes_total);
            bar.set_position(extent.bytes);
        }
        ControlFlow::Continue(())
    };
    let mut context = OpenContext {
        spool_dir: spool.path(),
        spool_bytes_max: u64::MAX,
        progress: &mut progress,
    };
    let record_bytes_max = usize::try_from(config.items.record_bytes_max).unwrap_or(usize::MAX);
    let counted = source::count(spec, &mut context, record_bytes_max).map_err(|e| failed(&e))?;
    let mut source = source::open(spec, &mut context).map_err(|error| failed(&error))?;
    let bounds = PageBounds {
        records_max: SAMPLE,
        bytes_max: usize::MAX,
        record_bytes_max,
    };
    let page = source
        .read(&Cursor::start(), bounds)
        .map_err(|error| failed(&error))?;
    bar.finish_and_clear();
    let sample = page
        .records
        .iter()
        .map(|record| match &record.item {
            Ok(item) => json!({ "id": record.id.as_deref(), "item": item.value() }),
            Err(error) => json!({ "error": error.error, "cause": error.cause }),
        })
        .collect();
    Ok(Looked {
        records: counted.records,
        malformed: counted.malformed,
        first_malformed: counted
            .first_malformed
            .iter()
            .map(|e| e.cause.clone())
            .collect(),
        sample,
    })
}

/// Where a compressed source is looked into; gone when the command ends.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Why ok: the system clears its own place for temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) fn tempdir() -> Result<Scratch, Failure> {
    let path = std::env::temp_dir().join(format!("iterd-check-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&path)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))?;
    Ok(Scratch(path))
}

fn people(answer: &Value, definition: bool, file: &str) -> String {
    let (records, malformed) = (number(answer, "records"), number(answer, "malformed"));
    let least = seconds(answer, "least_s").filter(|least| least.as_secs() > 0);
    let least = least.map_or_else(String::new, |least| {
        format!(
            "; its limits let them through in {} at best",
            duration(least)
        )
    });
    let mut lines = vec![format!(
        "{}: {} records for plugin {}{least}",
        text(answer, "job"),
        count(records),
        text(answer, "plugin"),
    )];
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    if malformed > 0 {
        lines.push(format!(
            "{} of them cannot be read and would fail:",
            count(malformed)
        ));
        let causes = list("first_malformed");
        let shown = causes.iter().filter_map(Value::as_str);
        lines.extend(shown.map(|cause| format!("  {}", plain(gist(cause)))));
    }
    lines.push("the first records:".to_owned());
    for record in list("sample") {
        let text = record.to_string();
        let cut: String = text.chars().take(SAMPLE_CHARS_MAX).collect();
        let more = if cut.len() < text.len() { ".." } else { "" };
        lines.push(format!("  {cut}{more}"));
    }
    if definition {
        lines.push("the definition:".to_owned());
        let definition = serde_json::to_string_pretty(&answer["definition"]).unwrap_or_default();
        lines.extend(definition.lines().map(|line| format!("  {line}")));
    }
    if answer["service"].is_object() {
        service(&answer["service"], &mut lines);
    }
    lines.push(format!("run it: iterd run {file}"));
    lines.join("\n")
}

/// What the service would not reach, and what to do about it.
fn service(found: &Value, lines: &mut Vec<String>) {
    let problems = found["problems"].as_array().map_or(&[][..], Vec::as_slice);
    if problems.is_empty() {
        lines.push("as a service: it reaches everything that the job names".to_owned());
        return;
    }
    lines.push("as a service:".to_owned());
    let shown = problems.iter().filter_map(Value::as_str);
    lines.extend(shown.map(|problem| format!("  {}", plain(problem))));
    let drop_in = text(found, "drop_in");
    if !drop_in.is_empty() {
        lines.push("the drop-in, for `systemctl edit iterd`:".to_owned());
        lines.extend(drop_in.lines().map(|line| format!("  {}", plain(line))));
    }
}
