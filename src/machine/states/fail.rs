//! Fail: raises its error, whose texts may be computed.

use serde_json::Value;

use super::{Raised, Seen, Stepper, unexpected};
use crate::{
    asl::{
        QueryLanguage,
        states::{Fail, State, Text},
        template::{Expression, Scope},
    },
    ids::FrameId,
    machine::Finding,
    payload::Payload,
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    fail: &Fail,
) -> Raised {
    if state.language == QueryLanguage::JsonPath {
        // It has no `InputPath`, and looks at all of its input.
        let input = step.state_input(id);
        step.tell(|| Finding::InputPath(input));
    }
    match texts(step, id, fail) {
        Ok((error, cause)) => Raised {
            error,
            cause,
            ..Raised::default()
        },
        Err(raised) => raised,
    }
}

fn texts(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    fail: &Fail,
) -> Result<(Option<String>, Option<String>), Raised> {
    let input = step
        .execution
        .frame(id)
        .map_or_else(|| Value::Null.into(), |frame| frame.data.clone());
    let error = text(step, id, &input, "Error", fail.error.as_ref())?;
    let cause = text(step, id, &input, "Cause", fail.cause.as_ref())?;
    Ok((error, cause))
}

fn text(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    input: &Payload,
    field: &str,
    text: Option<&Text>,
) -> Result<Option<String>, Raised> {
    match text {
        None => Ok(None),
        Some(Text::Fixed(text)) => Ok(Some(text.to_string())),
        Some(Text::Computed(expression, source)) => {
            let evaluate = |scope: &mut Scope<'_>| {
                let value = expression
                    .evaluate(scope)
                    .map_err(|error| error.in_field(&format!("{field}Path")).located(field))?;
                match expression {
                    Expression::Jsonata(jsonata) if !value.is_string() => {
                        let failed = |failure| jsonata.failed(failure);
                        Err(unexpected(&value, "string", failed).located(field))
                    }
                    Expression::Jsonata(_) | Expression::Path(_) | Expression::Call(_) => Ok(value),
                }
            };
            let value = step.evaluate(id, Seen::of(input), evaluate)?;
            let text = value.as_str().ok_or_else(|| {
                Raised::runtime(format!("The {field}Path '{source}' must give a string"))
            })?;
            Ok(Some(text.to_owned()))
        }
    }
}
