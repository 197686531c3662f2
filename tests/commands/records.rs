//! Records that cannot be read fail as items; the run goes on and loses nothing of the others.

use super::world::{Answer, World};

/// What is found of one damaged record: its place in the dataset, the error's name, and a part of
/// the cause that says where in the file it stands.
struct Damaged(u64, &'static str, &'static str);

/// Runs a source with damaged records through the real binary.
fn check(kind: &str, content: &[u8], limits: &str, good: &[u64], damaged: &[Damaged]) {
    let world = World::new();
    world.write("config/iterd.toml", limits);
    world.write("data", content);
    world.write(
        "job.toml",
        format!(
            "name = \"damaged\"\n[source]\nkind = \"{kind}\"\npath = \"data\"\n\
             [process]\nplugin = \"identity\"\nconcurrency = 2\n\
             [pause_when]\nfailed = \"100% of total\"\nin_a_row = 1000\nfailing = \"100% of last 1000\"\n"
        ),
    );
    let ran = world.iterd(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let index = |answer: &Answer| -> Vec<u64> {
        let lines = answer.json_lines();
        lines
            .iter()
            .map(|line| line["index"].as_u64().unwrap())
            .collect()
    };
    let results = world.iterd(&["results", "damaged", "--json"]);
    assert_eq!(index(&results), good, "{results:?}");
    let failed = world.iterd(&["items", "damaged", "--failed", "--json"]);
    assert_eq!(failed.json_lines().len(), damaged.len(), "{failed:?}");
    for (item, Damaged(place, error, cause)) in failed.json_lines().iter().zip(damaged) {
        assert_eq!(item["index"], *place, "{item}");
        assert_eq!(item["error"], *error, "{item}");
        assert!(item["cause"].as_str().unwrap().contains(cause), "{item}");
        assert_eq!(item["attempts"], 0, "{item}");
    }
    let people = world.iterd(&["items", "damaged", "--failed"]);
    assert_eq!(people.out.lines().count(), damaged.len(), "{people:?}");
    let status = world.iterd(&["status", "damaged", "--json"]).json();
    assert_eq!(status["status"], "succeeded");
    assert_eq!(status["done"].as_u64(), Some(good.len() as u64));
    assert_eq!(status["failed"].as_u64(), Some(damaged.len() as u64));
}

const MALFORMED: &str = "Iterd.RecordMalformed";
const TOO_LARGE: &str = "Iterd.RecordTooLarge";

#[test]
fn a_csv_row_with_a_stray_quote_fails_alone() {
    let content = b"id,text\n1,one\n2,\"two\"x\n3,three\n4,fo\"ur\n5,five\n";
    check(
        "csv",
        content,
        "",
        &[0, 2, 4],
        &[
            Damaged(1, MALFORMED, "line 3"),
            Damaged(3, MALFORMED, "line 5"),
        ],
    );
}

#[test]
fn a_csv_quote_that_is_never_closed_fails_alone() {
    let content = b"id,text\n1,one\n2,\"two\n3,three\n4,four\n";
    check(
        "csv",
        content,
        "",
        &[0, 2, 3],
        &[Damaged(1, MALFORMED, "line 3")],
    );
}

#[test]
fn a_json_line_that_was_cut_short_fails_alone() {
    let content = b"{\"n\":1}\n{\"n\":2,\"text\":\"cut\n{\"n\":3}\nnull\n{\"n\":4}\n";
    check(
        "jsonl",
        content,
        "",
        &[0, 2, 3, 4],
        &[Damaged(1, MALFORMED, "line 2")],
    );
}

#[test]
fn invalid_utf8_fails_alone() {
    check(
        "jsonl",
        b"{\"n\":1}\n{\"n\":\"\xff\xfe\"}\n{\"n\":3}\n",
        "",
        &[0, 2],
        &[Damaged(1, MALFORMED, "line 2")],
    );
    check(
        "csv",
        b"id,text\n1,one\n2,\xc3\x28\n3,three\n",
        "",
        &[0, 2],
        &[Damaged(1, MALFORMED, "line 3")],
    );
}

#[test]
fn a_record_over_the_size_limit_fails_alone() {
    let long = "x".repeat(3000);
    let limits = "[items]\nrecord_bytes_max = \"1 KiB\"\n";
    check(
        "jsonl",
        format!("{{\"n\":1}}\n{{\"n\":\"{long}\"}}\n{{\"n\":3}}\n").as_bytes(),
        limits,
        &[0, 2],
        &[Damaged(1, TOO_LARGE, "line 2")],
    );
    check(
        "csv",
        format!("id,text\n1,one\n2,{long}\n3,three\n").as_bytes(),
        limits,
        &[0, 2],
        &[Damaged(1, TOO_LARGE, "line 3")],
    );
}
