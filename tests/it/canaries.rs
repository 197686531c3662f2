//! Versions that prove themselves in a run of the real daemon: what a broken one costs, what a kill
//! leaves of the proof, how soon a fix reaches the records that waited for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::bed::{Bed, Daemon, scale};

fn serve(bed: &Bed) -> Daemon {
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the job to be known", || {
        bed.value("SELECT 1 FROM jobs WHERE name = 'j'") == Some(1)
    });
    daemon.until("the socket", || bed.path("state/iterd.sock").exists());
    daemon
}

fn plugin(bed: &Bed, manifest: &str, code: &str) {
    bed.write("plugins/h/handler.py", code);
    bed.write(
        "plugins/h/plugin.toml",
        format!("name = \"h\"\nhandler = \"handler.py:handle\"\n{manifest}\n"),
    );
}

/// A handler of 5 ms that says which version it is.
fn good(version: u32) -> String {
    format!("import time\n\ndef handle(item):\n    time.sleep(0.005)\n    return {version}\n")
}

/// One that is broken in a way of its own.
fn broken(version: u32, every: u32) -> String {
    let text = match (version / every) % 3 {
        0 => "import no_such_module\n\ndef handle(item):\n    return -1\n",
        1 => "import os\n\ndef handle(item):\n    os._exit(7)\n",
        _ => "def handle(item):\n    raise ValueError('always')\n",
    };
    format!("# version {version}\n{text}")
}

fn in_force(bed: &Bed) -> Option<i64> {
    bed.value("SELECT version FROM plugins_in_force")
}

/// Of so many versions one is broken. Why the first of them: the run must not end before the last one has
/// shown what it is.
fn is_broken(version: u32, every: u32) -> bool {
    version % every == 1
}

/// How long the run takes with that many deployments, evenly through it, of which every so-many-th is
/// broken.
fn run(items: u32, in_flight: u32, deployments: u32, every: u32) -> Duration {
    let manifest = format!("workers = 2\nin_flight = {in_flight}");
    let bed = Bed::new();
    bed.records((0..items).map(|n| json!({ "n": n })));
    plugin(&bed, &manifest, &good(0));
    bed.job("concurrency = 16", "");
    let mut daemon = serve(&bed);
    let begin = Instant::now();
    bed.ask(&["start", "j"]);
    let mut refused = 0;
    for version in 1..=deployments {
        let from = i64::from(items / (deployments + 1) * version);
        daemon.until("its turn", || bed.of_run::<i64>("done") >= Some(from));
        let bad = is_broken(version, every);
        let code = if bad {
            broken(version, every)
        } else {
            good(version)
        };
        plugin(&bed, &manifest, &code);
        let (code, out, words) = bed.try_ask(&["deploy", "h", "--json"]);
        if code == Some(3) {
            assert!(bad, "version {version}: {words}");
            refused += 1;
        } else {
            assert_eq!(code, Some(0), "{words}");
            assert!(!bad, "version {version} is broken: {out}");
        }
    }
    daemon.until("the end", || {
        bed.of_run::<String>("status").as_deref() == Some("succeeded")
    });
    let took = begin.elapsed();
    assert_eq!(refused, deployments / every);
    let results = bed.results();
    assert_eq!(results.len(), items as usize);
    let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index, "every record ends once: {result}");
        assert_eq!(result["attempts"], 1, "no attempt is lost: {result}");
        let version = result["result"].as_u64().unwrap();
        let of = u32::try_from(version).unwrap();
        assert!(!is_broken(of, every), "{result}");
        *versions.entry(version).or_default() += 1;
    }
    let served = versions.len();
    println!(
        "{items} records, {deployments} deployments of which {refused} were refused: {took:?}; {served} versions had results"
    );
    took
}

#[test]
fn deployments_under_load_cost_no_record_an_attempt_whatever_is_broken_about_them() {
    let (items, in_flight, deployments, every) = scale((8_000, 2, 9, 3), (200_000, 8, 100, 10));
    let with = run(items, in_flight, deployments, every);
    let without = run(items, in_flight, 0, every);
    let ratio = without.as_secs_f64() / with.as_secs_f64();
    println!("throughput beside that of the same run without deployments: {ratio:.2}");
}

#[test]
fn a_version_that_fails_what_the_one_before_does_not_is_withdrawn_and_says_why() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    plugin(&bed, "", &good(1));
    bed.job("concurrency = 2", "");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("results", || bed.of_run::<i64>("done") > Some(10));
    plugin(&bed, "", "def handle(item):\n    raise KeyError('vat')\n");
    let (code, _, words) = bed.try_ask(&["deploy", "h"]);
    assert_eq!(code, Some(3));
    for word in ["version 2", "withdrawn", "KeyError", "vat"] {
        assert!(words.contains(word), "{word}: {words}");
    }
    assert_eq!(in_force(&bed), Some(1));
    assert_eq!(
        bed.value::<i64>("SELECT count(*) FROM plugin_canaries"),
        Some(0)
    );
    let status = bed.status();
    let events = status["events"].to_string();
    assert!(events.contains("rolled back"), "{events}");
    let done = bed.of_run::<i64>("done").unwrap();
    daemon.until("the old one to go on", || {
        bed.of_run::<i64>("done").unwrap() > done + 20
    });
    assert_eq!(bed.status()["retrying"], 0, "{status}");

    // The very same is what it was, at once if somebody insists.
    let answer = bed.ask(&["deploy", "h", "--at-once"]);
    assert!(answer.contains("version 2 of h is in force"), "{answer}");
    let answer = bed.ask(&["plugin", "rollback", "h"]);
    assert!(answer.contains("version 1 of h is in force"), "{answer}");
}

