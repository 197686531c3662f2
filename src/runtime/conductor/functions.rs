//! Functions: tasks that a plugin of this daemon does.
//!
//! A function is called by its name, which is the plugin's; all executions share its workers. Who answers
//! too late is not heard, because the frame waits for another generation by then.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::work::Work;
use crate::{
    config::job::PluginRef,
    ids::{ExecutionId, FrameId, Generation},
    machine::Input,
    payload::{Failure, Payload},
    plugin::{Answer, Call, Outcome, Pool, Rollout, Version},
    runtime::{Engine, RuntimeError},
};

/// Workers of a function whose manifest names no number.
const WORKERS: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// How often it is looked which version of a function is in force.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a worker has to end when the daemon does.
const GRACE: Duration = Duration::from_secs(2);

/// What an execution asks of a function.
pub(super) struct Task {
    pub(super) execution: ExecutionId,
    pub(super) frame: FrameId,
    pub(super) generation: Generation,
    pub(super) entry: u64,
    pub(super) attempt: u32,
    pub(super) timeout: Option<Duration>,
    /// How the function is called.
    pub(super) how: How,
}

/// Which function, with what, and how its result is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct How {
    name: String,
    payload: Payload,
    told: Told,
}

/// How a function's result becomes the task's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It is the task's.
    Bare,
    /// As the Lambda service answers an invocation.
    Wrapped,
    /// It only says that the function has taken the task's token.
    Submitted,
}

/// Functions that were called, and calls under way.
pub(super) struct Functions {
    pools: HashMap<String, Function>,
    calls: HashMap<u64, Under>,
    next: u64,
    answers: mpsc::UnboundedSender<Answer>,
}

struct Function {
    pool: Pool,
    version: Version,
    looked: Instant,
}

struct Under {
    execution: ExecutionId,
    frame: FrameId,
    generation: Generation,
    told: Told,
    call: Call,
    name: String,
}

impl How {
    /// What a resource and its parameters ask for; `None` where that is no function.
    pub(super) fn of(resource: &str, payload: &Payload) -> Option<Self> {
        let integration = resource.strip_prefix("arn:aws:states:::lambda:invoke");
        let told = match integration {
            Some("") => Told::Wrapped,
            Some(".waitForTaskToken") => Told::Submitted,
            Some(_) => return None,
            None => Told::Bare,
        };
        if told == Told::Bare {
            return Some(Self {
                name: function_name(resource)?.to_owned(),
                payload: payload.clone(),
                told,
            });
        }
        let parameters = payload.value();
        let name = parameters.get("FunctionName")?.as_str()?;
        let given = parameters.get("Payload").cloned();
        Some(Self {
            name: function_name(name).unwrap_or(name).to_owned(),
            payload: given.unwrap_or_else(|| json!({})).into(),
            told,
        })
    }
}

/// The name in a function's ARN: `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`.
fn function_name(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let service = parts.nth(2)?;
    let kind = parts.nth(2)?;
    let name = parts.next()?;
    (service == "lambda" && kind == "function" && !name.is_empty()).then_some(name)
}

impl Functions {
    pub(super) fn new(answers: mpsc::UnboundedSender<Answer>) -> Self {
        Self {
            pools: HashMap::new(),
            calls: HashMap::new(),
            next: 0,
            answers,
        }
    }

    /// Hands a task to its function. Blocks where the function was not called before.
    fn call(&mut self, engine: &Engine, task: Task) -> Result<(), RuntimeError> {
        let How {
            name,
            payload,
            told,
        } = task.how;
        let ticket = self.next;
        let call = Call {
            ticket,
            index: 0,
            id: None,
            generation: task.generation,
            payload,
            attempt: task.attempt,
            key: format!("{}-{}-{}", task.execution, task.frame, task.entry).into(),
            timeout: task.timeout,
            cursor: None,
        };
        let answers = self.answers.clone();
        self.next += 1;
        let function = self.function(engine, &name, answers)?;
        function.pool.submit(vec![call.clone()]);
        self.calls.insert(
            ticket,
            Under {
                execution: task.execution,
                frame: task.frame,
                generation: task.generation,
                told,
                call,
                name,
            },
        );
        Ok(())
    }

