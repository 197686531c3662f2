//! What commands answer: JSON where it is asked for, help that fits a screen, the whole picture of a
//! job; and how two processes share a state directory.

use iterd::cli::exit;
use rustix::process::Signal;
use serde_json::json;

use super::world::World;

/// The lines of a terminal that nobody has enlarged.
const SCREEN_LINES: usize = 40;

/// The page with every command in a line.
const PAGE_LINES: usize = 40;

/// A job that takes its time: so many records, one in a tenth of a second.
fn slow_job(world: &World, name: &str, records: usize) {
    world.job(name, records, "[limit]\npace = \"10 per s\"\n");
}

#[test]
fn the_help_of_every_command_fits_a_screen() {
    let world = World::new();
    let top = world.iterd(&["--help"]);
    let lines = top.out.lines().skip(4).take_while(|line| !line.is_empty());
    // A group stands before the first of its commands.
    let command = |line: &str| line.get(7..)?.split_whitespace().next().map(str::to_owned);
    let names: Vec<String> = lines.filter_map(command).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let help = world.iterd(&[&name, "--help"]);
        assert_eq!(help.code, i32::from(exit::DONE), "{help:?}");
        assert!(help.out.lines().count() <= SCREEN_LINES, "{}", help.out);
    }
    assert!(top.out.lines().count() <= PAGE_LINES, "{}", top.out);
    assert!(
        top.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        top.out
    );
    assert!(
        !top.out.contains("more   "),
        "a command is in no group of src/cli/help.rs: {}",
        top.out
    );
}

#[test]
fn alone_iterd_shows_the_jobs_or_else_the_help() {
    let world = World::new();
    let help = world.iterd(&[]);
    assert_eq!(help.code, i32::from(exit::DONE), "{help:?}");
    assert!(help.out.contains("Usage: iterd"), "{help:?}");
    world.job("small", 2, "");
    world.iterd(&["run", "config/jobs/small.toml"]);
    let jobs = world.iterd(&[]);
    assert!(jobs.out.contains("small  finished"), "{jobs:?}");
}

