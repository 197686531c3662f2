//! The roster of workers: who gets which call, who is to blame, when a worker is started again.

use super::*;
use crate::{
    ids::{Generation, VersionNumber},
    payload::Payload,
    plugin::{Manifest, Outcome},
};

/// A roster, and what it asked for since somebody looked.
struct World {
    roster: Roster,
    effects: Vec<Effect>,
}

fn version(number: u32, workers: u32, in_flight: u32) -> Arc<Version> {
    let text =
        format!("name = \"a\"\ncommand = [\"x\"]\nworkers = {workers}\nin_flight = {in_flight}");
    Arc::new(Version {
        number: VersionNumber(number),
        folder: "/".into(),
        manifest: Manifest::parse(&text).unwrap(),
        environment: None,
    })
}

fn call(ticket: u64) -> Call {
    Call {
        ticket,
        index: ticket,
        id: None,
        generation: Generation(1),
        payload: Payload::parse("1").unwrap(),
        attempt: 1,
        key: format!("key-{ticket}").into(),
        timeout: None,
        cursor: None,
    }
}

fn done(ticket: u64) -> Answer {
    Answer {
        ticket,
        generation: Generation(1),
        version: VersionNumber(1),
        outcome: Outcome::Done(Payload::parse("1").unwrap()),
    }
}

impl World {
    fn new(workers: u32, in_flight: u32) -> Self {
        let mut effects = Vec::new();
        let roster = Roster::new(
            version(1, workers, in_flight),
            NonZeroU32::MIN,
            &mut effects,
        );
        Self { roster, effects }
    }

    /// What was asked for since the last look, in short words; calls by ticket.
    fn look(&mut self) -> Vec<String> {
        let words = self.effects.drain(..).map(|effect| match effect {
            Effect::Start {
                worker,
                version,
                after,
            } => {
                format!(
                    "start {} v{} after {}ms",
                    worker.0,
                    version.number,
                    after.as_millis()
                )
            }
            Effect::HandOver {
                worker,
                calls,
                alone,
            } => {
                let tickets: Vec<_> = calls.iter().map(|call| call.ticket.to_string()).collect();
                let alone = if alone { " alone" } else { "" };
                format!("{} takes {}{alone}", worker.0, tickets.join(","))
            }
            Effect::Retire(worker) => format!("retire {}", worker.0),
            Effect::Kill(worker) => format!("kill {}", worker.0),
            Effect::Forget(worker) => format!("forget {}", worker.0),
            Effect::Interrupt(calls) => format!("interrupt {}", calls.len()),
            Effect::Tell(Event::Deployed { version, .. }) => format!("deployed v{version}"),
            Effect::Tell(Event::CannotStart { version, cause, .. }) => {
                format!("cannot start v{version}: {cause}")
            }
            Effect::Tell(_) => String::new(),
        });
        words.filter(|word| !word.is_empty()).collect()
    }

    fn submit(&mut self, tickets: impl IntoIterator<Item = u64>) {
        self.roster
            .submit(tickets.into_iter().map(call).collect(), &mut self.effects);
    }

    fn started(&mut self, worker: u64) {
        self.roster.started(WorkerId(worker), &mut self.effects);
    }

    fn answered(&mut self, worker: u64, calls: u32) {
        let mut answers: Vec<Answer> = (0..calls).map(|_| done(u64::MAX)).collect();
        self.roster
            .answered(WorkerId(worker), &mut answers, &mut self.effects);
    }

    fn deploy(&mut self, version: Arc<Version>) {
        self.roster
            .deploy(version, false, Rollout::AtOnce, &mut self.effects);
    }

    fn ended(&mut self, worker: u64, end: End) {
        self.roster
            .ended(WorkerId(worker), end, &mut [], &mut self.effects);
    }

    fn failed_to_start(&mut self, worker: u64) {
        self.ended(
            worker,
            End {
                how: "no such file".to_owned(),
                ..End::default()
            },
        );
    }

