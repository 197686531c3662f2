//! Tasks that services of this daemon do, each in the commit of its state's exit.
//!
//! Invariant: a call of an embedded service is part of the commit that takes its answer in. So it is done
//! once, however often the machine dies.

mod elsewhere;
mod executions;
mod messages;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{batch::Item, work::Work};
use crate::{
    asl::intrinsic::uuid_of,
    config::Config,
    ids::{ExecutionId, FrameId, Generation},
    integration::service::{
        Asked, Call, Embedded, Moment, Pattern, Refusal, ServiceTask, action, named_failure, result,
    },
    machine::Input,
    payload::Payload,
    runtime::{Engine, RuntimeError, waits_for_messages},
    store,
    time::Timestamp,
};

pub(in crate::runtime) use messages::Receive;
pub(super) use {
    elsewhere::Elsewhere,
    messages::{Received, seats_taken},
};

/// Whom an answer is for: it is heard if the frame waits for that generation still.
pub(super) type Whom = (ExecutionId, FrameId, Generation);

/// A task that somebody is to do.
pub(super) struct Wanted {
    pub(super) execution: ExecutionId,
    pub(super) frame: FrameId,
    pub(super) generation: Generation,
    pub(super) entry: u64,
    pub(super) attempt: u32,
    pub(super) resource: Arc<str>,
    pub(super) parameters: Payload,
    pub(super) timeout: Option<Duration>,
    /// It is to be done with credentials of its own.
    pub(super) credentials: bool,
}

/// A task that waits for its turn to be done here.
pub(super) struct Served {
    wanted: Wanted,
    /// Of this call alone.
    random: (u64, u64),
    /// Until when it waits for messages, once it has been asked.
    until: Option<Instant>,
}

impl Served {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            random: (rand::random(), rand::random()),
            until: None,
        }
    }

    /// Until when it goes on waiting, because there was no message and it wants to.
    fn waits_on(
        &mut self,
        answer: &Result<Value, Refusal>,
        engine: &Engine,
    ) -> Result<Option<Instant>, RuntimeError> {
        let task = self.task();
        let received = |answer: &Value| answer.get("Messages").is_some();
        let service = Embedded::of_name(task.service);
        if !service.is_some_and(|service| waits_for_messages(service, &action(task)))
            || answer.as_ref().map_or(true, received)
        {
            return Ok(None);
        }
        let until = match self.until {
            Some(until) => until,
            None => engine.waits_until(self.wanted.parameters.value())?,
        };
        self.until = Some(until);
        Ok((until > Instant::now()).then_some(until))
    }

    const fn whom(&self) -> Whom {
        let Wanted {
            execution,
            frame,
            generation,
            ..
        } = self.wanted;
        (execution, frame, generation)
    }

    /// Where it waits; `None` where nobody here does it.
    pub(super) fn item(self) -> Option<Item> {
        let task = ServiceTask::of(&self.wanted.resource)?;
        let waits = !matches!(task.pattern, Pattern::Sync | Pattern::Sync2);
        match (task.service, task.action, task.sdk) {
            ("states", "startExecution", false) => Some(Item::StartFor(Box::new(self))),
            ("sfn", "startExecution", true) if waits => Some(Item::StartFor(Box::new(self))),
            (service, ..) if waits => {
                Embedded::of_name(service)?;
                Some(Item::Service(Box::new(self)))
            }
            _ => None,
        }
    }

    fn task(&self) -> ServiceTask<'_> {
        // Invariant: it was one when it was queued.
        ServiceTask::of(&self.wanted.resource).unwrap_or(ServiceTask {
            service: "",
            action: "",
            sdk: false,
            pattern: Pattern::RequestResponse,
        })
    }

    fn asked(&self, now: Timestamp) -> Asked<'_> {
        Asked {
            task: self.task(),
            request: uuid_of(self.random.0, self.random.1),
            now,
        }
    }

    fn call(&self, now: Timestamp, base: &str, settings: &Arc<Config>) -> Option<Call> {
        let task = self.task();
        Some(Call {
            service: Embedded::of_name(task.service)?,
            action: action(task),
            parameters: self.wanted.parameters.value().clone(),
            moment: Moment {
                now,
                random: u128::from(self.random.0) << 64 | u128::from(self.random.1),
            },
            base: base.to_owned(),
            settings: Arc::clone(settings),
            by_task: true,
        })
    }

    /// What the execution is told.
    fn taken(&self, answer: Result<Value, Refusal>, now: Timestamp) -> Item {
        let (execution, frame, generation) = self.whom();
        let asked = self.asked(now);
        let answer = answer.map_err(|refusal| named_failure(&asked, &refusal));
        let input = match answer.and_then(|answer| result(&asked, answer)) {
            Ok(output) => {
                if asked.task.pattern == Pattern::WaitForTaskToken {
                    Input::Submitted {
                        frame,
                        generation,
                        output,
                    }
                } else {
                    Input::TaskDone {
                        frame,
                        generation,
                        output,
                    }
                }
            }
            Err(failure) => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
        };
        Item::Execution {
            execution,
            input,
            timer: None,
        }
    }
}