#[test]
fn under_json_standard_output_is_json_alone() {
    let world = World::new();
    world.job("small", 3, "");
    let file = "config/jobs/small.toml";
    for arguments in [
        &["check", file][..],
        &["run", file],
        &["run", file],
        &["jobs"],
        &["status"],
        &["status", "small"],
        &["start", "small"],
        &["retry", "small"],
        &[],
    ] {
        let answer = world.iterd(&[arguments, &["--json"]].concat());
        assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
        assert!(answer.json().is_object(), "{answer:?}");
    }
    let results = world.iterd(&["results", "small", "--json"]);
    assert_eq!(
        results.json_lines()[1],
        json!({
            "index": 1, "id": "1", "result": { "id": "1", "text": "row 1" },
            "version": 1, "attempts": 1,
        })
    );
    assert_eq!(world.iterd(&["items", "small", "--json"]).out, "");
    for (arguments, code) in [
        (&["status", "nothing"][..], exit::NOT_FOUND),
        (&["pause", "small"], exit::CONFLICT),
        (&["run", "gone.toml"], exit::INVALID),
        (&["bogus"], exit::USAGE),
        (&["items"], exit::USAGE),
    ] {
        let answer = world.iterd(&[arguments, &["--json"]].concat());
        assert_eq!(answer.code, i32::from(code), "{answer:?}");
        assert_eq!(answer.out, "");
        let error = answer.err.lines().last().unwrap();
        let error: serde_json::Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["exit_code"], code, "{error}");
        assert!(!error["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn the_status_shows_figures_failures_events_and_the_next_step() {
    let world = World::new();
    world.job("mixed", 20, "[pause_when]\nfailed = \"100% of total\"\n");
    let rows = "id,text\n1,one\n2,\"two\"x\n3,three\n";
    world.write("config/jobs/mixed.csv", rows);
    world.iterd(&["run", "config/jobs/mixed.toml"]);
    let status = world.iterd(&["status", "mixed"]);
    for part in [
        "mixed  finished",
        "done       2 of 3 (66 %)",
        "failed     1",
        "calls      2 first",
        "plugin     identity",
        "job file   /",
        "1 × Iterd.RecordMalformed: line 3",
        "ended     succeeded",
        "results: iterd results mixed; failures: iterd items mixed",
    ] {
        assert!(
            status.out.contains(part),
            "{part:?} is missing in\n{}",
            status.out
        );
    }
}

#[test]
fn the_status_of_a_live_job_shows_rate_limit_disk_and_version() {
    let world = World::new();
    world.job(
        "live",
        500,
        "[limit]\npace = \"5 per s\"\nquota = \"400 per day\"\n",
    );
    let _daemon = world.serve();
    let started = world.iterd(&["start", "live"]);
    assert!(started.out.contains("live is started"), "{started:?}");
    let status = world.wait_for(&["status", "live"], |answer| answer.out.contains("about"));
    for part in [
        "live  running",
        " of 500 (",
        "to go",
        "limit      5 per s; 400 per day; ",
        " calls left until ",
        "plugin     identity, version 1",
        "disk       ",
    ] {
        assert!(
            status.out.contains(part),
            "{part:?} is missing in\n{}",
            status.out
        );
    }
    let paused = world.iterd(&["pause", "live", "--note", "the API is down"]);
    assert!(paused.out.contains("iterd resume live"), "{paused:?}");
    let status = world.iterd(&["status", "live"]);
    for part in [
        "paused by tester: the API is down",
        "go on: iterd resume live",
    ] {
        assert!(
            status.out.contains(part),
            "{part:?} is missing in\n{}",
            status.out
        );
    }
}

#[test]
fn a_cause_cannot_steer_the_terminal() {
    let world = World::new();
    world.write("data.jsonl", b"{\"a\":1}\n{\x1b]0;owned\x07\x1b[2J\n");
    world.write(
        "job.toml",
        "name = \"j\"\n[source]\nkind = \"jsonl\"\npath = \"data.jsonl\"\n[process]\nplugin = \"identity\"\n\
         [pause_when]\nfailed = \"100% of total\"\n",
    );
    world.iterd(&["run", "job.toml"]);
    for arguments in [
        &["items", "j"][..],
        &["status", "j"],
        &["check", "job.toml"],
    ] {
        let answer = world.iterd(arguments);
        assert!(answer.out.contains("owned"), "{answer:?}");
        let clean = |c: char| c == '\n' || !c.is_control();
        assert!(answer.out.chars().all(clean), "{answer:?}");
    }
}

#[test]
fn a_killed_run_is_shown_as_interrupted_and_goes_on_with_the_same_line() {
    let world = World::new();
    slow_job(&world, "slow", 30);
    let run = world.start(&["run", "config/jobs/slow.toml"]);
    world.wait_for(&["status", "slow", "--json"], |answer| {
        answer.code == 0 && answer.json()["done"].as_u64() > Some(5)
    });
    run.kill();
    let status = world.iterd(&["status", "slow"]);
    assert!(status.out.contains("slow  interrupted"), "{status:?}");
    assert!(status.out.contains("go on: iterd run /"), "{status:?}");
    let again = world.iterd(&["run", "config/jobs/slow.toml"]);
    assert_eq!(again.code, i32::from(exit::DONE), "{again:?}");
    assert!(again.out.contains("30 done, 0 failed"), "{again:?}");
    assert_eq!(world.iterd(&["results", "slow"]).out.lines().count(), 30);
}

#[test]
fn an_interrupted_run_tells_how_far_it_came() {
    let world = World::new();
    slow_job(&world, "slow", 100);
    let mut run = world.start(&["run", "config/jobs/slow.toml"]);
    run.wait_for_line("slow: a new run");
    run.signal(Signal::INT);
    run.wait_for_line("go on: iterd run config/jobs/slow.toml");
    assert_eq!(run.end().code(), Some(i32::from(exit::INTERRUPTED)));
    assert!(!world.state().join("iterd.sock").exists());
}

#[test]
fn a_second_daemon_says_who_owns_the_directory_and_a_run_is_handed_over() {
    let world = World::new();
    world.job("small", 3, "");
    let daemon = world.serve();
    let second = world.iterd(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, i32::from(exit::STATE), "{second:?}");
    assert!(
        second
            .err
            .contains(&format!("in use by process {}", daemon.pid())),
        "{second:?}"
    );
    let run = world.iterd(&["run", "config/jobs/small.toml"]);
    assert_eq!(run.code, i32::from(exit::DONE), "{run:?}");
    assert!(run.err.contains("another process owns"), "{run:?}");
    assert!(run.out.contains("3 done, 0 failed"), "{run:?}");
}

#[test]
fn a_run_takes_over_when_the_process_that_it_watches_ends() {
    let world = World::new();
    slow_job(&world, "first", 400);
    slow_job(&world, "second", 15);
    let mut owner = world.start(&["run", "config/jobs/first.toml"]);
    owner.wait_for_line("first: a new run");
    let mut watcher = world.start(&["run", "config/jobs/second.toml"]);
    watcher.wait_for_line("another process owns this state directory");
    owner.kill();
    watcher.wait_for_line("going on here");
    assert_eq!(watcher.end().code(), Some(i32::from(exit::DONE)));
    let status = world.iterd(&["status", "second", "--json"]).json();
    assert_eq!(status["done"], 15);
    let status = world.iterd(&["status", "first", "--json"]).json();
    assert_eq!(status["status"], "running");
}

#[test]
fn what_is_started_where_nobody_keeps_jobs_running_says_so() {
    let world = World::new();
    slow_job(&world, "slow", 100);
    let mut run = world.start(&["run", "config/jobs/slow.toml"]);
    run.wait_for_line("slow: a new run");
    run.kill();
    let started = world.iterd(&["start", "slow"]);
    assert_eq!(started.code, i32::from(exit::DONE), "{started:?}");
    assert!(
        started.out.contains("nobody keeps jobs running here now"),
        "{started:?}"
    );
    let paused = world.iterd(&["pause", "slow"]);
    assert_eq!(paused.code, i32::from(exit::DONE), "{paused:?}");
    let daemon = world.serve();
    let status = world.iterd(&["status", "slow", "--json"]).json();
    assert_eq!(status["status"], "paused");
    assert_eq!(status["live"], true);
    drop(daemon);
}

#[test]
fn every_setting_is_shown_with_its_origin() {
    let world = World::new();
    world.write("config/iterd.toml", "[items]\npage_items_max = 7\n");
    let shown = world.iterd(&["show"]);
    assert_eq!(shown.code, i32::from(exit::DONE), "{shown:?}");
    let line = shown
        .out
        .lines()
        .find(|line| line.starts_with("items.page_items_max = 7 "))
        .unwrap();
    assert!(line.ends_with("config/iterd.toml:2:18"), "{line}");
    assert!(
        shown.out.contains("listen = \"127.0.0.1:8083\"\n"),
        "{shown:?}"
    );
    let answer = world.iterd(&["show", "--json"]).json();
    assert!(answer["settings"].as_array().unwrap().len() > 20);
}

#[test]
fn a_check_tells_records_least_time_and_what_a_service_would_not_reach() {
    let world = World::new();
    world.job("small", 300, "[limit]\npace = \"1 per s\"\n");
    let file = "config/jobs/small.toml";
    let answer = world.iterd(&["check", file]);
    let first = answer.out.lines().next().unwrap();
    let expected =
        "small: 300 records for plugin identity; its limits let them through in 4 min 59 s at best";
    assert_eq!(first, expected);
    assert!(!answer.out.contains("StartAt"), "{answer:?}");
    let answer = world.iterd(&["check", file, "--definition"]);
    assert!(answer.out.contains("\"StartAt\": \"Items\""), "{answer:?}");
    // The world lies in a place for temporary files, of which the service has one of its own.
    let answer = world.iterd(&["check", file, "--as-service"]);
    assert!(
        answer.out.contains("is hidden from the service"),
        "{answer:?}"
    );
    assert!(answer.out.contains("BindReadOnlyPaths=/"), "{answer:?}");
    assert!(!world.state().exists());
}
