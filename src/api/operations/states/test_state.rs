//! `TestState`: one state, run by itself, with a mock in place of its work, and what it computed.
//!
//! The interpreter rehearses the state (`machine`); here is what may be asked, and how the answer is told:
//! `mock` checks what stands in for work, `context` is what `$$` means, `inspection` what is shown of the
//! data flow. Nothing is stored, and nothing is done outside.
//!
//! A Wait state is over at once: nobody who tests it wants to wait for it.

mod context;
mod inspection;
mod mock;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use self::mock::{MockInput, STATE_CONFIGURATION, StateConfiguration};
use super::{
    definition, executions, label,
    names::check_role,
    shapes::{ARN, DEFINITION, FLAG},
};
use crate::{
    api::{
        Api, ApiError, ErrorKind, Fault,
        shape::{Member, Shape},
    },
    asl::{
        Definition, Dialect, LONE_STATE_NAME,
        states::{Kind, State},
    },
    machine::{self, Ending, Finding, Machine, Options, RehearsalError, Rehearsed, Script},
    payload::Payload,
    time::Timestamp,
};

/// Data of the tester's: JSON that no message repeats.
const DATA: Shape = Shape::text(0, 262_144).sensitive();
const STATE_NAME: Shape = Shape::text(1, 80).sensitive();
const LEVEL: Shape = Shape::one_of(&["INFO", "DEBUG", "TRACE"]);

pub(super) const INPUT: &[Member] = &[
    Member::required("definition", &DEFINITION),
    Member::optional("roleArn", &ARN),
    Member::optional("input", &DATA),
    Member::optional("inspectionLevel", &LEVEL),
    Member::optional("revealSecrets", &FLAG),
    Member::optional("variables", &DATA),
    Member::optional("stateName", &STATE_NAME),
    Member::optional("mock", &mock::MOCK),
    Member::optional("context", &DATA),
    Member::optional("stateConfiguration", &STATE_CONFIGURATION),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    definition: String,
    role_arn: Option<String>,
    input: Option<String>,
    inspection_level: Option<String>,
    reveal_secrets: Option<bool>,
    variables: Option<String>,
    state_name: Option<String>,
    mock: Option<MockInput>,
    context: Option<String>,
    state_configuration: Option<StateConfiguration>,
}

/// Why on a thread that may block: expressions are the tester's, and take what they take.
pub(super) async fn call(api: &Api, input: Asked) -> Result<Value, ApiError> {
    let api = api.clone();
    let testing = tokio::task::spawn_blocking(move || test(&api, input));
    testing
        .await
        .map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?
}

fn test(api: &Api, input: Asked) -> Result<Value, ApiError> {
    if let Some(mock) = &input.mock {
        mock.check(input.reveal_secrets)?;
    }
    let configuration = input.state_configuration.unwrap_or_default();
    configuration.check(input.mock.is_some())?;
    if let Some(role) = &input.role_arn {
        check_role(role)?;
    }
    let definition = read(&input.definition, input.state_name.as_deref())?;
    let state = definition.state(definition.start());
    fits(state, input.mock.is_some(), input.role_arn.as_deref())?;
    configuration.check_origin(&definition)?;
    let payload = executions::input(input.input)?;
    let now = api.now();
    let retry_count = configuration.retrier_retry_count.unwrap_or(0);
    let context = if let Some(text) = input.context {
        context::given(&text)?
    } else {
        let role = input.role_arn.as_deref();
        context::made(&api.place(), role, &payload, state, retry_count, now)
    };
    let script = Script {
        input: payload.clone(),
        variables: variables(input.variables.as_deref())?,
        context,
        mock: match input.mock {
            Some(mock) => Some(mock.of_state(state)?),
            None => None,
        },
        retry_count,
        failed_items: configuration.map_iteration_failure_count,
        read_items: configuration.read_items(),
    };
    let definition = Arc::new(definition);
    let rehearsed = rehearse(&definition, script, now)?;
    let inspected = input.inspection_level.is_some_and(|level| level != "INFO");
    let state = definition.state(definition.start());
    let inspection = inspected.then(|| inspection::of(state, &payload, &rehearsed));
    Ok(told(rehearsed, inspection))
}

/// The state to be tested.
fn read(text: &str, named: Option<&str>) -> Result<Definition, ApiError> {
    // What lies outside a single state is what AWS puts round it.
    let around = match named {
        None => format!("/States/{LONE_STATE_NAME}"),
        Some(_) => String::new(),
    };
    if let Some(message) = label::refusal(text) {
        return Err(ApiError::states(Fault::InvalidDefinition, message));
    }
    Definition::parse_state(text, named, Dialect::Aws)
        .map_err(|error| definition::refusal(error, &around))?
        .ok_or_else(|| ApiError::validation("State not found in definition"))
}