    fn died(&mut self, worker: u64, suspects: &[u64]) {
        let suspects = suspects.iter().map(|ticket| call(*ticket).key).collect();
        self.ended(
            worker,
            End {
                started: true,
                suspects,
                ..End::default()
            },
        );
    }
}

#[test]
fn workers_are_started_as_calls_need_them_up_to_the_bound() {
    let mut world = World::new(3, 2);
    assert_eq!(world.look(), ["start 0 v1 after 0ms"]);
    assert_eq!(world.roster.capacity(), 6);
    world.submit(0..2);
    assert_eq!(
        world.look(),
        [""; 0],
        "a version that never started gets one worker"
    );
    world.started(0);
    assert_eq!(world.look(), ["0 takes 0,1", "start 1 v1 after 0ms"]);
    world.submit([2]);
    assert_eq!(world.look(), ["start 2 v1 after 0ms"]);
    world.submit(3..6);
    world.started(2);
    world.started(1);
    assert_eq!(world.look(), ["2 takes 2,3", "1 takes 4,5"]);
    world.answered(0, 2);
    world.answered(1, 1);
    world.submit([6, 7, 8]);
    assert_eq!(
        world.look(),
        ["0 takes 6,7", "1 takes 8"],
        "the least loaded first"
    );
}

#[test]
fn workers_are_started_as_somebody_wants_them_and_count_once_they_are_ready() {
    let mut world = World::new(3, 2);
    world.roster.want(4, &mut world.effects);
    assert_eq!(world.look(), ["start 0 v1 after 0ms"]);
    assert_eq!(world.roster.ready(), 0);
    world.started(0);
    assert_eq!(
        world.look(),
        ["start 1 v1 after 0ms", "start 2 v1 after 0ms"]
    );
    assert_eq!(world.roster.ready(), 2);
    world.started(2);
    assert_eq!(world.roster.ready(), 4);
    world.submit(0..3);
    world.look();
    world.deploy(version(2, 1, 1));
    world.started(3);
    // What the retired workers still hold is under way, too.
    assert_eq!(world.roster.ready(), 4);
    world.answered(0, 1);
    assert_eq!(world.roster.ready(), 3);
}

#[test]
fn a_death_with_nobody_to_blame_lets_the_suspects_run_alone() {
    let mut world = World::new(2, 3);
    world.started(0);
    world.submit(0..6);
    world.started(1);
    world.look();
    world.died(0, &[0, 1, 2]);
    assert_eq!(world.look(), ["start 2 v1 after 100ms"]);
    // The runtime submits the interrupted calls again; worker 1 still holds others.
    world.submit([0, 1, 2]);
    assert_eq!(world.look(), [""; 0]);
    world.submit([6]);
    world.started(2);
    assert_eq!(
        world.look(),
        ["2 takes 6"],
        "worker 1 was reserved and is being emptied"
    );
    world.answered(1, 3);
    assert_eq!(world.look(), ["1 takes 0 alone"]);
    world.answered(1, 1);
    assert_eq!(world.look(), ["1 takes 1 alone"]);
    // The culprit; it stays suspect.
    world.died(1, &[]);
    assert_eq!(world.look(), ["start 3 v1 after 100ms"]);
    world.answered(2, 1);
    assert_eq!(world.look(), ["2 takes 2 alone"]);
    world.submit([1]);
    world.answered(2, 1);
    assert_eq!(world.look(), ["2 takes 1 alone"]);
    world.answered(2, 1);
    world.submit([0, 1, 2]);
    assert_eq!(
        world.look(),
        ["2 takes 0,1,2"],
        "who was answered for is no suspect any more"
    );
}

