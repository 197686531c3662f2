//! Graceful ends: SIGTERM and Ctrl-C drain within their time, a second Ctrl-C stops at once.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Bed, Daemon};

/// What a busy machine may add to the time that an end takes.
const MARGIN: Duration = Duration::from_secs(10);

/// How long workers have between the order to end and their kill.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Every record of `records` has its result, at the first attempt; answers the calls beyond one each.
fn check_all_done(bed: &Bed, records: usize) -> usize {
    let results = bed.results();
    assert_eq!(results.len(), records);
    assert!(results.iter().all(|result| result["attempts"] == 1));
    bed.call_count() - records
}

/// Pitfall 20: what finishes in time is not called again.
#[test]
fn sigterm_under_full_load_lets_what_is_in_flight_finish() {
    let bed = Bed::new();
    bed.records((0..1_500).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(random.random() * 0.02)\nreturn item");
    bed.job(
        "concurrency = 16",
        "[output]\nkind = \"jsonl\"\npath = \"../data/out.jsonl\"",
    );
    for _ in 0..3 {
        let mut daemon = bed.run();
        let enough = bed.call_count() + 150;
        daemon.until("full load", || bed.call_count() > enough);
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.code(), 130);
    }
    assert_eq!(bed.run().code(), 0);
    assert_eq!(check_all_done(&bed, 1_500), 0, "nothing was cut off");
    let out = std::fs::read_to_string(bed.path("data/out.jsonl")).unwrap();
    assert_eq!(out.lines().count(), 1_500);
}

/// Pitfall 20: workers that hang and ignore every request do not hold up the end.
#[test]
fn sigterm_ends_within_the_grace_time_whatever_hangs() {
    let bed = Bed::new();
    bed.write("iterd.toml", "shutdown_grace = \"1s\"\n");
    bed.records((0..600).map(|n| json!({ "n": n })));
    bed.handler(
        "",
        "if item[\"n\"] % 100 == 7:\n    wait_for_go()\nreturn item",
    );
    let ignores = std::fs::read_to_string(bed.path("plugins/h/handler.py")).unwrap();
    let ignores =
        format!("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{ignores}");
    bed.write("plugins/h/handler.py", ignores);
    bed.job("concurrency = 8\ntimeout = \"never\"", "");
    for command in [
        ["run", "jobs/j.toml"].as_slice(),
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let mut daemon = bed.daemon(command);
        let before = bed.of_run::<i64>("done").unwrap_or(0);
        daemon.until("some work", || {
            bed.of_run::<i64>("done").unwrap_or(0) > before + 20
        });
        let begin = Instant::now();
        daemon.signal(Signal::TERM);
        let code = daemon.code();
        assert_eq!(code, if command[0] == "run" { 130 } else { 0 });
        let took = begin.elapsed();
        assert!(
            took < Duration::from_secs(1) + WORKER_GRACE + MARGIN,
            "{command:?}: {took:?}"
        );
    }
    bed.go();
    assert_eq!(bed.run().code(), 0);
    let again = check_all_done(&bed, 600);
    assert!(
        (1..=16).contains(&again),
        "what hung is called again, not {again} others"
    );
}

/// A daemon whose four calls wait.
fn four_waiting_calls(bed: &Bed) -> Daemon {
    bed.records((0..40).map(|n| json!({ "n": n })));
    bed.handler("", "wait_for_go()\nreturn item");
    bed.job("concurrency = 4\ntimeout = \"never\"", "");
    let mut daemon = bed.run();
    daemon.until("four calls", || bed.call_count() == 4);
    daemon
}

#[test]
fn ctrl_c_finishes_what_is_in_flight_and_takes_nothing_new() {
    let bed = Bed::new();
    let mut daemon = four_waiting_calls(&bed);
    daemon.signal(Signal::INT);
    daemon.until("it to say so", || {
        bed.words().contains("finishing what is in flight")
    });
    bed.go();
    assert_eq!(daemon.code(), 130);
    assert_eq!((bed.call_count(), bed.results().len()), (4, 4));
    assert!(bed.words().contains("go on: iterd run"), "{}", bed.words());
    assert_eq!(bed.run().code(), 0);
    assert_eq!(check_all_done(&bed, 40), 0);
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let bed = Bed::new();
    let mut daemon = four_waiting_calls(&bed);
    daemon.signal(Signal::INT);
    daemon.until("it to say so", || {
        bed.words().contains("finishing what is in flight")
    });
    let begin = Instant::now();
    daemon.signal(Signal::INT);
    assert_eq!(daemon.code(), 130);
    let took = begin.elapsed();
    assert!(
        took < WORKER_GRACE + MARGIN,
        "{took:?}, and the grace time is 30 s"
    );
    assert_eq!(bed.results().len(), 0);
    bed.go();
    assert_eq!(bed.run().code(), 0);
    assert_eq!(
        check_all_done(&bed, 40),
        4,
        "the four that were cut off are called again"
    );
}
