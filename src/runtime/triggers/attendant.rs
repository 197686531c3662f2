//! Sees to it that each trigger which needs a task of its own has one: a folder's, and a
//! queue's that is elsewhere.
//!
//! Invariant: the task of a trigger has ended before another one takes its place, so that what the one is about
//! to commit is what the other reads. Nobody else waits for that: one that hangs holds up its successor alone.

use std::{collections::HashMap, sync::Arc};

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
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
    /// Tasks that were told to stop and have no successor, which would wait for them.
    ending: HashMap<String, JoinHandle<()>>,
}

struct Task {
    trigger: Arc<Trigger>,
    /// Where its queue is said to be, where it has one.
    services: Option<ServiceSettings>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Task {
    /// Tells it to stop.
    fn stop(self) -> JoinHandle<()> {
        self.stop.send_replace(true);
        self.work
    }
}

impl Attendant {
    /// The attendant of this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            tasks: HashMap::new(),
            ending: HashMap::new(),
        }
    }

    /// Works until the engine closes.
    pub async fn work(mut self) {
        let mut closing = self.engine.closing();
        let mut changed = self.engine.triggers().changed();
        loop {
            changed.borrow_and_update();
            self.attend();
            tokio::select! {
                // Why ok: it lives as long as the engine.
                _ = changed.changed() => {}
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        let tasks = self.tasks.into_values().map(Task::stop);
        // Why ok: one that broke off has ended, too.
        join_all(tasks.chain(self.ending.into_values())).await;
    }

    fn attend(&mut self) {
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
                self.ending.insert(name, task.stop());
            }
        }
        self.ending.retain(|_, work| !work.is_finished());
        for (name, trigger) in triggers.iter() {
            if !self.tasks.contains_key(name)
                && let Some((work, services, stop)) = self.begin(trigger, services.as_ref())
            {
                let before = self.ending.remove(name);
                let work = tokio::spawn(async move {
                    if let Some(before) = before {
                        // Why ok: one that broke off has ended, too.
                        before.await.ok();
                    }
                    work.await;
                });
                let trigger = Arc::clone(trigger);
                let task = Task {
                    trigger,
                    services,
                    stop,
                    work,
                };
                self.tasks.insert(name.clone(), task);
            }
        }
    }

    /// What the task of a trigger does that has one, where its queue is said to be, and what stops it.
    fn begin(
        &self,
        trigger: &Arc<Trigger>,
        services: Option<&ServiceSettings>,
    ) -> Option<(
        BoxFuture<'static, ()>,
        Option<ServiceSettings>,
        watch::Sender<bool>,
    )> {
        let (stop, stopped) = watch::channel(false);
        let (engine, own) = (self.engine.clone(), Arc::clone(trigger));
        match (&trigger.spec.kind, services) {
            (TriggerKind::Folder { path, pattern }, _) => {
                let watcher = Watcher::new(engine, own, path, pattern.as_deref());
                Some((watcher.work(stopped).boxed(), None, stop))
            }
            (TriggerKind::Queue { queue }, Some(services)) => {
                let elsewhere = Elsewhere::new(engine, own, queue);
                Some((
                    elsewhere.work(stopped).boxed(),
                    Some(services.clone()),
                    stop,
                ))
            }
            (TriggerKind::Queue { .. } | TriggerKind::Http { .. }, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;
    use crate::{
        config::{Config, TriggerSpec},
        plugin::Launcher,
        runtime::EngineSetup,
        time::SystemClock,
    };

    /// The settings of folders' triggers, by their names; another pattern is another trigger.
    fn config(triggers: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (name, pattern) in triggers {
            let kind = TriggerKind::Folder {
                path: PathBuf::from("/nowhere"),
                pattern: Some((*pattern).to_owned()),
            };
            let spec = TriggerSpec {
                machine: "m".to_owned(),
                input: None,
                name: None,
                at_once: None,
                kind,
            };
            config.triggers.insert((*name).to_owned(), spec);
        }
        config
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_that_hangs_holds_up_its_successor_alone() {
        let directory = tempfile::tempdir().unwrap();
        let setup = EngineSetup {
            config: config(&[("a", "1"), ("b", "1")]),
            clock: Arc::new(SystemClock),
            working: true,
            service: false,
            hidden: Vec::new(),
            launcher: Launcher::default(),
        };
        let state = directory.path().join("state");
        let engine = tokio::task::block_in_place(|| Engine::open(&state, setup).unwrap());
        let mut attendant = Attendant::new(engine.clone());
        attendant.attend();
        let (release, hangs) = tokio::sync::oneshot::channel::<()>();
        attendant.tasks.get_mut("a").unwrap().work = tokio::spawn(async { drop(hangs.await) });
        // Nobody waits here, and both go on to be served as the settings say now.
        engine
            .triggers()
            .set(&config(&[("a", "2"), ("b", "2"), ("c", "2")]));
        attendant.attend();
        let mut names: Vec<&String> = attendant.tasks.keys().collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
        // Told to stop, those whose predecessors have ended do; the other one waits behind its own.
        engine.triggers().set(&config(&[]));
        attendant.attend();
        let within = Duration::from_secs(20);
        for name in ["b", "c"] {
            // One that ended at once is not waited for.
            if let Some(ending) = attendant.ending.get_mut(name) {
                tokio::time::timeout(within, ending).await.unwrap().unwrap();
            }
        }
        let ending = attendant.ending.get_mut("a").unwrap();
        assert!(!ending.is_finished());
        drop(release);
        tokio::time::timeout(within, ending).await.unwrap().unwrap();
    }
}
