//! What workers print.

use iterd::plugin::{Event, ItemRef, Stream};

use crate::world::{World, call};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_names_its_worker_and_its_item() {
    let world = World::new();
    let code = "import sys, time\ndef handle(item):\n    print('here', file=sys.stderr)\n    time.sleep(0.2)";
    let mut host = world.python("", code);
    host.result(7, "0").await;
    let (pid, stream, items) = world
        .events
        .wait_for(|event| match event {
            Event::Log {
                pid,
                stream,
                items,
                line,
                ..
            } if line == "here" => Some((*pid, *stream, items.clone())),
            _ => None,
        })
        .await;
    assert_eq!(pid, world.records.started.lock().unwrap()[0].pid);
    assert_eq!(stream, Stream::Stderr);
    assert_eq!(
        items,
        [ItemRef {
            index: 7,
            id: Some("C-7".into())
        }]
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_neither_stops_the_handler_nor_passes_the_budget() {
    let world = World::new();
    let code = "import os\ndef handle(item):\n    for _ in range(200):\n        os.write(item, b'noise\\n' * 10000)\n    os.write(item, b'x' * 10000000)\n    return 'done'";
    let mut host = world.python("", code);
    assert_eq!(host.result(1, "2").await, "\"done\"");
    host.end().await;
    let lines = world.events.lines();
    assert!(lines.iter().all(|line| line.len() <= 8192));
    // Two million lines; 500 a second pass.
    assert!(lines.len() < 20_000, "{}", lines.len());
    let dropped: u64 = world
        .events
        .all()
        .iter()
        .filter_map(|event| match event {
            Event::LogsDropped { lines, .. } => Some(*lines),
            _ => None,
        })
        .sum();
    assert!(dropped > 1_900_000, "{dropped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_floods_its_output_still_times_out() {
    let world = World::new();
    let mut host = world.pool("command = [\"yes\", \"noise\"]", &[]);
    let mut hanging = call(1, "1");
    hanging.timeout = Some(std::time::Duration::from_millis(500));
    assert_eq!(host.failure(hanging).await.error, "States.Timeout");
    host.end().await;
}
