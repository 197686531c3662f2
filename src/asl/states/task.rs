//! Task: names the work and how long it may take. What a resource means is the runtime's.

use std::{sync::Arc, time::Duration};

use super::{Kind, Reader, State, WORK};
use crate::asl::{
    definition::{Dialect, Setting},
    diagnostic::quote,
    fields::Fields,
    reader::SECONDS_MAX,
    template::Template,
    text::Span,
};

/// The fields of a Task state.
#[derive(Debug, PartialEq)]
pub struct Task {
    /// Who does the work: an ARN, verbatim.
    pub resource: Arc<str>,
    /// How long one attempt may take.
    pub timeout: Option<Setting<Duration>>,
    /// How long one attempt may stay silent.
    pub heartbeat: Option<Setting<Duration>>,
    /// What the task is to be done with: an object with a `RoleArn`.
    pub credentials: Option<Template>,
}

impl Task {
    /// Whether the task's result comes from whoever knows its token.
    #[must_use]
    pub fn waits_for_token(&self) -> bool {
        self.resource.ends_with(".waitForTaskToken")
    }
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Option<Kind> {
    fields.rename("a Task state");
    let resource = resource(fields, reader);
    state.read_flow(fields, WORK, reader);
    let credentials = credentials(fields, reader);
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
        credentials,
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
    match reader.dialect {
        Dialect::Iterd => {}
        Dialect::Aws => check_integration(resource, node.span, reader),
        Dialect::AwsExpress => {
            check_integration(resource, node.span, reader);
            check_express(resource, node.span, reader);
        }
    }
    Some(resource.into())
}

/// How much of a resource a message shows: AWS's longest name of one.
const RESOURCE_BYTES_SHOWN: usize = 2048;

/// How a task of an integration ends.
const PATTERNS: [&str; 3] = [".waitForTaskToken", ".sync:2", ".sync"];

/// Operations of the services whose list is closed: (service, operations).
const INTEGRATIONS: [(&str, &[&str]); 6] = [
    ("lambda", &["invoke"]),
    ("sqs", &["sendMessage"]),
    ("sns", &["publish"]),
    (
        "dynamodb",
        &["getItem", "putItem", "updateItem", "deleteItem"],
    ),
    ("states", &["startExecution"]),
    ("events", &["putEvents"]),
];

/// Whether a function's name in a resource, with its version or alias, can be one.
fn is_function(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let (name, version) = name.split_once(':').unwrap_or((name, "$LATEST"));
    let named = |name: &str| !name.is_empty() && name.chars().all(plain);
    named(name) && (version == "$LATEST" || named(version))
}

/// Spec: the operations of a service that can be named are few; all others go by `aws-sdk`.
fn check_integration(resource: &str, at: Span, reader: &mut Reader<'_>) {
    let function = resource
        .split_once(":function:")
        .filter(|(before, _)| before.split(':').nth(2) == Some("lambda"));
    // A placeholder (`${name}`) is filled in by whoever deploys the definition.
    let halves = resource.matches("${").count() != resource.matches('}').count();
    if halves
        || resource.contains(|c: char| c.is_whitespace() || c == '"')
        || function.is_some_and(|(_, name)| !name.contains("${") && !is_function(name))
    {
        let message = format!("{} is no valid resource ARN", quote(resource));
        reader.problems.schema(at, message);
    }
    let Some(rest) = resource.strip_prefix("arn:aws:states:::") else {
        return;
    };
    let plain = PATTERNS
        .iter()
        .find_map(|pattern| rest.strip_suffix(pattern))
        .unwrap_or(rest);
    let Some((service, operation)) = plain.split_once(':') else {
        return;
    };
    let known = INTEGRATIONS.iter().find(|(name, _)| *name == service);
    if known.is_some_and(|(_, operations)| !operations.contains(&operation)) {
        // In AWS's words.
        let shown = resource.get(..RESOURCE_BYTES_SHOWN).unwrap_or(resource);
        let message = format!(
            "The resource provided {shown} is not recognized. The value is not a valid resource ARN, or the resource is not available in this region."
        );
        reader.problems.schema(at, message);
    }
}

/// Spec: an express workflow waits for nobody.
fn check_express(resource: &str, at: Span, reader: &mut Reader<'_>) {
    let of_states = resource.split(':').nth(2) == Some("states");
    if of_states && resource.split(':').nth(5) == Some("activity") {
        reader
            .problems
            .schema(at, "Express state machine does not support Activity ARN");
    } else if let Some(pattern) = PATTERNS
        .iter()
        .find(|pattern| resource.ends_with(**pattern))
    {
        let message =
            format!("Express state machine does not support '{pattern}' service integration");
        reader.problems.schema(at, message);
    }
}

/// `Credentials`: the role that the task is to be done in.
fn credentials<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Option<Template> {
    let node = fields.take("Credentials")?;
    let mut credentials = Fields::of(node, "credentials", &mut reader.problems)?;
    let (plain, path) = (credentials.take("RoleArn"), credentials.take("RoleArn.$"));
    if plain.is_none() && path.is_none() {
        // In AWS's words.
        let message = "The field 'RoleArn' is required but was missing";
        reader.problems.schema(node.span, message);
        return None;
    }
    credentials.finish(&mut reader.problems);
    reader.template(fields, "Credentials")
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
