//! A source that changes while a run goes through it: what is appended is taken in, anything else is
//! for a person to decide.

use std::{fs, io::Write as _, os::unix::fs::MetadataExt as _};

use super::world::World;

/// A job over `in` that answers each record, one each 20 milliseconds where it is slow.
fn world(kind: &str, content: &str, more: &str) -> World {
    let world = World::new();
    world.write("in", content);
    job(&world, kind, more);
    world
}

fn job(world: &World, kind: &str, more: &str) {
    world.write(
        "config/jobs/job.toml",
        format!(
            "name = \"job\"\n[source]\nkind = \"{kind}\"\npath = \"{}\"\n{more}\n\
             [process]\nplugin = \"identity\"\n",
            world.path("in").display()
        ),
    );
}

const SLOW: &str = "[limit]\npace = \"50 per s\"";
const STILL: &str = "[limit]\npace = \"1 per h\"";

fn lines(range: std::ops::Range<u32>) -> String {
    let lines: Vec<String> = range.map(|n| format!("{{\"n\":{n}}}\n")).collect();
    lines.concat()
}

fn append(world: &World, text: &str) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(world.path("in"))
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn done(world: &World) -> Option<u64> {
    world.iterd(&["status", "job", "--json"]).json()["done"].as_u64()
}

fn results(world: &World) -> Vec<u64> {
    let answer = world.iterd(&["results", "job", "--json"]);
    let number = |line: &serde_json::Value| line["result"]["n"].as_u64().unwrap();
    answer.json_lines().iter().map(number).collect()
}

fn run(world: &World) -> super::world::Answer {
    world.iterd(&["run", "config/jobs/job.toml"])
}

