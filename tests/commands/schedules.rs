//! Jobs that the daemon starts by their schedules.

use rustix::process::Signal;
use serde_json::Value;

use super::world::{Running, World};

/// The events of a job, newest first, as `kind detail`.
fn events(world: &World, job: &str) -> Vec<String> {
    let status = world.iterd(&["status", job, "--json"]);
    if status.code != 0 {
        return Vec::new();
    }
    let status = status.json();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events = status["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| format!("{} {}", text(event, "kind"), text(event, "detail")))
        .collect()
}

fn wait_for_events(world: &World, job: &str, kind: &str, count: usize) -> Vec<String> {
    let of_kind = |events: &[String]| {
        let found = events.iter().filter(|event| event.starts_with(kind));
        found.count()
    };
    world.wait_for(&["status", job, "--json"], |_| {
        of_kind(&events(world, job)) >= count
    });
    events(world, job)
}

#[test]
fn a_job_is_started_each_time_its_schedule_fires() {
    let world = World::new();
    world.job("often", 2, "[schedule]\ncron = \"* * * * * *\"\n");
    let _daemon = world.serve();
    wait_for_events(&world, "often", "started", 3);
    let status = world.iterd(&["status", "often", "--json"]).json();
    assert!(status["run"].as_u64() >= Some(3), "{status}");
    assert_eq!(world.iterd(&["results", "often"]).out.lines().count(), 2);
}

#[test]
fn a_start_that_meets_a_run_is_skipped_and_the_event_says_so() {
    let world = World::new();
    world.job(
        "long",
        1000,
        "[limit]\npace = \"1 per s\"\n[schedule]\ncron = \"* * * * * *\"\n",
    );
    let _daemon = world.serve();
    let events = wait_for_events(&world, "long", "skipped", 2);
    assert!(events.iter().any(|event| event.contains("still running")));
    let started = |event: &&String| event.starts_with("started");
    assert_eq!(events.iter().filter(started).count(), 1, "{events:?}");
}

#[test]
fn a_start_that_meets_a_run_waits_for_its_end_where_the_job_says_so() {
    let world = World::new();
    world.job(
        "queued",
        3,
        "[limit]\npace = \"1 per s\"\n[schedule]\ncron = \"* * * * * *\"\noverlap = \"queue\"\n",
    );
    let _daemon = world.serve();
    let events = wait_for_events(&world, "queued", "started", 2);
    assert!(
        !events.iter().any(|event| event.starts_with("skipped")),
        "{events:?}"
    );
}

#[test]
fn outside_of_its_hours_a_run_waits_and_an_edit_of_them_lets_it_go_on() {
    let world = World::new();
    world.job(
        "nightly",
        4,
        "[schedule]\nblackout = [\"2000-01-01..2999-12-31\"]\n",
    );
    let daemon = world.serve();
    world.iterd(&["start", "nightly"]);
    let status = world.wait_for(&["status", "nightly"], |answer| {
        answer
            .out
            .contains("waits for the hours of its schedule, until 3000-01-01")
    });
    assert!(status.out.contains("done       0 of"), "{status:?}");
    world.job("nightly", 4, "");
    daemon.signal(Signal::HUP);
    world.wait_for(&["status", "nightly"], |answer| {
        answer.out.contains("nightly  finished")
    });
}

/// Serves a job once, and again after a downtime of more than a year, which starts of `cron` fell into.
fn after_downtime(world: &World, cron: &str, catch_up: &str) -> Running {
    let schedule = format!("[schedule]\ncron = \"{cron}\"\ncatch_up = \"{catch_up}\"\n");
    world.job("rare", 1, &schedule);
    let daemon = world.serve();
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
    set_registered_back(world);
    world.serve()
}

/// As if every job had been known for 400 days.
fn set_registered_back(world: &World) {
    let db = rusqlite::Connection::open(world.state().join("iterd.db")).unwrap();
    db.execute(
        "UPDATE jobs SET registered_us = registered_us - 400 * 86400000000",
        [],
    )
    .unwrap();
}

/// One start a year: nobody runs this in the second in which it fires.
fn check_downtime(catch_up: &str, kind: &str) {
    let world = World::new();
    let _daemon = after_downtime(&world, "0 0 1 1 *", catch_up);
    let events = wait_for_events(&world, "rare", kind, 1);
    let acted: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("started") || event.starts_with("missed"))
        .collect();
    assert_eq!(acted.len(), 1, "{events:?}");
}

#[test]
fn after_a_downtime_one_start_is_made_up_for_or_none() {
    check_downtime("one", "started");
    check_downtime("none", "missed");
}

#[test]
fn after_a_downtime_each_start_is_made_up_for_where_the_job_says_so() {
    let world = World::new();
    let _daemon = after_downtime(&world, "0 0 1 */4 *", "all");
    wait_for_events(&world, "rare", "started", 3);
}

#[test]
fn a_schedule_that_an_edit_brings_begins_with_the_edit() {
    let world = World::new();
    world.job("edited", 1, "");
    let mut daemon = world.serve();
    set_registered_back(&world);
    world.job("edited", 1, "[schedule]\ncron = \"0 0 1 1 *\"\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_line("reloaded");
    // What it would have started since it was first known was not missed.
    let db = rusqlite::Connection::open(world.state().join("iterd.db")).unwrap();
    let query = "SELECT scheduled_us > registered_us + 399 * 86400000000 FROM jobs";
    assert!(
        db.query_row(query, [], |row| row.get::<_, bool>(0))
            .unwrap()
    );
    world.job("edited", 1, "[schedule]\ncron = \"* * * * * *\"\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_line("reloaded");
    wait_for_events(&world, "edited", "started", 2);
}
