//! Tasks that are done beside the commits: by services elsewhere (AWS's own, or servers that speak their
//! protocols, where the settings lead away from here), by APIs of anybody, and by buckets, which are no part of
//! the file.
//!
//! Impurity: a call that was sent when the process ended is sent again, because nobody knows what became of
//! it; AWS's own does the same. Tokens that outlive the process, for services that take some, would remove that.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};

use super::{Wanted, Whom};
use crate::{
    asl::intrinsic::uuid_of,
    ids::{ExecutionId, FrameId, Generation},
    integration::{
        bucket::Buckets,
        service::{
            Asked, Pattern, ServiceTask, action,
            http::Invoker,
            named_failure,
            remote::{Services, ServicesError, StatesApi, ask_own, beyond, unreachable},
            result, s3,
        },
    },
    machine::Input,
    payload::{Failure, Payload},
    runtime::{
        RuntimeError,
        conductor::{batch::Item, work::Work},
        plugins,
    },
    time::{Clock as _, SystemClock},
};

/// Calls that are sent at a time; others wait for their turn.
const AT_ONCE_MAX: usize = 256;

/// Calls under way or waiting; beyond it a call fails as one that is throttled. As many as functions have.
const CALLS_MAX: usize = 10_000;

/// Calls under way, and what comes of them.
pub(in crate::runtime::conductor) struct Elsewhere {
    turns: Arc<Semaphore>,
    under_way: HashMap<Whom, AbortHandle>,
    tell: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

/// Who does it.
enum Way {
    Service(Services),
    Buckets(Buckets),
    Own(Arc<dyn StatesApi>),
    Api(Invoker),
}

/// What came of a call.
pub(in crate::runtime::conductor) struct Outcome {
    execution: ExecutionId,
    frame: FrameId,
    generation: Generation,
    pattern: Pattern,
    answer: Result<Payload, Failure>,
}

impl Default for Elsewhere {
    fn default() -> Self {
        let (tell, outcomes) = mpsc::unbounded_channel();
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            under_way: HashMap::new(),
            tell,
            outcomes,
        }
    }
}

impl Elsewhere {
    /// Waits for what comes of a call.
    pub(in crate::runtime::conductor) async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    /// Breaks off every call.
    pub(in crate::runtime::conductor) fn withdraw_all(&mut self) {
        for (_, call) in self.under_way.drain() {
            call.abort();
        }
    }

    /// Breaks off calls that nobody waits for any more: what was not sent never is.
    pub(in crate::runtime::conductor) fn withdraw(&mut self, withdrawn: &[Whom]) {
        for whom in withdrawn {
            if let Some(call) = self.under_way.remove(whom) {
                call.abort();
            }
        }
    }

    fn send(&mut self, runtime: &Handle, way: Way, wanted: Wanted) -> Result<(), Failure> {
        if self.under_way.len() >= CALLS_MAX {
            let cause = format!("{CALLS_MAX} calls of services are under way");
            return Err(Failure::new("States.TaskFailed", cause));
        }
        let (turns, tell) = (Arc::clone(&self.turns), self.tell.clone());
        let whom = (wanted.execution, wanted.frame, wanted.generation);
        let call = runtime.spawn(async move {
            let turn = match &way {
                // Why without one: it may wait for an execution whose own tasks take turns.
                Way::Own(_) => None,
                // Why ok: nobody closes it.
                Way::Service(_) | Way::Buckets(_) | Way::Api(_) => turns.acquire_owned().await.ok(),
            };
            let Some(task) = ServiceTask::of(&wanted.resource) else {
                return;
            };
            let answer = match way {
                Way::Service(client) => {
                    let parameters = wanted.parameters.value();
                    client.call(task, parameters, wanted.timeout).await
                }
                Way::Own(api) => {
                    let parameters = wanted.parameters.value();
                    let id = uuid_of(rand::random(), rand::random());
                    within(wanted.timeout, task, ask_own(&*api, task, parameters, id)).await
                }
                Way::Buckets(buckets) => ask_buckets(buckets, &wanted).await,
                // Spec: an HTTP task answers, and has nothing that ends later.
                Way::Api(_) if task.pattern != Pattern::RequestResponse => {
                    let cause = format!(
                        "{} does not go with http:invoke; write arn:aws:states:::http:invoke",
                        wanted.resource
                    );
                    Err(Failure::new("States.Runtime", cause))
                }
                Way::Api(invoker) => {
                    let parameters = wanted.parameters.value();
                    invoker.call(parameters, wanted.timeout, secret).await
                }
            };
            drop(turn);
            let outcome = Outcome {
                execution: wanted.execution,
                frame: wanted.frame,
                generation: wanted.generation,
                pattern: task.pattern,
                answer,
            };
            // Why ok: a conductor that is gone has sent all of it again.
            tell.send(outcome).ok();
        });
        self.under_way.insert(whom, call.abort_handle());
        Ok(())
    }
}

