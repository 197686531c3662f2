//! Wrong results that are found late: `iterd redo` with each way to say which, what it prints, what
//! is kept, and what the output file has in the end.

use iterd::cli::exit;
use serde_json::{Value, json};

use super::world::{Answer, World};

/// A job whose handler answers the text of a file that a test may change, beside the record's id.
fn job(world: &World, records: usize, more: &str) {
    let rows: Vec<String> = (0..records)
        .map(|n| format!("C-{n},{}\n", n * 100))
        .collect();
    world.write("customers.csv", format!("id,km\n{}", rows.concat()));
    world.write(
        "h/plugin.toml",
        "name = \"h\"\nhandler = \"handler.py:handle\"\n",
    );
    handler(world, "wrong");
    world.write(
        "job.toml",
        format!(
            "name = \"j\"\n[source]\nkind = \"csv\"\npath = \"customers.csv\"\nid = \"id\"\n\
             [process]\nplugin = \"./h\"\nconcurrency = 2\n\
             [output]\nkind = \"jsonl\"\npath = \"out.jsonl\"\n{more}"
        ),
    );
}

/// Another version of the handler.
fn handler(world: &World, answer: &str) {
    world.write(
        "h/handler.py",
        format!(
            "def handle(item, call):\n    return {{\"km\": int(item[\"km\"]), \"word\": \"{answer}\", \"key\": call.key}}\n"
        ),
    );
}

fn run(world: &World) {
    let ran = world.iterd(&["run", "job.toml"]);
    assert_eq!(ran.code, i32::from(exit::DONE), "{ran:?}");
}

fn indexes(answer: &Answer) -> Vec<u64> {
    let lines = answer.json_lines();
    lines
        .iter()
        .map(|line| line["index"].as_u64().unwrap())
        .collect()
}

#[test]
fn results_of_a_wrong_version_are_done_again_and_the_old_ones_are_kept() {
    let world = World::new();
    job(&world, 5, "");
    run(&world);
    handler(&world, "right");
    let dry = world.iterd(&["redo", "j", "--version", "1", "--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(
        dry.out
            .starts_with("5 results would be done again; nothing is changed"),
        "{dry:?}"
    );
    assert!(dry.out.contains("#0 C-0  version 1, "), "{dry:?}");
    assert_eq!(world.iterd(&["items", "j", "--queued", "--json"]).out, "");

    let redo = world.iterd(&["redo", "j", "--version", "1"]);
    assert_eq!(redo.code, 0, "{redo:?}");
    for part in [
        "5 results are put back to be done again; each stays current",
        "iterd serve",
    ] {
        assert!(redo.out.contains(part), "{redo:?}");
    }
    let again = world.iterd(&["redo", "j", "--version", "1"]);
    assert!(
        again
            .out
            .contains("j has no such result; 5 more are being redone already"),
        "{again:?}"
    );
    let meanwhile = world.iterd(&["results", "j", "--json"]).json_lines();
    assert_eq!(meanwhile.len(), 5, "there is no hole");
    assert_eq!(
        (&meanwhile[3]["result"]["word"], &meanwhile[3]["redoing"]),
        (&json!("wrong"), &json!(true))
    );
    let people = world.iterd(&["results", "j"]);
    assert!(
        people
            .out
            .lines()
            .all(|line| line.ends_with("  (being redone)")),
        "{people:?}"
    );
    let queued = world.iterd(&["items", "j", "--queued"]);
    assert!(
        queued.out.starts_with("#0 C-0  queued, redo 1"),
        "{queued:?}"
    );
    let status = world.iterd(&["status", "j"]);
    for part in [
        "put back   5",
        "redone     5",
        "by tester: results: version 1",
    ] {
        assert!(status.out.contains(part), "{part}: {}", status.out);
    }

    run(&world);
    let results = world.iterd(&["results", "j", "--json"]).json_lines();
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["result"]["word"], "right");
        assert_eq!(
            (&result["version"], &result["redo"]),
            (&json!(2), &json!(1))
        );
        assert!(result["redoing"].is_null());
        let old = meanwhile[n]["result"]["key"].as_str().unwrap();
        assert_eq!(result["result"]["key"], format!("{old}:redo1"));
    }
    let superseded = world
        .iterd(&["results", "j", "--superseded", "--json"])
        .json_lines();
    assert_eq!(superseded.len(), 5);
    assert_eq!(
        (&superseded[4]["result"]["word"], &superseded[4]["version"]),
        (&json!("wrong"), &json!(1))
    );
    assert!(superseded[4]["superseded_at"].as_str() > superseded[4]["at"].as_str());
    let people = world.iterd(&["results", "j", "--superseded"]);
    assert!(people.out.starts_with("#0 C-0  version 1, "), "{people:?}");
    let written = std::fs::read_to_string(world.path("out.jsonl")).unwrap();
    let mut last: Vec<Value> = vec![Value::Null; 5];
    for line in written.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let at = usize::try_from(line["index"].as_u64().unwrap()).unwrap();
        last[at] = line["result"]["word"].clone();
    }
    assert_eq!(
        (written.lines().count(), last),
        (10, vec![json!("right"); 5])
    );
}

