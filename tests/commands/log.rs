//! What happened, why a job stands as it does, and what monitoring is told.

use iterd::cli::exit;
use serde_json::Value;

use super::world::{Answer, World};

/// A job that takes its time, so that it is still going when somebody looks.
fn slow_job(world: &World, name: &str) {
    world.job(name, 500, "[limit]\npace = \"10 per s\"\n");
}

/// The kinds of a log's events, in order.
fn kinds(log: &Answer) -> Vec<String> {
    let kind = |event: &Value| event["kind"].as_str().unwrap().to_owned();
    log.json_lines().iter().map(kind).collect()
}

#[test]
fn the_log_tells_who_did_what_the_newest_last() {
    let world = World::new();
    slow_job(&world, "slow");
    let _daemon = world.serve();
    world.iterd(&["start", "slow"]);
    world.iterd(&["pause", "slow", "--note", "the API is down"]);
    world.iterd(&["resume", "slow"]);
    world.iterd(&["stop", "slow"]);
    let log = world.iterd(&["log", "slow"]);
    assert_eq!(log.code, i32::from(exit::DONE), "{log:?}");
    let mut lines = log.out.lines().filter(|line| !line.contains("deployed"));
    for part in [
        "started   by tester: run 1",
        "paused    by tester: the API is down",
        "resumed   by tester",
        "stopped   by tester",
        "ended     aborted",
    ] {
        let line = lines.next().unwrap_or_default();
        assert!(line.ends_with(part), "{part:?} should end {line:?}");
    }
    let all = kinds(&world.iterd(&["log", "--json"]));
    assert_eq!(all[0], "daemon started", "{all:?}");
    let paused = world.iterd(&["log", "slow", "--kind", "paused", "--since", "1h", "--json"]);
    let paused = &paused.json_lines()[0];
    assert_eq!(paused["author"], "tester");
    assert_eq!(paused["reason"], "operator");
    let last = world.iterd(&["log", "slow", "--max", "1"]);
    assert!(last.out.contains("ended"), "{last:?}");
    assert!(
        last.err.contains("there are older ones: --before "),
        "{last:?}"
    );
}

#[test]
fn an_unknown_kind_and_an_odd_instant_are_refused_with_what_is_right() {
    let world = World::new();
    world.job("small", 2, "");
    world.iterd(&["run", "config/jobs/small.toml"]);
    let refused = world.iterd(&["log", "--kind", "exploded"]);
    assert_eq!(refused.code, i32::from(exit::INVALID), "{refused:?}");
    assert!(refused.err.contains("not-deployed"), "{refused:?}");
    let refused = world.iterd(&["log", "--since", "yesterday"]);
    assert_eq!(refused.code, i32::from(exit::USAGE), "{refused:?}");
    let refused = world.iterd(&["log", "smal"]);
    assert_eq!(refused.code, i32::from(exit::NOT_FOUND), "{refused:?}");
}

#[test]
fn an_edit_is_told_key_by_key() {
    let world = World::new();
    slow_job(&world, "slow");
    let mut daemon = world.serve();
    world.iterd(&["start", "slow"]);
    world.job("slow", 500, "[limit]\npace = \"20 per s\"\n");
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for_line("reloaded");
    let log = world.iterd(&["log", "slow", "--kind", "edited"]);
    let told = "edited    limit.pace: \"10 per s\" -> \"20 per s\"";
    assert!(log.out.contains(told), "{log:?}");
}

