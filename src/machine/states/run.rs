//! Map as a run of its own: asks for the run, takes its result in. Retried, it is a new run.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Entered, Raised, Seen, Stepper, Turn,
    frame::Phase,
    map::{items, max_concurrency, no_array, tell_items_path},
    no_number, resolve, whole,
};
use crate::{
    asl::{
        Setting,
        states::{Distributed, Map, Mode, State},
        template::Template,
    },
    ids::FrameId,
    machine::{
        Effect, Event, Finding, RunRequest, Source, Tolerance,
        data::located,
        rehearsal::{items_of, list},
        run::{Batch, WriteTo},
    },
    payload::{Failure, Payload},
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    map: &Map,
) -> Entered {
    let Mode::Distributed(distributed) = &map.mode else {
        return Ok(Turn::Blocked);
    };
    let input = step.effective_input(id, state)?;
    let max_concurrency = max_concurrency(step, id, map, &input)?;
    let source = source(step, id, state, map, distributed, &input)?;
    let length = match &source {
        Source::Items(items) => match items.value() {
            Value::Array(items) => items.len(),
            Value::Object(items) => items.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        },
        Source::Reader { .. } => 0,
    };
    step.record(id, || Event::MapStateStarted {
        length: u64::try_from(length).unwrap_or(u64::MAX),
    });
    let tolerance = tolerance(step, id, distributed, &input)?;
    step.tell(|| Finding::Tolerance(tolerance));
    let batch = batch(step, id, distributed, &input)?;
    let shown = if step.is_rehearsal() {
        show_items(step, id, map, distributed, (&source, &input))?
    } else {
        None
    };
    let write_to = write_to(step, id, distributed, &input)?;
    let variables = variables(step, id, map);
    let definition = Arc::clone(step.machine.definition());
    let Some(frame) = step.execution.frame_mut(id) else {
        return Ok(Turn::Blocked);
    };
    let request = RunRequest {
        state: frame.state,
        definition,
        entered: frame.entered,
        input,
        source,
        max_concurrency,
        tolerance,
        batch,
        variables,
        write_to,
    };
    frame.enter(Phase::Run);
    let generation = frame.ask();
    if let Some(shown) = shown {
        tell_batches(step, &request, &shown);
    }
    step.effects.push(Effect::StartRun {
        frame: id,
        generation,
        request: Arc::new(request),
    });
    Ok(Turn::Blocked)
}

fn write_to(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    distributed: &Distributed,
    input: &Payload,
) -> Result<Option<WriteTo>, Raised> {
    let Some(writer) = &distributed.writer else {
        return Ok(None);
    };
    let around = "ResultWriter/Arguments";
    let parameters = template(step, id, writer.parameters.as_ref(), around, input)?;
    Ok(Some(WriteTo { parameters }))
}

/// Tells what is known of the items; the answer is what each child is given, where that is shown.
fn show_items(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    map: &Map,
    distributed: &Distributed,
    (source, input): (&Source, &Payload),
) -> Result<Option<Vec<Payload>>, Raised> {
    let items = match (source, &distributed.reader) {
        (Source::Items(items), _) => Some(items_of(items)),
        (Source::Reader { max_items, .. }, Some(reader)) => step.read_items(reader, *max_items),
        (Source::Reader { .. }, None) => None,
    };
    match items {
        Some(items) => step.tell_items(id, map, input, items),
        None => Ok(None),
    }
}

/// Tells what the children are given, where items are put together by their number alone: how many
/// bytes a batch has is the run's to find out.
fn tell_batches(step: &mut Stepper<'_, '_>, request: &RunRequest, items: &[Payload]) {
    let Some(batch) = &request.batch else {
        return;
    };
    let most = batch.max_items.and_then(|most| usize::try_from(most).ok());
    if let (Some(most @ 1..), None) = (most, batch.max_bytes) {
        let batches: Vec<Payload> = items
            .chunks(most)
            .map(|items| request.batch_input(items))
            .collect();
        step.tell(|| Finding::ItemBatcher(list(&batches)));
    }
}

/// The run has ended.
pub(in crate::machine) fn ended(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    outcome: Result<Payload, Failure>,
) -> Option<FrameId> {
    let result = match outcome {
        Ok(result) if step.exceeds(&result) => Err(Raised::too_large(&state.name)),
        Ok(result) => Ok(result),
        Err(failure) => Err(Raised::from(failure)),
    };
    match result {
        Ok(result) => {
            let event = step.record(id, || Event::MapRunSucceeded);
            step.note(event, || Event::MapStateSucceeded);
            match step.exit(id, state, result) {
                Ok(exit) => step.leave(id, state, exit, state.next),
                Err(raised) => step.fail(id, raised),
            }
        }
        Err(raised) => {
            step.record(id, || Event::MapRunFailed {
                error: raised.error.clone(),
                cause: raised.cause.clone(),
            });
            step.fail(
                id,
                Raised {
                    of_run: true,
                    ..raised
                },
            )
        }
    }
}

