//! The seeded simulation of a run: a world that misbehaves, a crash at any boundary, a reference.
//!
//! Each seed is a world of its own: a dataset, a handler that fails and hangs, limits, operators,
//! clocks that are set, and a process that dies between any two things it does. The run and the
//! limiter are the real ones; the store and the shell around them are models of some lines.
//!
//! `ITERD_SIM_SEEDS` says how many seeds (1,000 unless said); `ITERD_SIM_SEED` plays one alone.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod model;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rng;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod store;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        panic::{AssertUnwindSafe, catch_unwind},
        rc::Rc,
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use crate::world::{Trace, World};

    /// Lines of a trace that are shown: the way into an error is rarely longer.
    const TRACE_LINES_MAX: usize = 400;

    fn number(name: &str) -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(text.parse().expect("a number"))
    }

    /// Whether the seed's world keeps its promises.
    fn holds(seed: u64, trace: Option<Trace>) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| World::new(seed, trace).run())).map_err(|cause| {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|&text| text.to_owned()));
            text.unwrap_or_default()
        })
    }

    /// Plays the seed once more and tells the whole story.
    fn tell(seed: u64) -> Option<String> {
        let trace: Trace = Rc::new(RefCell::new(Vec::new()));
        let cause = holds(seed, Some(trace.clone())).err()?;
        let lines = trace.borrow();
        let scenario = lines.first().cloned().unwrap_or_default();
        let last = lines[lines.len().saturating_sub(TRACE_LINES_MAX)..].join("\n");
        Some(format!(
            "{scenario}\n..\n{last}\n\nseed {seed}: {cause}\n\
             replay it alone: ITERD_SIM_SEED={seed} cargo test --test sim"
        ))
    }

    /// Pitfalls 1 to 8, 10, 13, 14 and 25, in whatever combination a seed makes of them.
    #[test]
    fn every_record_has_exactly_one_outcome_whatever_happens() {
        if let Some(seed) = number("ITERD_SIM_SEED") {
            if let Some(story) = tell(seed) {
                panic!("{story}");
            }
            return;
        }
        let seeds = number("ITERD_SIM_SEEDS").unwrap_or(1000);
        let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let play = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.min(failed.load(Ordering::Relaxed)) {
                    return;
                }
                if holds(seed, None).is_err() {
                    failed.fetch_min(seed, Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(play);
            }
        });
        let story = Some(failed.into_inner())
            .filter(|seed| *seed < u64::MAX)
            .and_then(tell);
        assert_eq!(story, None, "{}", story.as_deref().unwrap_or_default());
    }
}
