//! How pools end, and what is recorded of their workers.

use std::time::{Duration, Instant};

use iterd::plugin::{Event, Outcome};

use crate::{
    orphans::ends,
    world::{World, call},
};

/// Pitfall 20: a stop under load ends within its time, whatever the workers do.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ignores_the_request_to_end_is_killed_after_the_grace() {
    let world = World::new();
    let stubborn = "trap '' TERM\nread line\necho reading >&2\nwhile :; do sleep 1; done";
    let mut host = world.pool("command = [\"sh\", \"p.sh\"]", &[("p.sh", stubborn)]);
    host.pool.submit(vec![call(1, "1")]);
    world
        .events
        .wait_for(|event| {
            matches!(event, Event::Log { line, .. } if line == "reading").then_some(())
        })
        .await;
    let before = Instant::now();
    host.pool
        .shutdown(Duration::from_millis(100), Duration::from_millis(300))
        .await;
    assert!(before.elapsed() >= Duration::from_millis(400));
    assert!(before.elapsed() < Duration::from_secs(10));
    assert!(matches!(host.answer().await.outcome, Outcome::Interrupted));
    assert!(ends(world.records.started.lock().unwrap()[0].pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_may_finish_and_what_waits_is_interrupted() {
    let world = World::new();
    let code = "import sys, time\ndef handle(item):\n    print('working', file=sys.stderr)\n    time.sleep(0.3)\n    return item";
    let mut host = world.python("", code);
    host.pool.submit(vec![call(1, "1"), call(2, "2")]);
    world
        .events
        .wait_for(|event| {
            matches!(event, Event::Log { line, .. } if line == "working").then_some(())
        })
        .await;
    host.pool
        .shutdown(Duration::from_secs(30), Duration::from_secs(2))
        .await;
    let mut outcomes = [host.answer().await, host.answer().await];
    outcomes.sort_by_key(|answer| answer.ticket);
    assert!(
        matches!(outcomes[0].outcome, Outcome::Done(_)),
        "{outcomes:?}"
    );
    assert!(
        matches!(outcomes[1].outcome, Outcome::Interrupted),
        "{outcomes:?}"
    );
    assert!(matches!(host.ask(call(3, "3")).await, Outcome::Interrupted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pool_kills_its_workers_and_interrupts_their_calls() {
    let world = World::new();
    let code = "import sys, time\ndef handle(item):\n    print('working', file=sys.stderr)\n    time.sleep(300)";
    let mut host = world.python("", code);
    host.pool.submit(vec![call(1, "1")]);
    world
        .events
        .wait_for(|event| {
            matches!(event, Event::Log { line, .. } if line == "working").then_some(())
        })
        .await;
    drop(host.pool);
    let answer = tokio::time::timeout(crate::world::PATIENCE, host.answers.recv())
        .await
        .unwrap();
    assert!(matches!(answer.unwrap().outcome, Outcome::Interrupted));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_is_recorded_before_its_first_item_and_its_end_after() {
    let world = World::new();
    let mut host = world.python(
        "workers = 2",
        "import os\ndef handle(item):\n    return os.getpid()",
    );
    let pid: u32 = host.result(1, "1").await.parse().unwrap();
    assert!(
        world
            .records
            .started
            .lock()
            .unwrap()
            .iter()
            .any(|record| record.pid == pid)
    );
    host.end().await;
    // The spawner's thread records ends; it has when it has answered another request.
    let mut other = world.python("", "def handle(item):\n    return 1");
    other.result(1, "1").await;
    let ended = world.records.ended.lock().unwrap().clone();
    assert!(ended.iter().any(|record| record.pid == pid));
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_be_recorded_never_runs() {
    let world = World::new();
    *world.records.refuse.lock().unwrap() = Some("the disk is full".to_owned());
    let code = "open('/proc/self/fd/2', 'w').write('I ran\\n')\ndef handle(item):\n    return 1";
    let host = world.python("", code);
    host.pool.submit(vec![call(1, "1")]);
    let cause = world
        .events
        .wait_for(|event| match event {
            Event::CannotStart { cause, .. } => Some(cause.clone()),
            _ => None,
        })
        .await;
    assert!(
        cause.contains("cannot record the worker's process: the disk is full"),
        "{cause}"
    );
    assert!(world.events.lines().is_empty());
    host.end().await;
    for record in world.records.started.lock().unwrap().iter() {
        assert!(ends(record.pid));
    }
}