/// At an API's pace the proof takes a while, which neither a kill nor a look at it disturbs.
#[test]
fn a_kill_in_the_middle_of_a_proof_begins_it_anew() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    plugin(&bed, "", &good(1));
    bed.job("concurrency = 2", "[limit]\npace = \"20 per s\"");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("results", || bed.of_run::<i64>("done") > Some(3));
    plugin(&bed, "", &good(2));
    let deploying = bed.daemon(&["deploy", "h"]);
    let shown = |bed: &Bed| -> Value {
        let answer = bed.ask(&["plugin", "show", "h", "--json"]);
        serde_json::from_str::<Value>(&answer).unwrap()["plugins"][0]["canaries"].clone()
    };
    daemon.until("the proof", || {
        shown(&bed)[0]["jobs"][0]["successes"].as_u64() >= Some(1)
    });
    assert!(bed.ask(&["plugin", "list", "h"]).contains("proves itself"));
    assert_eq!(in_force(&bed), Some(1));
    daemon.kill();
    drop(deploying);
    let mut daemon = serve(&bed);
    daemon.until("it to be in force", || in_force(&bed) == Some(2));
    assert_eq!(shown(&bed), json!([]));
    let twos = "SELECT count(*) FROM result_rows WHERE result = '2'";
    assert!(bed.value::<i64>(twos) >= Some(3));
}

/// A record that failed so often that it waits for hours is done as soon as the fix is there.
#[test]
fn a_fix_reaches_what_waits_for_it_at_once_and_keeps_its_attempts() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    let code = |mended: bool| {
        let guard = if mended {
            ""
        } else {
            "    if item['n'] in (3, 5, 7):\n        raise ValueError('a bug')\n"
        };
        format!(
            "import time\n\ndef handle(item):\n{guard}    time.sleep(0.005)\n    return 'done'\n"
        )
    };
    plugin(&bed, "", &code(false));
    bed.job(
        "concurrency = 4",
        "[retry]\nfirst = \"6h\"\njitter = \"none\"\n[limit]\npace = \"50 per s\"",
    );
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("three to wait", || {
        bed.value::<i64>("SELECT count(*) FROM children WHERE status = 'retrying'") == Some(3)
    });
    plugin(&bed, "", &code(true));
    let begin = Instant::now();
    let mut deploying = bed.daemon(&["deploy", "h"]);
    let done = "SELECT count(*) FROM result_rows WHERE idx IN (3, 5, 7)";
    daemon.until("the first of them", || bed.value::<i64>(done) >= Some(1));
    let first = begin.elapsed();
    daemon.until("all of them", || bed.value::<i64>(done) == Some(3));
    println!(
        "a record that was to wait six hours was done {first:?} after the deploy was asked for, all three {:?} after",
        begin.elapsed()
    );
    deploying.until_or_end("the deploy", || false);
    for index in [3, 5, 7] {
        let query = format!("SELECT attempts FROM result_rows WHERE idx = {index}");
        assert_eq!(bed.value::<i64>(&query), Some(2), "attempts are kept");
    }
}

/// Who deploys what is in force, or rolls back, wants nothing beside it.
#[test]
fn a_proof_ends_when_somebody_goes_back() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    plugin(&bed, "", &good(1));
    bed.job("concurrency = 2", "[limit]\npace = \"20 per s\"");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("results", || bed.of_run::<i64>("done") > Some(3));
    let proving = "SELECT version FROM plugin_canaries";
    for (round, back) in [
        (1, ["plugin", "rollback", "h"].as_slice()),
        (2, &["deploy", "h"]),
    ] {
        plugin(&bed, "", &good(2));
        let mut deploying = bed.daemon(&["deploy", "h"]);
        daemon.until("the proof", || bed.value::<i64>(proving) == Some(2));
        plugin(&bed, "", &good(1));
        bed.ask(back);
        assert_eq!(bed.value::<i64>(proving), None, "{back:?}");
        assert_eq!(in_force(&bed), Some(1));
        let status = deploying.until_or_end("its end", || false).unwrap();
        assert_eq!(status.code(), Some(3), "who waits for the proof is told");
        let told =
            "SELECT count(*) FROM events WHERE kind = 'rolled back' AND detail LIKE '%by tester%'";
        assert_eq!(bed.value::<i64>(told), Some(round));
    }
}
