//! A version that proves itself: what it gets, and what follows from what it does with it.

use super::*;
use crate::payload::Failure;

impl World {
    /// Version 1 with two workers of four calls, and version 2 that has started.
    fn with_canary(alone: bool) -> Self {
        let mut world = Self::new(2, 4);
        world.started(0);
        world.roster.want(8, &mut world.effects);
        world.started(1);
        let rollout = Rollout::Canary { alone };
        world
            .roster
            .deploy(version(2, 2, 4), true, rollout, &mut world.effects);
        world.started(2);
        world.look();
        world
    }

    fn call(&mut self, ticket: u64, attempt: u32) {
        let call = Call {
            attempt,
            ..call(ticket)
        };
        self.roster.submit(vec![call], &mut self.effects);
    }

    /// Who was given the call last.
    fn taker(&mut self, ticket: u64) -> Option<u64> {
        let takers = self.look();
        let word = format!("takes {ticket}");
        takers.iter().find_map(|line| {
            let (worker, rest) = line.split_once(' ')?;
            (rest == word).then(|| worker.parse().unwrap())
        })
    }

    fn answer(&mut self, worker: u64, ticket: u64, good: bool) -> Outcome {
        let mut answers = [done(ticket)];
        if !good {
            answers[0].outcome = Outcome::Failed(Failure::new("E", "no"));
        }
        self.roster
            .answered(WorkerId(worker), &mut answers, &mut self.effects);
        let [answer] = answers;
        answer.outcome
    }

    fn told(&mut self, wanted: &str) -> bool {
        self.effects.iter().any(|effect| match effect {
            Effect::Tell(Event::Deployed { proven, .. }) => wanted == "proven" && *proven,
            Effect::Tell(Event::Refuted { .. }) => wanted == "refuted",
            Effect::Tell(_)
            | Effect::Start { .. }
            | Effect::HandOver { .. }
            | Effect::Retire(_)
            | Effect::Kill(_)
            | Effect::Forget(_)
            | Effect::Interrupt(_) => false,
        })
    }

    /// Submits first tries and has all of them answered, those of the canary so.
    fn run(&mut self, tickets: std::ops::Range<u64>, good: bool) -> u64 {
        let mut canarys = 0;
        for ticket in tickets {
            self.call(ticket, 1);
            let worker = self.taker(ticket).unwrap();
            canarys += u64::from(worker >= 2);
            self.answer(worker, ticket, good || worker < 2);
            if self.told("proven") || self.told("refuted") {
                break;
            }
        }
        canarys
    }
}

#[test]
fn it_takes_one_at_a_time_until_three_are_done_then_a_tenth_then_all() {
    let mut world = World::with_canary(false);
    world.call(1, 1);
    assert_eq!(world.taker(1), Some(2));
    world.call(2, 1);
    assert_ne!(world.taker(2), Some(2), "one at a time");
    world.answer(2, 1, true);
    assert_eq!(world.run(10..12, true), 2);
    let tenth = world.run(100..1000, true);
    assert_eq!(tenth, 17, "a tenth, until twenty have ended");
    assert!(world.told("proven"));
    let words = world.look();
    assert!(words.contains(&"deployed v2".to_owned()), "{words:?}");
    assert!(words.contains(&"retire 0".to_owned()), "{words:?}");
    world.call(2000, 1);
    assert_eq!(world.taker(2000), Some(2));
}

#[test]
fn what_it_fails_costs_no_attempt_goes_to_the_former_version_and_counts_if_that_one_can() {
    let mut world = World::with_canary(false);
    for ticket in 1..=3 {
        world.call(ticket, 1);
        assert_eq!(world.taker(ticket), Some(2));
        let outcome = world.answer(2, ticket, false);
        assert!(matches!(outcome, Outcome::FailedCanary(_)));
        world.call(ticket, 1);
        let former = world.taker(ticket).unwrap();
        assert!(former < 2);
        assert!(!world.told("refuted"));
        world.answer(former, ticket, true);
    }
    assert!(world.told("refuted"));
    world.look();
    world.call(9, 1);
    assert!(world.taker(9).unwrap() < 2);
    assert!(world.roster.tally().is_none());
}

