//! Steering a daemon that serves: start, pause, resume, stop, retry, and edits at SIGHUP.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bed::{Bed, Daemon};

/// A daemon that has taken note of the job.
fn serve(bed: &Bed) -> Daemon {
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the job to be known", || {
        bed.value("SELECT 1 FROM jobs WHERE name = 'j'") == Some(1)
    });
    daemon.until("the socket", || bed.path("state/iterd.sock").exists());
    daemon
}

fn until_status(bed: &Bed, daemon: &mut Daemon, status: &str) {
    daemon.until(status, || {
        bed.of_run::<String>("status").as_deref() == Some(status)
    });
}

fn done(bed: &Bed) -> u64 {
    bed.of_run::<i64>("done").unwrap_or(0).unsigned_abs()
}

/// Commands that make nothing, all at once.
fn at_once(bed: &Bed, times: usize, arguments: &[&str]) {
    let children: Vec<_> = (0..times)
        .map(|_| bed.command(arguments).spawn().unwrap())
        .collect();
    for mut child in children {
        child.wait().unwrap();
    }
}

#[test]
fn a_job_that_many_start_at_once_runs_once() {
    let bed = Bed::new();
    bed.records((0..300).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(0.002)\nreturn item");
    bed.job("concurrency = 2", "");
    let mut daemon = serve(&bed);
    at_once(&bed, 12, &["start", "j"]);
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(bed.results().len(), 300);
    assert_eq!(bed.call_count(), 300, "nobody ran it a second time");
}

/// Known is not started, and a job that has finished begins anew only when asked for.
#[test]
fn a_job_runs_when_it_is_started_and_anew_only_when_that_is_said() {
    let bed = Bed::new();
    bed.records((0..20).map(|n| json!({ "n": n })));
    bed.handler("", "return item");
    bed.job("", "");
    let mut daemon = serve(&bed);
    assert_eq!(bed.status()["status"], "not started");
    bed.ask(&["start", "j"]);
    until_status(&bed, &mut daemon, "succeeded");
    assert!(bed.ask(&["start", "j"]).contains("--again"));
    assert_eq!(bed.call_count(), 20);
    bed.ask(&["start", "j", "--again"]);
    daemon.until("the second run", || {
        bed.value("SELECT count(*) FROM runs") == Some(2)
    });
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(bed.call_count(), 40);
}

/// Record 5 hangs until somebody lets it go on.
const HANGS_AT_FIVE: &str = "if item[\"n\"] == 5:\n    wait_for_go()\nreturn item";

/// Pitfall 14: a pause holds although a worker hangs, and can be forced; the record that hung is done
/// again, and that counts as no attempt.
#[test]
fn a_pause_holds_beside_a_worker_that_hangs_and_can_be_forced() {
    let bed = Bed::new();
    bed.records((0..2_000).map(|n| json!({ "n": n })));
    bed.handler("", HANGS_AT_FIVE);
    bed.job("concurrency = 2\ntimeout = \"never\"", "");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("some records", || done(&bed) > 20);
    bed.ask(&["pause", "j", "--note", "lunch"]);
    daemon.until("only the worker that hangs", || {
        bed.status()["in_flight"] == 1
    });
    let status = bed.status();
    assert_eq!(status["status"], "paused");
    assert!(
        status["pause_reason"].as_str().unwrap().contains("lunch"),
        "{status}"
    );
    let calls = bed.call_count();
    let hung = bed.calls().iter().find(|call| call.index == 5).unwrap().pid;

    bed.ask(&["pause", "j", "--now"]);
    daemon.until("the worker's end", || !crate::bed::lives(hung));
    daemon.until("nothing in flight", || bed.status()["in_flight"] == 0);
    assert_eq!(bed.status()["status"], "paused");
    assert_eq!(
        bed.call_count(),
        calls,
        "nothing was called while it was paused"
    );

    bed.go();
    bed.ask(&["resume", "j"]);
    until_status(&bed, &mut daemon, "succeeded");
    let results = bed.results();
    assert_eq!(results.len(), 2_000);
    assert!(results.iter().all(|result| result["attempts"] == 1));
    assert_eq!(bed.calls_by_index()[&5], 2);
}

#[test]
fn a_stopped_job_goes_on_from_there_when_it_is_started_again() {
    let bed = Bed::new();
    bed.records((0..400).map(|n| json!({ "n": n })));
    bed.handler("", HANGS_AT_FIVE);
    bed.job("concurrency = 3\ntimeout = \"never\"", "");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("some records", || done(&bed) > 50);
    bed.ask(&["stop", "j"]);
    let status = bed.status();
    assert_eq!(
        (&status["status"], &status["live"]),
        (&json!("aborted"), &json!(false))
    );
    bed.go();
    bed.ask(&["start", "j"]);
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(bed.results().len(), 400);
    let twice = bed
        .calls_by_index()
        .values()
        .filter(|calls| **calls > 1)
        .count();
    assert!(
        twice <= 3,
        "only what was in flight is called again, not {twice}"
    );
}

#[test]
fn failed_records_are_done_again_when_somebody_says_so() {
    let bed = Bed::new();
    bed.records((0..100).map(|n| json!({ "n": n })));
    bed.handler(
        "",
        "if item[\"n\"] % 5 == 0 and not os.path.exists(GO):\n    raise KeyError(\"x\")\nreturn item",
    );
    bed.job(
        "concurrency = 4",
        "[retry]\nattempts = 1\n[pause_when]\nfailing = \"never\"\nfailed = \"never\"",
    );
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!((done(&bed), bed.of_run::<i64>("failed")), (80, Some(20)));
    bed.go();
    let answer: Value =
        serde_json::from_str(&bed.ask(&["retry", "j", "--index", "10", "--json"])).unwrap();
    assert_eq!(answer["items"], 1);
    daemon.until("that record", || done(&bed) == 81);
    bed.ask(&["retry", "j", "--error", "KeyError"]);
    daemon.until("all records", || done(&bed) == 100);
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(bed.of_run::<i64>("failed"), Some(0));
    assert_eq!(bed.results().len(), 100);
}

/// An edit of limit and retries applies to the run that is under way; one of the source does not.
#[test]
fn an_edited_job_applies_at_sighup_except_its_source() {
    let bed = Bed::new();
    bed.records((0..200).map(|n| json!({ "n": n })));
    bed.write("data/other.jsonl", "{\"n\": \"other\"}\n");
    bed.handler(
        "",
        "if call.attempt < 3:\n    raise IOError(\"not yet\")\nreturn item[\"n\"]",
    );
    let never = "[pause_when]\nfailing = \"never\"\nin_a_row = \"never\"\nfailed = \"never\"";
    bed.job(
        "concurrency = 2",
        &format!("[limit]\npace = \"1 per hour burst 2\"\n[retry]\nattempts = 1\n{never}"),
    );
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("the first failures", || {
        bed.of_run::<i64>("failed") == Some(2)
    });

    bed.job(
        "concurrency = 2",
        &format!("[limit]\npace = \"2000 per s\"\n[retry]\nattempts = 3\nfirst = \"1ms\"\n{never}"),
    );
    let edited = std::fs::read_to_string(bed.path("jobs/j.toml")).unwrap();
    bed.write("jobs/j.toml", edited.replace("in.jsonl", "other.jsonl"));
    daemon.signal(Signal::HUP);
    until_status(&bed, &mut daemon, "succeeded");
    let results = bed.results();
    assert_eq!(results.len(), 198, "it went on with its own source");
    assert!(
        results.iter().all(|result| result["attempts"] == 3),
        "and with the edited retries"
    );
    let status = bed.status();
    let told = status["events"].as_array().unwrap().iter().any(|event| {
        event["kind"] == "refused" && event["detail"].as_str().unwrap().contains("[source]")
    });
    assert!(told, "that the source stays is told: {status}");

    bed.ask(&["start", "j", "--again"]);
    daemon.until("the next run", || {
        bed.value("SELECT count(*) FROM runs") == Some(2)
    });
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(
        bed.results()[0]["result"],
        "other",
        "the next run has the other source"
    );
}

/// A daemon that is killed comes back with what was started, and with what was paused as it was.
#[test]
fn a_killed_daemon_goes_on_with_what_was_started_and_holds_what_was_paused() {
    let bed = Bed::new();
    bed.records((0..1_000).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(0.002)\nreturn item");
    bed.job("concurrency = 4", "");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("some records", || done(&bed) > 100);
    daemon.kill();
    let mut daemon = serve(&bed);
    let before = done(&bed);
    daemon.until("more records", || done(&bed) > before + 50);
    bed.ask(&["pause", "j"]);
    until_status(&bed, &mut daemon, "paused");
    daemon.kill();
    let calls = bed.call_count();
    let mut daemon = serve(&bed);
    daemon.until("it to be live", || bed.status()["live"] == true);
    assert_eq!(bed.status()["status"], "paused");
    assert_eq!(bed.call_count(), calls);
    bed.ask(&["resume", "j"]);
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(bed.results().len(), 1_000);
}

/// Where a daemon owns the directory, `run` hands the job over and follows it.
#[test]
fn a_second_run_follows_the_first() {
    let bed = Bed::new();
    bed.records((0..50).map(|n| json!({ "n": n })));
    bed.handler("", HANGS_AT_FIVE);
    bed.job("concurrency = 2", "");
    let mut first = bed.run();
    first.until("some records", || done(&bed) > 20);
    let second = bed.run();
    let third = bed.run();
    first.until("both to be handed over", || {
        bed.words().matches("owns this state").count() == 2
    });
    third.signal(Signal::INT);
    assert_eq!(third.code(), 130);
    bed.go();
    assert_eq!(second.code(), 0);
    assert_eq!(first.code(), 0);
    assert_eq!((bed.call_count(), bed.results().len()), (50, 50));
}
