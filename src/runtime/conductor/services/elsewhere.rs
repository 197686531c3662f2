//! Tasks that are done beside the commits: by services elsewhere (AWS's own, or servers that speak their
//! protocols, where the settings lead away from here), and by buckets, which are no part of the file.
//!
//! Impurity: a call that was sent when the process ended is sent again, because nobody knows what became of
//! it; AWS's own does the same. A service that takes a token for it would remove that.

use std::sync::Arc;

use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

use super::Wanted;
use crate::{
    asl::intrinsic::uuid_of,
    ids::{ExecutionId, FrameId, Generation},
    integration::{
        bucket::Buckets,
        service::{
            Asked, Pattern, ServiceTask, action, named_failure, remote::Services, result, s3,
        },
    },
    machine::Input,
    payload::{Failure, Payload},
    runtime::{
        RuntimeError,
        conductor::{batch::Item, work::Work},
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
    under_way: usize,
    tell: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

/// Who does it.
enum Way {
    Service(Services),
    Buckets(Buckets),
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
            under_way: 0,
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

    fn send(&mut self, runtime: &Handle, way: Way, wanted: Wanted) -> Result<(), Failure> {
        if self.under_way >= CALLS_MAX {
            let cause = format!("{CALLS_MAX} calls of services are under way");
            return Err(Failure::new("States.TaskFailed", cause));
        }
        let (turns, tell) = (Arc::clone(&self.turns), self.tell.clone());
        self.under_way += 1;
        runtime.spawn(async move {
            // Why ok: nobody closes it.
            let turn = turns.acquire_owned().await.ok();
            let Some(task) = ServiceTask::of(&wanted.resource) else {
                return;
            };
            let answer = match way {
                Way::Service(client) => {
                    let parameters = wanted.parameters.value();
                    client.call(task, parameters, wanted.timeout).await
                }
                Way::Buckets(buckets) => ask_buckets(buckets, &wanted).await,
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
        Ok(())
    }
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
        let client = self.engine.reach().services(&self.engine.config())?;
        let client = client.filter(|client| client.has(task.service));
        Ok(client.map(Way::Service))
    }

    /// Sends a task to its service elsewhere; gives it back where that is not elsewhere.
    pub(in crate::runtime::conductor) fn send_away(&mut self, wanted: Wanted) -> Option<Wanted> {
        let Some(task) = ServiceTask::of(&wanted.resource) else {
            return Some(wanted);
        };
        let (execution, frame, generation) = (wanted.execution, wanted.frame, wanted.generation);
        let sent = match self.way(task, &wanted) {
            Ok(None) => return Some(wanted),
            Ok(Some(way)) => match self.engine.reach().runtime() {
                Ok(runtime) => self.elsewhere.send(&runtime, way, wanted),
                Err(error) => Err(Failure::new("States.Runtime", error.to_string())),
            },
            Err(error) => Err(Failure::new(
                "States.Runtime",
                format!("[services]: {error}"),
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
        self.elsewhere.under_way = self.elsewhere.under_way.saturating_sub(1);
        let Outcome {
            execution,
            frame,
            generation,
            pattern,
            answer,
        } = outcome;
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
