//! Sees to it that each trigger which needs a task of its own has one: a folder's, and a
//! queue's that is elsewhere.
//!
//! Invariant: the task of a trigger has ended before another one takes its place, so that what the one is about
//! to commit is what the other reads.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};

use super::{Trigger, elsewhere::Elsewhere, watcher::Watcher};
use crate::{
    config::{ServiceSettings, TriggerKind},
    runtime::{Engine, queue_elsewhere::queues_are_elsewhere},
};

/// The service.
pub struct Attendant {
    engine: Engine,
    tasks: HashMap<String, Task>,
}

struct Task {
    trigger: Arc<Trigger>,
    /// Where its queue is said to be, where it has one.
    services: Option<ServiceSettings>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Task {
    async fn end(self) {
        self.stop.send_replace(true);
        // Why ok: one that broke off has ended, too.
        self.work.await.ok();
    }
}

impl Attendant {
    /// The attendant of this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let tasks = HashMap::new();
        Self { engine, tasks }
    }

    /// Works until the engine closes.
    pub async fn work(mut self) {
        let mut closing = self.engine.closing();
        let mut changed = self.engine.triggers().changed();
        loop {
            changed.borrow_and_update();
            self.attend().await;
            tokio::select! {
                // Why ok: it lives as long as the engine.
                _ = changed.changed() => {}
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        for task in self.tasks.into_values() {
            task.end().await;
        }
    }

    async fn attend(&mut self) {
        let (config, triggers) = (self.engine.config(), self.engine.triggers().all());
        let services = queues_are_elsewhere(&config).then(|| config.services.clone());
        let is_current = |name: &String, task: &Task| {
            let now = triggers.get(name);
            now.is_some_and(|now| Arc::ptr_eq(now, &task.trigger))
                && (task.services.is_none() || task.services == services)
                && !task.work.is_finished()
        };
        let old: Vec<String> = self
            .tasks
            .iter()
            .filter(|(name, task)| !is_current(name, task))
            .map(|(name, _)| name.clone())
            .collect();
        for name in old {
            if let Some(task) = self.tasks.remove(&name) {
                task.end().await;
            }
        }
        for (name, trigger) in triggers.iter() {
            if !self.tasks.contains_key(name)
                && let Some(task) = self.begin(trigger, services.as_ref())
            {
                self.tasks.insert(name.clone(), task);
            }
        }
    }

    /// The task of a trigger that has one.
    fn begin(&self, trigger: &Arc<Trigger>, services: Option<&ServiceSettings>) -> Option<Task> {
        let (stop, stopped) = watch::channel(false);
        let (engine, own) = (self.engine.clone(), Arc::clone(trigger));
        let (work, services) = match (&trigger.spec.kind, services) {
            (TriggerKind::Folder { path, pattern }, _) => {
                let watcher = Watcher::new(engine, own, path, pattern.as_deref());
                (tokio::spawn(watcher.work(stopped)), None)
            }
            (TriggerKind::Queue { queue }, Some(services)) => {
                let elsewhere = Elsewhere::new(engine, own, queue);
                (
                    tokio::spawn(elsewhere.work(stopped)),
                    Some(services.clone()),
                )
            }
            (TriggerKind::Queue { .. } | TriggerKind::Http { .. }, _) => return None,
        };
        Some(Task {
            trigger: Arc::clone(trigger),
            services,
            stop,
            work,
        })
    }
}
