//! `DescribeExecution`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    executions,
    shapes::{ARN, INCLUDED_DATA},
};
use crate::{
    api::{Api, ApiError, shape::Member},
    runtime::redrive_refusal,
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
    let mut shown = executions::told(api, &row)?;
    shown["inputDetails"] = json!({ "included": with_data });
    if with_data {
        shown["input"] = row.input.as_str().into();
    }
    if let Some(output) = &row.output {
        shown["outputDetails"] = json!({ "included": with_data });
        if with_data {
            shown["output"] = output.as_str().into();
        }
    }
    if let Some(header) = &row.trace_header {
        shown["traceHeader"] = header.as_str().into();
    }
    if with_data {
        for (key, value) in [("error", &row.error), ("cause", &row.cause)] {
            if let Some(value) = value {
                shown[key] = value.as_str().into();
            }
        }
    }
    match redrive_refusal(&row, api.now()) {
        Some(why) => {
            shown["redriveStatus"] = "NOT_REDRIVABLE".into();
            shown["redriveStatusReason"] = why.into();
        }
        None if row.child_of.is_some() => {
            shown["redriveStatus"] = "REDRIVABLE_BY_MAP_RUN".into();
        }
        None => shown["redriveStatus"] = "REDRIVABLE".into(),
    }
    Ok(shown)
}
