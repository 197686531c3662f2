//! `iterd check FILE` of a definition in the Amazon States Language: everything that is wrong with it, and
//! what whoever runs it for weeks would regret.

use std::path::Path;

use serde_json::{Value, json};

use super::{Arguments, Target};
use crate::{
    asl::{DEFINITION_BYTES_MAX, Definition, Dialect, lint, states::Kind},
    cli::{
        exit::{Code, DONE, Failure, INVALID},
        session::Session,
    },
    config::ServiceSettings,
    integration::service::{
        ServiceTask,
        remote::{beyond, leads_away},
    },
};

/// Whether a file is a definition and no job.
pub(super) fn is_definition(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("json" | "asl"))
}

/// Looks at a definition; refused where it cannot run.
pub(super) fn check(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let file = &arguments.file;
    let read = std::fs::metadata(file).and_then(|metadata| {
        if metadata.len() > DEFINITION_BYTES_MAX as u64 {
            let message = format!(
                "it has {} bytes, at most {DEFINITION_BYTES_MAX} are read",
                metadata.len()
            );
            return Err(std::io::Error::other(message));
        }
        std::fs::read_to_string(file)
    });
    let text = read.map_err(|error| {
        Failure::new(INVALID, format!("cannot read {}: {error}", file.display()))
    })?;
    let definition = Definition::parse(&text, Dialect::Aws).map_err(|error| {
        let lines: Vec<String> = error
            .diagnostics
            .iter()
            .map(|diagnostic| {
                format!(
                    "{}: {}: {diagnostic}",
                    file.display(),
                    diagnostic.code.as_str()
                )
            })
            .collect();
        Failure::new(INVALID, lines.join("\n"))
    })?;
    let aws = arguments.target.is_some_and(|Target::Aws| true);
    let mut findings: Vec<Value> = lint(&definition)
        .into_iter()
        .filter(|finding| aws || !finding.aws)
        .map(|finding| {
            json!({
                "state": &*finding.state,
                "field": finding.field,
                "problem": finding.problem,
                "mend": finding.mend,
            })
        })
        .collect();
    let settings = session.settings(&[])?.config.services;
    tell_beyond(&definition, &settings, &mut findings);
    let answer = json!({
        "definition": file.display().to_string(),
        "states": definition.states().len(),
        "warnings": findings,
    });
    session.answer(&answer, people)?;
    let refused = arguments.strict && !findings.is_empty();
    Ok(Code(if refused { INVALID } else { DONE }))
}

/// What tasks want of services that the settings lead to elsewhere, and that those are not asked.
fn tell_beyond(definition: &Definition, settings: &ServiceSettings, found: &mut Vec<Value>) {
    for state in definition.states() {
        if let Some(processor) = state.processor() {
            tell_beyond(processor, settings, found);
        }
        let Kind::Task(task) = &state.kind else {
            continue;
        };
        let asked = ServiceTask::of(&task.resource);
        let away = asked.filter(|asked| leads_away(settings, asked.service));
        if let Some(beyond) = away.and_then(|away| beyond(away, task.credentials.is_some())) {
            found.push(json!({
                "state": &*state.name,
                "field": beyond.field,
                "problem": beyond.problem,
                "mend": beyond.mend,
            }));
        }
    }
}

fn people(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let states = answer["states"].as_u64().unwrap_or(0);
    let mut lines = vec![format!(
        "{}: {states} {}, nothing that could not run",
        text(&answer["definition"]),
        if states == 1 { "state" } else { "states" }
    )];
    for finding in answer["warnings"].as_array().into_iter().flatten() {
        lines.push(format!(
            "warning: {} ({}): {}",
            text(&finding["state"]),
            text(&finding["field"]),
            text(&finding["problem"])
        ));
        lines.push(format!("  {}", text(&finding["mend"])));
    }
    lines.join("\n")
}
