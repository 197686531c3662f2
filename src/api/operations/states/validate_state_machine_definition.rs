//! `ValidateStateMachineDefinition`: what is wrong with a definition, without making a machine of it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    definition::{self, Told},
    shapes::{DEFINITION, DIAGNOSTICS_MAX, MACHINE_TYPE, SEVERITY},
};
use crate::{api::shape::Member, store::MachineKind};

/// How many diagnostics are told where nobody says.
const TOLD_DEFAULT: usize = 100;

pub(super) const INPUT: &[Member] = &[
    Member::required("definition", &DEFINITION),
    Member::optional("type", &MACHINE_TYPE),
    Member::optional("severity", &SEVERITY),
    Member::optional("maxResults", &DIAGNOSTICS_MAX),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    definition: String,
    r#type: Option<String>,
    max_results: Option<usize>,
}

/// Everything that is found is an error: `severity` leaves nothing out.
pub(super) fn call(input: &Input) -> Value {
    let kind = match input.r#type.as_deref() {
        Some("EXPRESS") => MachineKind::Express,
        Some(_) | None => MachineKind::Standard,
    };
    let found = definition::diagnose(&input.definition, kind);
    let wanted = input.max_results.filter(|rows| *rows > 0);
    let shown = found.told.len().min(wanted.unwrap_or(TOLD_DEFAULT));
    let diagnostics: Vec<Value> = found.told[..shown].iter().map(show).collect();
    json!({
        "result": if found.told.is_empty() { "OK" } else { "FAIL" },
        "diagnostics": diagnostics,
        "truncated": found.truncated || shown < found.told.len(),
    })
}

fn show(told: &Told) -> Value {
    let mut shown = json!({ "severity": "ERROR", "code": told.code, "message": told.message });
    if let Some(location) = &told.location {
        shown["location"] = location.as_str().into();
    }
    shown
}