/// Whether a state of that type can be tested so.
fn fits(state: &State, mocked: bool, role: Option<&str>) -> Result<(), ApiError> {
    match (&state.kind, mocked) {
        (Kind::Map(_) | Kind::Parallel(_), false) => {
            let message = "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]";
            Err(ApiError::states(Fault::InvalidDefinition, message))
        }
        (Kind::Task(_), false) if role.is_none() => Err(ApiError::validation(
            "RoleArn must be specified when testing a Task state",
        )),
        (Kind::Pass(_) | Kind::Choice(_) | Kind::Wait(_) | Kind::Succeed | Kind::Fail(_), true) => {
            Err(ApiError::validation(format!(
                "State type '{}' is not supported when a mock is specified",
                state.kind.name()
            )))
        }
        _ => Ok(()),
    }
}

fn variables(text: Option<&str>) -> Result<Vec<(Arc<str>, Payload)>, ApiError> {
    let wrong = || ApiError::validation("Variables must be a valid JSON object");
    let payload = Payload::parse(text.unwrap_or("{}")).map_err(|_| wrong())?;
    let Value::Object(variables) = payload.value() else {
        return Err(wrong());
    };
    let variable = |(name, value): (&String, &Value)| (name.as_str().into(), value.clone().into());
    Ok(variables.iter().map(variable).collect())
}

fn rehearse(
    definition: &Arc<Definition>,
    script: Script,
    now: Timestamp,
) -> Result<Rehearsed, ApiError> {
    let options = Options {
        records: false,
        ..Options::default()
    };
    let machine = Machine::new(Arc::clone(definition), options);
    let input = script.input.clone();
    let mut random = rand::random::<u64>;
    let mut context = machine::StepContext {
        now,
        random: &mut random,
        token: &machine::no_token,
        // Its rehearsal has a context object of its own.
        context: machine::Context {
            execution_id: "",
            execution_name: "",
            role_arn: None,
            started: now,
            redrive_count: 0,
            redriven: None,
            input: &input,
            machine_id: "",
            machine_name: "",
            version_arn: None,
            alias_arn: None,
            item: None,
        },
    };
    machine::rehearse(&machine, script, &mut context).map_err(|error| match error {
        RehearsalError::NoMock => unmocked(),
        RehearsalError::FailedItems => ApiError::validation(
            "Map iteration failure count must be less than or equal to the number of Map iterations",
        ),
    })
}

/// The place where a Task without a mock would be done for real. Why it is not: a test is a step of the
/// interpreter and nothing else; it has no execution that a worker, a limiter or a record could belong to.
fn unmocked() -> ApiError {
    ApiError::validation(
        "TestState calls no function and no service here: specify a mock with the result or the error of the Task",
    )
}

/// The answer.
fn told(rehearsed: Rehearsed, inspection: Option<Value>) -> Value {
    let status = match &rehearsed.ending {
        Ending::Left => "SUCCEEDED",
        Ending::Caught => "CAUGHT_ERROR",
        Ending::Retried => "RETRIABLE",
        Ending::Failed { .. } => "FAILED",
    };
    let mut answer = json!({ "status": status });
    let mut put = |key: &str, text: Option<String>| {
        if let Some(text) = text {
            answer[key] = text.into();
        }
    };
    for finding in rehearsed.findings {
        match finding {
            Finding::Raised { error, cause } => {
                put("error", error);
                put("cause", cause);
            }
            Finding::Left { output, next } => {
                put("output", Some(output.text().to_owned()));
                put("nextState", next.map(|next| next.to_string()));
            }
            Finding::InputPath(_)
            | Finding::Parameters(_)
            | Finding::Arguments(_)
            | Finding::ItemsPath(_)
            | Finding::ItemsPointer(_)
            | Finding::Items(_)
            | Finding::ItemSelector(_)
            | Finding::ItemBatcher(_)
            | Finding::MaxConcurrency(_)
            | Finding::Tolerance(_)
            | Finding::Result(_)
            | Finding::ResultSelector(_)
            | Finding::ResultPath(_)
            | Finding::Retrier { .. }
            | Finding::Catcher { .. } => {}
        }
    }
    if let Ending::Failed { error, cause } = rehearsed.ending {
        put("error", error);
        put("cause", cause);
    }
    if let Some(inspection) = inspection {
        answer["inspectionData"] = inspection;
    }
    answer
}
