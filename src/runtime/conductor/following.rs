//! What follows from a commit: who is told, what executions asked for, and what needs no memory any more.
//!
//! Invariant: nothing here happens before the commit that it follows from is durable; executions that nothing
//! is written of follow at once.

use std::sync::Arc;

use super::{
    batch::{After, Item},
    functions::{How, Task},
    live::Live,
    map_run::MapRun,
    runs::RunInput,
    services::{Served, Wanted},
    work::Work,
};
use crate::{
    ids::ExecutionId,
    integration::service::{ServiceTask, remote},
    iteration,
    machine::{Effect, Input, is_activity},
    payload::Failure,
};

impl Work {
    pub(super) fn carry_out(&mut self, after: After) {
        for logged in after.logged {
            logged.write();
        }
        for key in after.names {
            self.beginning.remove(&key);
        }
        for row in &after.timers {
            self.agenda.done(row);
        }
        for due in after.due {
            self.agenda.stored(due);
        }
        // Why ok: whoever does not wait any more does not want to know.
        for (begun, answer) in after.begun {
            begun.send(Ok(answer)).ok();
        }
        for (done, known) in after.told {
            done.send(known).ok();
        }
        for (done, stopped) in after.stopped {
            done.send(Ok(stopped)).ok();
        }
        for (done, answer) in after.redriven {
            done.send(Ok(answer)).ok();
        }
        for (run, after, children_max) in after.queues {
            let load = vec![RunInput::LoadQueue {
                after,
                children_max,
            }];
            self.queue.push_back(Item::Run(run, load));
        }
        for (execution, effect) in after.effects {
            self.follow(execution, effect);
        }
        self.withdraw();
        for token in after.beaten {
            self.activities.has_beaten(token);
            self.agenda.stored(self.engine.now());
        }
        for activity in after.waiting {
            self.queue.push_back(Item::HandOut(activity));
        }
        for handed in after.handed {
            self.deliver(handed);
        }
        for (run, status) in after.runs {
            self.run_is_over(run, status);
        }
        for execution in after.executions {
            self.let_go(execution);
        }
    }

    /// Carries out what a step asked for.
    fn follow(&mut self, execution: ExecutionId, effect: Effect) {
        match effect {
            Effect::Invoke { resource, .. } if is_activity(&resource) => {
                if let Some(activity) = resource.split(':').nth(6) {
                    self.queue.push_back(Item::HandOut(activity.to_owned()));
                }
            }
            Effect::Invoke {
                frame,
                generation,
                entry,
                resource,
                payload,
                timeout,
                attempt,
                credentials,
                ..
            } => {
                self.have_done(Wanted {
                    execution,
                    frame,
                    generation,
                    entry,
                    attempt,
                    resource,
                    parameters: payload,
                    timeout,
                    credentials: credentials.is_some(),
                });
            }
            Effect::StartRun {
                frame,
                generation,
                request,
            } => self.queue.push_back(Item::StartRun {
                execution,
                frame,
                generation,
                request,
            }),
            Effect::RedriveRun { frame, generation } => self.queue.push_back(Item::RedriveRun {
                execution,
                frame,
                generation,
            }),
            Effect::Cancel { frame, generation } => {
                self.withdrawn.push((execution, frame, generation));
                let cancelled = |run: &&MapRun| run.parent == (execution, frame);
                if let Some(run) = self.runs.values().find(cancelled) {
                    let id = run.row.run;
                    let abort = vec![RunInput::Core(iteration::Input::Abort)];
                    self.queue.push_back(Item::Run(id, abort));
                }
                self.stop_awaited(execution, frame, generation);
            }
            Effect::Ended { .. } => self.tell_end(execution),
            // In the commit already, or taken in by the step; or queued before the commit.
            Effect::Wake { .. } | Effect::Record(_) | Effect::Continue => {}
        }
    }

    /// Has a task done by whoever does it; what nobody does fails.
    fn have_done(&mut self, wanted: Wanted) {
        let waits = self.waits(wanted.execution, wanted.frame, wanted.generation);
        // Why an error is a yes: what is told in the end tells it again.
        if !waits.unwrap_or(true) {
            return;
        }
        let Some(wanted) = self.send_away(wanted) else {
            return;
        };
        let (execution, frame, generation) = (wanted.execution, wanted.frame, wanted.generation);
        if let Some(how) = How::of(&wanted.resource, &wanted.parameters) {
            return self.call_function(Task {
                execution,
                frame,
                generation,
                entry: wanted.entry,
                attempt: wanted.attempt,
                timeout: wanted.timeout,
                how,
            });
        }
        let resource = Arc::clone(&wanted.resource);
        if let Some(item) = Served::new(wanted).item() {
            return self.queue.push_back(item);
        }
        let failure = Failure::new("States.Runtime", nobody_answers(&resource));
        let input = Input::TaskFailed {
            frame,
            generation,
            failure,
        };
        self.push(execution, input);
    }

    /// Takes back what nobody waits for any more: nothing of it begins later, and no answer to a service is
    /// waited for. What a worker has in hand, it finishes.
    pub(super) fn withdraw(&mut self) {
        let withdrawn = std::mem::take(&mut self.withdrawn);
        self.functions.withdraw(&withdrawn);
        self.elsewhere.withdraw(&withdrawn);
    }

    fn tell_end(&mut self, execution: ExecutionId) {
        self.seats.remove(&execution);
        if self.awaited.contains_key(&execution) {
            self.queue.push_back(Item::AwaitedEnd(execution));
        }
        let end = self.live.get(&execution).and_then(Live::ended);
        let waiting = self.waiting.remove(&execution).unwrap_or_default();
        if let Some(end) = end {
            for waiter in waiting {
                waiter.send(end.clone()).ok();
            }
        }
        if self.live.get(&execution).is_some_and(|live| live.volatile) {
            self.live.remove(&execution);
        }
    }

    /// What was only looked at needs no memory.
    pub(super) fn let_go_of_loaded(&mut self) {
        for execution in std::mem::take(&mut self.loaded) {
            let idle = |live: &Live| live.commits == 0 && !live.touched && !live.is_awake();
            if self.live.get(&execution).is_some_and(idle) {
                self.live.remove(&execution);
            }
        }
    }

    /// What is durable and waits for a row, or has ended, needs no memory.
    fn let_go(&mut self, execution: ExecutionId) {
        let Some(live) = self.live.get_mut(&execution) else {
            return;
        };
        live.commits = live.commits.saturating_sub(1);
        if live.commits == 0 && !live.touched && (live.has_ended() || !live.is_awake()) {
            self.live.remove(&execution);
            self.hurry_redrives(execution);
        }
    }
}

/// Says that nobody does a task, and where somebody would be named who does.
fn nobody_answers(resource: &str) -> String {
    let named = ServiceTask::of(resource).filter(|task| remote::knows(task.service));
    let mend = named.map_or_else(
        || "write for example arn:aws:states:::sqs:sendMessage".to_owned(),
        |task| {
            let name = task.service;
            format!("[services.{name}] endpoint in iterd.toml leads to one that does")
        },
    );
    format!("no service of this daemon answers to the resource {resource}; {mend}")
}