impl Work {
    /// Has the services asked that tasks and triggers of a batch wait for; what follows from it goes into the
    /// batch, before everything else, and the batch into that commit. `None` where none waits.
    pub(super) async fn ask_services(
        &mut self,
        queued: &mut Vec<Item>,
        now: Timestamp,
    ) -> Result<Option<store::Asked>, RuntimeError> {
        let asks = |item: &Item| matches!(item, Item::Service(_) | Item::Receive(_));
        if !queued.iter().any(asks) {
            return Ok(None);
        }
        let (mut wanted, mut calls) = (Vec::new(), Vec::new());
        let mut others = Vec::with_capacity(queued.len());
        let (base, settings) = (self.engine.queues(), self.engine.config());
        for item in queued.drain(..) {
            if let Item::Service(served) = item {
                // Why looked at: an execution that was stopped meanwhile wants nothing done.
                let (execution, frame, generation) = served.whom();
                if self.waits(execution, frame, generation)?
                    && let Some(call) = served.call(now, &base, &settings)
                {
                    calls.push(call);
                    wanted.push(Asking::Task(served));
                }
            } else if let Item::Receive(receive) = item {
                let own = receive.calls(now, &base, &settings);
                wanted.push(Asking::Queue(receive, own.len()));
                calls.extend(own);
            } else {
                others.push(item);
            }
        }
        if wanted.is_empty() {
            *queued = others;
            return Ok(None);
        }
        // Why before it asks: what comes in between wakes whoever found nothing.
        let messages = self.engine.store().messages();
        let mut asked = self.line().ask(calls).await?;
        let mut answers = asked.answers().await?.into_iter();
        for asking in wanted {
            match asking {
                Asking::Task(mut served) => {
                    let Some(answer) = answers.next() else {
                        continue;
                    };
                    if let Some(until) = served.waits_on(&answer, &self.engine)? {
                        self.wait_for_messages(served, messages.clone(), until);
                    } else {
                        queued.push(served.taken(answer, now));
                    }
                }
                Asking::Queue(receive, count) => {
                    let received = receive.taken(answers.by_ref().take(count));
                    queued.push(Item::Received(received));
                }
            }
        }
        queued.append(&mut others);
        Ok(Some(asked))
    }

    /// Has a task asked again when there may be a message for it, or its time is over.
    fn wait_for_messages(
        &self,
        served: Box<Served>,
        mut messages: watch::Receiver<u64>,
        until: Instant,
    ) {
        let (engine, patient) = (self.engine.clone(), self.patient.clone());
        tokio::spawn(async move {
            let parameters = served.wanted.parameters.value();
            let came = engine.wait_for_message(parameters, &mut messages, until);
            if let Err(error) = came.await {
                tracing::error!(%error, "cannot look whether a queue has messages");
            }
            // Why ok: its execution may have ended, and the conductor, too.
            patient.send(served).ok();
        });
    }
}

/// Who waits for answers.
enum Asking {
    Task(Box<Served>),
    /// For so many.
    Queue(Box<Receive>, usize),
}
