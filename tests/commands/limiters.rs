//! Limiters as things of their own: what is left of them, and orders to them, with a daemon and without.

use iterd::cli::exit;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::world::World;

const NARROW: &str = "[limiters.crm]\nquota = \"2 per day\"\n";

/// Two jobs that share a limiter; together they may do two records.
fn shared() -> World {
    let world = World::new();
    world.write("config/iterd.toml", NARROW);
    world.job("one", 20, "[limit]\nuse = \"crm\"\n");
    world.job("two", 20, "[limit]\nuse = \"crm\"\n");
    world
}

fn done(world: &World, job: &str) -> u64 {
    let answer = world.iterd(&["status", job, "--json"]);
    answer.json()["done"].as_u64().unwrap_or(0)
}

/// Waits until both jobs have done so many records.
fn wait_for_done(world: &World, count: u64) {
    world.wait_for(&["jobs"], |_| {
        done(world, "one") + done(world, "two") == count
    });
}

fn limiter(world: &World, name: &str) -> Value {
    let answer = world.iterd(&["limiter", "list", name, "--json"]);
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    answer.json()["limiters"][0].clone()
}

fn order(world: &World, arguments: &[&str]) -> String {
    let answer = world.iterd(&[&["limiter"], arguments].concat());
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    answer.out
}

#[test]
fn a_limiter_is_steered_while_runs_share_it_and_outlives_a_kill() {
    let world = shared();
    let daemon = world.serve();
    for job in ["one", "two"] {
        world.iterd(&["start", job]);
    }
    wait_for_done(&world, 2);
    let list = world.iterd(&["limiter", "list"]);
    let line = list
        .out
        .lines()
        .find(|line| line.trim_start().starts_with("crm"));
    let line = line.unwrap_or_else(|| panic!("{list:?}"));
    for part in ["2 per day", "asap", "quota spent", "one, two"] {
        assert!(line.contains(part), "{part:?} is missing in\n{}", list.out);
    }
    let said = order(&world, &["set", "crm", "--quota", "5 per day"]);
    assert!(said.contains("crm: quota = 5 per day, by tester"), "{said}");
    wait_for_done(&world, 5);
    let known = limiter(&world, "crm");
    assert_eq!(known["spent"]["first_tries"], 5, "{known}");
    assert_eq!(known["left"], 0, "{known}");
    assert_eq!(known["overrides"]["quota"]["author"], "tester", "{known}");
    let list = world.iterd(&["limiter", "list"]).out;
    assert!(list.contains("5 per day*"), "{list}");
    assert!(
        list.contains("* crm: quota = \"5 per day\", set by tester at ")
            && list.contains("clear it: iterd limiter set crm --clear quota"),
        "{list}"
    );
    order(&world, &["pause", "crm", "--note", "their API is down"]);
    order(&world, &["set-spent", "crm", "1", "--retries", "1"]);
    daemon.kill();
    // What is stored says the same where nobody serves, and is steered there too.
    let known = limiter(&world, "crm");
    assert_eq!(known["paused"], true, "{known}");
    assert_eq!(known["paused_by"], "tester", "{known}");
    assert_eq!(known["left"], 3, "{known}");
    assert_eq!(
        known["spent"],
        json!({ "first_tries": 1, "retries": 1 }),
        "{known}"
    );
    assert!(
        world
            .iterd(&["limiter", "list"])
            .out
            .contains("paused by tester")
    );
    order(&world, &["resume", "crm"]);
    let _daemon = world.serve();
    wait_for_done(&world, 8);
    let status = world.iterd(&["status", "one"]).out;
    for told in [
        "crm: paused by tester: their API is down",
        "crm: resumed by tester",
    ] {
        assert!(status.contains(told), "{told:?} is missing in\n{status}");
    }
}

#[test]
fn a_limiter_is_closed_for_a_while_and_opened() {
    let world = shared();
    let _daemon = world.serve();
    order(&world, &["close", "crm", "--for", "2h"]);
    world.iterd(&["start", "one"]);
    world.wait_for(&["status", "one"], |answer| {
        answer.out.contains("waits for the limiter, which")
    });
    let known = limiter(&world, "crm");
    assert_eq!(known["closed_by"], "tester", "{known}");
    let list = world.iterd(&["limiter", "list"]).out;
    assert!(
        list.contains("closed until 20") && list.contains(" by tester"),
        "{list}"
    );
    order(&world, &["open", "crm"]);
    wait_for_done(&world, 2);
    for (arguments, code, why) in [
        (
            &["close", "crm", "--for", "32d"][..],
            exit::CONFLICT,
            "31 days at most",
        ),
        (
            &["close", "crm", "--until", "soon"],
            exit::USAGE,
            "is no time",
        ),
        (&["close", "crm"], exit::USAGE, "--until"),
        (&["pause", "crn"], exit::NOT_FOUND, "did you mean \"crm\"?"),
        (&["set", "crm"], exit::USAGE, "nothing to set"),
        (
            &["set", "crm", "--quota", "lots"],
            exit::INVALID,
            "limiters.crm.quota: \"lots\"",
        ),
        (
            &["set", "crm", "--clear", "pace"],
            exit::CONFLICT,
            "nothing to clear",
        ),
    ] {
        let answer = world.iterd(&[&["limiter"], arguments].concat());
        assert_eq!(answer.code, i32::from(code), "{answer:?}");
        assert!(answer.err.contains(why), "{answer:?}");
    }
}

/// The settings are read again: what runs under way share is changed, and so is the room that the
/// disk must have.
#[test]
fn a_hangup_takes_up_changed_limiters_and_the_disk_bound_for_runs_under_way() {
    let world = shared();
    let daemon = world.serve();
    world.iterd(&["start", "one"]);
    wait_for_done(&world, 2);
    let full = "[store]\ndisk_free_min = \"1000000 GiB\"\n";
    world.write("config/iterd.toml", format!("{full}{NARROW}"));
    daemon.signal(Signal::HUP);
    world.wait_for(&["status", "one"], |answer| {
        answer.out.contains("waits for room on the disk")
    });
    let wide = NARROW.replace("2 per day", "1000 per day");
    world.write("config/iterd.toml", format!("{full}{wide}"));
    daemon.signal(Signal::HUP);
    world.wait_for(&["limiter", "list", "crm", "--json"], |answer| {
        answer.json()["limiters"][0]["left"] == 998
    });
    assert_eq!(done(&world, "one"), 2);
    world.write("config/iterd.toml", wide);
    daemon.signal(Signal::HUP);
    wait_for_done(&world, 20);
}

#[test]
fn the_limiter_of_a_job_shows_and_takes_what_is_set_for_the_job() {
    let world = World::new();
    world.job("own", 20, "[limit]\nquota = \"2 per day\"\n");
    let _daemon = world.serve();
    world.iterd(&["start", "own"]);
    world.wait_for(&["jobs"], |_| done(&world, "own") == 2);
    order(&world, &["set", "job:own", "--quota", "4 per day"]);
    world.wait_for(&["jobs"], |_| done(&world, "own") == 4);
    let shown = world.iterd(&["show", "own"]).out;
    assert!(shown.contains("limit.quota = \"4 per day\""), "{shown}");
    order(&world, &["set", "job:own", "--clear"]);
    let known = limiter(&world, "job:own");
    assert_eq!(
        (&known["quota"], &known["left"]),
        (&json!("2 per day"), &json!(0))
    );
    order(&world, &["set-spent", "job:own", "0"]);
    world.wait_for(&["jobs"], |_| done(&world, "own") == 6);
}
