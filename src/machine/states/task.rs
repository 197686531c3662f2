//! Task: asks for its work, takes the result in.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{Entered, Raised, Stepper, Turn, frame::Phase, resolve, whole};
use crate::{
    asl::{
        SECONDS_MAX, Setting,
        path::Path,
        states::{Kind, State, Task},
        template::Scope,
    },
    ids::FrameId,
    machine::{
        Effect, Event,
        data::{Seen, located},
    },
    payload::Payload,
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    task: &Task,
) -> Entered {
    let payload = step.parameters(id, state)?;
    let timeout = duration(step, id, state, "TimeoutSecondsPath", task.timeout.as_ref())?;
    let heartbeat = duration(
        step,
        id,
        state,
        "HeartbeatSecondsPath",
        task.heartbeat.as_ref(),
    )?;
    if step.exceeds(&payload) {
        return Err(Raised::too_large(&state.name));
    }
    let credentials = credentials(step, id, state, task)?;
    let role = credentials
        .as_ref()
        .and_then(|credentials| credentials.value().get("RoleArn")?.as_str().map(Into::into));
    let execution = step.context.context.execution_id;
    step.record(id, || Event::TaskScheduled {
        resource: task.resource.clone(),
        region: region(execution).into(),
        parameters: payload.clone(),
        timeout,
        heartbeat,
        role,
    });
    let Some(frame) = step.execution.frame_mut(id) else {
        return Ok(Turn::Blocked);
    };
    frame.enter(Phase::Task);
    let generation = frame.ask();
    if begins_at_once(&task.resource) {
        step.begun.push((id, generation));
    }
    let token = task
        .waits_for_token()
        .then(|| (step.context.token)(id, generation));
    step.effects.push(Effect::Invoke {
        frame: id,
        generation,
        entry: frame.entry,
        resource: task.resource.clone(),
        payload,
        timeout,
        heartbeat,
        attempt: frame.retry_count().saturating_add(1),
        token,
        credentials,
    });
    Ok(Turn::Blocked)
}

/// What the task is to be done with.
fn credentials(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    task: &Task,
) -> Result<Option<Payload>, Raised> {
    let Some(template) = &task.credentials else {
        return Ok(None);
    };
    let input = step.effective_input(id, state)?;
    let run = |scope: &mut Scope<'_>| located(template, scope, "Credentials");
    step.compute(id, Seen::of(&input), run).map(Some)
}

/// The region in an execution's Amazon resource name; where it has none, the one that iterd takes for
/// granted.
fn region(execution: &str) -> &str {
    execution
        .split(':')
        .nth(3)
        .filter(|region| !region.is_empty())
        .unwrap_or("us-east-1")
}

/// Whether a task has begun when it was asked for: nobody has to come for it.
pub(in crate::machine) fn begins_at_once(resource: &str) -> bool {
    resource.starts_with("arn:") && !is_activity(resource)
}

/// Whether an activity does the work: its task waits for a worker that asks for it.
#[must_use]
pub fn is_activity(resource: &str) -> bool {
    resource.split(':').nth(5) == Some("activity")
}

/// The work is done.
pub(in crate::machine) fn done(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    output: Payload,
) -> Option<FrameId> {
    let resource = resource(state)?;
    if step.exceeds(&output) {
        return failed(step, id, state, Raised::too_large(service(resource)));
    }
    step.record(id, || Event::TaskSucceeded {
        resource: resource.clone(),
        output: output.clone(),
    });
    match step.exit(id, state, output) {
        Ok(exit) => step.leave(id, state, exit, state.next),
        Err(raised) => step.fail(id, raised),
    }
}

/// The attempt failed.
pub(in crate::machine) fn failed(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    raised: Raised,
) -> Option<FrameId> {
    step.record_task_failure(id, resource(state)?, &raised);
    step.fail(id, raised)
}

fn resource(state: &State) -> Option<&Arc<str>> {
    if let Kind::Task(task) = &state.kind {
        Some(&task.resource)
    } else {
        None
    }
}

/// What AWS calls the resource in a message: the service of an integration
/// (`arn:aws:states:::lambda:invoke`), else the whole name.
fn service(resource: &str) -> &str {
    resource
        .strip_prefix("arn:aws:states:::")
        .and_then(|rest| rest.split(':').next())
        .unwrap_or(resource)
}

/// Spec: the paths are applied to the effective input.
fn duration(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    field: &str,
    setting: Option<&Setting<Duration>>,
) -> Result<Option<Duration>, Raised> {
    let Some(setting) = setting else {
        return Ok(None);
    };
    let input = step.effective_input(id, state)?;
    let read = |value: &Value, path: &Path| {
        let seconds = whole(field, value, path, || {
            format!("{field} must be positive: {path}")
        })?;
        if seconds == 0 {
            return Err(Raised::runtime(format!("{field} must be positive: {path}")));
        }
        if seconds > SECONDS_MAX {
            return Err(Raised::runtime(format!(
                "{field} must be {SECONDS_MAX} at most: {path}"
            )));
        }
        Ok(Duration::from_secs(seconds))
    };
    let plain = field.trim_end_matches("Path");
    let accept = |value: &Value| {
        let seconds = value.as_u64();
        let seconds = seconds.filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        seconds.map(Duration::from_secs)
    };
    let computed = (plain, "integer", accept);
    resolve(step, id, &input, setting, computed, read).map(Some)
}