/// Pitfall 12: the restarts of a worker that dies at every item come ever slower.
#[test]
fn a_worker_that_dies_without_an_answer_is_restarted_ever_later() {
    let mut world = World::new(1, 1);
    let mut waits = Vec::new();
    for worker in 0..10 {
        world.started(worker);
        world.look();
        world.died(worker, &[]);
        waits.push(world.look().concat());
    }
    assert_eq!(waits[0], "start 1 v1 after 100ms");
    assert_eq!(waits[1], "start 2 v1 after 200ms");
    assert_eq!(waits[9], "start 10 v1 after 10000ms");
    world.started(10);
    world.submit([1]);
    world.answered(10, 1);
    world.look();
    world.ended(
        10,
        End {
            started: true,
            answered: true,
            ..End::default()
        },
    );
    assert_eq!(
        world.look(),
        ["start 11 v1 after 0ms"],
        "who has answered is restarted at once"
    );
}

#[test]
fn a_version_that_cannot_start_is_told_once_and_tried_on() {
    let mut world = World::new(4, 1);
    world.submit([1]);
    for worker in 0..2 {
        world.failed_to_start(worker);
    }
    world.look();
    world.failed_to_start(2);
    assert_eq!(
        world.look(),
        ["cannot start v1: no such file", "start 3 v1 after 400ms"]
    );
    world.failed_to_start(3);
    assert_eq!(world.look(), ["start 4 v1 after 800ms"]);
    world.started(4);
    assert_eq!(world.look(), ["4 takes 1"]);
    // It seemed to, but never read its call.
    world.failed_to_start(4);
    world.submit([1, 2, 3]);
    assert_eq!(
        world.look(),
        ["start 5 v1 after 1600ms"],
        "one at a time again"
    );
}

#[test]
fn a_version_that_still_cannot_start_is_told_again_after_somebody_went_on() {
    let mut world = World::new(4, 1);
    world.submit([1]);
    let told = |world: &mut World| {
        let cannot = "cannot start v1: no such file".to_owned();
        world.look().contains(&cannot)
    };
    for worker in 0..3 {
        world.failed_to_start(worker);
    }
    assert!(told(&mut world));
    world.failed_to_start(3);
    assert!(!told(&mut world));
    world.roster.forgive();
    for worker in 4..7 {
        world.failed_to_start(worker);
    }
    assert!(told(&mut world));
}

#[test]
fn more_workers_start_when_the_concurrency_is_raised_and_the_manifest_names_none() {
    let text = "name = \"a\"\ncommand = [\"x\"]";
    let version = Arc::new(Version {
        number: VersionNumber(1),
        folder: "/".into(),
        manifest: Manifest::parse(text).unwrap(),
        environment: None,
    });
    let mut effects = Vec::new();
    let roster = Roster::new(version, NonZeroU32::MIN, &mut effects);
    let mut world = World { roster, effects };
    world.started(0);
    world.submit([1, 2, 3]);
    assert_eq!(world.roster.capacity(), 1);
    world.look();
    let three = NonZeroU32::new(3).unwrap();
    world.roster.set_concurrency(three, &mut world.effects);
    assert_eq!(world.roster.capacity(), 3);
    assert_eq!(
        world.look(),
        ["start 1 v1 after 0ms", "start 2 v1 after 0ms"]
    );
}

