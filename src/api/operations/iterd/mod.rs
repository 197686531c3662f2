//! iterd's own operations; one file for each.
//!
//! What commands ask for: jobs, items, limiters, plugins. Where nobody serves, a command calls the same
//! operation on the file itself.

mod adopt_job;
mod alias_plugin;
mod deploy_plugin;
mod describe_item;
mod describe_job;
mod describe_job_settings;
mod describe_server;
mod edit_item;
mod eta;
mod figures;
mod find_record;
mod list_events;
mod list_items;
mod list_jobs;
mod list_limiters;
mod list_results;
mod list_superseded;
mod list_versions;
mod order_limiter;
mod pause_job;
mod redo_items;
mod resolve_items;
mod resume_job;
mod retry_items;
mod roll_back_plugin;
mod set_job;
mod skip_items;
mod standing;
mod start_job;
mod stop_job;
mod test_notification;

pub use figures::run_figures;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Api, ApiError};
use crate::{
    api::Role,
    payload::Payload,
    runtime::{ItemName, on_behalf_of},
};

/// Every operation, by its name on the wire, with what a key must be allowed to ask for it.
pub const OPERATIONS: [(&str, Role); 28] = [
    ("AliasPlugin", Role::Admin),
    ("RollBackPlugin", Role::Admin),
    ("AdoptJob", Role::Admin),
    ("DescribeJob", Role::ReadOnly),
    ("DescribeJobSettings", Role::ReadOnly),
    ("DescribeServer", Role::ReadOnly),
    ("DeployPlugin", Role::Admin),
    ("FindRecord", Role::ReadOnly),
    ("DescribeItem", Role::ReadOnly),
    ("EditItem", Role::Operator),
    ("ListEvents", Role::ReadOnly),
    ("ListItems", Role::ReadOnly),
    ("ListJobs", Role::ReadOnly),
    ("ListLimiters", Role::ReadOnly),
    ("ListResults", Role::ReadOnly),
    ("OrderLimiter", Role::Operator),
    ("ListVersions", Role::ReadOnly),
    ("ListSuperseded", Role::ReadOnly),
    ("PauseJob", Role::Operator),
    ("RedoItems", Role::Operator),
    ("ResumeJob", Role::Operator),
    ("RetryItems", Role::Operator),
    ("SetJob", Role::Operator),
    ("ResolveItems", Role::Operator),
    ("SkipItems", Role::Operator),
    ("StartJob", Role::Admin),
    ("StopJob", Role::Operator),
    ("TestNotification", Role::Operator),
];

/// Bytes of a name that somebody asks under.
const AUTHOR_BYTES_MAX: usize = 256;

/// What a key must be allowed to ask for an operation; none where there is no such operation.
pub(in crate::api) fn role_of(operation: &str, input: &Value) -> Option<Role> {
    let mut known = OPERATIONS.iter();
    let (name, role) = known.find(|(name, _)| *name == operation)?;
    // Why: a job that is known was let in by an admin, and what a file brings is new code.
    let brings_nothing = *name == "StartJob" && input.get("file").is_none_or(Value::is_null);
    Some(if brings_nothing {
        Role::Operator
    } else {
        *role
    })
}

/// Calls an operation; `caller` names who asks, for what is written down. Whoever asks for somebody
/// else says so in `author`, which every operation takes.
pub async fn call(
    api: &Api,
    operation: &str,
    mut input: Value,
    caller: &str,
) -> Result<Value, ApiError> {
    let author = input
        .as_object_mut()
        .and_then(|input| input.remove("author"));
    let author = match author.as_ref().map(|author| (author, author.as_str())) {
        Some((_, Some(author))) if author.len() <= AUTHOR_BYTES_MAX => author,
        Some((_, Some(_))) => {
            let message = format!("author: a name has at most {AUTHOR_BYTES_MAX} bytes");
            return Err(ApiError::validation(message));
        }
        None | Some((Value::Null, None)) => caller,
        Some((other, None)) => {
            return Err(ApiError::validation(format!(
                "author: {other} is no text; write who asks"
            )));
        }
    };
    on_behalf_of(author.to_owned(), carry_out(api, operation, input, author)).await
}

async fn carry_out(
    api: &Api,
    operation: &str,
    input: Value,
    caller: &str,
) -> Result<Value, ApiError> {
    match operation {
        "AdoptJob" => adopt_job::call(api, &read(input)?, caller).await,
        "AliasPlugin" => alias_plugin::call(api, read(input)?, caller).await,
        "RollBackPlugin" => roll_back_plugin::call(api, read(input)?, caller).await,
        "DeployPlugin" => deploy_plugin::call(api, read(input)?, caller).await,
        "DescribeJob" => describe_job::call(api, &read(input)?),
        "DescribeJobSettings" => describe_job_settings::call(api, &read(input)?),
        "DescribeServer" => describe_server::call(api, &read(input)?),
        "FindRecord" => find_record::call(api, &read(input)?),
        "DescribeItem" => describe_item::call(api, &read(input)?),
        "EditItem" => edit_item::call(api, read(input)?, caller).await,
        "ListEvents" => list_events::call(api, read(input)?),
        "ListItems" => list_items::call(api, &read(input)?),
        "ListJobs" => list_jobs::call(api, &read(input)?),
        "ListLimiters" => list_limiters::call(api, &read(input)?),
        "ListResults" => list_results::call(api, &read(input)?),
        "OrderLimiter" => order_limiter::call(api, read(input)?, caller).await,
        "ListVersions" => list_versions::call(api, &read(input)?),
        "ListSuperseded" => list_superseded::call(api, &read(input)?),
        "PauseJob" => pause_job::call(api, read(input)?, caller).await,
        "RedoItems" => redo_items::call(api, read(input)?, caller).await,
        "ResumeJob" => resume_job::call(api, &read(input)?, caller).await,
        "RetryItems" => retry_items::call(api, read(input)?).await,
        "SetJob" => set_job::call(api, read(input)?, caller).await,
        "ResolveItems" => resolve_items::call(api, read(input)?, caller).await,
        "SkipItems" => skip_items::call(api, read(input)?, caller).await,
        "StartJob" => start_job::call(api, &read(input)?).await,
        "StopJob" => stop_job::call(api, &read(input)?, caller).await,
        "TestNotification" => test_notification::call(api, &read(input)?).await,
        _ => Err(ApiError::validation(format!(
            "no operation {operation:?} is known here; known are {}",
            OPERATIONS.map(|(name, _)| name).join(", ")
        ))),
    }
}

/// An item as it was named.
fn item(text: &str) -> Result<ItemName, ApiError> {
    ItemName::parse(text).map_err(ApiError::validation)
}

fn items(texts: &[String]) -> Result<Vec<ItemName>, ApiError> {
    let mut names = Vec::with_capacity(texts.len());
    for text in texts {
        let name = item(text)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Text that was sent beside a payload: JSON, kept as it was written.
fn payload(what: &str, text: String) -> Result<Payload, ApiError> {
    Payload::parse(text)
        .map_err(|error| ApiError::validation(format!("{what} is no JSON: {error}")))
}

fn read<T: DeserializeOwned>(input: Value) -> Result<T, ApiError> {
    serde_json::from_value(input).map_err(|error| ApiError::validation(error.to_string()))
}
