//! New versions under a run.

use iterd::{
    ids::VersionNumber,
    plugin::{Event, Outcome, Rollout},
};

use crate::world::{World, call};

const SLOW: &str = "import time\ndef handle(item):\n    time.sleep(0.002)\n    return item";

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_under_load_loses_nothing_and_takes_over() {
    let world = World::new();
    let mut host = world.python("workers = 2\nin_flight = 4", SLOW);
    let manifest = "handler = \"handler.py:handle\"\nworkers = 3\nin_flight = 2";
    let mut next = Some(world.version(2, manifest, &[("handler.py", SLOW)]));
    let calls = (0..3000).map(|ticket| call(ticket, "1")).collect();
    let (answers, interruptions) = host
        .run_all(calls, |pool, answered| {
            if answered == 300 {
                pool.deploy(next.take().unwrap(), false, Rollout::AtOnce)
                    .unwrap();
            }
        })
        .await;
    assert_eq!(interruptions, 0);
    assert!(
        answers
            .values()
            .all(|answer| matches!(answer.outcome, Outcome::Done(_)))
    );
    assert_eq!(answers[&0].version, VersionNumber(1));
    assert_eq!(answers[&2999].version, VersionNumber(2));
    assert_eq!(host.pool.version(), VersionNumber(2));
    assert_eq!(host.pool.capacity(), 6);
    host.end().await;
    let (started, ended) = (
        world.records.started.lock().unwrap(),
        world.records.ended.lock().unwrap(),
    );
    assert!(started.len() >= 3, "{started:?}");
    assert_eq!(started.len(), ended.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_version_leaves_the_old_one_at_work() {
    let world = World::new();
    let mut host = world.python("", "def handle(item):\n    return 1");
    assert_eq!(host.result(1, "0").await, "1");
    let broken = world.version(
        2,
        "handler = \"handler.py:handle\"",
        &[("handler.py", "def handle(:")],
    );
    host.pool.deploy(broken, false, Rollout::AtOnce).unwrap();
    let cause = world
        .events
        .wait_for(|event| match event {
            Event::CannotStart {
                version: VersionNumber(2),
                cause,
                ..
            } => Some(cause.clone()),
            _ => None,
        })
        .await;
    assert!(cause.contains("SyntaxError"), "{cause}");
    assert_eq!(host.result(2, "0").await, "1");
    let mended = world.version(
        3,
        "handler = \"handler.py:handle\"",
        &[("handler.py", "def handle(item):\n    return 3")],
    );
    host.pool.deploy(mended, false, Rollout::AtOnce).unwrap();
    world
        .events
        .wait_for(|event| {
            matches!(
                event,
                Event::Deployed {
                    version: VersionNumber(3),
                    ..
                }
            )
            .then_some(())
        })
        .await;
    assert_eq!(host.result(3, "0").await, "3");
    host.end().await;
}

/// A program that says nothing when it is ready: it has started when it waits, however long it takes to
/// die before.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_version_that_dies_slowly_never_takes_over() {
    let world = World::new();
    let echo = "while read -r line; do echo '{\"id\": 1, \"result\": 1}'; done";
    let mut host = world.pool("command = [\"sh\", \"p.sh\"]", &[("p.sh", echo)]);
    assert_eq!(host.result(1, "0").await, "1");
    let slow = "i=0\nwhile [ $i -lt 1000000 ]; do i=$((i + 1)); done\necho too bad >&2\nexit 3";
    let broken = world.version(2, "command = [\"sh\", \"p.sh\"]", &[("p.sh", slow)]);
    host.pool.deploy(broken, false, Rollout::AtOnce).unwrap();
    let (version, cause) = world
        .events
        .wait_for(|event| match event {
            Event::CannotStart { version, cause, .. } => Some((*version, cause.clone())),
            _ => None,
        })
        .await;
    assert_eq!(version, VersionNumber(2));
    assert!(
        cause.contains("exit status 3; its last words: too bad"),
        "{cause}"
    );
    let all = world.events.all();
    assert!(
        !all.iter()
            .any(|event| matches!(event, Event::Deployed { .. })),
        "{all:?}"
    );
    assert_eq!(host.pool.version(), VersionNumber(1));
    assert_eq!(host.result(1, "0").await, "1");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_worker_finishes_what_it_holds() {
    let world = World::new();
    let wait = "import os, time\ndef handle(item):\n    path = os.path.join(os.environ['HOME'], 'go')\n    while not os.path.exists(path):\n        time.sleep(0.01)\n    return 'old'";
    let mut host = world.python("", wait);
    host.pool.submit(vec![call(1, "0")]);
    let new = world.version(
        2,
        "handler = \"handler.py:handle\"",
        &[("handler.py", "def handle(item):\n    return 'new'")],
    );
    world
        .events
        .wait_for(|event| matches!(event, Event::WorkerStarted { .. }).then_some(()))
        .await;
    host.pool.deploy(new, false, Rollout::AtOnce).unwrap();
    world
        .events
        .wait_for(|event| matches!(event, Event::Deployed { .. }).then_some(()))
        .await;
    assert_eq!(host.result(2, "0").await, "\"new\"");
    std::fs::write(world.root.join("scratch/go"), "").unwrap();
    let answer = host.answer().await;
    assert_eq!((answer.ticket, answer.version), (1, VersionNumber(1)));
    host.end().await;
}