#[test]
fn records_that_fail_under_both_say_nothing() {
    let mut world = World::with_canary(false);
    for ticket in 1..=20 {
        world.call(ticket, 1);
        if world.taker(ticket) == Some(2) {
            world.answer(2, ticket, false);
            world.call(ticket, 1);
            let former = world.taker(ticket).unwrap();
            world.answer(former, ticket, false);
        }
    }
    assert!(!world.told("refuted"));
    assert_eq!(world.roster.tally().unwrap().1.disproofs, 0);
}

#[test]
fn unanswered_doubts_keep_more_from_failing() {
    let mut world = World::with_canary(false);
    for ticket in 1..=3 {
        world.call(ticket, 1);
        assert_eq!(world.taker(ticket), Some(2));
        world.answer(2, ticket, false);
    }
    world.call(4, 1);
    assert_ne!(world.taker(4), Some(2));
    // They never come back: somebody skipped them.
    world.run(100..500, true);
    assert!(world.told("refuted"));
}

#[test]
fn retries_go_to_it_one_first_and_the_others_once_that_got_through() {
    let mut world = World::with_canary(false);
    world.call(1, 5);
    assert_eq!(world.taker(1), Some(2));
    world.call(2, 3);
    world.call(3, 3);
    assert_eq!(world.look(), Vec::<String>::new(), "they wait");
    world.answer(2, 1, true);
    assert_eq!(world.look(), ["2 takes 2,3"]);
    assert_eq!(world.roster.tally().unwrap().1.successes, 0, "no proof");
    assert!(matches!(
        world.answer(2, 2, false),
        Outcome::FailedCanary(_)
    ));
    world.call(2, 3);
    assert!(world.taker(2).unwrap() < 2, "it is not tried in vain again");
}

#[test]
fn alone_it_takes_everything_and_successes_on_anything_are_the_proof() {
    let mut world = World::with_canary(true);
    assert_eq!(world.roster.ready(), 1, "one at a time");
    for ticket in 1..=3 {
        world.call(ticket, 4);
        assert_eq!(world.taker(ticket), Some(2));
        world.answer(2, ticket, true);
    }
    assert!(world.told("proven"));
}

#[test]
fn alone_failures_in_a_row_refute_it_and_the_former_version_starts_again() {
    let mut world = World::with_canary(true);
    world.ended(
        0,
        End {
            expected: true,
            ..End::default()
        },
    );
    world.ended(
        1,
        End {
            expected: true,
            ..End::default()
        },
    );
    assert_eq!(world.look(), Vec::<String>::new(), "nobody follows them");
    for ticket in 1..=3 {
        world.call(ticket, 4);
        world.answer(2, ticket, false);
    }
    assert!(world.told("refuted"));
    let words = world.look();
    assert!(words.iter().any(|it| it.contains("v1")), "{words:?}");
}

#[test]
fn it_is_left_alone_when_nothing_else_is_left() {
    let mut world = World::with_canary(false);
    world.call(1, 2);
    world.call(2, 2);
    world.look();
    world.roster.leave_canary_alone(&mut world.effects);
    let words = world.look();
    assert!(words.contains(&"retire 0".to_owned()), "{words:?}");
    world.answer(2, 1, true);
    assert_eq!(world.taker(2), Some(2));
    world.answer(2, 2, true);
    world.call(3, 2);
    world.answer(2, 3, true);
    assert!(world.told("proven"));
}

#[test]
fn a_worker_that_dies_with_several_inside_makes_doubts_of_them() {
    let mut world = World::with_canary(false);
    world.run(1..4, true);
    world.look();
    let suspects = [11, 12, 13].map(|ticket| call(ticket).key).to_vec();
    world.ended(
        2,
        End {
            started: true,
            suspects,
            ..End::default()
        },
    );
    assert!(!world.told("refuted"));
    for ticket in 11..=13 {
        world.call(ticket, 1);
    }
    let words = world.look();
    assert!(words.iter().any(|it| it.ends_with("alone")), "{words:?}");
    for ticket in 11..=13 {
        world.answer(0, ticket, true);
    }
    assert!(world.told("refuted"));
}

#[test]
fn what_is_left_inside_after_it_was_refuted_costs_no_attempt_either() {
    let mut world = World::with_canary(false);
    world.call(1, 1);
    world.look();
    let current = version(1, 2, 4);
    world
        .roster
        .deploy(current, true, Rollout::AtOnce, &mut world.effects);
    assert!(world.look().contains(&"retire 2".to_owned()));
    assert!(matches!(
        world.answer(2, 1, false),
        Outcome::FailedCanary(_)
    ));
}
