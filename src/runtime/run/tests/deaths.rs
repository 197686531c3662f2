//! An actor that dies again and again, with calls under way, answers not taken in and commits on
//! their way, and is made anew with another number of workers each time.

use std::collections::BTreeMap;

use super::*;

/// Why so many: they last for all the lives before the last one.
const RECORDS: u64 = 600;

const RETRY: &str = "[retry]\nattempts = 100\nfirst = \"1s\"\njitter = \"none\"\n";

/// What of it happens at a seed.
struct Fate {
    random: u64,
    /// Answers of each record that told a failure.
    failures: BTreeMap<Index, u32>,
}

impl Fate {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's constants for a generator of 64 bits; its upper half is random enough for a test.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn pick(&mut self, among: usize) -> usize {
        usize::try_from(self.below(among as u64)).unwrap()
    }

    fn answer(&mut self, live: &Live, call: &Call) {
        let failed = self.failures.get(&call.index).copied().unwrap_or(0);
        assert!(call.attempt <= 1 + failed, "an interruption was counted");
        match self.below(5) {
            0 => live.answer(call, Outcome::Interrupted),
            1 => {
                *self.failures.entry(call.index).or_default() += 1;
                let failure = Failure::new("Unavailable", "");
                live.answer(call, Outcome::Failed(failure));
            }
            _ => live.done(call),
        }
    }

    async fn live(&mut self, world: &World, mut live: Live, workers: usize) {
        let mut held: Vec<Call> = Vec::new();
        for _ in 0..self.below(20) {
            if held.len() < workers {
                held.push(live.call().await);
            }
            while let Ok(call) = live.calls.try_recv() {
                held.push(call);
            }
            assert!(held.len() <= workers, "more calls than workers");
            if !held.is_empty() && self.below(3) > 0 {
                let call = held.swap_remove(self.pick(held.len()));
                self.answer(&live, &call);
            }
        }
        live.task.abort();
        drop(live.task.await);
        // Why: what it had sent is decided on before its successor looks.
        world.store.commit(Vec::new()).await.await.unwrap();
    }
}

/// Pitfalls 1, 3, 4, 5, 6, 7, 13.
#[test]
fn each_record_has_one_result_and_only_failures_count_as_tries() {
    for seed in 1..=4 {
        threads().block_on(async {
            let world = World::new();
            let records = || Numbers((0..RECORDS).map(Some).collect());
            let mut fate = Fate {
                random: seed,
                failures: BTreeMap::new(),
            };
            for _ in 0..30 {
                let workers = 1 + fate.pick(4);
                world.capacity.store(workers, Ordering::Relaxed);
                world
                    .clock
                    .set(world.clock.now().after(Duration::from_secs(10)));
                let live = world.start_with(records(), RETRY, None);
                fate.live(&world, live, workers).await;
            }
            world.clock.set(Timestamp(i64::MAX / 2));
            let live = world.start_with(records(), RETRY, None);
            assert_eq!(live.finish().await, RunStatus::Succeeded);
            let counters = world.checkpoint().counters;
            let ended = (counters.done, counters.failed);
            assert_eq!(ended, (RECORDS, 0), "seed {seed}");
            let results = world.store.results(RUN, 0, 999, 999).unwrap().rows;
            let indexes: Vec<Index> = results.iter().map(|row| row.index).collect();
            assert_eq!(indexes, (0..RECORDS).collect::<Vec<_>>());
            assert!(
                results.iter().any(|row| row.attempts > 1),
                "none was retried"
            );
            for row in results {
                let failed = fate.failures.get(&row.index).copied().unwrap_or(0);
                assert!(row.attempts <= 1 + failed, "record {}", row.index);
            }
            assert!(world.store.live_children(RUN).unwrap().is_empty());
        });
    }
}
