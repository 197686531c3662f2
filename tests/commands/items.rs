//! Single items as a person steers them: tried first, skipped, edited, resolved.

use std::{fs, time::Instant};

use iterd::cli::exit;
use serde_json::Value;

use super::world::{Answer, PATIENCE, World};

/// A job whose handler notes each call, waits while the file `notes/hang` holds the record's id, and fails
/// on what is not a number.
fn noting(more: &str) -> World {
    let world = World::new();
    let place = |name: &str| world.path(name).display().to_string();
    world.write("notes/hang", "");
    let notes = place("notes");
    world.write(
        "plugin/plugin.toml",
        format!("name = \"plugin\"\nhandler = \"handler.py:go\"\nread = [{notes:?}]\nwrite = [{notes:?}]\n"),
    );
    let (calls, hang) = (place("notes/calls"), place("notes/hang"));
    world.write(
        "plugin/handler.py",
        format!(
            "import time\n\
             def go(item, context):\n\
             \x20   with open({calls:?}, 'a') as calls:\n\
             \x20       calls.write(item['id'] + '\\n')\n\
             \x20   while item['id'] in open({hang:?}).read().split():\n\
             \x20       time.sleep(0.01)\n\
             \x20   return int(item['n'])\n"
        ),
    );
    world.write("in.csv", "id,n\na,1\nb,2\nc,three\nd,4\ne,5\n");
    world.write(
        "job.toml",
        format!(
            "name = \"j\"\n[source]\nkind = \"csv\"\npath = \"in.csv\"\nid = \"id\"\n\
             [process]\nplugin = \"./plugin\"\nconcurrency = 2\n{more}\
             [retry]\nattempts = 1\n[pause_when]\nfailed = \"100% of total\"\n"
        ),
    );
    world
}

