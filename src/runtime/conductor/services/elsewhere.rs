//! Tasks that services elsewhere do: AWS's own, or servers that speak their protocols, where the settings
//! lead away from here.
//!
//! Impurity: a call that was sent when the process ended is sent again, because nobody knows what became of
//! it; AWS's own does the same. A service that takes a token for it would remove that.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::Wanted;
use crate::{
    config::{Environment, ServiceSettings},
    ids::{ExecutionId, FrameId, Generation},
    integration::service::{Pattern, ServiceTask, remote::Services},
    machine::Input,
    payload::{Failure, Payload},
    runtime::{
        Engine,
        conductor::{batch::Item, work::Work},
    },
};

/// Calls that are sent at a time; others wait for their turn.
const AT_ONCE_MAX: usize = 256;

/// Calls under way or waiting; beyond it a call fails as one that is throttled. As many as functions have.
const CALLS_MAX: usize = 10_000;

/// The way to services elsewhere.
pub(in crate::runtime::conductor) struct Elsewhere {
    /// What sends; made with the first call. Why of its own: the conductor's thread steps machines.
    runtime: Option<tokio::runtime::Runtime>,
    /// The client, with the settings that it was made of.
    client: Option<(ServiceSettings, Services)>,
    turns: Arc<Semaphore>,
    under_way: usize,
    tell: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
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
            runtime: None,
            client: None,
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

    /// The client, where the settings lead away for this service.
    fn client(&mut self, engine: &Engine, service: &str) -> Result<Option<Services>, Failure> {
        let config = engine.config();
        let settings = &config.services;
        if *settings == ServiceSettings::default() {
            return Ok(None);
        }
        let known = self.client.as_ref().filter(|(known, _)| known == settings);
        let client = if let Some((_, client)) = known {
            client.clone()
        } else {
            let environment = Environment::of_process();
            let client = Services::new(settings, &config.region, &environment);
            let client = client
                .map_err(|error| Failure::new("States.Runtime", format!("[services]: {error}")))?;
            self.client = Some((settings.clone(), client.clone()));
            client
        };
        Ok(client.has(service).then_some(client))
    }

    fn send(&mut self, client: Services, wanted: Wanted) -> Result<(), Failure> {
        if self.under_way >= CALLS_MAX {
            let cause = format!("{CALLS_MAX} calls of services are under way");
            return Err(Failure::new("States.TaskFailed", cause));
        }
        let runtime = if let Some(runtime) = &self.runtime {
            runtime
        } else {
            let made = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("iterd-services")
                .enable_all()
                .build();
            let made = made.map_err(|error| {
                Failure::new("States.Runtime", format!("no thread for services: {error}"))
            })?;
            self.runtime.insert(made)
        };
        let (turns, tell) = (Arc::clone(&self.turns), self.tell.clone());
        self.under_way += 1;
        runtime.spawn(async move {
            // Why ok: nobody closes it.
            let turn = turns.acquire_owned().await.ok();
            let Some(task) = ServiceTask::of(&wanted.resource) else {
                return;
            };
            let answer = client
                .call(task, wanted.parameters.value(), wanted.timeout)
                .await;
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

    /// Lets go of what is under way: it is sent again by the next process.
    pub(in crate::runtime::conductor) fn shut_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Work {
    /// Sends a task to its service elsewhere; gives it back where that is not elsewhere.
    pub(in crate::runtime::conductor) fn send_away(&mut self, wanted: Wanted) -> Option<Wanted> {
        let Some(task) = ServiceTask::of(&wanted.resource) else {
            return Some(wanted);
        };
        let (execution, frame, generation) = (wanted.execution, wanted.frame, wanted.generation);
        let engine = self.engine.clone();
        let sent = match self.elsewhere.client(&engine, task.service) {
            Ok(None) => return Some(wanted),
            Ok(Some(client)) => self.elsewhere.send(client, wanted),
            Err(failure) => Err(failure),
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
