//! Finished records that are done again by a live actor: their keys, their results, their file.

use super::*;
use crate::{
    iteration::Ending,
    store::{POSITION_EVERY_ITEMS, RedoRow},
};

impl Live {
    async fn redo(&self, index: Index, redo: u32) {
        let (done, told) = oneshot::channel();
        let rows = vec![RedoRow {
            index,
            redo,
            payload: index.to_string(),
        }];
        let order = Order::Tell {
            input: Input::Requeued {
                children: 1,
                items: 1,
                were: Ending::Done,
            },
            changes: vec![Change::Redo {
                run: RUN,
                rows,
                at: Timestamp(0),
            }],
            done,
        };
        self.orders.send(order).await.unwrap();
        within(told).await.unwrap();
    }

    async fn until_done(&mut self, done: u64) {
        self.until(|view| view.figures.counters.done == done).await;
    }
}

fn results(world: &World) -> Vec<(Index, u32, String)> {
    let page = world.store.results(RUN, 0, 99, 99).unwrap();
    let shown = |row: &crate::store::ResultRow| (row.index, row.redo, row.result.text().to_owned());
    page.rows.iter().map(shown).collect()
}

#[test]
fn a_redo_has_a_key_of_its_own_that_outlives_failures_and_crashes() {
    threads().block_on(async {
        let world = World::new();
        world.capacity.store(1, Ordering::Relaxed);
        let retry = "[retry]\nfirst = \"1ms\"\njitter = \"none\"\n";
        let records = || Numbers((0..3).map(Some).collect());
        let mut live = world.start_with(records(), retry, None);
        let first = live.call().await;
        live.done(&first);
        // Why held: the run has to be there still.
        let second = live.call().await;
        live.until_done(1).await;
        while world.checkpoint().counters.done == 0 {
            tokio::task::yield_now().await;
        }
        live.redo(0, 0).await;
        assert_eq!(live.view.borrow().figures.counters.done, 0);
        live.done(&second);
        let again = live.call().await;
        assert_eq!(
            (again.index, again.attempt),
            (0, 1),
            "a redo is a first try"
        );
        assert_eq!(again.key, format!("{}:redo1", first.key));
        live.answer(&again, Outcome::Failed(Failure::new("Unavailable", "")));
        live.until(|view| view.figures.retrying == 1).await;
        while world.store.child(RUN, 0).unwrap().unwrap().attempts == 0 {
            tokio::task::yield_now().await;
        }
        live.quit.notify_one();
        within(live.task).await.unwrap().unwrap();
        world.clock.set(Timestamp(1_000_000));
        let mut live = world.start_with(records(), retry, None);
        let mut retried = live.call().await;
        if retried.index != 0 {
            live.done(&retried);
            retried = live.call().await;
        }
        assert_eq!((retried.index, retried.attempt), (0, 2));
        assert_eq!(retried.key, again.key, "the same over a retry and a crash");
        assert_eq!(
            results(&world)[0],
            (0, 0, "0".to_owned()),
            "the old one is there"
        );
        live.answer(&retried, Outcome::Done(Payload::parse("\"new\"").unwrap()));
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        assert_eq!(results(&world)[0], (0, 1, "\"new\"".to_owned()));
        let counters = world.checkpoint().counters;
        assert_eq!((counters.done, counters.redone), (3, 1));
    });
}

#[test]
fn the_last_line_of_an_index_in_the_output_file_is_its_current_result() {
    threads().block_on(async {
        let world = World::new();
        let sink = world.sink("out.jsonl");
        let records = Numbers((0..2).map(Some).collect());
        let mut live = world.start_with(records, "", Some(sink));
        let (first, second) = (live.call().await, live.call().await);
        live.done(&first);
        live.until_done(1).await;
        let written = || std::fs::read_to_string(world.directory.path().join("out.jsonl"));
        let lines = || written().map_or(0, |text| text.lines().count());
        within(async {
            while lines() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        live.redo(first.index, 0).await;
        let again = live.call().await;
        live.answer(&again, Outcome::Done(Payload::parse("\"new\"").unwrap()));
        live.done(&second);
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        let written = written().unwrap();
        let of_first: Vec<&str> = written
            .lines()
            .filter(|line| line.contains("\"index\":0,"))
            .collect();
        assert_eq!(of_first.len(), 2, "{written}");
        assert!(of_first[1].contains("\"new\""), "{written}");
        assert_eq!(lines(), 3, "{written}");
    });
}

#[test]
fn where_records_begin_is_stored_once_for_each_thousand_of_them() {
    threads().block_on(async {
        let world = World::new();
        world.capacity.store(64, Ordering::Relaxed);
        let records = 3 * POSITION_EVERY_ITEMS + 10;
        assert_eq!(world.start(records).finish().await, RunStatus::Succeeded);
        let rows: i64 = world
            .other()
            .query_row("SELECT count(*) FROM positions", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 3);
        for (index, at) in [(0, 0), (1023, 0), (1024, 1024), (3081, 3072)] {
            let position = world.store.position_before(RUN, index).unwrap();
            assert_eq!(position.index, at);
            let cursor = if at == 0 {
                String::new()
            } else {
                format!("1:{at}")
            };
            assert_eq!(position.cursor.as_str(), cursor);
        }
    });
}
