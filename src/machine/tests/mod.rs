//! Executions as a table of definitions, scripted answers, and what comes of them.
//!
//! Between any two steps the execution is thrown away and made anew from its stored rows, and from
//! its blob: both must be equal to what they were taken from.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks what it looks at out of everything that can be"
)]

mod bounds;
mod events;
mod map;
mod parallel;
mod redrive;
mod rehearsal;
mod retries;
mod runs;
mod states;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::*;
use crate::{
    asl::{Definition, Dialect},
    ids::{FrameId, Generation},
    payload::{Failure, Payload},
    time::Timestamp,
};

/// An execution with the database, the clock and the random numbers that it needs.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) execution: Execution,
    pub(super) rows: BTreeMap<RowKey, String>,
    pub(super) now: Timestamp,
    pub(super) input: Payload,
    /// Rows that the latest step wrote.
    pub(super) written: usize,
    seed: u64,
    /// What an unsuccessful end left.
    remains: Option<Changes>,
}

impl World {
    pub(super) fn new(definition: &str) -> Self {
        Self::with(definition, Options::default())
    }

    pub(super) fn with(definition: &str, options: Options) -> Self {
        let definition = Definition::parse(definition, Dialect::Iterd)
            .unwrap_or_else(|error| panic!("{error}\n{definition}"));
        Self {
            machine: Machine::new(Arc::new(definition), options),
            execution: Execution::new(),
            rows: BTreeMap::new(),
            now: Timestamp::from_millis(1_750_000_000_000),
            input: Value::Null.into(),
            written: 0,
            seed: 7,
            remains: None,
        }
    }

    pub(super) fn start(&mut self, input: Value) -> Vec<Effect> {
        self.input = Payload::from(input);
        self.step(Input::Start {
            input: self.input.clone(),
        })
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        let seed = &mut self.seed;
        let mut random = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *seed
        };
        let mut context = StepContext {
            now: self.now,
            random: &mut random,
            token: &no_token,
            context: Context {
                execution_id: "arn:e",
                execution_name: "e",
                role_arn: Some("arn:role"),
                started: Timestamp(0),
                redrive_count: 0,
                redriven: None,
                input: &self.input,
                machine_id: "arn:m",
                machine_name: "m",
                version_arn: None,
                alias_arn: None,
                item: None,
            },
        };
        let effects = step(&self.machine, &mut self.execution, input, &mut context);
        self.store();
        effects
    }

    /// Redrives what has ended; `runs` can be taken up.
    pub(super) fn redrive(&mut self, count: u32, runs: &[u32]) -> Vec<Effect> {
        let remains = self.remains.take().expect("it left something");
        self.rows = remains
            .put
            .into_iter()
            .map(|row| (row.key, row.body))
            .collect();
        let rows = self.rows.iter().map(|(key, body)| Row {
            key: *key,
            body: body.clone(),
        });
        self.execution = Execution::restore(&self.machine, &self.input, rows).unwrap();
        let runs = runs.iter().map(|frame| FrameId(*frame)).collect();
        self.step(Input::Redriven { count, runs })
    }

    /// Writes what changed, and goes on with what the database gives back.
    fn store(&mut self) {
        if let Some(remains) = self.execution.take_remains(&self.machine) {
            self.remains = Some(remains);
        }
        let changes = self.execution.take_changes(&self.machine);
        self.written = changes.put.len();
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
        let restored = Execution::restore(&self.machine, &self.input, rows).unwrap();
        assert_eq!(
            restored, self.execution,
            "rows give the same execution back"
        );
        let blob = self.execution.to_blob(&self.machine);
        let unpacked = Execution::from_blob(&self.machine, &self.input, &blob).unwrap();
        assert_eq!(unpacked, self.execution, "and so does a blob");
        self.execution = restored;
    }

    pub(super) fn done(&mut self, frame: u32, generation: u32, output: Value) -> Vec<Effect> {
        self.step(Input::TaskDone {
            frame: FrameId(frame),
            generation: Generation(generation),
            output: output.into(),
        })
    }

    pub(super) fn failed(&mut self, frame: u32, generation: u32, failure: Failure) -> Vec<Effect> {
        self.step(Input::TaskFailed {
            frame: FrameId(frame),
            generation: Generation(generation),
            failure,
        })
    }

    pub(super) fn woken(&mut self, frame: u32, generation: u32) -> Vec<Effect> {
        self.step(Input::Woken {
            frame: FrameId(frame),
            generation: Generation(generation),
        })
    }

    /// Runs to the end; tasks are answered by the script, given resource, payload and attempt;
    /// timers come at once.
    pub(super) fn run(
        &mut self,
        input: Value,
        script: impl Fn(&str, &Value, u32) -> Result<Value, Failure>,
    ) -> Outcome {
        let mut effects = VecDeque::from(self.start(input));
        while let Some(effect) = effects.pop_front() {
            let answer = match effect {
                Effect::Invoke {
                    frame,
                    generation,
                    resource,
                    payload,
                    attempt,
                    ..
                } => match script(&resource, payload.value(), attempt) {
                    Ok(output) => Input::TaskDone {
                        frame,
                        generation,
                        output: output.into(),
                    },
                    Err(failure) => Input::TaskFailed {
                        frame,
                        generation,
                        failure,
                    },
                },
                Effect::Wake {
                    frame,
                    generation,
                    at,
                    ..
                } => {
                    self.now = self.now.max(at);
                    Input::Woken { frame, generation }
                }
                Effect::Continue => Input::Continue,
                Effect::Ended { outcome } => {
                    assert!(self.execution.status().has_ended());
                    assert_eq!(self.rows.len(), 1, "only the head is left");
                    return outcome;
                }
                Effect::StartRun { .. } | Effect::RedriveRun { .. } => {
                    panic!("a run cannot be scripted here")
                }
                Effect::Record(_) | Effect::Cancel { .. } => continue,
            };
            effects.extend(self.step(answer));
        }
        panic!("the execution hangs: {:?}", self.execution);
    }
}

