//! `iterd check FILE`: look at a job without running it.

use std::{ops::ControlFlow, path::PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    exit::{Code, DONE, FAILED, Failure, INVALID},
    session::Session,
    show::{count, number},
};
use crate::{
    config::job::JobFile,
    ids::Cursor,
    integration::source::{self, OpenContext, PageBounds, Progress, SourceSpec},
    plugin::Manifest,
    runtime::{Plan, plugin_folder},
};

/// Records that are shown.
const SAMPLE: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job file
    file: PathBuf,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let file = JobFile::read(&arguments.file)?;
    let manifest = match plugin_folder(&file.process.plugin, &settings.config) {
        Some(folder) => Manifest::load(&folder)
            .map_err(|error| Failure::new(INVALID, format!("{}: {error}", folder.display())))?,
        None => Manifest::identity(),
    };
    let plan = Plan::of(&file, &manifest.name, &settings.config, None)?;
    let looked = look(&plan.source, &settings.config)?;
    let definition: Value = serde_json::from_str(&plan.definition).unwrap_or(Value::Null);
    let answer = json!({
        "job": file.name,
        "plugin": manifest.name,
        "records": looked.records,
        "malformed": looked.malformed,
        "first_malformed": looked.first_malformed,
        "sample": looked.sample,
        "definition": definition,
    });
    session.answer(&answer, people)?;
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

fn people(answer: &Value) -> String {
    let mut lines = vec![format!(
        "{}: {} records, {} malformed",
        answer["job"].as_str().unwrap_or_default(),
        count(number(answer, "records")),
        count(number(answer, "malformed")),
    )];
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    for cause in list("first_malformed") {
        lines.push(format!(
            "  malformed: {}",
            cause.as_str().unwrap_or_default()
        ));
    }
    lines.push("the first records:".to_owned());
    for record in list("sample") {
        lines.push(format!("  {record}"));
    }
    lines.push("the definition:".to_owned());
    let definition = serde_json::to_string_pretty(&answer["definition"]).unwrap_or_default();
    lines.extend(definition.lines().map(|line| format!("  {line}")));
    lines.join("\n")
}
