//! `kill -9` of the daemon at random moments, whatever it is doing.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    bed::{Bed, Daemon, scale},
    log::What,
};

/// Kills the daemon so often, each time at another moment: on its way up, or after some calls of its
/// handler; then lets it run to its end. `bytes` is how long the log of calls will be at the least.
pub(crate) fn run_with_kills(bed: &Bed, kills: u64, bytes: u64) -> i32 {
    let step = bytes / (kills + 1);
    for round in 0..kills {
        kill_at_some_moment(bed, bed.run(), round, step);
    }
    bed.run().code()
}

fn kill_at_some_moment(bed: &Bed, mut daemon: Daemon, round: u64, step: u64) {
    if round % 4 == 3 {
        // On its way up: opening the store, taking the plugin, starting workers.
        let moment = Duration::from_micros(rand::random_range(0..200_000));
        daemon.ends_within(moment);
    } else {
        let enough = bed.log_bytes() + rand::random_range(1..=step.max(1));
        daemon.until("some calls", || bed.log_bytes() >= enough);
    }
    daemon.kill();
}

/// Bytes of the log that one call leaves at the least.
const CALL_BYTES: u64 = 200;

/// The results of the job, which must be those of all `records` records, once each, in order.
fn all_results(bed: &Bed, records: u64) -> Vec<Value> {
    let results = bed.results();
    let indices: Vec<u64> = results
        .iter()
        .map(|it| it["index"].as_u64().unwrap())
        .collect();
    assert!(
        indices.iter().copied().eq(0..records),
        "each record has one result, in order"
    );
    results
}

/// Each record was called with one key, however often.
fn check_keys(bed: &Bed) {
    let mut keys = BTreeMap::new();
    for call in bed.calls() {
        let key = keys.entry(call.index).or_insert_with(|| call.key.clone());
        assert_eq!(*key, call.key, "record {}", call.index);
    }
}

fn check_kills(process: &str, manifest: &str, slots: usize) {
    let (records, kills) = scale((3_000, 8), (100_000, 50));
    let bed = Bed::new();
    bed.records((0..records).map(|n| json!({ "n": n })));
    bed.handler(
        manifest,
        "time.sleep(random.random() * 0.004)\nreturn {\"twice\": item[\"n\"] * 2}",
    );
    bed.job(process, "");
    assert_eq!(run_with_kills(&bed, kills, records * CALL_BYTES), 0);

    for (n, result) in all_results(&bed, records).iter().enumerate() {
        assert_eq!(result["result"]["twice"], 2 * n, "{result}");
        assert_eq!(
            result["attempts"], 1,
            "a kill is no failed attempt: {result}"
        );
    }
    assert!(bed.calls().iter().all(|call| call.attempt == 1));
    check_keys(&bed);
    let calls = bed.call_count();
    let bound = usize::try_from(records).unwrap() + usize::try_from(kills).unwrap() * slots;
    assert!(
        calls <= bound,
        "{calls} calls, at most {bound} are explained by the kills"
    );
    println!("{records} records, {kills} kills, {calls} calls");
    let status = bed.status();
    assert_eq!(
        (&status["status"], &status["done"]),
        (&json!("succeeded"), &json!(records))
    );
}

/// Pitfalls 1, 4, 5, 13: no record is lost or done twice, and no attempt is counted.
#[test]
fn sixteen_workers_lose_and_repeat_nothing_however_often_the_daemon_is_killed() {
    check_kills("concurrency = 16", "", 16);
}

/// Pitfalls 1, 4, 5, 13: the same where each worker holds several records.
#[test]
fn four_workers_with_four_records_each_lose_and_repeat_nothing_either() {
    check_kills("concurrency = 16", "workers = 4\nin_flight = 4", 16);
}

/// The file of results holds each result once, those of retried records behind their places.
fn check_output(bed: &Bed) {
    let text = std::fs::read_to_string(bed.path("data/out.jsonl")).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["index"].as_u64());
    let results = bed.results();
    assert_eq!(lines.len(), results.len(), "lines of the file of results");
    for (line, result) in lines.iter().zip(&results) {
        for key in ["index", "id", "result", "version", "attempts"] {
            assert_eq!(line[key], result[key], "{line}");
        }
    }
}

/// Pitfalls 7, 13: records that fail keep the count of their attempts over every kill.
#[test]
fn attempts_are_exact_over_every_kill() {
    let (records, kills) = scale((600, 6), (20_000, 50));
    let fails = |n: u64| match n % 10 {
        3 => 2,
        7 => 9,
        _ => 0,
    };
    let bed = Bed::new();
    bed.records((0..records).map(|n| json!({ "n": n, "fails": fails(n) })));
    bed.handler(
        "",
        "time.sleep(random.random() * 0.01)\n\
         if call.attempt <= item[\"fails\"]:\n    raise LookupError(\"not yet\")\n\
         return item[\"n\"]",
    );
    bed.job(
        "concurrency = 8",
        "[retry]\nattempts = 4\nfirst = \"20ms\"\n\
         [pause_when]\nfailing = \"never\"\nin_a_row = \"never\"\nfailed = \"never\"\n\
         [output]\nkind = \"jsonl\"\npath = \"../data/out.jsonl\"",
    );
    assert_eq!(run_with_kills(&bed, kills, records * CALL_BYTES), 0);
    check_output(&bed);

    let results = bed.results();
    let failures: Vec<Value> = bed.lines(&["items", "j", "--json", "--max", "1000"]);
    let hopeless = (0..records).filter(|n| fails(*n) > 4).count();
    assert_eq!(results.len() + hopeless, usize::try_from(records).unwrap());
    for result in results {
        let index = result["index"].as_u64().unwrap();
        assert_eq!(result["attempts"], fails(index) + 1, "{result}");
    }
    assert_eq!(failures.len(), hopeless.min(1000));
    for failure in failures {
        let index = failure["index"].as_u64().unwrap();
        assert_eq!(
            (failure["attempts"].as_u64(), fails(index)),
            (Some(4), 9),
            "{failure}"
        );
        assert_eq!(failure["error"], "LookupError");
    }
    for call in bed.calls() {
        assert!(call.attempt <= 4.min(fails(call.index) + 1), "{call:?}");
    }
    check_keys(&bed);
}