fn source(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    map: &Map,
    distributed: &Distributed,
    input: &Payload,
) -> Result<Source, Raised> {
    let Some(reader) = &distributed.reader else {
        let items = items(step, id, map, input)?;
        return match items.value() {
            Value::Array(_) | Value::Object(_) => {
                tell_items_path(step, state, map, input, &items);
                Ok(Source::Items(items))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(no_array(state, map, &items))
            }
        };
    };
    let max_items = match &reader.config.max_items {
        None => None,
        // Whether the number is one that a reader can do with is the reader's to say: recorded, it is
        // the run that fails.
        Some(setting) => Some(resolve(
            step,
            id,
            input,
            &signed(setting),
            ("ItemReader/ReaderConfig/MaxItems", "integer", Value::as_i64),
            |value, path| {
                value
                    .as_i64()
                    .ok_or_else(|| no_number("MaxItemsPath", value, "integer", path))
            },
        )?),
    };
    Ok(Source::Reader {
        parameters: template(
            step,
            id,
            reader.parameters.as_ref(),
            "ItemReader/Arguments",
            input,
        )?,
        max_items,
    })
}

/// The variables that the item selector reads: it is evaluated when the items come.
fn variables(step: &Stepper<'_, '_>, id: FrameId, map: &Map) -> Vec<(Arc<str>, Payload)> {
    let names = map.item_selector.iter().flat_map(Template::variable_names);
    names
        .filter_map(|name| {
            let value = step.execution.variable(id, name)?;
            Some((name.into(), value.clone()))
        })
        .collect()
}

fn signed(setting: &Setting<u64>) -> Setting<i64> {
    match setting {
        Setting::Fixed(number) => Setting::Fixed(i64::try_from(*number).unwrap_or(i64::MAX)),
        Setting::Path(path) => Setting::Path(path.clone()),
        Setting::Jsonata(expression) => Setting::Jsonata(expression.clone()),
    }
}

fn template(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    template: Option<&Template>,
    around: &str,
    input: &Payload,
) -> Result<Option<Payload>, Raised> {
    template
        .map(|template| {
            step.compute(id, Seen::of(input), |scope| {
                located(template, scope, around)
            })
        })
        .transpose()
}

fn tolerance(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    distributed: &Distributed,
    input: &Payload,
) -> Result<Tolerance, Raised> {
    let count = distributed.tolerated_failure_count.as_ref();
    let count = count.map(|setting| {
        let computed = ("ToleratedFailureCount", "integer", Value::as_u64);
        resolve(step, id, input, setting, computed, |value, path| {
            whole("ToleratedFailureCountPath", value, path, || {
                "ToleratedFailureCount cannot be negative.".to_owned()
            })
        })
    });
    let count = count.transpose()?;
    let percentage = distributed.tolerated_failure_percentage.as_ref();
    let percentage = percentage.map(|setting| {
        let accept = |value: &Value| {
            let number = value.as_f64();
            number.filter(|number| (0.0..=100.0).contains(number))
        };
        let computed = ("ToleratedFailurePercentage", "number", accept);
        resolve(step, id, input, setting, computed, |value, path| {
            let field = "ToleratedFailurePercentagePath";
            // Recorded: a text that is a number is one.
            let number = value
                .as_f64()
                .or_else(|| value.as_str()?.parse().ok())
                .ok_or_else(|| no_number(field, value, "float", path))?;
            if (0.0..=100.0).contains(&number) {
                return Ok(number);
            }
            let cause = "ToleratedFailurePercentage must be between 0 and 100.";
            Err(Raised::runtime(cause))
        })
    });
    Ok(Tolerance {
        count,
        percentage: percentage.transpose()?,
    })
}

fn batch(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    distributed: &Distributed,
    input: &Payload,
) -> Result<Option<Batch>, Raised> {
    let Some(batcher) = &distributed.batcher else {
        return Ok(None);
    };
    let positive = |step: &mut Stepper<'_, '_>, field: &str, setting: Option<&Setting<u64>>| {
        setting
            .map(|setting| {
                let accept = |value: &Value| value.as_u64().filter(|number| *number > 0);
                let computed = (field.trim_end_matches("Path"), "integer", accept);
                resolve(step, id, input, setting, computed, |value, path| {
                    let cause = || format!("field {field} must be positive");
                    match whole(field, value, path, cause)? {
                        0 => Err(Raised::runtime(cause())),
                        number => Ok(number),
                    }
                })
            })
            .transpose()
    };
    Ok(Some(Batch {
        max_items: positive(step, "MaxItemsPerBatchPath", batcher.max_items.as_ref())?,
        max_bytes: positive(
            step,
            "MaxInputBytesPerBatchPath",
            batcher.max_bytes.as_ref(),
        )?,
        input: template(
            step,
            id,
            batcher.input.as_ref(),
            "ItemBatcher/BatchInput",
            input,
        )?,
    }))
}