fn calls(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("notes/calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for_calls(world: &World, wanted: &[&str]) {
    let begun = Instant::now();
    while !wanted
        .iter()
        .all(|id| calls(world).iter().any(|one| one == id))
    {
        assert!(begun.elapsed() < PATIENCE, "{:?}", calls(world));
        std::thread::yield_now();
    }
}

fn indexes(answer: &Answer) -> Vec<u64> {
    let index = |line: &Value| line["index"].as_u64().unwrap();
    answer.json_lines().iter().map(index).collect()
}

fn code(answer: &Answer, code: u8) {
    assert_eq!(answer.code, i32::from(code), "{answer:?}");
}

#[test]
fn a_run_tries_a_sample_and_the_first_records_and_goes_on_with_the_rest() {
    let world = World::new();
    world.job("j", 60, "");
    let file = "config/jobs/j.toml";
    let sampled = world.iterd(&["run", file, "--from", "10", "--sample", "5"]);
    code(&sampled, exit::PAUSED);
    assert!(
        sampled.out.contains("a sample of 5 records was tried"),
        "{sampled:?}"
    );
    let sample = indexes(&world.iterd(&["results", "j", "--json"]));
    assert_eq!(sample.len(), 5);
    let parts: Vec<u64> = sample.iter().map(|index| (index - 10) / 10).collect();
    assert_eq!(parts, [0, 1, 2, 3, 4], "spread evenly: {sample:?}");
    let again = world.iterd(&["start", "j", "--sample", "5"]);
    code(&again, exit::CONFLICT);
    let first = world.iterd(&["run", file, "--first", "8"]);
    code(&first, exit::PAUSED);
    assert!(
        first.out.contains("the first 8 records were tried"),
        "{first:?}"
    );
    let tried = indexes(&world.iterd(&["results", "j", "--json"]));
    let beyond = sample.iter().copied().filter(|index| *index >= 18);
    let wanted: Vec<u64> = (10..18).chain(beyond).collect();
    assert_eq!(tried, wanted);
    code(&world.iterd(&["run", file]), exit::DONE);
    let all: Vec<u64> = (10..60).collect();
    assert_eq!(indexes(&world.iterd(&["results", "j", "--json"])), all);
    let status = world.iterd(&["status", "j", "--json"]).json();
    assert_eq!(status["left_out"], 10, "{status}");
    assert_eq!(status["total"], 50, "{status}");
    assert_eq!(
        status["calls"]["first_tries"], 50,
        "none was done twice: {status}"
    );
    // Another run takes the same sample.
    let other = world.with_state(world.path("other"));
    code(
        &other.iterd(&["run", file, "--from", "10", "--sample", "5"]),
        exit::PAUSED,
    );
    assert_eq!(indexes(&other.iterd(&["results", "j", "--json"])), sample);
}

#[test]
fn a_beginning_that_is_not_there_is_told() {
    let world = World::new();
    world.job("j", 3, "");
    for from in ["nine", "#9"] {
        let answer = world.iterd(&["run", "config/jobs/j.toml", "--from", from]);
        code(&answer, exit::NOT_FOUND);
        assert!(answer.err.contains("has no item"), "{answer:?}");
    }
}

#[test]
fn skipped_records_fail_in_their_authors_name_and_may_be_put_back() {
    let world = World::new();
    world.job("j", 40, "");
    let file = "config/jobs/j.toml";
    code(&world.iterd(&["run", file, "--first", "2"]), exit::PAUSED);
    code(
        &world.iterd(&["skip", "j", "5", "#30", "--because", "gone"]),
        exit::DONE,
    );
    let unknown = world.iterd(&["skip", "j", "6", "nobody"]);
    code(&unknown, exit::NOT_FOUND);
    assert!(unknown.err.contains("no item \"nobody\""), "{unknown:?}");
    code(&world.iterd(&["skip", "j", "1"]), exit::CONFLICT);
    code(&world.iterd(&["run", file]), exit::DONE);
    let failed = world.iterd(&["items", "j", "--error", "Skipped", "--json"]);
    assert_eq!(
        indexes(&failed),
        [5, 30],
        "all or none of an order: {failed:?}"
    );
    assert!(failed.out.contains("skipped by tester: gone"), "{failed:?}");
    let status = world.iterd(&["status", "j", "--json"]).json();
    assert_eq!(
        (status["done"].as_u64(), status["failed"].as_u64()),
        (Some(38), Some(2))
    );
    code(
        &world.iterd(&["retry", "j", "--failed", "--error", "Skipped"]),
        exit::DONE,
    );
    code(&world.iterd(&["run", file]), exit::DONE);
    let all: Vec<u64> = (0..40).collect();
    assert_eq!(indexes(&world.iterd(&["results", "j", "--json"])), all);
}

#[test]
fn an_edited_record_is_tried_with_what_it_was_given_and_keeps_its_original() {
    let world = noting("");
    code(&world.iterd(&["run", "job.toml"]), exit::DONE);
    assert_eq!(indexes(&world.iterd(&["items", "j", "--json"])), [2]);
    code(
        &world.iterd(&["edit", "j", "c", "--payload", "{"]),
        exit::INVALID,
    );
    code(
        &world.iterd(&["edit", "j", "a", "--payload", "{}"]),
        exit::CONFLICT,
    );
    world.write("mended.json", "{\"id\": \"c\", \"n\": 3}");
    code(
        &world.iterd(&["edit", "j", "c", "--payload", "@mended.json"]),
        exit::DONE,
    );
    code(&world.iterd(&["run", "job.toml"]), exit::DONE);
    let results = world.iterd(&["results", "j", "--json"]).json_lines();
    assert_eq!(results[2]["result"], 3, "{results:?}");
    assert_eq!(results[2]["edited"], true, "{results:?}");
    assert!(results[1]["edited"].is_null(), "{results:?}");
    let item = world.iterd(&["items", "j", "--id", "c", "--json"]).json();
    assert_eq!(item["interventions"][0]["what"], "edited", "{item}");
    assert_eq!(item["interventions"][0]["by"], "tester", "{item}");
    assert_eq!(item["interventions"][0]["original"]["n"], "three", "{item}");
    let unknown = world.iterd(&["items", "j", "--id", "z"]);
    code(&unknown, exit::NOT_FOUND);
    assert!(unknown.err.contains("no item \"z\""), "{unknown:?}");
}

#[test]
fn what_is_in_doubt_after_a_kill_waits_for_a_word_of_each() {
    let world = noting("on_interrupt = \"hold\"\n");
    world.write("notes/hang", "a b");
    let run = world.start(&["run", "job.toml"]);
    wait_for_calls(&world, &["a", "b"]);
    run.kill();
    let doubt = world.iterd(&["items", "j", "--in-doubt", "--json"]);
    assert_eq!(indexes(&doubt), [0, 1], "{doubt:?}");
    world.write("notes/hang", "");
    // One is decided on before the run goes on, the other while it is held.
    code(
        &world.iterd(&["items", "resolve", "j", "#0", "--done", "{\"x\": 1}"]),
        exit::DONE,
    );
    let held = world.iterd(&["run", "job.toml"]);
    code(&held, exit::PAUSED);
    assert!(
        held.out.contains("in doubt and wait for a decision"),
        "{held:?}"
    );
    assert_eq!(
        indexes(&world.iterd(&["items", "j", "--held", "--json"])),
        [1]
    );
    assert_eq!(
        indexes(&world.iterd(&["items", "j", "--in-doubt", "--json"])),
        [1]
    );
    code(
        &world.iterd(&["items", "resolve", "j", "d", "--retry"]),
        exit::CONFLICT,
    );
    code(
        &world.iterd(&["items", "resolve", "j", "--all", "--retry"]),
        exit::DONE,
    );
    let status = world.iterd(&["status", "j", "--json"]).json();
    assert_eq!(
        status["status"], "running",
        "nothing else had paused it: {status}"
    );
    code(&world.iterd(&["run", "job.toml"]), exit::DONE);
    let results = world.iterd(&["results", "j", "--json"]).json_lines();
    assert_eq!(results[0]["result"]["x"], 1, "{results:?}");
    assert_eq!(results[0]["version"], 0, "{results:?}");
    let mut calls = calls(&world);
    calls.sort();
    assert_eq!(calls, ["a", "b", "b", "c", "d", "e"]);
    let item = world.iterd(&["items", "j", "--id", "#0"]);
    assert!(item.out.contains("resolved by tester"), "{item:?}");
}

#[test]
fn a_record_that_hangs_is_skipped_while_the_others_go_on() {
    let world = noting("");
    world.write("notes/hang", "a");
    let run = world.start(&["run", "job.toml"]);
    wait_for_calls(&world, &["a", "e"]);
    world.wait_for(&["status", "j", "--json"], |answer| {
        answer.json()["done"] == 3
    });
    code(
        &world.iterd(&["items", "resolve", "j", "a", "--retry"]),
        exit::CONFLICT,
    );
    code(&world.iterd(&["skip", "j", "a"]), exit::DONE);
    assert_eq!(run.end().code(), Some(0));
    let failed = world.iterd(&["items", "j", "--json"]).json_lines();
    assert_eq!(failed[0]["error"], "Skipped", "{failed:?}");
    let status = world.iterd(&["status", "j", "--json"]).json();
    assert_eq!(
        (status["done"].as_u64(), status["failed"].as_u64()),
        (Some(3), Some(2))
    );
}
