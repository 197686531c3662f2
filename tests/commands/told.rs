//! `[notify]`: a command is told what happens, at least once and with the same id each time, through
//! its own failures and through kills of the daemon.

use std::{
    collections::HashSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use iterd::cli::exit;
use rustix::fs::{Mode, mkfifoat};
use serde_json::Value;

use super::world::World;

/// Notes what it is told, a line each.
const NOTES: &str = "#!/bin/sh\ncat >> told.jsonl\n";

/// A job whose command is this script.
fn job_with(world: &World, script: &str, more: &str) {
    world.write("config/jobs/page.sh", script);
    let path = world.path("config/jobs/page.sh");
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    let notify = format!("{more}[notify]\ncommand = [\"./page.sh\"]\n");
    world.job("slow", 500, &notify);
}

/// What the command was told so far.
fn told(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(world.path("config/jobs/told.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

const PACE: &str = "[limit]\npace = \"10 per s\"\n";

#[test]
fn a_command_that_fails_twice_is_told_a_third_time_under_the_same_id() {
    let world = World::new();
    let script = "#!/bin/sh\ncat >> told.jsonl\n\
                  [ $(wc -l < told.jsonl) -ge 3 ] || { echo the pager is down >&2; exit 1; }\n\
                  echo paged\n";
    job_with(&world, script, PACE);
    let _daemon = world.serve();
    world.iterd(&["start", "slow"]);
    world.iterd(&["pause", "slow", "--note", "lunch"]);
    let log = world.wait_for(&["log", "slow"], |answer| answer.out.contains("  told  "));
    assert!(log.out.contains("paused, to "), "{log:?}");
    assert!(
        log.out
            .contains("exit status: 1: the pager is down; it is tried 19 times more"),
        "{log:?}"
    );
    assert!(log.out.contains("page.sh: paged"), "{log:?}");
    let told = told(&world);
    let attempts: Vec<_> = told.iter().map(|event| event["attempt"].as_u64()).collect();
    assert_eq!(attempts, [Some(1), Some(2), Some(3)]);
    let ids: HashSet<&str> = told
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    assert_eq!(ids.len(), 1, "{told:?}");
    assert_eq!(told[0]["event"], "paused");
    assert_eq!(told[0]["author"], "tester");
    assert_eq!(told[0]["message"], "slow paused by tester: lunch");
    assert_eq!(told[0]["run"]["status"], "paused");
    // The run was not touched by any of it.
    world.iterd(&["resume", "slow"]);
    world.wait_for(&["status", "slow", "--json"], |answer| {
        answer.json()["status"] == "running"
    });
}

#[test]
fn what_was_not_told_before_a_kill_is_told_by_the_next_daemon() {
    let world = World::new();
    // It notes what it is told, and waits for the gate where there is one.
    let script = "#!/bin/sh\ncat >> told.jsonl\n[ -p gate ] && read line < gate\nexit 0\n";
    job_with(&world, script, PACE);
    let gate = world.path("config/jobs/gate");
    mkfifoat(rustix::fs::CWD, &gate, Mode::RWXU).unwrap();
    let daemon = world.serve();
    world.iterd(&["start", "slow"]);
    world.iterd(&["pause", "slow"]);
    // It has begun to tell, and dies before it knows how that came out.
    world.wait_for(&["jobs"], |_| told(&world).len() == 1);
    daemon.kill();
    fs::write(&gate, "\n").unwrap();
    fs::remove_file(&gate).unwrap();
    let daemon = world.serve();
    world.wait_for(&["log", "slow"], |answer| answer.out.contains("  told  "));
    let first = told(&world);
    assert_eq!(first.len(), 2);
    assert_eq!(first[0]["id"], first[1]["id"]);
    // A further start tells nothing again.
    daemon.kill();
    let _daemon = world.serve();
    world.iterd(&["resume", "slow"]);
    world.iterd(&["stop", "slow"]);
    world.wait_for(&["jobs"], |_| told(&world).len() > 2);
    let events: Vec<Value> = told(&world)
        .iter()
        .map(|told| told["event"].clone())
        .collect();
    assert_eq!(events, ["paused", "paused", "failed"]);
}

#[test]
fn a_pause_where_nobody_serves_is_told_once_somebody_does() {
    let world = World::new();
    job_with(&world, NOTES, PACE);
    let daemon = world.serve();
    world.iterd(&["start", "slow"]);
    daemon.kill();
    let paused = world.iterd(&["pause", "slow"]);
    assert_eq!(paused.code, i32::from(exit::DONE), "{paused:?}");
    assert!(told(&world).is_empty());
    let status = world.iterd(&["status", "slow"]);
    assert!(
        status.out.contains("notify     1 still to be told"),
        "{status:?}"
    );
    let _daemon = world.serve();
    world.wait_for(&["jobs"], |_| told(&world).len() == 1);
}

#[test]
fn a_run_in_the_foreground_tells_its_end_before_it_leaves() {
    let world = World::new();
    job_with(&world, NOTES, "");
    let run = world.iterd(&["run", "config/jobs/slow.toml"]);
    assert_eq!(run.code, i32::from(exit::DONE), "{run:?}");
    let told = told(&world);
    assert_eq!(told.len(), 1, "{run:?}");
    assert_eq!(told[0]["event"], "finished");
    assert_eq!(told[0]["run"]["done"], 500);
}

#[test]
fn a_command_has_nothing_of_the_daemons_environment_but_the_path() {
    let world = World::new();
    job_with(&world, "#!/bin/sh\nenv >> env.txt\ncat >> told.jsonl\n", "");
    world.iterd(&["run", "config/jobs/slow.toml"]);
    let seen = fs::read_to_string(world.path("config/jobs/env.txt")).unwrap();
    assert!(seen.contains("PATH="), "{seen}");
    // The daemon has a HOME and a USER in these tests; a shell sets PWD and the like by itself.
    assert!(!seen.contains("HOME=") && !seen.contains("USER="), "{seen}");
}

#[test]
fn a_test_shows_what_the_command_answers() {
    let world = World::new();
    job_with(
        &world,
        "#!/bin/sh\ncat >> told.jsonl\necho paged anna\n",
        "",
    );
    world.job("silent", 2, "");
    world.iterd(&["run", "config/jobs/slow.toml"]);
    world.iterd(&["run", "config/jobs/silent.toml"]);
    let tried = world.iterd(&["notify", "test", "slow"]);
    assert_eq!(tried.code, i32::from(exit::DONE), "{tried:?}");
    assert!(tried.out.contains("page.sh was told"), "{tried:?}");
    assert!(tried.out.contains("it said:\n  paged anna"), "{tried:?}");
    assert_eq!(told(&world).last().unwrap()["event"], "test");
    world.write(
        "config/jobs/page.sh",
        "#!/bin/sh\necho broken >&2\nexit 3\n",
    );
    let tried = world.iterd(&["notify", "test", "slow", "--json"]);
    assert_eq!(tried.code, i32::from(exit::FAILED), "{tried:?}");
    assert_eq!(tried.json()["failure"], "exit status: 3: broken");
    let tried = world.iterd(&["notify", "test", "silent"]);
    assert_eq!(tried.code, i32::from(exit::CONFLICT), "{tried:?}");
    assert!(tried.err.contains("has no [notify]"), "{tried:?}");
}