/// The effects that are more than the history.
pub(super) fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects
        .into_iter()
        .filter(|effect| !matches!(effect, Effect::Record(_)))
        .collect()
}

pub(super) fn events(effects: &[Effect]) -> Vec<&Event> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Record(record) => Some(&record.event),
            _ => None,
        })
        .collect()
}

pub(super) fn succeeded(value: Value) -> Outcome {
    Outcome::Succeeded(value.into())
}

pub(super) fn error_of(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::Failed { error, cause } => (
            error.as_deref().unwrap_or_default(),
            cause.as_deref().unwrap_or_default(),
        ),
        other => panic!("not failed: {other:?}"),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a script may fail")]
pub(super) fn echo(_: &str, payload: &Value, _: u32) -> Result<Value, Failure> {
    Ok(payload.clone())
}

/// A machine of one Task with these further fields.
pub(super) fn task(fields: &str) -> String {
    format!(
        r#"{{"StartAt":"Work","States":{{
            "Work":{{"Type":"Task","Resource":"iterd:work",{fields}"End":true}}}}}}"#
    )
}

#[test]
fn a_task_is_asked_for_and_its_result_is_the_output_verbatim() {
    let mut world = World::new(&task(r#""TimeoutSeconds":1.5,"#));
    world.input = Payload::parse(r#"{ "spaced" : 1 }"#).unwrap();
    let effects = deeds(world.step(Input::Start {
        input: world.input.clone(),
    }));
    let [
        Effect::Invoke {
            payload,
            timeout,
            attempt: 1,
            entry: 1,
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(payload.text(), r#"{ "spaced" : 1 }"#);
    assert_eq!(timeout.unwrap().as_millis(), 1500);
    let output = Payload::parse("[ 1,  2 ]").unwrap();
    let effects = world.step(Input::TaskDone {
        frame: FrameId(0),
        generation: Generation(1),
        output,
    });
    let Some(Effect::Ended {
        outcome: Outcome::Succeeded(output),
    }) = effects.last()
    else {
        panic!("{effects:?}");
    };
    assert_eq!(output.text(), "[ 1,  2 ]");
}

#[test]
fn a_history_tells_every_event_and_what_led_to_it() {
    let mut world = World::new(&task(""));
    let mut effects = world.start(json!({"a": 1}));
    effects.extend(world.step(Input::Started {
        frame: FrameId(0),
        generation: Generation(1),
        by: None,
    }));
    effects.extend(world.done(0, 1, json!(2)));
    let places: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Record(record) => Some((record.id, record.previous)),
            _ => None,
        })
        .collect();
    assert_eq!(
        places,
        [(1, 0), (2, 0), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6)]
    );
    assert!(matches!(events(&effects)[3], Event::TaskStarted { .. }));
    let quiet = Options {
        records: false,
        ..Options::default()
    };
    let mut world = World::with(&task(""), quiet);
    assert_eq!(world.start(json!(1)).len(), 1);
    assert_eq!(world.execution.event_count(), 3, "counted, not told");
}

/// Pitfall 10: a late completion is refused.
#[test]
fn late_stale_and_senseless_inputs_have_no_effect() {
    let definition = task(r#""Retry":[{"ErrorEquals":["States.ALL"]}],"#);
    let mut world = World::new(&definition);
    assert!(world.done(0, 1, json!(1)).is_empty(), "before the start");
    world.start(json!({}));
    assert!(world.start(json!({})).is_empty(), "a second start");
    assert!(
        world.done(0, 2, json!(1)).is_empty(),
        "a generation to come"
    );
    assert!(world.done(9, 1, json!(1)).is_empty(), "an unknown frame");
    assert!(world.woken(0, 1).is_empty(), "no timer runs");
    assert!(
        world.step(Input::Continue).is_empty(),
        "nothing to continue"
    );
    let ended = Input::RunEnded {
        frame: FrameId(0),
        generation: Generation(1),
        outcome: Ok(Value::Null.into()),
    };
    assert!(world.step(ended).is_empty(), "no run is under way");
    world.failed(0, 1, Failure::new("Boom", ""));
    assert!(world.done(0, 1, json!(1)).is_empty(), "the attempt is over");
    world.woken(0, 2);
    assert!(world.done(0, 1, json!(1)).is_empty(), "an older attempt");
    assert!(!world.done(0, 3, json!(1)).is_empty());
    assert!(world.done(0, 3, json!(1)).is_empty(), "done already");
    let stop = Input::Stop {
        error: None,
        cause: None,
    };
    assert!(world.step(stop).is_empty(), "ended already");
}

#[test]
fn stopping_calls_off_what_is_under_way() {
    let mut world = World::new(&task(""));
    world.start(json!({}));
    let effects = deeds(world.step(Input::Stop {
        error: Some("Operator".into()),
        cause: None,
    }));
    assert_eq!(
        effects,
        [
            Effect::Cancel {
                frame: FrameId(0),
                generation: Generation(1)
            },
            Effect::Ended {
                outcome: Outcome::Aborted {
                    error: Some("Operator".into()),
                    cause: None
                }
            },
        ]
    );
    assert_eq!(world.execution.status(), Status::Aborted);
    let mut world = World::new(&task(""));
    world.start(json!({}));
    world.step(Input::TimedOut);
    assert_eq!(world.execution.status(), Status::TimedOut);
}

#[test]
fn damaged_rows_are_refused_and_never_taken_for_something() {
    let mut world = World::new(&task(""));
    world.start(json!({}));
    let blob = world.execution.to_blob(&world.machine);
    let damage = |from: &str, to: &str| {
        assert!(blob.contains(from), "{blob}");
        let blob = blob.replace(from, to);
        let restored = Execution::from_blob(&world.machine, &world.input, &blob);
        assert!(restored.is_err(), "{blob}");
    };
    damage("\"v\":2", "\"v\":3");
    damage("\"v\":2", "\"v\":0");
    damage("\"Work\"", "\"Other\"");
    damage("\"task\"", "\"run\"");
    damage("\"task\"", "\"iterating\"");
    damage("RUNNING", "SUCCEEDED");
    damage("RUNNING", "JOGGING");
    damage("[0,\"frame\"", "[3,\"frame\"");
    damage("[0,\"head\"", "[0,\"hat\"");
    damage("}]]", "}]");
    damage("\"entry\":1", "\"entry\":-1");
}
