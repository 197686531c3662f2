//! `iterd check FILE`: look at a job without running it.

use std::{ops::ControlFlow, path::PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    exit::{Code, DONE, FAILED, Failure, INVALID},
    session::Session,
    show::{count, duration, number, plain, seconds, text},
};
use crate::{
    config::job::JobFile,
    ids::Cursor,
    integration::source::{self, OpenContext, PageBounds, Progress, SourceSpec},
    payload::gist,
    runtime::{Plan, plugin_manifest},
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
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let file = JobFile::read(&arguments.file)?;
    let manifest = plugin_manifest(&file.process.plugin, &settings.config)?;
    let plan = Plan::of(&file, &manifest.name, &settings.config, None)?;
    let looked = look(&plan.source, &settings.config)?;
    let least = plan.limits.least_time(looked.records, plan.weight);
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
    });
    let again = arguments.file.display();
    session.answer(&answer, |answer| {
        people(answer, arguments.definition, &again.to_string())
    })?;
    Ok(Code(DONE))
}

struct Looked {
    records: u64,
    malformed: u64,
    first_malformed: Vec<String>,
    sample: Vec<Value>,
}

fn look(spec: &SourceSpec, config: &crate::config::Config) -> Result<Looked, Failure> {
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
struct Scratch(PathBuf);

impl Scratch {
    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Why ok: the system clears its own place for temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn tempdir() -> Result<Scratch, Failure> {
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
    lines.push(format!("run it: iterd run {file}"));
    lines.join("\n")
}
