//! What is counted by day and by version adds up to the checkpoint at every commit, and costs none.

use super::*;
use crate::{
    iteration::{Counters, Tally},
    store::VersionTally,
};

/// The counters that days add up to, and the days.
type Counted = (Counters, Vec<(String, Tally)>);

impl World {
    /// The counters that the days add up to, as they are in the file.
    fn counted(&self) -> Counted {
        let days = self.store.run_days(RUN, 99).unwrap();
        let mut sum = Tally::default();
        for day in &days {
            sum.add(&day.tally);
        }
        let days = days.into_iter().map(|day| (day.day, day.tally)).collect();
        (sum.counters(), days)
    }

    fn versions(&self) -> Vec<VersionTally> {
        let versions = self.store.run_versions(RUN).unwrap();
        versions.iter().map(|row| row.tally).collect()
    }

    /// Everything as one commit left it. Why again: another may fall between two reads.
    fn balance(&self) -> (Counters, Counted, Vec<VersionTally>) {
        loop {
            let before = self.checkpoint();
            let found = (self.counted(), self.versions());
            if self.checkpoint() == before {
                return (before.counters, found.0, found.1);
            }
        }
    }

    fn check_balance(&self) {
        let (counters, (counted, days), versions) = self.balance();
        let redone = 0;
        let expected = Counters { redone, ..counters };
        assert_eq!(counted, expected, "the days do not add up");
        let sum = |of: fn(&VersionTally) -> u64| versions.iter().map(of).sum::<u64>();
        assert_eq!(sum(|one| one.done), counters.done, "done by version");
        let put_back: u64 = days.iter().map(|(_, day)| day.put_back).sum();
        let failed = sum(|one| one.failed) - put_back;
        assert_eq!(failed, counters.failed, "failed by version");
        assert_eq!(sum(|one| one.interrupted), counters.interrupted);
        assert_eq!(sum(|one| one.throttled), counters.throttled);
    }
}

/// Behind the job's own `[pause_when]`.
const NEVER_PAUSES: &str = "failed = \"100% of total\"\nfailing = \"100% of last 1000\"\n";

const DAY_US: i64 = 86_400_000_000;

#[test]
fn days_and_versions_add_up_to_the_checkpoint_after_every_commit() {
    threads().block_on(async {
        let world = World::new();
        let source = Numbers(vec![Some(0), Some(1), Some(2), None, Some(4)]);
        let mut live = world.start_with(source, NEVER_PAUSES, None);
        let one = live.call().await;
        live.done(&one);
        live.until(|view| view.figures.counters.done == 1).await;
        world.check_balance();
        world.clock.set(Timestamp(DAY_US));
        let two = live.call().await;
        live.answer(&two, Outcome::Interrupted);
        live.until(|view| view.figures.counters.interrupted == 1)
            .await;
        world.check_balance();
        let three = live.call().await;
        let mut too_many = Failure::new("429", "slow down");
        too_many.close_limiter = Some(Duration::ZERO);
        live.answer(&three, Outcome::Failed(too_many));
        live.until(|view| view.figures.counters.throttled == 1)
            .await;
        let four = live.call().await;
        live.fail(&four, "Broken");
        live.until(|view| view.figures.counters.failed >= 1).await;
        world.check_balance();
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        world.check_balance();
        let (_, days) = world.counted();
        let names: Vec<&str> = days.iter().map(|(day, _)| day.as_str()).collect();
        assert_eq!(names, ["1970-01-02", "1970-01-01"]);
        assert_eq!((days[1].1.done, days[1].1.failed), (1, 0));
        let nobody = world.versions().into_iter().find(|one| one.version == 0);
        let nobody = nobody.unwrap();
        assert_eq!((nobody.calls, nobody.failed), (0, 1), "the damaged record");
    });
}

#[test]
fn what_is_put_back_leaves_the_days_balanced() {
    threads().block_on(async {
        let world = World::new();
        let source = Numbers((0..4).map(Some).collect());
        let mut live = world.start_with(source, NEVER_PAUSES, None);
        for _ in 0..2 {
            let call = live.call().await;
            live.fail(&call, "Broken");
        }
        live.until(|view| view.figures.counters.failed == 2).await;
        world.clock.set(Timestamp(3 * DAY_US));
        let (done, count) = oneshot::channel();
        let what = Requeue::new(None, None);
        live.orders
            .send(Order::Requeue {
                what,
                author: None,
                done,
            })
            .await
            .unwrap();
        assert_eq!(within(count).await.unwrap(), 2);
        world.check_balance();
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        world.check_balance();
        let (_, days) = world.counted();
        assert_eq!((days[0].1.put_back, days[1].1.failed), (2, 2));
    });
}

#[test]
fn counting_costs_no_commit_and_rows_grow_with_days_alone() {
    threads().block_on(async {
        let world = World::new();
        let mut live = world.start(20);
        let commits = || world.store.pulse().unwrap().commits;
        for n in 1..=20 {
            let call = live.call().await;
            let before = commits();
            live.done(&call);
            live.until(|view| view.figures.counters.done == n).await;
            within(async {
                while world.checkpoint().counters.done < n {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            // Two children are under way at a time, so the outcome's commit may carry a dispatch too.
            assert!(commits() - before <= 2, "{n}");
            world.check_balance();
        }
        live.finish().await;
        let rows = |table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            world.other().query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!((rows("run_days"), rows("run_versions")), (1, 1));
    });
}

#[test]
fn the_time_in_which_a_run_is_paused_is_kept_over_restarts() {
    threads().block_on(async {
        let world = World::new();
        let put = |status, at| {
            let checkpoint = Checkpoint {
                status,
                ..Checkpoint::default()
            };
            let (run, checkpoint) = (RUN, Box::new(checkpoint));
            commit(
                &world.store,
                vec![Change::Checkpoint {
                    run,
                    checkpoint,
                    at: Timestamp(at),
                }],
            );
        };
        for (status, at) in [
            (RunStatus::Running, 5),
            (RunStatus::Paused, 10),
            (RunStatus::Paused, 20),
            (RunStatus::Running, 40),
            (RunStatus::Running, 50),
            (RunStatus::Paused, 60),
        ] {
            put(status, at);
        }
        let paused = world.store.paused_time(RUN).unwrap();
        assert_eq!(paused.before, Duration::from_micros(30));
        assert_eq!(paused.since, Some(Timestamp(60)));
    });
}
