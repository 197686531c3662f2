//! What is wrong with a definition, as the API tells it: the language's diagnostics, and what a type of
//! machine leaves out of the language.

use std::borrow::Cow;

use serde_json::Value;

use super::label;
use crate::{
    api::{ApiError, Fault},
    asl::{Code, DIAGNOSTICS_MAX, Definition, DefinitionError, Diagnostic, Dialect},
    store::MachineKind,
};

/// A diagnostic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Where: a path into the definition; `None` where the text is no JSON.
    pub(super) location: Option<String>,
}

/// All of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) told: Vec<Told>,
    /// Whether there are more.
    pub(super) truncated: bool,
}

/// Everything that is wrong with a definition for a machine of that type.
pub(super) fn diagnose(text: &str, kind: MachineKind) -> Found {
    if text.trim().is_empty() {
        let told = Told {
            code: Code::SchemaValidationFailed.as_str(),
            message: "Definition must be a valid JSON object".to_owned(),
            location: None,
        };
        return Found {
            told: vec![told],
            truncated: false,
        };
    }
    let mut found = match Definition::parse(text, Dialect::Aws) {
        Ok(_) => Found::default(),
        Err(error) => found(error, ""),
    };
    if kind == MachineKind::Express
        && let Ok(root) = serde_json::from_str(text)
    {
        walk(&root, &mut |state, keys| {
            beyond_express(state, keys, &mut found);
        });
    }
    found
}

/// What the language finds wrong with a definition that lies at that place.
fn found(error: DefinitionError, around: &str) -> Found {
    let told = |diagnostic: Diagnostic| {
        let pointer = format!("{around}{}", diagnostic.pointer);
        Told {
            code: diagnostic.code.as_str(),
            message: diagnostic.message,
            location: match (diagnostic.code, pointer.as_str()) {
                (Code::InvalidJson, _) if diagnostic.pointer.is_empty() => None,
                (_, "") => Some("/".to_owned()),
                (_, _) => Some(pointer),
            },
        }
    };
    Found {
        truncated: error.truncated,
        told: error.diagnostics.into_iter().map(told).collect(),
    }
}

/// The refusal of what is no definition, or no state that lies at that place of one.
pub(super) fn refusal(error: DefinitionError, around: &str) -> ApiError {
    refused(&found(error, around))
}

fn refused(found: &Found) -> ApiError {
    let told: Vec<String> = found.told.iter().map(told_inline).collect();
    let message = format!("Invalid State Machine Definition: '{}'", told.join(", "));
    ApiError::states(Fault::InvalidDefinition, message)
}

/// Refuses what is no definition for a machine of that type.
pub(super) fn check(text: &str, kind: MachineKind) -> Result<(), ApiError> {
    if let Some(message) = label::refusal(text) {
        return Err(ApiError::states(Fault::InvalidDefinition, message));
    }
    let found = diagnose(text, kind);
    if found.told.is_empty() {
        return Ok(());
    }
    Err(refused(&found))
}

fn told_inline(told: &Told) -> String {
    match &told.location {
        Some(location) => format!("{}: {} at {location}", told.code, told.message),
        None => format!("{}: {}", told.code, told.message),
    }
}

/// Visits each state of a machine and of the machines in it, with the keys that lead to it; the last of
/// them is its name. What is no machine has no states. The depth is that of the JSON, which its parser
/// bounds.
pub(super) fn walk<'a>(machine: &'a Value, visit: &mut impl FnMut(&'a Value, &[Cow<'a, str>])) {
    walk_from(machine, &mut Vec::new(), visit);
}

fn walk_from<'a>(
    machine: &'a Value,
    keys: &mut Vec<Cow<'a, str>>,
    visit: &mut impl FnMut(&'a Value, &[Cow<'a, str>]),
) {
    let states = machine.get("States").and_then(Value::as_object);
    for (name, state) in states.into_iter().flatten() {
        keys.extend(["States".into(), name.into()]);
        visit(state, keys);
        for key in ["ItemProcessor", "Iterator"] {
            if let Some(processor) = state.get(key) {
                keys.push(key.into());
                walk_from(processor, keys, visit);
                keys.pop();
            }
        }
        let branches = state.get("Branches").and_then(Value::as_array);
        for (place, branch) in branches.into_iter().flatten().enumerate() {
            keys.extend(["Branches".into(), place.to_string().into()]);
            walk_from(branch, keys, visit);
            keys.truncate(keys.len() - 2);
        }
        keys.truncate(keys.len() - 2);
    }
}

