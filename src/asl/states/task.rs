//! Task: names the work and how long it may take. What a resource means is the runtime's.

use std::{sync::Arc, time::Duration};

use super::{Kind, Reader, State, policy};
use crate::asl::{definition::Setting, fields::Fields, reader::SECONDS_MAX};

/// The fields of a Task state.
#[derive(Debug, PartialEq)]
pub struct Task {
    /// Who does the work: an ARN, verbatim.
    pub resource: Arc<str>,
    /// How long one attempt may take.
    pub timeout: Option<Setting<Duration>>,
    /// How long one attempt may stay silent.
    pub heartbeat: Option<Setting<Duration>>,
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Option<Kind> {
    fields.rename("a Task state");
    let resource = resource(fields, reader);
    state.read_paths(fields, reader);
    state.io.parameters = reader.template(fields, "Parameters");
    state.io.result_selector = reader.template(fields, "ResultSelector");
    state.io.result_path = policy::result_path(fields, reader);
    let timeout = duration(fields, ("TimeoutSeconds", "TimeoutSecondsPath"), reader);
    let heartbeat = duration(fields, ("HeartbeatSeconds", "HeartbeatSecondsPath"), reader);
    if let (Some(Setting::Fixed(timeout)), Some(Setting::Fixed(heartbeat))) = (&timeout, &heartbeat)
        && heartbeat >= timeout
    {
        reader.problems.schema(
            fields.node.span,
            "\"HeartbeatSeconds\" must be smaller than \"TimeoutSeconds\"",
        );
    }
    state.read_policy(fields, reader);
    state.read_transition(fields, reader)?;
    Some(Kind::Task(Task {
        resource: resource?,
        timeout,
        heartbeat,
    }))
}

fn resource<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Option<Arc<str>> {
    let node = fields.required("Resource", &mut reader.problems)?;
    let Some(resource) = node.as_str().filter(|resource| !resource.is_empty()) else {
        reader
            .problems
            .schema(node.span, "\"Resource\" must be an ARN");
        return None;
    };
    if resource.ends_with(".waitForTaskToken") {
        reader
            .problems
            .unsupported(node.span, "tasks that wait for a token are");
        return None;
    }
    Some(resource.into())
}

fn duration<'n>(
    fields: &mut Fields<'n>,
    keys: (&'static str, &'static str),
    reader: &mut Reader<'n>,
) -> Option<Setting<Duration>> {
    let dialect = reader.dialect;
    reader.setting(fields, keys, |fields, problems| {
        Reader::seconds(fields, keys.0, SECONDS_MAX, dialect, problems)
    })
}
