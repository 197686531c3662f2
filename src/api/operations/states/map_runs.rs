//! Map Runs as callers name them, and as they are told.

use super::names;
use crate::{
    api::{Api, ApiError, ErrorKind},
    arn::{Arn, Resource},
    runtime::RuntimeError,
    store::MapRunRow,
};

/// The Map Run that a name speaks of.
pub(super) fn map_run(api: &Api, arn: &str) -> Result<MapRunRow, ApiError> {
    let parsed: Arn = arn.parse().map_err(RuntimeError::from)?;
    let kind = parsed.resource.kind();
    let Resource::MapRun { machine, run } = &parsed.resource else {
        return Err(names::wrong_kind(arn, kind));
    };
    let found = if parsed.place == api.place() {
        let found = api.store.map_run_named(run)?;
        found.filter(|row| {
            row.machine == machine.name && machine.label.as_deref() == Some(row.label.as_str())
        })
    } else {
        None
    };
    found.ok_or_else(|| {
        let message = format!("Resource not found: '{arn}'");
        ApiError::new(ErrorKind::NotFound, message).with("resourceName", arn)
    })
}