#[test]
fn a_kill_is_told_to_each_job_that_was_live_and_an_orderly_end_is_not() {
    let world = World::new();
    slow_job(&world, "slow");
    let daemon = world.serve();
    world.iterd(&["start", "slow"]);
    world.wait_for(&["status", "slow", "--json"], |answer| {
        answer.json()["done"].as_u64() > Some(2)
    });
    daemon.kill();
    let daemon = world.serve();
    for job in [
        &["log", "slow", "--kind", "away"][..],
        &["log", "--kind", "away"],
    ] {
        let log = world.iterd(job);
        assert!(log.out.contains("the daemon went away between "), "{log:?}");
        assert!(
            log.out.contains("in doubt") || log.out.contains("no call"),
            "{log:?}"
        );
    }
    daemon.signal(rustix::process::Signal::TERM);
    daemon.end();
    let _daemon = world.serve();
    let all = kinds(&world.iterd(&["log", "--json", "--max", "1000"]));
    let count = |kind: &str| all.iter().filter(|found| *found == kind).count();
    assert_eq!(count("daemon started"), 3, "{all:?}");
    assert_eq!(count("daemon ended"), 1, "{all:?}");
    assert_eq!(
        count("away"),
        2,
        "once for the daemon, once for the job: {all:?}"
    );
}

#[test]
fn why_is_one_sentence_with_the_next_command() {
    let world = World::new();
    slow_job(&world, "slow");
    world.job("daily", 9, "[limit]\nquota = \"3 per day\"\n");
    let daemon = world.serve();
    let idle = world.iterd(&["why", "slow"]);
    assert_eq!(
        idle.out, "slow: not started; start it: iterd start slow\n",
        "{idle:?}"
    );
    world.iterd(&["start", "slow"]);
    world.iterd(&["start", "daily"]);
    let running = "/s, limited by the pace of 10 per s\n";
    let running = world.wait_for(&["why", "slow"], |answer| answer.out.ends_with(running));
    assert!(running.out.starts_with("slow: running"), "{running:?}");
    let spent = world.wait_for(&["why", "daily"], |answer| answer.out.contains("waits"));
    let told = "daily: waits for the quota of 3 per day, which is spent until ";
    assert!(spent.out.starts_with(told), "{spent:?}");
    assert_eq!(spent.out.lines().count(), 1);
    world.iterd(&["pause", "slow", "--note", "lunch"]);
    let paused = world.iterd(&["why", "slow", "--json"]).json();
    assert_eq!(paused["kind"], "operator", "{paused}");
    let why = paused["why"].as_str().unwrap();
    assert!(
        why.contains("by tester: lunch; go on: iterd resume slow"),
        "{why}"
    );
    daemon.kill();
    let gone = world.iterd(&["why", "daily"]);
    assert!(
        gone.out
            .contains("interrupted: nobody keeps it running now"),
        "{gone:?}"
    );
}

#[test]
fn a_check_tells_monitoring_by_its_exit_code() {
    let world = World::new();
    slow_job(&world, "slow");
    let check = |more: &[&str]| world.iterd(&[&["status", "--check"][..], more].concat());
    let unknown = check(&[]);
    assert_eq!(unknown.code, i32::from(exit::CHECK_UNKNOWN), "{unknown:?}");
    let daemon = world.serve();
    world.iterd(&["start", "slow"]);
    let well = check(&[]);
    assert_eq!(well.code, i32::from(exit::CHECK_WELL), "{well:?}");
    assert!(
        well.out.starts_with("ITERD OK - 1 running | jobs=1 "),
        "{well:?}"
    );
    world.iterd(&["pause", "slow"]);
    let attention = check(&["slow", "--json"]);
    assert_eq!(
        attention.code,
        i32::from(exit::CHECK_ATTENTION),
        "{attention:?}"
    );
    assert_eq!(attention.json()["findings"][0]["level"], "warning");
    assert_eq!(check(&["nobody"]).code, i32::from(exit::CHECK_UNKNOWN));
    daemon.kill();
    let down = check(&[]);
    assert_eq!(down.code, i32::from(exit::CHECK_DOWN), "{down:?}");
    assert!(down.out.contains("the daemon is not running"), "{down:?}");
}

#[test]
fn watching_needs_a_terminal() {
    let world = World::new();
    world.job("small", 2, "");
    world.iterd(&["run", "config/jobs/small.toml"]);
    let refused = world.iterd(&["status", "--watch"]);
    assert_eq!(refused.code, i32::from(exit::USAGE), "{refused:?}");
}
