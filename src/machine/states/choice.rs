//! Choice: the first rule that holds says where to go on.
//!
//! Spec: a value of another kind than the comparator's never holds; a variable that is not there is
//! an error, but for `IsPresent`.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use super::{Entered, Exit, Raised, Seen, Stepper, Turn, unexpected};
use crate::{
    asl::{
        QueryLanguage, parse_timestamp,
        path::{Budget, Exhausted, Found, Path, PathFailure},
        states::{Choice, Comparator, Comparison, Is, Operand, Rule, State, Test, With},
        template::{EvalError, Expression, Scope, Template},
    },
    ids::FrameId,
    machine::data::located,
    payload::Payload,
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    choice: &Choice,
) -> Entered {
    let input = step.effective_input(id, state)?;
    let chosen = step.evaluate(id, Seen::of(&input), |scope| {
        for (place, rule) in choice.rules.iter().enumerate() {
            if holds(&rule.test, scope).map_err(|error| located_in(error, place))? {
                return Ok(Some((rule.next, Some((place, rule)))));
            }
        }
        Ok(choice.default.map(|next| (next, None)))
    });
    let (next, rule) = match chosen {
        Ok(Some(chosen)) => chosen,
        Ok(None) => {
            return Err(Raised {
                unplaced: false,
                ..Raised::new(
                    "States.NoChoiceMatched",
                    format!(
                        "An error occurred while executing the state '{}': no choice matched and there is no default",
                        state.name
                    ),
                )
            });
        }
        Err(raised) => return Err(raised),
    };
    let exit = match rule {
        None => step.exit(id, state, input)?,
        Some((place, rule)) => exit_by(step, id, state, place, rule, input)?,
    };
    Ok(Turn::Choose(next, exit))
}

/// How the state is left where a rule holds: the rule says what is assigned and handed on.
fn exit_by(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    place: usize,
    rule: &Rule,
    input: Payload,
) -> Result<Exit, Raised> {
    let around = format!("Choices[{place}]/Assign");
    let assigned = step.assigned(id, rule.assign.as_ref(), &around, Seen::of(&input))?;
    let output = match (state.language, &rule.output) {
        (QueryLanguage::JsonPath, _) => step.select(id, &state.io.output_path, input)?,
        (QueryLanguage::Jsonata, None) => input,
        (QueryLanguage::Jsonata, Some(output)) => {
            let around = format!("Choices[{place}]/Output");
            step.compute(id, Seen::of(&input), |scope| {
                located(output, scope, &around)
            })?
        }
    };
    Ok(Exit { output, assigned })
}

fn located_in(error: EvalError, place: usize) -> EvalError {
    error.located(&format!("Choices[{place}]/Condition"))
}

fn holds(test: &Test, scope: &mut Scope<'_>) -> Result<bool, EvalError> {
    match test {
        Test::And(tests) => {
            for test in tests {
                if !holds(test, scope)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Test::Or(tests) => {
            for test in tests {
                if holds(test, scope)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Test::Not(test) => Ok(!holds(test, scope)?),
        Test::Compare(comparison) => compare(comparison, scope),
        Test::Condition(condition) => {
            let value = condition.evaluate(scope)?;
            match (&value, condition) {
                (Value::Bool(holds), _) => Ok(*holds),
                (_, Template::Expression(Expression::Jsonata(expression))) => {
                    let failed = |failure| expression.failed(failure);
                    Err(unexpected(&value, "boolean", failed))
                }
                (_, _) => Ok(false),
            }
        }
    }
}

fn compare(comparison: &Comparison, scope: &mut Scope<'_>) -> Result<bool, EvalError> {
    if let Comparator::Is(Is::Present, wanted) = comparison.comparator {
        return match scope.look(&comparison.variable) {
            Ok(_) => Ok(wanted),
            Err(EvalError::Path {
                failure: PathFailure::NoResults(_) | PathFailure::MissingProperty(_),
                ..
            }) => Ok(!wanted),
            Err(error) => Err(error),
        };
    }
    let value = find(&comparison.variable, scope)?;
    match &comparison.comparator {
        Comparator::Is(is, wanted) => Ok(is_kind(*is, &value) == *wanted),
        Comparator::Matches(pattern) => {
            let text = value.as_str();
            Ok(text.map_or(Ok(false), |text| matches(pattern, text, &mut scope.budget))?)
        }
        Comparator::Ordered { kind, orders, with } => {
            let order = match with {
                With::Literal(literal) => order(*kind, &value, literal),
                With::Path(path) => order(*kind, &value, find(path, scope)?.as_ref()),
            };
            Ok(order.is_some_and(|order| orders.contains(&order)))
        }
    }
}

/// The value where it stands: a rule copies nothing, however large its variable.
fn find<'a>(path: &Path, scope: &mut Scope<'a>) -> Result<Cow<'a, Value>, EvalError> {
    match scope.look(path) {
        Ok(Found::One(value)) => Ok(value),
        Ok(list @ Found::Many(_)) => Ok(Cow::Owned(list.into_value(&mut scope.budget)?)),
        Err(EvalError::Path { path, .. }) => Err(EvalError::Choice { path }),
        Err(error) => Err(error),
    }
}

fn is_kind(is: Is, value: &Value) -> bool {
    match is {
        Is::Present => true,
        Is::Null => value.is_null(),
        Is::Numeric => value.is_number(),
        Is::String => value.is_string(),
        Is::Boolean => value.is_boolean(),
        Is::Timestamp => value.as_str().and_then(parse_timestamp).is_some(),
    }
}

/// How both stand to one another; none where one is not of the kind.
fn order(kind: Operand, left: &Value, right: &Value) -> Option<Ordering> {
    match kind {
        Operand::String => Some(left.as_str()?.cmp(right.as_str()?)),
        Operand::Numeric => crate::asl::path::compare(left, right).filter(|_| left.is_number()),
        Operand::Boolean => Some(left.as_bool()?.cmp(&right.as_bool()?)),
        Operand::Timestamp => {
            let left = parse_timestamp(left.as_str()?)?;
            Some(left.cmp(&parse_timestamp(right.as_str()?)?))
        }
    }
}

/// `StringMatches`: `*` stands for any text, `\*` and `\\` for themselves. Starting over behind a star
/// is paid for, because a pattern of many stars can take the product of both lengths.
fn matches(pattern: &str, text: &str, budget: &mut Budget) -> Result<bool, Exhausted> {
    enum Token {
        Any,
        One(char),
    }
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '\\' => Token::One(chars.next().unwrap_or('\\')),
            c => Token::One(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut token, mut place) = (0, 0);
    // Where the latest star stood, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((token, place));
                token += 1;
                continue;
            }
            Some(Token::One(c)) if *c == text[place] => {
                token += 1;
                place += 1;
                continue;
            }
            Some(Token::One(_)) | None => {}
        }
        let Some((after, swallowed)) = star else {
            return Ok(false);
        };
        budget.visit(1)?;
        star = Some((after, swallowed + 1));
        token = after + 1;
        place = swallowed + 1;
    }
    Ok(tokens[token..]
        .iter()
        .all(|rest| matches!(rest, Token::Any)))
}