/// Pitfalls 1, 24: in strict order, one at a time, no call ever overlaps another, not even one of a
/// killed daemon's worker; and they come in the order of the dataset.
#[test]
fn strict_order_is_kept_over_every_kill() {
    let (records, kills) = scale((400, 8), (10_000, 50));
    let bed = Bed::new();
    bed.records((0..records).map(|n| json!({ "n": n })));
    // It outlives a polite request, and is slow enough to be met alive.
    bed.handler("", "time.sleep(random.random() * 0.01)\nreturn item");
    bed.job("concurrency = 1\norder = \"strict\"", "");
    assert_eq!(run_with_kills(&bed, kills, records * CALL_BYTES), 0);
    all_results(&bed, records);

    let log = bed.log();
    let mut open = None;
    let mut last: Option<u64> = None;
    for line in &log {
        match line.what {
            What::Start => {
                let follows = last.map_or(0, |last| last + 1);
                let again = Some(line.index) == last;
                assert!(again || line.index == follows, "{line:?} after {last:?}");
                last = Some(line.index);
                open = Some((line.pid, line.at));
            }
            What::End => {
                let (pid, start) = open
                    .take()
                    .unwrap_or_else(|| panic!("{line:?} ends no open call"));
                assert_eq!(
                    Some(line.index),
                    last,
                    "a call of a former worker went on: {line:?}"
                );
                assert!(
                    pid == line.pid && start <= line.at,
                    "{line:?} ends the call of {pid}"
                );
            }
        }
    }
    let calls = u64::try_from(bed.call_count()).unwrap();
    assert!(calls <= records + kills, "{calls} calls");
}

/// Where the job wants to be asked, no record is ever called twice: what was in doubt is held.
#[test]
fn with_on_interrupt_hold_no_record_is_ever_called_twice() {
    let (records, kills) = scale((400, 6), (20_000, 50));
    let bed = Bed::new();
    bed.records((0..records).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(random.random() * 0.01)\nreturn item");
    bed.job("concurrency = 8\non_interrupt = \"hold\"", "");
    assert_eq!(run_with_kills(&bed, kills, records * CALL_BYTES), 10);
    let (results, held) = (
        bed.results().len(),
        bed.lines(&["items", "j", "--held", "--json", "--max", "1000"]),
    );
    assert!(bed.calls_by_index().values().all(|calls| *calls == 1));
    assert_eq!(u64::try_from(results + held.len()).unwrap(), records);
    assert!(
        held.len() <= usize::try_from(kills).unwrap() * 8,
        "{} held",
        held.len()
    );
    let status = bed.status();
    assert_eq!(
        (&status["status"], &status["held"]),
        (&json!("paused"), &json!(held.len()))
    );
}

/// Workers that are killed from outside cost attempts at the most, never a record.
#[test]
fn workers_that_are_killed_from_outside_lose_no_record() {
    let (records, kills) = scale((600, 15), (20_000, 200));
    let bed = Bed::new();
    bed.records((0..records).map(|n| json!({ "n": n })));
    bed.handler(
        "workers = 3\nin_flight = 2",
        "time.sleep(random.random() * 0.01)\nreturn item",
    );
    bed.job("concurrency = 6", "[retry]\nfirst = \"1ms\"");
    let mut daemon = bed.run();
    for _ in 0..kills {
        let enough = bed.log_bytes() + CALL_BYTES * rand::random_range(1..20);
        daemon.until("some calls", || bed.log_bytes() >= enough);
        let victim = bed.calls().last().unwrap().pid;
        let pid = Pid::from_raw(victim.try_into().unwrap()).unwrap();
        // Why ok: it may have been the one that was killed last.
        kill_process(pid, Signal::KILL).ok();
    }
    assert_eq!(daemon.code(), 0);
    all_results(&bed, records);
    check_keys(&bed);
}

/// Pitfall 11: somebody who holds the file's write lock holds the run up, and breaks nothing.
#[test]
fn a_lock_that_somebody_holds_on_the_file_is_waited_for() {
    let bed = Bed::new();
    bed.records((0..300).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(0.002)\nreturn item");
    bed.job("concurrency = 4", "");
    let mut daemon = bed.run();
    daemon.until("some records", || bed.of_run::<i64>("done") > Some(30));
    let somebody = rusqlite::Connection::open(bed.path("state/iterd.db")).unwrap();
    somebody.busy_timeout(Duration::from_mins(1)).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    let done = bed.of_run::<i64>("done");
    daemon.until("it to say what it waits for", || {
        bed.words().contains("cannot write for now")
    });
    assert_eq!(bed.of_run::<i64>("done"), done);
    somebody.execute_batch("ROLLBACK").unwrap();
    assert_eq!(daemon.code(), 0);
    all_results(&bed, 300);
    assert_eq!(bed.call_count(), 300);
}