/// What comes of a call within a task's time.
async fn within(
    timeout: Option<Duration>,
    task: ServiceTask<'_>,
    asking: impl Future<Output = Result<Payload, Failure>>,
) -> Result<Payload, Failure> {
    let Some(timeout) = timeout else {
        return asking.await;
    };
    tokio::time::timeout(timeout, asking)
        .await
        .unwrap_or_else(|_| Err(unreachable(task, "no answer within the task's time")))
}

/// The value of a secret. Looked up anew each time: one that was rotated counts at once.
fn secret(key: &str, reference: &str) -> Result<String, String> {
    let found = plugins::secrets().value(key, reference);
    found.map_err(|error| error.to_string())
}

/// Has buckets that are folders do what a task wants, on a thread that may block.
async fn ask_buckets(buckets: Buckets, wanted: &Wanted) -> Result<Payload, Failure> {
    let (resource, parameters) = (Arc::clone(&wanted.resource), wanted.parameters.clone());
    let asking = tokio::task::spawn_blocking(move || {
        let Some(task) = ServiceTask::of(&resource) else {
            return Err(Failure::new("States.Runtime", resource.to_string()));
        };
        let asked = Asked {
            task,
            request: uuid_of(rand::random(), rand::random()),
            now: SystemClock.now(),
        };
        let answer = s3::call(&buckets, &action(task), parameters.value());
        let answer = answer.map_err(|refusal| named_failure(&asked, &refusal))?;
        result(&asked, answer)
    });
    let broken = |error| Failure::new("States.Runtime", format!("the call broke off: {error}"));
    asking.await.unwrap_or_else(|error| Err(broken(error)))
}

impl Work {
    /// Who does a task beside the commits; `None` where nobody does.
    fn way(&self, task: ServiceTask<'_>, wanted: &Wanted) -> Result<Option<Way>, RuntimeError> {
        if task.service == "s3" && task.pattern == Pattern::RequestResponse {
            let buckets = self.engine.buckets()?;
            let named = wanted.parameters.value().get("Bucket");
            let named = named.and_then(Value::as_str).unwrap_or_default();
            if buckets.is_here(named) {
                return Ok(Some(Way::Buckets(buckets)));
            }
        }
        let config = self.engine.config();
        // Why first: where services are says nothing about APIs.
        if task.service == "http" && task.action == "invoke" && !task.sdk {
            let invoker = self.engine.reach().invoker(&config.connections);
            return Ok(Some(Way::Api(invoker.map_err(ServicesError::Client)?)));
        }
        let client = self.engine.reach().services(&config)?;
        let client = client.filter(|client| client.has(task.service));
        if let Some(client) = client {
            if let Some(beyond) = beyond(task, wanted.credentials) {
                return Err(ServicesError::Beyond(beyond).into());
            }
            return Ok(Some(Way::Service(client)));
        }
        // Why not that action: it begins one in the commit of its state's exit.
        let own = task.service == "sfn" && task.sdk && task.action != "startExecution";
        let own = own && task.pattern == Pattern::RequestResponse;
        Ok(own
            .then(|| self.engine.reach().own())
            .flatten()
            .map(Way::Own))
    }

    /// Sends a task to its service elsewhere; gives it back where that is not elsewhere.
    pub(in crate::runtime::conductor) fn send_away(&mut self, wanted: Wanted) -> Option<Wanted> {
        let Some(task) = ServiceTask::of(&wanted.resource) else {
            return Some(wanted);
        };
        let (execution, frame, generation) = (wanted.execution, wanted.frame, wanted.generation);
        let section = if task.service == "http" {
            "[connections]"
        } else {
            "[services]"
        };
        let sent = match self.way(task, &wanted) {
            Ok(None) => return Some(wanted),
            Ok(Some(way)) => match self.engine.reach().runtime() {
                Ok(runtime) => self.elsewhere.send(&runtime, way, wanted),
                Err(error) => Err(Failure::new("States.Runtime", error.to_string())),
            },
            Err(error) => Err(Failure::new(
                "States.Runtime",
                format!("{section}: {error}"),
            )),
        };
        if let Err(failure) = sent {
            let input = Input::TaskFailed {
                frame,
                generation,
                failure,
            };
            self.push(execution, input);
        }
        None
    }

    /// A service elsewhere has answered.
    pub(in crate::runtime::conductor) fn take_outcome(&mut self, outcome: Outcome) {
        let Outcome {
            execution,
            frame,
            generation,
            pattern,
            answer,
        } = outcome;
        let whom = (execution, frame, generation);
        if self.elsewhere.under_way.remove(&whom).is_none() {
            // It had come already when it was withdrawn.
            return;
        }
        let input = match answer {
            Ok(output) if pattern == Pattern::WaitForTaskToken => Input::Submitted {
                frame,
                generation,
                output,
            },
            Ok(output) => Input::TaskDone {
                frame,
                generation,
                output,
            },
            Err(failure) => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
        };
        self.queue.push_back(Item::Execution {
            execution,
            input,
            timer: None,
        });
    }
}