#[test]
fn what_is_appended_while_a_job_runs_is_taken_in_and_the_job_ends() {
    let world = world("jsonl", &lines(0..40), SLOW);
    let running = world.start(&["run", "config/jobs/job.toml"]);
    world.wait_for(&["status", "job", "--json"], |answer| {
        answer.code == 0 && answer.json()["done"].as_u64() > Some(2)
    });
    append(&world, &lines(40..50));
    assert!(running.end().success());
    assert_eq!(results(&world), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_last_line_without_an_end_waits_for_its_writer_and_is_taken_once_nobody_writes() {
    let world = world("csv", "n\n1\n2\n", "");
    append(&world, "3");
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(done(&world), Some(3));

    // Half a record that is completed before the file has rested.
    world.write("in", "n\n1\n2\n3");
    let running = world.start(&["run", "config/jobs/job.toml", "--again"]);
    world.wait_for(&["status", "job", "--json"], |answer| {
        answer.json()["done"].as_u64() == Some(2) && answer.json()["status"] == "running"
    });
    append(&world, "4\n");
    assert!(running.end().success());
    let answer = world.iterd(&["results", "job", "--json"]);
    let values = answer.json_lines();
    assert_eq!(values.last().unwrap()["result"]["n"], "34");
}

#[test]
fn a_shrunk_file_pauses_says_what_differs_and_goes_on_once_it_is_back() {
    let world = world("jsonl", &lines(0..100), STILL);
    let ran = {
        let daemon = world.serve();
        world.wait_for(&["start", "job"], |answer| answer.code == 0);
        world.wait_for(&["status", "job", "--json"], |answer| {
            answer.json()["done"].as_u64() == Some(1)
        });
        daemon.signal(rustix::process::Signal::TERM);
        assert!(daemon.end().success());
        world.write("in", lines(0..10));
        run(&world)
    };
    assert_eq!(ran.code, 10, "{ran:?}");
    for part in [
        "it had 890 bytes and has 80",
        "between byte 80 and 890",
        "noticed at",
        "iterd resume job",
        "--accept-source",
    ] {
        assert!(
            ran.err.contains(part) || ran.out.contains(part),
            "{part}: {ran:?}"
        );
    }
    job(&world, "jsonl", "");
    world.write("in", lines(0..100));
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(results(&world), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_change_under_a_running_job_pauses_it_and_an_operator_may_go_on_with_it() {
    let world = world("jsonl", &lines(0..1000), STILL);
    let _daemon = world.serve();
    world.wait_for(&["start", "job"], |answer| answer.code == 0);
    world.wait_for(&["status", "job", "--json"], |answer| {
        answer.json()["done"].as_u64() == Some(1)
    });
    world.write("in", lines(0..1000).replacen("\"n\":700", "\"m\":700", 1));
    let paused = world.wait_for(&["status", "job", "--json"], |answer| {
        answer.json()["status"] == "paused"
    });
    assert!(paused.out.contains("as before"), "{paused:?}");
    assert!(paused.out.contains("about record 6"), "{paused:?}");

    let resumed = world.iterd(&["resume", "job"]);
    assert_eq!(resumed.code, 5, "{resumed:?}");
    assert!(resumed.err.contains("stays paused"), "{resumed:?}");

    let accepted = world.iterd(&["resume", "job", "--accept-source"]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    let status = world.iterd(&["status", "job", "--json"]).json();
    assert_eq!(status["status"], "running", "{status}");
    let events = world.wait_for(&["status", "job", "--json"], |answer| {
        answer.out.contains("\"source accepted\"")
    });
    assert!(
        events
            .out
            .contains("\"author\":\"tester\",\"detail\":\"the source: "),
        "{events:?}"
    );
}

#[test]
fn a_missing_file_pauses_and_the_job_goes_on_once_it_is_back() {
    let world = world("jsonl", &lines(0..5), STILL);
    {
        let _daemon = world.serve();
        world.wait_for(&["start", "job"], |answer| answer.code == 0);
        world.wait_for(&["status", "job", "--json"], |answer| {
            answer.json()["done"].as_u64() == Some(1)
        });
    }
    fs::rename(world.path("in"), world.path("away")).unwrap();
    job(&world, "jsonl", "");
    let _daemon = world.serve();
    let paused = world.wait_for(&["status", "job", "--json"], |answer| {
        answer.json()["status"] == "paused"
    });
    assert!(paused.out.contains("No such file"), "{paused:?}");
    fs::rename(world.path("away"), world.path("in")).unwrap();
    let resumed = world.iterd(&["resume", "job"]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    world.wait_for(&["results", "job", "--json"], |answer| {
        answer.json_lines().len() == 5
    });
    assert_eq!(results(&world), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_replaced_by_a_longer_one_is_read_on_where_the_run_stands() {
    let world = world("jsonl", &lines(0..40), SLOW);
    let before = fs::metadata(world.path("in")).unwrap().ino();
    let running = world.start(&["run", "config/jobs/job.toml"]);
    world.wait_for(&["status", "job", "--json"], |answer| {
        answer.code == 0 && answer.json()["done"].as_u64() > Some(2)
    });
    world.write("new", lines(0..60));
    fs::rename(world.path("new"), world.path("in")).unwrap();
    assert_ne!(fs::metadata(world.path("in")).unwrap().ino(), before);
    assert!(running.end().success());
    assert_eq!(results(&world), (0..60).collect::<Vec<_>>());
}

#[test]
fn on_change_follows_the_file_while_a_run_goes_on() {
    let world = world(
        "jsonl",
        &lines(0..3),
        &format!("on_change = \"pause\"\n{STILL}"),
    );
    {
        let _daemon = world.serve();
        world.wait_for(&["start", "job"], |answer| answer.code == 0);
        world.wait_for(&["status", "job", "--json"], |answer| {
            answer.json()["done"].as_u64() == Some(1)
        });
    }
    append(&world, &lines(3..4));
    let ran = run(&world);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(
        ran.out.contains("the job says on_change = \"pause\""),
        "{ran:?}"
    );
    job(&world, "jsonl", "on_change = \"ignore\"");
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(done(&world), Some(4));
}

#[test]
fn a_record_that_goes_on_after_it_was_taken_in_pauses_the_run() {
    let world = world("jsonl", "{\"n\":0}\n{\"n\":1}", "");
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{ran:?}");
    world.write("in", "{\"n\":0}\n{\"n\":1}");
    job(&world, "jsonl", STILL);
    {
        let _running = world.start(&["run", "config/jobs/job.toml", "--again"]);
        world.wait_for(&["status", "job", "--json"], |answer| {
            answer.json()["status"] == "running" && answer.json()["done"].as_u64() == Some(1)
        });
    }
    append(&world, "  \n{\"n\":2}\n");
    job(&world, "jsonl", "");
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(results(&world), [0, 1, 2]);
}
