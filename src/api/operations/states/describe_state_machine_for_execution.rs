//! `DescribeStateMachineForExecution`: the machine as it was when the execution began.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    configurations::told,
    executions, seconds,
    shapes::{ARN, INCLUDED_DATA},
    variable_references,
};
use crate::{
    api::{Api, ApiError, shape::Member},
    runtime::RuntimeError,
    store::Runs,
};

pub(super) const INPUT: &[Member] = &[
    Member::required("executionArn", &ARN),
    Member::optional("includedData", &INCLUDED_DATA),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    execution_arn: String,
    included_data: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let row = executions::execution(api, &input.execution_arn)?;
    let with_data = input.included_data.as_deref() != Some("METADATA_ONLY");
    let (name, label) = match row.machine.split_once('/') {
        Some((name, label)) => (name, Some(label)),
        None => (row.machine.as_str(), None),
    };
    let (text, definition) = match row.runs {
        Runs::Definition(id) => (api.store.definition(id)?, Some(id)),
        Runs::Text(text) => (Some(text.into()), None),
    };
    let text = text.ok_or_else(|| RuntimeError::Damaged {
        what: format!("execution {}", row.id),
        cause: "its definition is missing".to_owned(),
    })?;
    let place = api.place();
    let machine = api.store.machine(name)?;
    let mut shown = json!({
        "stateMachineArn": place.machine(&row.machine),
        "name": name,
        "definition": if with_data { &*text } else { "{}" },
        "roleArn": row.role_arn,
        "updateDate": seconds(machine.as_ref().map_or(row.started, |machine| machine.updated)),
        "loggingConfiguration": { "level": "OFF", "includeExecutionData": false },
        "tracingConfiguration": { "enabled": false },
        "encryptionConfiguration": { "type": "AWS_OWNED_KEY" },
    });
    if let Some(machine) = &machine {
        shown["loggingConfiguration"] = told(&machine.revision.logging)?;
        shown["tracingConfiguration"] = told(&machine.revision.tracing)?;
        shown["encryptionConfiguration"] = told(&machine.revision.encryption)?;
        if let Some(id) = &machine.revision.id
            && Some(machine.revision.definition) == definition
        {
            shown["revisionId"] = id.as_str().into();
        }
    }
    if let Some(label) = label {
        shown["label"] = label.into();
    }
    if with_data {
        let references = variable_references::of(&text);
        if !references.is_empty() {
            shown["variableReferences"] = references.into_iter().collect();
        }
    }
    if let Some((run, _)) = row.child_of
        && let Some(run) = api.store.map_run(run)?
    {
        shown["mapRunArn"] = place.map_run(&run.machine, &run.label, &run.uuid).into();
    }
    Ok(shown)
}
