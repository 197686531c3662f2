//! Triggers over a real engine.

use std::time::Duration;

use super::*;
use crate::{
    config::TriggerKind,
    ids::MachineId,
    plugin::Launcher,
    runtime::EngineSetup,
    store::{MachineChange, MachineKind, NewRevision},
    time::SystemClock,
};

/// Waits longer than any test.
const WAITS: &str =
    r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 36000, "End": true}}}"#;

/// An engine with one trigger, `t`, of a folder and the machine `m`, which is not there yet.
pub(super) struct World {
    pub(super) engine: Engine,
    directory: tempfile::TempDir,
}

impl World {
    pub(super) fn new(name: Option<&str>, input: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spec = TriggerSpec {
            machine: "m".to_owned(),
            input: input.map(Into::into),
            name: name.map(str::to_owned),
            at_once: None,
            kind: TriggerKind::Folder {
                path: directory.path().join("in"),
                pattern: None,
            },
        };
        let mut config = Config::default();
        config.triggers.insert("t".to_owned(), spec);
        let setup = EngineSetup {
            config,
            clock: Arc::new(SystemClock),
            working: true,
            service: false,
            hidden: Vec::new(),
            launcher: Launcher::default(),
        };
        let state = directory.path().join("state");
        let engine = tokio::task::block_in_place(|| Engine::open(&state, setup).unwrap());
        engine.conduct();
        Self { engine, directory }
    }

    /// The folder that the trigger listens to.
    pub(super) fn folder(&self) -> std::path::PathBuf {
        self.directory.path().join("in")
    }

    pub(super) fn trigger(&self) -> Arc<Trigger> {
        self.engine.trigger("t").unwrap()
    }

    /// The machine is there from now on.
    pub(super) fn make_machine(&self) {
        let nothing = || "{}".to_owned();
        let revision = NewRevision {
            definition: WAITS.to_owned(),
            role_arn: "arn:aws:iam::000000000000:role/any".to_owned(),
            id: None,
            logging: nothing(),
            tracing: nothing(),
            encryption: nothing(),
        };
        let new = MachineChange::New {
            id: MachineId(1),
            name: "m".to_owned(),
            kind: MachineKind::Standard,
            revision: Box::new(revision),
            at: self.engine.now(),
        };
        let store = self.engine.store();
        tokio::task::block_in_place(|| store.commit_blocking(vec![new.into()])).unwrap();
    }

    fn trouble(&self) -> Option<String> {
        self.engine.triggers_standing().unwrap().remove(0).trouble
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_there_is_no_trouble_any_more_though_nothing_came() {
    let world = World::new(None, None);
    let trigger = world.trigger();
    assert!(!trigger.can_start(&world.engine).unwrap());
    let trouble = world.trouble();
    assert!(
        trouble.is_some_and(|why| why.contains("stateMachine:m")),
        "it is told"
    );
    let triggers = world.engine.triggers();
    assert!(!triggers.is_without_machine("t", true), "it is no news");
    world.make_machine();
    assert_eq!(world.trouble(), None);
    assert!(trigger.can_start(&world.engine).unwrap());
    assert_eq!(world.trouble(), None);
    assert!(triggers.is_without_machine("t", true), "news again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_served_is_told_until_it_can_be() {
    let world = World::new(None, None);
    world.make_machine();
    let (triggers, now) = (world.engine.triggers(), world.engine.now());
    assert!(triggers.is_troubled("t", "the queue is away", None));
    assert!(world.trouble().is_some());
    triggers.is_well("t", now);
    assert_eq!(world.trouble(), None);
    // What came and is tried again says so itself.
    let later = now.after(Duration::from_mins(1));
    triggers.is_troubled("t", "the message 1", Some(later));
    triggers.is_well("t", now);
    assert!(world.trouble().is_some());
}
