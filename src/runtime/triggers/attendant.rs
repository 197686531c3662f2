//! Sees to it that each trigger which needs a task of its own has one: a folder's.
//!
//! Invariant: the task of a trigger has ended before another one takes its place, so that what the one is about
//! to commit is what the other reads.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};

use super::{Trigger, watcher::Watcher};
use crate::{config::TriggerKind, runtime::Engine};

/// The service.
pub struct Attendant {
    engine: Engine,
    tasks: HashMap<String, Task>,
}

struct Task {
    trigger: Arc<Trigger>,
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
        let triggers = self.engine.triggers().all();
        let is_current = |name: &String, task: &Task| {
            let now = triggers.get(name);
            now.is_some_and(|now| Arc::ptr_eq(now, &task.trigger)) && !task.work.is_finished()
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
            let TriggerKind::Folder { path, pattern } = &trigger.spec.kind else {
                continue;
            };
            if self.tasks.contains_key(name) {
                continue;
            }
            let (stop, stopped) = watch::channel(false);
            let (engine, own) = (self.engine.clone(), Arc::clone(trigger));
            let watcher = Watcher::new(engine, own, path, pattern.as_deref());
            let task = Task {
                trigger: Arc::clone(trigger),
                stop,
                work: tokio::spawn(watcher.work(stopped)),
            };
            self.tasks.insert(name.clone(), task);
        }
    }
}
