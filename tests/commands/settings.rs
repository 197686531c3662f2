//! Settings of a job by command: what is in force, who says so, and how it goes back to the file.

use iterd::cli::exit;
use rustix::process::Signal;

use super::world::World;

const LIMITED: &str = "[limit]\nquota = \"2 per day\"\n[retry]\nattempts = 5\n";

fn done(world: &World) -> u64 {
    let answer = world.iterd(&["status", "job", "--json"]);
    answer.json()["done"].as_u64().unwrap_or(0)
}

fn set(world: &World, arguments: &[&str]) -> String {
    let answer = world.iterd(&[&["set", "job"], arguments].concat());
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    answer.out
}

#[test]
fn what_is_set_applies_at_once_outlives_a_kill_and_goes_when_it_is_cleared() {
    let world = World::new();
    world.job("job", 20, LIMITED);
    let daemon = world.serve();
    world.iterd(&["start", "job"]);
    world.wait_for(&["jobs"], |_| done(&world) == 2);
    let said = set(
        &world,
        &[
            "limit.quota=4 per day",
            "process.concurrency=3",
            "retry.first=1m",
        ],
    );
    assert!(said.contains("limit.quota = 4 per day"), "{said}");
    world.wait_for(&["jobs"], |_| done(&world) == 4);
    daemon.kill();
    let shown = world.iterd(&["show", "job"]).out;
    for part in [
        "limit.quota = \"4 per day\"",
        "process.concurrency = 3",
        "retry.first = \"1m\"",
        "# set by tester at 20",
        "retry.attempts = 5",
        "# line 11:12",
        "retry.factor = 2.0",
        "pause_when.in_a_row = 25",
        "source.path = \"job.csv\"",
        "# job file /",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    let rows = world.iterd(&["show", "job", "--json"]).json();
    let rows = rows["settings"].as_array().unwrap();
    let quota = rows.iter().find(|row| row["key"] == "limit.quota").unwrap();
    assert_eq!(quota["author"], "tester", "{quota}");
    // Where nobody serves it is set for whoever serves next.
    set(&world, &["limit.quota=6 per day"]);
    let daemon = world.serve();
    world.wait_for(&["jobs"], |_| done(&world) == 6);
    // An edit of other keys leaves it, one of this very key replaces it.
    world.job("job", 20, &LIMITED.replace("attempts = 5", "attempts = 7"));
    daemon.signal(Signal::HUP);
    world.wait_for(&["show", "job"], |answer| {
        answer.out.contains("retry.attempts = 7") && answer.out.contains("\"6 per day\"")
    });
    world.job("job", 20, &LIMITED.replace("2 per day", "9 per day"));
    daemon.signal(Signal::HUP);
    world.wait_for(&["jobs"], |_| done(&world) == 9);
    let status = world.iterd(&["status", "job"]).out;
    assert!(
        status.contains("cleared   limit.quota: the file says something new"),
        "{status}"
    );
    set(&world, &["--clear", "process.concurrency"]);
    set(&world, &["--clear"]);
    let shown = world.iterd(&["show", "job"]).out;
    assert!(!shown.contains("set by"), "{shown}");
    assert!(shown.contains("retry.first = \"3s\""), "{shown}");
}

#[test]
fn a_value_is_refused_in_the_words_of_the_file() {
    let world = World::new();
    world.job("job", 3, LIMITED);
    let _daemon = world.serve();
    for (arguments, code, why) in [
        (
            &["process.concurrency=0"][..],
            exit::INVALID,
            "process.concurrency: expected a whole number from 1 to 10000, found the number 0",
        ),
        (
            &["limit.pace=fast"],
            exit::INVALID,
            "limit.pace: \"fast\" is no pace",
        ),
        (
            &["limit.pase=1"],
            exit::INVALID,
            "did you mean \"limit.pace\"?",
        ),
        (&["limit.pace"], exit::USAGE, "write KEY=VALUE"),
        (&[], exit::USAGE, "nothing to set"),
        (
            &["--clear", "limit.pace"],
            exit::CONFLICT,
            "nothing to clear",
        ),
    ] {
        let answer = world.iterd(&[&["set", "job"], arguments].concat());
        assert_eq!(answer.code, i32::from(code), "{answer:?}");
        assert!(answer.err.contains(why), "{answer:?}");
    }
    let nobody = world.iterd(&["set", "jab", "limit.pace=1 per s"]);
    assert_eq!(nobody.code, i32::from(exit::NOT_FOUND), "{nobody:?}");
    let none = world.iterd(&["show", "jab"]);
    assert_eq!(none.code, i32::from(exit::NOT_FOUND), "{none:?}");
}