    fn function(
        &mut self,
        engine: &Engine,
        name: &str,
        answers: mpsc::UnboundedSender<Answer>,
    ) -> Result<&Function, RuntimeError> {
        let plugin = PluginRef::Name(name.to_owned());
        if !self.pools.contains_key(name) {
            let version = taken(engine, &plugin)?;
            let (news, _) = mpsc::unbounded_channel();
            let pool = engine
                .plugins()
                .open(name, version.clone(), WORKERS, answers, news)?;
            let function = Function {
                pool,
                version,
                looked: Instant::now(),
            };
            self.pools.insert(name.to_owned(), function);
        }
        let Some(function) = self.pools.get_mut(name) else {
            return Err(RuntimeError::Closed);
        };
        if function.looked.elapsed() >= LOOK_EVERY {
            function.looked = Instant::now();
            if let Some(version) = engine.plugins().in_force(&plugin)?
                && version.folder != function.version.folder
            {
                if let Err(error) = function.pool.deploy(version.clone(), true, Rollout::AtOnce) {
                    tracing::error!(function = name, %error, "the version is not taken up");
                }
                function.version = version;
            }
        }
        function.pool.want(function.pool.capacity());
        Ok(function)
    }

    /// Ends all workers.
    pub(super) async fn shut_down(&mut self) {
        for function in self.pools.values() {
            function.pool.shutdown(Duration::ZERO, GRACE).await;
        }
    }
}

impl Work {
    /// Has a task done by its function; one that cannot be called fails.
    pub(super) fn call_function(&mut self, task: Task) {
        let (execution, frame, generation) = (task.execution, task.frame, task.generation);
        let name = task.how.name.clone();
        let engine = self.engine.clone();
        let called = self.functions.call(&engine, task);
        if let Err(error) = called {
            let failure = Failure::new(
                "Lambda.ResourceNotFoundException",
                format!("Function not found: {name} ({error})"),
            );
            self.push(
                execution,
                Input::TaskFailed {
                    frame,
                    generation,
                    failure,
                },
            );
        }
    }

    /// A function has answered.
    pub(super) fn take_answer(&mut self, answer: Answer) {
        // Why nothing: a task of an execution has no row for a place within it.
        if matches!(answer.outcome, Outcome::Reached(_)) {
            return;
        }
        let Some(under) = self.functions.calls.remove(&answer.ticket) else {
            return;
        };
        let (frame, generation) = (under.frame, under.generation);
        let input = match answer.outcome {
            Outcome::Done(output) => match under.told {
                Told::Bare => Input::TaskDone {
                    frame,
                    generation,
                    output,
                },
                Told::Wrapped => Input::TaskDone {
                    frame,
                    generation,
                    output: wrapped(&output),
                },
                Told::Submitted => Input::Submitted {
                    frame,
                    generation,
                    output: wrapped(&output),
                },
            },
            Outcome::Failed(failure) => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
            Outcome::Interrupted | Outcome::FailedCanary(_) | Outcome::Reached(_) => {
                // Counts as no attempt: its worker went away for reasons of its own, or ran a version
                // that has not proved itself.
                if let Some(function) = self.functions.pools.get(&under.name) {
                    function.pool.submit(vec![under.call.clone()]);
                    self.functions.calls.insert(answer.ticket, under);
                }
                return;
            }
        };
        self.push(under.execution, input);
    }
}

/// The version that a function is to work with. Why a thread: it waits for the writer, which nobody may
/// do who drives a runtime.
fn taken(engine: &Engine, plugin: &PluginRef) -> Result<Version, RuntimeError> {
    let service = engine.is_service();
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| engine.plugins().for_run(plugin, service));
        taking.join().map_err(|_| RuntimeError::Closed)?
    })
}

/// As the Lambda service answers an invocation.
fn wrapped(output: &Payload) -> Payload {
    let payload: Value = output.value().clone();
    json!({ "ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200 }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(resource: &str, parameters: Value) -> Option<(String, String, Told)> {
        let how = How::of(resource, &parameters.into())?;
        Some((how.name, how.payload.text().to_owned(), how.told))
    }

    #[test]
    fn a_function_is_known_by_its_arn_or_by_its_name_in_an_invocation() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:pay";
        let bare = |told| Some(("pay".to_owned(), "{\"a\":1}".to_owned(), told));
        assert_eq!(how(arn, json!({"a": 1})), bare(Told::Bare));
        assert_eq!(
            how(&format!("{arn}:live"), json!({"a": 1})),
            bare(Told::Bare)
        );
        for name in ["pay", arn] {
            let parameters = json!({"FunctionName": name, "Payload": {"a": 1}});
            let resource = "arn:aws:states:::lambda:invoke";
            assert_eq!(how(resource, parameters.clone()), bare(Told::Wrapped));
            let waits = format!("{resource}.waitForTaskToken");
            assert_eq!(how(&waits, parameters), bare(Told::Submitted));
        }
        for other in [
            "arn:aws:states:::sqs:sendMessage",
            "arn:aws:states:us-east-1:000000000000:activity:pay",
            "pay",
            "",
        ] {
            assert_eq!(how(other, json!({})), None, "{other}");
        }
    }
}
