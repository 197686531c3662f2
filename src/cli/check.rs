//! `iterd check FILE`: look at a job, or at a definition, without running it.
//!
//! Owns what is looked at and how a check ends. Reads the source once and calls no handler; warnings never
//! fail a check unless `--strict` asks for it.

mod aws;
mod definition;
pub(super) mod estimate;
pub(super) mod people;
mod warnings;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    exit::{Code, DONE, Failure, INVALID},
    session::Session,
    survey::{Survey, queue_of, survey},
    unit::{self, Need},
};
use crate::{
    config::{Config, job::JobFile},
    plugin::{self, Manifest},
    runtime::{Plan, plugin_folder, plugin_manifest},
    time::{Clock as _, SystemClock},
};
use estimate::Question;
use warnings::{Level, Look};

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct Arguments {
    /// The job file, or a definition in the Amazon States Language (.json, .asl)
    file: PathBuf,
    /// Look at the beginning of a long source only, and reckon with the rest being like it
    #[arg(long)]
    quick: bool,
    /// End with exit code 3 where there are warnings
    #[arg(long)]
    strict: bool,
    /// How long a result is, for the size of the state; else as long as a record
    #[arg(long, value_name = "BYTES")]
    result_bytes: Option<u64>,
    /// Show the state machine that the job is, too
    #[arg(long)]
    definition: bool,
    /// Show what the shipped systemd service would hide from the job, too, and the drop-in that opens it
    #[arg(long)]
    as_service: bool,
    /// Show what another place to run it would not honour, too
    #[arg(long, value_enum)]
    target: Option<Target>,
}

/// Another place to run a job's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    // Why no doc comment: clap would spread the whole help over twice the lines for it.
    Aws,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    if definition::is_definition(&arguments.file) {
        return definition::check(session, arguments);
    }
    let settings = session.settings(&[])?;
    let file = JobFile::read(&arguments.file)?;
    let manifest = plugin_manifest(&file.process.plugin, &settings.config)?;
    let plan = Plan::of(&file, &manifest.name, &settings.config, None)?;
    let survey = survey(
        session,
        &plan.source,
        &settings.config,
        arguments.quick,
        &mut |_, _| {},
    )?;
    let folder = plugin_folder(&file.process.plugin, &settings.config);
    let warnings = warnings::warnings(&Look {
        file: &file,
        plan: &plan,
        manifest: &manifest,
        folder: folder.as_deref(),
        survey: &survey,
        machine_in_utc: machine_in_utc(),
        sandbox_lack: plugin::sandbox_lack(),
    });
    let service = arguments
        .as_service
        .then(|| unit::look(&needs(&file, &manifest, &plan, &settings.config)));
    let target = arguments
        .target
        .map(|Target::Aws| json!({ "name": "aws", "findings": aws::findings(&file, &plan) }));
    let estimate = estimate::estimate(&Question {
        file: &file,
        plan: &plan,
        survey: &survey,
        result_bytes: arguments.result_bytes,
        now: SystemClock.now(),
    });
    let mut answer = counted(&file, &manifest, &plan, &survey);
    answer["least_s"] = estimate["seconds"]["least"].clone();
    answer["estimate"] = estimate;
    answer["warnings"] = json!(warnings);
    answer["service"] =
        json!(service.map(|found| json!({ "problems": found.problems, "drop_in": found.drop_in })));
    answer["target"] = json!(target);
    session.answer(&answer, |answer| people::people(answer, arguments))?;
    let refused = arguments.strict
        && warnings
            .iter()
            .any(|warning| warning.level == Level::Warning);
    Ok(Code(if refused { INVALID } else { DONE }))
}

/// What was found in the source and the file.
fn counted(file: &JobFile, manifest: &Manifest, plan: &Plan, survey: &Survey) -> Value {
    let causes: Vec<&str> = survey
        .first_malformed
        .iter()
        .map(|(_, cause)| cause.as_str())
        .collect();
    let duplicates: Vec<Value> = survey
        .duplicates
        .first
        .iter()
        .map(|(index, id)| json!({ "index": index, "id": id }))
        .collect();
    json!({
        "job": file.name,
        "plugin": manifest.name,
        "records": survey.records,
        "queue": queue_of(survey),
        "malformed": survey.malformed,
        "first_malformed": causes,
        "duplicate_ids": survey.duplicates.records,
        "first_duplicate_ids": duplicates,
        "duplicate_ids_bounded": survey.duplicates.bounded,
        "sample": survey.sample,
        "definition": serde_json::from_str(&plan.definition).unwrap_or(Value::Null),
    })
}

/// Whether the machine's clock shows UTC, as far as it says.
fn machine_in_utc() -> bool {
    let zone = jiff::tz::TimeZone::system();
    zone.to_offset(SystemClock.now().to_jiff()).is_zero()
}

/// The paths that the job needs as a service. A relative output lies in the state directory then.
fn needs(file: &JobFile, manifest: &Manifest, plan: &Plan, config: &Config) -> Vec<Need> {
    let need = |path: &Path, what, write| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let path = path.canonicalize().unwrap_or(path);
        Need { path, what, write }
    };
    let mut needs = vec![need(&file.file, "job file", false)];
    if plan.source.queue().is_none() {
        needs.push(need(&plan.source.path, "source", false));
    }
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
