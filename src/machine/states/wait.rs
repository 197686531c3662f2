//! Wait: asks to be woken; an instant that has passed costs nothing.

use std::time::Duration;

use serde_json::Value;

use super::{Entered, Raised, Stepper, Turn, frame::Phase};
use crate::{
    asl::{
        jsonata::Jsonata,
        parse_timestamp,
        path::Path,
        states::{State, Wait},
        template::EvalError,
    },
    ids::FrameId,
    machine::{Effect, WakeReason, data::Seen},
    payload::Payload,
    time::Timestamp,
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    wait: &Wait,
) -> Entered {
    let input = step.effective_input(id, state)?;
    let now = step.context.now;
    let at = match wait {
        Wait::For(duration) => now + *duration,
        Wait::ForPath(path) => now + seconds(step, id, &input, path)?,
        Wait::Until(instant) => *instant,
        Wait::UntilPath(path) => instant(step, id, &input, path)?,
        Wait::ForComputed(expression) => now + computed_seconds(step, id, &input, expression)?,
        Wait::UntilComputed(expression) => computed_instant(step, id, &input, expression)?,
    };
    if at <= now {
        return step.exit(id, state, input).map(Turn::Leave);
    }
    let Some(frame) = step.execution.frame_mut(id) else {
        return Ok(Turn::Blocked);
    };
    frame.enter(Phase::Waiting);
    let generation = frame.ask();
    step.effects.push(Effect::Wake {
        frame: id,
        generation,
        at,
        reason: WakeReason::Wait,
    });
    Ok(Turn::Blocked)
}

/// The instant has come.
pub(in crate::machine) fn over(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
) -> Option<FrameId> {
    let exit = step
        .effective_input(id, state)
        .and_then(|input| step.exit(id, state, input));
    match exit {
        Ok(exit) => step.leave(id, state, exit, state.next),
        Err(raised) => step.fail(id, raised),
    }
}

fn seconds(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    path: &Path,
) -> Result<Duration, Raised> {
    let value = find(step, id, input, "SecondsPath", path)?;
    match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => Ok(Duration::from_secs(seconds)),
        (None, Some(number)) if number < 0.0 => Err(Raised::runtime(format!(
            "The SecondsPath parameter references a negative value: {path} == {value}"
        ))),
        _ => Err(super::no_number("SecondsPath", &value, "integer", path)),
    }
}

fn instant(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    path: &Path,
) -> Result<Timestamp, Raised> {
    let value = find(step, id, input, "TimestampPath", path)?;
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    parse_timestamp(&text)
        .map(Timestamp::from_jiff)
        .ok_or_else(|| {
            Raised::runtime(format!(
                "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: {path} == {text}"
            ))
        })
}

fn computed_seconds(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    expression: &Jsonata,
) -> Result<Duration, Raised> {
    let value = computed(step, id, input, "Seconds", expression)?;
    match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => Ok(Duration::from_secs(seconds)),
        (None, Some(number)) if number < 0.0 => Err(Raised::query_value(
            "Seconds",
            format!("The Seconds field must not be negative: {value}"),
        )),
        _ => {
            let expected = if value.is_number() {
                "integer"
            } else {
                "number"
            };
            let error = super::unexpected(&value, expected, |failure| expression.failed(failure));
            Err(Raised::query(
                Some("Seconds"),
                error.located("Seconds").to_string(),
            ))
        }
    }
}

fn computed_instant(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    expression: &Jsonata,
) -> Result<Timestamp, Raised> {
    let value = computed(step, id, input, "Timestamp", expression)?;
    let Some(text) = value.as_str() else {
        let error = super::unexpected(&value, "string", |failure| expression.failed(failure));
        return Err(Raised::query(
            Some("Timestamp"),
            error.located("Timestamp").to_string(),
        ));
    };
    parse_timestamp(text)
        .map(Timestamp::from_jiff)
        .ok_or_else(|| {
            Raised::query_value(
                "Timestamp",
                format!(
                    "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: {text}"
                ),
            )
        })
}

fn computed(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    field: &str,
    expression: &Jsonata,
) -> Result<Value, Raised> {
    step.evaluate(id, Seen::of(input), |scope| {
        let value = expression.evaluate(scope);
        value.map_err(|error| error.located(field))
    })
}

fn find(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    field: &str,
    path: &Path,
) -> Result<Value, Raised> {
    let found = step.evaluate(id, Seen::of(input), |scope| match scope.find(path) {
        Err(EvalError::Path { .. }) => Ok(None),
        found => found.map(Some),
    })?;
    found.ok_or_else(|| {
        Raised::runtime(format!(
            "The {field} parameter does not reference an input value: {path}"
        ))
    })
}
