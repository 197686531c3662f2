//! An execution with a clock that goes by itself and tasks that answer as the script says.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use iterd::{
    asl::{Definition, DefinitionError, Dialect},
    ids::{FrameId, Generation},
    machine::{
        Context, Effect, Execution, Input, Machine, Options, Outcome, Part, Record, Row, RowKey,
        StepContext, event_told, step,
    },
    payload::{Failure, Payload},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::Value;

/// What a task answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// Its result.
    #[serde(default)]
    output: Value,
    /// Its error, instead.
    error: Option<String>,
    /// What the error says.
    #[serde(default)]
    cause: String,
    /// What the task must have been asked for: parameters, time-out, token.
    asked: Option<Value>,
}

impl Answer {
    /// A result.
    pub(crate) fn giving(output: Value) -> Self {
        Self {
            output,
            error: None,
            cause: String::new(),
            asked: None,
        }
    }

    /// An error.
    pub(crate) fn failing() -> Self {
        Self {
            error: Some("E".to_owned()),
            ..Self::giving(Value::Null)
        }
    }
}

/// How an execution ended: its output, or its error and cause.
pub(crate) type End = Result<Value, (Option<String>, Option<String>)>;

/// An execution under way.
pub(crate) struct World {
    machine: Machine,
    input: Payload,
    execution: Execution,
    rows: BTreeMap<RowKey, String>,
    now: Timestamp,
    seed: u64,
    /// Whether it is stored and read back between any two steps.
    stored: bool,
    timers: Vec<(Timestamp, FrameId, Generation)>,
    records: Vec<Record>,
    end: Option<End>,
}

/// Steps after which a case has no end.
const STEPS_MAX: usize = 10_000;

impl World {
    /// An execution of this definition that has not begun.
    pub(crate) fn new(
        definition: &str,
        input: Value,
        stored: bool,
    ) -> Result<Self, DefinitionError> {
        let definition = Definition::parse(definition, Dialect::Aws)?;
        Ok(Self {
            machine: Machine::new(Arc::new(definition), Options::default()),
            input: input.into(),
            execution: Execution::new(),
            rows: BTreeMap::new(),
            now: Timestamp::from_millis(1_764_000_000_000),
            seed: 1,
            stored,
            timers: Vec::new(),
            records: Vec::new(),
            end: None,
        })
    }

    /// Runs until nothing can happen any more.
    pub(crate) fn run<'a>(&mut self, mut answers: impl Iterator<Item = &'a Answer>) -> Option<End> {
        let mut inputs = VecDeque::from([Input::Start {
            input: self.input.clone(),
        }]);
        for _ in 0..STEPS_MAX {
            let Some(input) = inputs.pop_front().or_else(|| self.next_timer()) else {
                break;
            };
            for effect in self.step(input) {
                self.carry_out(effect, &mut answers, &mut inputs);
            }
            if self.stored {
                self.store();
            }
        }
        self.end.clone()
    }

    fn next_timer(&mut self) -> Option<Input> {
        self.timers.sort_unstable();
        if self.timers.is_empty() {
            return None;
        }
        let (at, frame, generation) = self.timers.remove(0);
        self.now = self.now.max(at);
        Some(Input::Woken { frame, generation })
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let seed = &mut self.seed;
        let mut random = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *seed
        };
        let mut context = StepContext {
            now: self.now,
            random: &mut random,
            token: &|frame, generation| format!("token-{frame}-{generation}").into(),
            context: Context {
                execution_id: "arn:aws:states:eu-west-1:000000000000:execution:machine:run",
                execution_name: "run",
                role_arn: Some("arn:aws:iam::000000000000:role/r"),
                started: Timestamp::from_millis(1_764_000_000_000),
                redrive_count: 0,
                redriven: None,
                input: &self.input,
                machine_id: "arn:aws:states:eu-west-1:000000000000:stateMachine:machine",
                machine_name: "machine",
                version_arn: None,
                alias_arn: None,
                item: None,
            },
        };
        step(&self.machine, &mut self.execution, input, &mut context)
    }

    fn carry_out<'a>(
        &mut self,
        effect: Effect,
        answers: &mut impl Iterator<Item = &'a Answer>,
        inputs: &mut VecDeque<Input>,
    ) {
        match effect {
            Effect::Invoke {
                frame,
                generation,
                payload,
                token,
                ..
            } => {
                let Some(answer) = answers.next() else {
                    return;
                };
                if let Some(asked) = &answer.asked {
                    assert_eq!(payload.value(), asked, "what a task was asked for");
                }
                inputs.push_back(Input::Started {
                    frame,
                    generation,
                    by: None,
                });
                if token.is_some() {
                    inputs.push_back(Input::Submitted {
                        frame,
                        generation,
                        output: Value::from("taken").into(),
                    });
                }
                inputs.push_back(match &answer.error {
                    None => Input::TaskDone {
                        frame,
                        generation,
                        output: answer.output.clone().into(),
                    },
                    Some(error) => Input::TaskFailed {
                        frame,
                        generation,
                        failure: Failure::new(error, &answer.cause),
                    },
                });
            }
            Effect::Wake {
                frame,
                generation,
                at,
                ..
            } => self.timers.push((at, frame, generation)),
            Effect::Cancel { frame, generation } => {
                self.timers
                    .retain(|(_, own, which)| (*own, *which) != (frame, generation));
            }
            Effect::Record(record) => self.records.push(*record),
            Effect::Continue => inputs.push_back(Input::Continue),
            Effect::StartRun { .. } | Effect::RedriveRun { .. } => {}
            Effect::Ended { outcome } => {
                self.end = Some(match outcome {
                    Outcome::Succeeded(output) => Ok(output.value().clone()),
                    Outcome::Failed { error, cause } | Outcome::Aborted { error, cause } => {
                        Err((error, cause))
                    }
                    Outcome::TimedOut => Err((None, None)),
                });
            }
        }
    }

    /// Writes what changed and goes on with what was written.
    fn store(&mut self) {
        let changes = self.execution.take_changes(&self.machine);
        for frame in changes.removed {
            self.rows
                .retain(|key, _| key.frame != frame || key.part == Part::Head);
        }
        for row in changes.put {
            self.rows.insert(row.key, row.body);
        }
        let rows = self.rows.iter().map(|(key, body)| Row {
            key: *key,
            body: body.clone(),
        });
        let restored = Execution::restore(&self.machine, &self.input, rows);
        let restored = restored.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            restored == self.execution,
            "what was stored is not the same"
        );
        self.execution = restored;
    }

    /// The events so far, a line each.
    pub(crate) fn events(&self) -> Vec<String> {
        self.records
            .iter()
            .map(|record| {
                let event = event_told::event(record, true);
                let mut line = format!(
                    "{} {} {}",
                    event["id"],
                    event["previousEventId"],
                    event["type"].as_str().unwrap_or("?")
                );
                let details = event.as_object().and_then(|event| event.values().nth(4));
                for key in ["name", "index", "location", "length", "assignedVariables"] {
                    if let Some(value) = details.and_then(|details| details.get(key)) {
                        line.push(' ');
                        let text = value.as_str().map(str::to_owned);
                        line.push_str(&text.unwrap_or_else(|| value.to_string()));
                    }
                }
                line
            })
            .collect()
    }
}
