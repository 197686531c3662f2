//! Tasks that services do: those of this daemon, in the commit of their state's exit.
//!
//! Invariant: a call of an embedded service is part of the commit that takes its answer in. So it is done
//! once, however often the machine dies.

use std::sync::Arc;

use super::{batch::Item, work::Work};
use crate::{
    ids::{ExecutionId, FrameId, Generation},
    integration::service::{
        Call, Embedded, Moment, Pattern, Refusal, ServiceTask, action, failure, result,
    },
    machine::Input,
    payload::{Failure, Payload},
    runtime::RuntimeError,
    store::Asked,
};

/// A task that waits for its turn to be done by an embedded service.
pub(super) struct Served {
    execution: ExecutionId,
    frame: FrameId,
    generation: Generation,
    resource: Arc<str>,
    service: Embedded,
    call: Call,
}

impl Work {
    /// Has a task done by its service; `None` where there is none for it.
    pub(super) fn serve(
        &mut self,
        execution: ExecutionId,
        (frame, generation): (FrameId, Generation),
        resource: &Arc<str>,
        payload: &Payload,
    ) -> Option<()> {
        let task = ServiceTask::of(resource)?;
        let service = Embedded::of_name(task.service)?;
        if matches!(task.pattern, Pattern::Sync | Pattern::Sync2) {
            return None;
        }
        self.queue.push_back(Item::Service(Box::new(Served {
            execution,
            frame,
            generation,
            resource: Arc::clone(resource),
            service,
            call: Call {
                service,
                action: action(task),
                parameters: payload.value().clone(),
                moment: Moment {
                    now: self.engine.now(),
                    random: rand::random(),
                },
                base: self.engine.queues(),
            },
        })));
        Some(())
    }

    /// Has the services asked that tasks of a batch wait for; what follows from it goes into the batch,
    /// before everything else, and the batch into that commit. `None` where none waits.
    pub(super) async fn ask_services(
        &mut self,
        queued: &mut Vec<Item>,
    ) -> Result<Option<Asked>, RuntimeError> {
        if !queued.iter().any(|item| matches!(item, Item::Service(_))) {
            return Ok(None);
        }
        let mut wanted = Vec::new();
        let mut others = Vec::with_capacity(queued.len());
        for item in queued.drain(..) {
            match item {
                // Why looked at: an execution that was stopped meanwhile wants nothing done.
                Item::Service(served) => {
                    if self.waits(served.execution, served.frame, served.generation)? {
                        wanted.push(served);
                    }
                }
                other => others.push(other),
            }
        }
        if wanted.is_empty() {
            *queued = others;
            return Ok(None);
        }
        let calls = wanted.iter().map(|served| served.call.clone());
        let mut asked = self.line().ask(calls.collect()).await?;
        let answers = asked.answers().await?;
        let inputs = wanted.into_iter().zip(answers);
        queued.extend(inputs.map(|(served, answer)| served.taken(answer)));
        queued.append(&mut others);
        Ok(Some(asked))
    }
}

impl Served {
    /// What the execution is told.
    fn taken(self: Box<Self>, answer: Result<serde_json::Value, Refusal>) -> Item {
        let (frame, generation) = (self.frame, self.generation);
        // Invariant: it was one when it was queued.
        let task = ServiceTask::of(&self.resource);
        let input = match (answer, task) {
            (Ok(answer), Some(task)) => {
                let output = result(task, answer).into();
                if task.pattern == Pattern::WaitForTaskToken {
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
            (Err(refusal), Some(task)) => {
                let id = format!("{:032x}", self.call.moment.random);
                Input::TaskFailed {
                    frame,
                    generation,
                    failure: failure(self.service, task, &refusal, &id),
                }
            }
            (_, None) => Input::TaskFailed {
                frame,
                generation,
                failure: Failure::new("States.Runtime", self.resource.to_string()),
            },
        };
        Item::Execution {
            execution: self.execution,
            input,
            timer: None,
        }
    }
}
