//! What a resumed run goes on with: whatever was changed, interrupted or broken in between.

use std::{collections::BTreeSet, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Bed, lives, scale};

fn done(bed: &Bed) -> i64 {
    bed.of_run("done").unwrap_or(0)
}

/// Each of `records` records has one result at its first attempt.
fn check_all(bed: &Bed, records: usize) {
    let results = bed.results();
    let indices: Vec<usize> = results
        .iter()
        .map(|it| it["index"].as_u64().unwrap().try_into().unwrap())
        .collect();
    assert!(indices.into_iter().eq(0..records));
    assert!(results.iter().all(|result| result["attempts"] == 1));
}

/// Pitfalls 2, 3: neither the number of workers nor the size of a page is part of a position.
#[test]
fn concurrency_and_page_size_may_change_in_the_middle_of_a_run() {
    let bed = Bed::new();
    bed.records((0..700).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(random.random() * 0.01)\nreturn item");
    for (concurrency, page) in [(1, 7), (16, 1000), (3, 1), (16, 13), (2, 64)] {
        bed.write("iterd.toml", format!("[items]\npage_items_max = {page}\n"));
        bed.job(&format!("concurrency = {concurrency}"), "");
        let mut daemon = bed.run();
        let enough = done(&bed) + 60;
        daemon.until("some records", || done(&bed) >= enough);
        daemon.kill();
    }
    assert_eq!(bed.run().code(), 0);
    check_all(&bed, 700);
}

/// Pitfalls 6, 13: a run that is killed after each record gets on all the same.
#[test]
fn a_run_that_is_killed_after_each_record_advances() {
    let kills = scale(20, 100);
    let bed = Bed::new();
    bed.records((0..kills + 20).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(0.005)\nreturn item");
    bed.job("order = \"strict\"", "");
    for _ in 0..kills {
        let mut daemon = bed.run();
        let before = done(&bed);
        daemon.until_or_end("one more record", || done(&bed) > before);
        daemon.kill();
    }
    assert!(done(&bed) >= kills);
    assert_eq!(bed.run().code(), 0);
    check_all(&bed, usize::try_from(kills).unwrap() + 20);
}

/// Pitfall 7: what goes wrong at once after resuming, and again, spoils nothing.
#[test]
fn failing_to_resume_again_and_again_loses_no_position() {
    let bed = Bed::new();
    bed.records((0..500).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(0.002)\nreturn item");
    bed.job("concurrency = 4", "");
    let mut daemon = bed.run();
    daemon.until("some records", || done(&bed) > 100);
    daemon.kill();
    let source = bed.path("data/in.jsonl");
    let away = bed.path("data/away");
    std::fs::rename(&source, &away).unwrap();
    for _ in 0..2 {
        // It pauses and says that there is no such file.
        assert_eq!(bed.run().code(), 10, "{}", bed.words());
    }
    std::fs::rename(&away, &source).unwrap();
    for moment in [1, 20, 60, 90, 120] {
        let mut daemon = bed.run();
        daemon.ends_within(Duration::from_millis(moment));
        daemon.kill();
    }
    let position = done(&bed);
    assert!(position > 100);
    assert_eq!(bed.run().code(), 0);
    check_all(&bed, 500);
    let twice = bed
        .calls_by_index()
        .values()
        .filter(|calls| **calls > 1)
        .count();
    assert!(twice <= 4 * 6, "{twice} records were called again");
}

/// Pitfall 8: a daemon that was frozen while something came due sees it as soon as it thaws.
#[test]
fn what_came_due_while_the_daemon_was_frozen_is_done_when_it_thaws() {
    let bed = Bed::new();
    bed.records((0..3).map(|n| json!({ "n": n })));
    bed.handler(
        "",
        "if call.attempt == 1:\n    raise IOError(\"not yet\")\nreturn item",
    );
    bed.job(
        "concurrency = 3",
        "[retry]\nattempts = 2\nfirst = \"300ms\"\njitter = \"none\"",
    );
    let mut daemon = bed.run();
    daemon.until("all to back off", || {
        bed.value("SELECT count(*) FROM children WHERE status = 'retrying'") == Some(3)
    });
    daemon.signal(Signal::STOP);
    assert!(daemon.ends_within(Duration::from_millis(600)).is_none());
    daemon.signal(Signal::CONT);
    assert_eq!(daemon.code(), 0);
    assert!(bed.results().iter().all(|result| result["attempts"] == 2));
}

/// Pitfall 24: none of a killed daemon's workers does anything beside its successor, nor does what
/// they had started.
#[test]
fn nothing_of_a_killed_daemon_goes_on_beside_its_successor() {
    let bed = Bed::new();
    bed.records((0..400).map(|n| json!({ "n": n })));
    bed.handler(
        "workers = 6\nin_flight = 4",
        "if call.index % 8 == 0:\n    \
             import subprocess\n    \
             child = subprocess.Popen([\"sleep\", \"600\"])\n    \
             file = os.open(CHILDREN, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n    \
             os.write(file, b\"%d\\n\" % child.pid)\n    \
             os.close(file)\n\
         time.sleep(0.15)\nreturn item",
    );
    bed.job("concurrency = 24", "");
    let started = || -> Vec<u32> {
        let text = std::fs::read_to_string(bed.path("log/children")).unwrap_or_default();
        text.lines().map(|pid| pid.parse().unwrap()).collect()
    };
    let mut former = BTreeSet::new();
    for _ in 0..2 {
        let mut daemon = bed.run();
        let enough = bed.call_count() + 60;
        daemon.until("full load", || bed.call_count() >= enough);
        former.extend(bed.workers().unwrap().iter().map(|worker| worker.pid));
        let orphans = started();
        daemon.kill();

        let calls = bed.call_count();
        let mut successor = bed.run();
        successor.until("its first calls", || {
            bed.calls()
                .iter()
                .skip(calls)
                .any(|call| !former.contains(&call.pid))
        });
        for orphan in orphans {
            assert!(
                !lives(orphan),
                "{orphan} was started by a worker that is gone"
            );
        }
        let log = bed.log();
        let first = log
            .iter()
            .position(|line| line.pid != log[0].pid && !former.contains(&line.pid));
        let beside = log[first.unwrap()..]
            .iter()
            .find(|line| former.contains(&line.pid));
        assert!(beside.is_none(), "a former worker went on: {beside:?}");
        former.extend(bed.workers().unwrap().iter().map(|worker| worker.pid));
        successor.kill();
    }
    assert_eq!(bed.run().code(), 0);
    check_all(&bed, 400);
}

/// One record that takes very long neither holds the others back nor the place where a restart goes on.
#[test]
fn a_slow_record_holds_back_neither_the_others_nor_the_watermark() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[items]\nwindow_items_max = 50\npage_items_max = 40\n",
    );
    bed.records((0..600).map(|n| json!({ "n": n })));
    bed.handler("", "if item[\"n\"] == 9:\n    wait_for_go()\nreturn item");
    bed.job("concurrency = 2\ntimeout = \"never\"", "");
    let mut daemon = bed.run();
    daemon.until("all others", || done(&bed) == 599);
    assert!(bed.of_run::<i64>("watermark").unwrap() >= 550);
    daemon.kill();
    let before = bed.call_count();
    bed.go();
    assert_eq!(bed.run().code(), 0);
    let again: Vec<u64> = bed.calls()[before..]
        .iter()
        .map(|call| call.index)
        .collect();
    assert_eq!(again, [9], "nothing but the slow record is called again");
    check_all(&bed, 600);
}

/// A long record goes on where its handler was, over kills and failures, and keeps that to itself.
#[test]
fn a_long_record_goes_on_where_its_handler_was_whatever_happens() {
    let bed = Bed::new();
    bed.records([json!({ "pages": 100 })]);
    let code = "start = call.cursor['page'] if call.cursor else 0\n\
                with open(LOG, 'a') as file:\n    file.write(f'{start}\\n')\n\
                for page in range(start, 100):\n    time.sleep(0.02)\n    \
                call.heartbeat({'page': page + 1})\n    \
                if page + 1 == 60 and call.attempt == 1:\n        raise ValueError('half way')\n\
                return 'done'";
    let log = bed.path("log/starts");
    bed.handler("", &format!("LOG = {log:?}\n{code}"));
    bed.job("", "[retry]\nfirst = \"10ms\"\njitter = \"none\"");
    let place = "SELECT json_extract(cursor, '$.page') FROM children";
    let mut daemon = bed.run();
    for page in [10, 30] {
        daemon.until("some pages", || bed.value::<i64>(place) >= Some(page));
        daemon.kill();
        daemon = bed.run();
    }
    assert_eq!(daemon.code(), 0);
    let starts: Vec<i64> = std::fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(starts.len(), 4, "two kills and a failure: {starts:?}");
    assert_eq!(starts[0], 0);
    assert!(starts[1] >= 10 && starts[2] >= 30, "{starts:?}");
    assert_eq!(starts[3], 60, "not a page is done again after a failure");
    let results = bed.results();
    assert_eq!(
        (&results[0]["result"], &results[0]["attempts"]),
        (&json!("done"), &json!(2))
    );
    assert_eq!(bed.value::<i64>("SELECT count(*) FROM children"), Some(0));
}
