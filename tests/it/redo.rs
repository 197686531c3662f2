//! Wrong results that are done again under load, with `kill -9` in the middle of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Stdio},
};

use serde_json::json;

use crate::bed::{Bed, scale};

const SLOTS: u64 = 8;

/// The order to do again what version 1 has answered, under way.
fn order(bed: &Bed) -> Child {
    let mut command = bed.command(&["redo", "j", "--version", "1", "--json"]);
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    silent.spawn().unwrap()
}

/// How many records were put back so far.
fn put_back(bed: &Bed) -> i64 {
    let count = bed.value(
        "SELECT (SELECT count(*) FROM children WHERE redo > 0)
              + (SELECT count(*) FROM result_rows WHERE redo > 0)",
    );
    count.unwrap_or(0)
}

/// How many are still to be put back.
fn left(bed: &Bed) -> u64 {
    let told = bed.ask(&["redo", "j", "--version", "1", "--dry-run", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["items"].as_u64().unwrap()
}

fn version(bed: &Bed, number: u32) {
    bed.handler("", &format!("return {{\"by\": {number}}}"));
}

/// Each record of the first version is done once more and no more often, under one further key; its
/// first result is kept; and there is a current one of each all the time.
#[test]
fn a_redo_that_is_killed_in_the_middle_and_ordered_again_does_each_record_once() {
    let (records, wrong, kills) = scale((30_000_u64, 7_000_i64, 2_u64), (400_000, 300_000, 10));
    let bed = Bed::new();
    bed.records((0..records).map(|n| json!({ "n": n })));
    version(&bed, 1);
    bed.job(
        &format!("concurrency = {SLOTS}"),
        "[output]\nkind = \"jsonl\"\npath = \"../data/out.jsonl\"",
    );
    let mut daemon = bed.run();
    let done = || bed.of_run::<i64>("done");
    daemon.until("the wrong ones", || done() >= Some(wrong));
    version(&bed, 2);
    daemon.until("version 2 to answer", || {
        bed.value::<i64>("SELECT count(*) FROM result_rows WHERE version = 2") > Some(0)
    });
    let count = |sql: &str| bed.value::<i64>(sql).unwrap();
    let mut in_the_middle = 0;
    for round in 0..kills {
        let before = put_back(&bed);
        if left(&bed) == 0 {
            assert!(round > 0, "there is something to be done again");
            break;
        }
        let mut ordered = order(&bed);
        daemon.until("a page to be put back", || put_back(&bed) > before);
        daemon.kill();
        ordered.wait().unwrap();
        in_the_middle += u64::from(left(&bed) > 0);
        let results = count("SELECT count(*) FROM result_rows");
        let in_flight = count("SELECT count(*) FROM children WHERE redo = 0");
        assert!(
            results + in_flight >= count("SELECT watermark FROM runs"),
            "a hole in the results"
        );
        daemon = bed.run();
        daemon.until("it to be reached", || {
            bed.try_ask(&["status", "j"]).0 == Some(0)
        });
    }
    daemon.until("the order to be taken whole", || {
        let (code, ..) = bed.try_ask(&["redo", "j", "--version", "1", "--json"]);
        code == Some(0)
    });
    assert_eq!(daemon.code(), 0);

    let results = bed.results();
    assert_eq!(results.len() as u64, records);
    let superseded = bed.lines(&["results", "j", "--superseded", "--json"]);
    let old: BTreeSet<u64> = superseded
        .iter()
        .map(|row| row["index"].as_u64().unwrap())
        .collect();
    assert_eq!(old.len(), superseded.len(), "each was redone once");
    assert!(superseded.iter().all(|row| row["version"] == 1));
    for result in &results {
        let index = result["index"].as_u64().unwrap();
        assert_eq!(
            (&result["version"], &result["result"]["by"]),
            (&json!(2), &json!(2)),
            "{result}"
        );
        assert_eq!(
            result["redo"].as_u64().unwrap_or(0),
            u64::from(old.contains(&index)),
            "{result}"
        );
    }
    let mut keys: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for call in bed.calls() {
        keys.entry(call.index).or_default().insert(call.key);
    }
    for (index, keys) in &keys {
        let redone = keys.iter().filter(|key| key.ends_with(":redo1")).count();
        assert_eq!(
            (keys.len(), redone),
            (1 + redone, usize::from(old.contains(index))),
            "{keys:?}"
        );
    }
    let calls = bed.call_count() as u64;
    assert!(
        calls <= records + old.len() as u64 + (kills + 1) * SLOTS,
        "{calls} calls"
    );
    let status = bed.status();
    assert_eq!(
        (&status["done"], &status["redone"]),
        (&json!(records), &json!(old.len()))
    );
    println!(
        "{records} records, {} redone, {in_the_middle} kills in the middle, {calls} calls",
        old.len()
    );
    last_lines_are_current(&bed, records);
}

fn last_lines_are_current(bed: &Bed, records: u64) {
    let written = std::fs::read_to_string(bed.path("data/out.jsonl")).unwrap();
    let mut last = BTreeMap::new();
    for line in written.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        last.insert(line["index"].as_u64(), line["version"].clone());
    }
    assert_eq!(last.len() as u64, records);
    assert!(last.values().all(|version| *version == 2));
}