#[test]
fn new_calls_go_to_a_deployed_version_once_it_has_started() {
    let mut world = World::new(2, 1);
    world.started(0);
    world.submit([0, 1]);
    world.look();
    world.deploy(version(2, 3, 1));
    assert_eq!(world.look(), ["start 2 v2 after 0ms"]);
    assert_eq!(world.roster.capacity(), 2);
    world.submit([2]);
    world.started(2);
    assert_eq!(
        world.look(),
        [
            "retire 0",
            "kill 1",
            "deployed v2",
            "2 takes 1",
            "start 3 v2 after 0ms"
        ]
    );
    assert_eq!(world.roster.capacity(), 3);
    world.answered(0, 1);
    world.ended(
        0,
        End {
            started: true,
            answered: true,
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
    assert_eq!(world.look(), [""; 0]);
}

#[test]
fn a_version_that_cannot_start_leaves_the_old_one_at_work() {
    let mut world = World::new(1, 1);
    world.started(0);
    world.deploy(version(2, 1, 1));
    world.failed_to_start(1);
    world.failed_to_start(2);
    world.look();
    world.failed_to_start(3);
    assert_eq!(world.look(), ["cannot start v2: no such file"]);
    world.submit([1]);
    assert_eq!(world.look(), ["0 takes 1"]);
    assert_eq!(world.roster.current().number, VersionNumber(1));
}

#[test]
fn the_last_of_several_deployments_counts() {
    let mut world = World::new(1, 1);
    world.started(0);
    world.deploy(version(2, 1, 1));
    world.look();
    world.deploy(version(3, 1, 1));
    assert_eq!(world.look(), ["kill 1", "start 2 v3 after 0ms"]);
    world.started(1);
    assert_eq!(
        world.roster.current().number,
        VersionNumber(1),
        "it was told to go"
    );
    world.started(2);
    assert_eq!(world.roster.current().number, VersionNumber(3));
    world.deploy(version(4, 1, 1));
    world.deploy(version(3, 1, 1));
    world.started(3);
    assert_eq!(
        world.roster.current().number,
        VersionNumber(3),
        "deploying what runs takes back"
    );
}

#[test]
fn after_a_stop_nothing_is_handed_over_and_nothing_started() {
    let mut world = World::new(1, 1);
    world.started(0);
    world.submit([0, 1, 2]);
    world.look();
    world.roster.stop(&mut world.effects);
    assert_eq!(world.look(), ["interrupt 2"]);
    world.submit([3]);
    assert_eq!(world.look(), ["interrupt 1"]);
    world.answered(0, 1);
    world.ended(0, End::default());
    assert_eq!(world.look(), [""; 0]);
    assert!(world.roster.is_empty());
}

#[test]
fn suspects_are_bounded_and_the_oldest_is_forgotten() {
    let mut suspects = Suspects::default();
    for ticket in 0..SUSPECTS_MAX as u64 + 10 {
        suspects.insert(call(ticket).key);
    }
    assert_eq!(suspects.keys.len(), SUSPECTS_MAX);
    assert!(!suspects.contains(&call(9).key));
    assert!(suspects.contains(&call(10).key));
    suspects.remove(&call(10).key);
    assert_eq!(suspects.order.len(), SUSPECTS_MAX - 1);
}

/// What was proven elsewhere needs no proof of its own; and a number says nothing about another plugin.
#[test]
fn a_version_proven_elsewhere_is_trusted_until_it_fails_here() {
    let mut world = World::new(1, 1);
    world.started(0);
    let next = version(2, 1, 1);
    world
        .roster
        .deploy(next.clone(), true, Rollout::AtOnce, &mut world.effects);
    assert!(world.roster.is_proven(&next));
    world.failed_to_start(1);
    assert!(!world.roster.is_proven(&next));
    let mut other = (*version(1, 1, 1)).clone();
    other.folder = "/elsewhere".into();
    world.deploy(Arc::new(other));
    assert!(!world.roster.is_proven(&next));
}

#[path = "canary_tests.rs"]
mod canary;

#[test]
fn what_is_withdrawn_waits_no_more_and_what_a_worker_has_stays() {
    let mut world = World::new(1, 1);
    world.started(0);
    world.submit(1..=4);
    world.look();
    let tickets = HashSet::from([1, 2, 4, 9]);
    let taken = world.roster.withdraw(&tickets, &mut world.effects);
    assert_eq!(taken, [2, 4]);
    world.answered(0, 1);
    assert_eq!(world.look(), ["0 takes 3"]);
    world.answered(0, 1);
    assert_eq!(world.look(), [""; 0]);
}