/// The JSON pointer of a field of a state.
fn pointer(keys: &[Cow<'_, str>], field: &str) -> String {
    let keys = keys
        .iter()
        .map(|key| key.replace('~', "~0").replace('/', "~1"));
    let keys: String = keys.flat_map(|key| ["/".to_owned(), key]).collect();
    format!("{keys}/{field}")
}

/// Whether a task waits until what it started has ended: `.sync`, or a later form of it (`.sync:2`).
fn runs_a_job(resource: &str) -> bool {
    let parts: Vec<&str> = resource.split('.').collect();
    parts
        .last()
        .is_some_and(|last| *last == "sync" || last.starts_with("sync:"))
}

/// What an express machine leaves out. Spec: "Express: no .sync, no callback, no activities, no
/// Distributed Map".
fn beyond_express(state: &Value, keys: &[Cow<'_, str>], found: &mut Found) {
    let mut report = |message: &str, field: &str| {
        if found.told.len() >= DIAGNOSTICS_MAX {
            found.truncated = true;
            return;
        }
        found.told.push(Told {
            code: Code::SchemaValidationFailed.as_str(),
            message: format!("Express state machine does not support {message}"),
            location: Some(pointer(keys, field)),
        });
    };
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    if text(state, "Type") == "Task" {
        let resource = text(state, "Resource");
        if resource.contains(":states:") && resource.contains(":activity:") {
            report("Activity ARN", "Resource");
        } else if runs_a_job(&resource) {
            report("'.sync' service integration", "Resource");
        } else if resource.ends_with(".waitForTaskToken") {
            report("'.waitForTaskToken' service integration", "Resource");
        }
    }
    let config = state.pointer("/ItemProcessor/ProcessorConfig");
    if config.is_some_and(|config| text(config, "Mode") == "DISTRIBUTED") {
        report(
            "Map state in DISTRIBUTED mode",
            "ItemProcessor/ProcessorConfig/Mode",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str, kind: MachineKind) -> String {
        check(text, kind).map_or_else(|error| error.message, |()| String::new())
    }

    #[test]
    fn a_sound_definition_is_taken() {
        let pass = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;
        assert_eq!(refusal(pass, MachineKind::Standard), "");
        assert_eq!(refusal(pass, MachineKind::Express), "");
    }

    #[test]
    fn each_problem_is_told_with_its_code_and_place() {
        let text = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}"#;
        let told = refusal(text, MachineKind::Standard);
        assert!(
            told.starts_with("Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: "),
            "{told}"
        );
        assert!(told.ends_with(" at /States/A/Next'"), "{told}");
        let found = diagnose(" \n", MachineKind::Standard).told;
        assert_eq!(found[0].message, "Definition must be a valid JSON object");
        assert_eq!(found[0].location, None);
        assert_eq!(
            diagnose("{}", MachineKind::Standard).told[0]
                .location
                .as_deref(),
            Some("/")
        );
    }

    #[test]
    fn an_express_machine_waits_for_nobody() {
        let told = |resource: &str| {
            let text = format!(
                r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Parallel", "End": true, "Branches": [
                    {{"StartAt": "A", "States": {{"A": {{"Type": "Task", "Resource": "{resource}", "End": true}}}}}}]}}}}}}"#
            );
            let found = diagnose(&text, MachineKind::Express).told;
            let last = found.into_iter().next_back();
            last.map(|told| (told.message, told.location.unwrap_or_default()))
        };
        let at = "/States/P/Branches/0/States/A/Resource".to_owned();
        let no = |what: &str| {
            Some((
                format!("Express state machine does not support {what}"),
                at.clone(),
            ))
        };
        assert_eq!(
            told("arn:aws:states:us-east-1:000000000000:activity:ask"),
            no("Activity ARN")
        );
        assert_eq!(
            told("arn:aws:states:::states:startExecution.sync:2"),
            no("'.sync' service integration")
        );
        assert_eq!(
            told("arn:aws:states:::sqs:sendMessage.waitForTaskToken"),
            no("'.waitForTaskToken' service integration")
        );
    }
}