#[test]
fn a_condition_a_time_and_a_file_of_ids_say_which_and_all_must_hold() {
    let world = World::new();
    job(&world, 10, "");
    run(&world);
    let dry = |more: &[&str]| {
        let answer = world.iterd(&[&["redo", "j", "--dry-run", "--json"], more].concat());
        assert!(answer.code == 0 || answer.code == 1, "{answer:?}");
        answer.json()["items"].as_u64().unwrap()
    };
    world.write("ids", "\u{feff}C-1\r\n\n  #7 \nC-8\nC-1\n");
    assert_eq!(dry(&["--where", "@.result.km > 500"]), 4);
    assert_eq!(dry(&["--where", "@.result.km > 500 && @.id != 'C-6'"]), 3);
    assert_eq!(dry(&["--ids", "ids"]), 3);
    assert_eq!(dry(&["--ids", "ids", "--where", "@.result.km > 500"]), 2);
    assert_eq!(dry(&["--ids", "ids", "--version", "2"]), 0);
    assert_eq!(dry(&["--between", "2020-01-01", "2099-01-01"]), 10);
    assert_eq!(dry(&["--between", "2020-01-01", "2020-01-02T12:00"]), 0);
    assert_eq!(
        dry(&[
            "--between",
            "2020-01-01T00:00:00Z",
            "2099-01-01",
            "--version",
            "1"
        ]),
        10
    );

    world.write("ids", "C-1\nnobody\n#7\n#99\n");
    let redo = world.iterd(&["redo", "j", "--ids", "ids"]);
    assert_eq!(redo.code, i32::from(exit::FAILED), "{redo:?}");
    assert!(redo.out.contains("2 results are put back"), "{redo:?}");
    assert!(
        redo.err
            .contains("2 of the file have no result here: nobody, #99"),
        "{redo:?}"
    );
    assert_eq!(
        indexes(&world.iterd(&["items", "j", "--queued", "--json"])),
        [1, 7]
    );
    run(&world);
    assert_eq!(
        indexes(&world.iterd(&["results", "j", "--superseded", "--json"])),
        [1, 7]
    );
}

#[test]
fn a_wrong_selection_is_refused_in_words_and_pointed_into() {
    let world = World::new();
    job(&world, 2, "");
    run(&world);
    world.write("empty", "\n");
    for (arguments, code, part) in [
        (
            &["--where", "@.result.km >"][..],
            exit::INVALID,
            "\n  @.result.km >\n               ^",
        ),
        (&["--where", "km > 3"], exit::INVALID, "\n  km > 3\n  ^"),
        (
            &["--between", "yesterday", "2026-01-01"],
            exit::USAGE,
            "\"yesterday\" is no instant; write it as in 2026-03-01",
        ),
        (
            &["--between", "2026-01-02", "2026-01-01"],
            exit::INVALID,
            "lies nothing",
        ),
        (
            &["--between", "2026-01-02"],
            exit::USAGE,
            "2 values required",
        ),
        (&["--ids", "gone"], exit::INVALID, "gone: "),
        (
            &["--ids", "empty"],
            exit::INVALID,
            "empty: no id stands in it",
        ),
        (&[], exit::USAGE, "--version"),
    ] {
        let answer = world.iterd(&[&["redo", "j"], arguments].concat());
        assert_eq!(answer.code, i32::from(code), "{answer:?}");
        assert!(answer.err.contains(part), "{part}: {}", answer.err);
    }
    let unknown = world.iterd(&["redo", "k", "--version", "1"]);
    assert_eq!(unknown.code, i32::from(exit::NOT_FOUND), "{unknown:?}");
    assert_eq!(world.iterd(&["items", "j", "--queued", "--json"]).out, "");
}

#[test]
fn a_record_that_is_another_one_now_is_named_and_keeps_its_result() {
    let world = World::new();
    job(&world, 4, "");
    run(&world);
    let changed = "id,km\nC-0,0\nX-1,100\nC-2,\"200\"x\nC-3,300\n";
    world.write("customers.csv", changed);
    let redo = world.iterd(&["redo", "j", "--version", "1"]);
    assert_eq!(redo.code, i32::from(exit::FAILED), "{redo:?}");
    assert!(redo.out.contains("2 results are put back"), "{redo:?}");
    for part in [
        "2 are not put back, because their records are not in the source as they were; their results stay",
        "#1 C-1: the source has another record there now: its id is \"X-1\", and was \"C-1\"",
        "#2 C-2: ",
    ] {
        assert!(redo.err.contains(part), "{part}: {}", redo.err);
    }
    assert_eq!(
        indexes(&world.iterd(&["results", "j", "--json"])),
        [0, 1, 2, 3]
    );
}

#[test]
fn a_redo_that_fails_for_good_is_a_failed_item_whose_old_result_is_kept() {
    let world = World::new();
    job(
        &world,
        3,
        "[retry]\nattempts = 1\n[pause_when]\nfailed = \"100% of total\"\n",
    );
    run(&world);
    world.write(
        "h/handler.py",
        "def handle(item, call):\n    raise KeyError('no such customer')\n",
    );
    world.write("ids", "C-1\n");
    let redo = world.iterd(&["redo", "j", "--ids", "ids"]);
    assert!(
        redo.out
            .contains("1 result is put back to be done again; it stays current"),
        "{redo:?}"
    );
    run(&world);
    assert_eq!(indexes(&world.iterd(&["results", "j", "--json"])), [0, 2]);
    assert_eq!(
        indexes(&world.iterd(&["results", "j", "--superseded", "--json"])),
        [1]
    );
    let failed = world.iterd(&["items", "j", "--json"]).json_lines();
    assert_eq!(
        (&failed[0]["index"], &failed[0]["redo"]),
        (&json!(1), &json!(1))
    );
    let status = world.iterd(&["status", "j", "--json"]).json();
    assert_eq!(
        (&status["done"], &status["failed"], &status["redone"]),
        (&json!(2), &json!(1), &json!(1))
    );
}
