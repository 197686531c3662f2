//! What a run has to answer for: the report, exports, and the figures of `status`.

use std::fs;

use super::world::World;

/// A handler in shell that fails records by their text.
fn failing(world: &World) {
    world.write(
        "picky/plugin.toml",
        "name = \"picky\"\nhost = \"exec\"\ncommand = [\"sh\", \"handler.sh\"]\n",
    );
    world.write(
        "picky/handler.sh",
        "item=$(cat)\ncase $item in *bad*) echo \"it is bad\" >&2; exit 1;; esac\necho \"$item\"\n",
    );
}

fn job(world: &World, rows: &str, more: &str) {
    failing(world);
    world.write("in.csv", format!("id;text\n{rows}"));
    world.write(
        "job.toml",
        format!(
            "name = \"job\"\n[source]\nkind = \"csv\"\npath = \"in.csv\"\nid = \"id\"\ndelimiter = \";\"\n\
             [process]\nplugin = \"./picky\"\n[retry]\nattempts = 1\n\
             [pause_when]\nfailed = \"100% of total\"\nfailing = \"100% of last 1000\"\nin_a_row = 1000\n{more}"
        ),
    );
}

#[test]
fn a_report_accounts_for_every_record_and_says_what_it_took() {
    let world = World::new();
    job(&world, "1;one\n2;bad\n3;three\n3;four\n", "");
    let ran = world.iterd(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = world.iterd(&["report", "job", "--json"]);
    assert_eq!(report.code, 0, "{report:?}");
    let answer = report.json();
    for (key, value) in [
        ("records", 4),
        ("done", 3),
        ("failed", 1),
        ("skipped", 0),
        ("redone", 0),
    ] {
        assert_eq!(answer[key], value, "{key}: {answer}");
    }
    assert_eq!(answer["balances"], true);
    assert_eq!(answer["duplicates"]["ids"], 1);
    assert_eq!(answer["calls"]["all"], 4);
    assert_eq!(answer["most_calls_in_a_day"]["calls"], 4);
    assert_eq!(answer["calls_by_day"][0]["done"], 3);
    assert_eq!(answer["versions"][0]["version"], 1);
    assert_eq!(answer["versions"][0]["failure_rate"], 0.25);
    assert_eq!(answer["source"]["fingerprint"]["format"], "file/1");
    let page = world.iterd(&["report", "job"]).out;
    for part in [
        "job, run 1, finished: every record has exactly one outcome",
        "4 in the source",
        "1 id stands in 2 records: 3",
        "4: 4 first tries, 0 retries; at most 4 in a day",
        "25.0 % of tries failed",
    ] {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
}

#[test]
fn a_report_names_what_the_source_has_and_the_run_has_not() {
    let world = World::new();
    job(&world, "1;one\n2;two\n", "");
    assert_eq!(world.iterd(&["run", "job.toml"]).code, 0);
    world.write("in.csv", "id;text\n1;one\nX;two\n3;three\n");
    let report = world.iterd(&["report", "job"]);
    assert_eq!(report.code, 1, "{report:?}");
    assert!(
        report.out.contains("the records do not balance"),
        "{report:?}"
    );
    assert!(report.out.contains("1 have no outcome: #2"), "{report:?}");
    assert!(
        report
            .out
            .contains("another id in the source than in their outcome: #1")
    );
    let trusting = world.iterd(&["report", "job", "--trust-source"]);
    assert_eq!(trusting.code, 0, "{trusting:?}");
    fs::remove_file(world.path("in.csv")).unwrap();
    let gone = world.iterd(&["report", "job"]);
    assert_eq!(gone.code, 3, "{gone:?}");
    assert!(gone.err.contains("--trust-source"), "{gone:?}");
}

#[test]
fn failed_records_are_exported_as_the_source_has_them_and_are_a_source_again() {
    let world = World::new();
    job(&world, "1;one\n2;\"bad; \"\"very\"\"\"\n3;bad\n", "");
    assert_eq!(world.iterd(&["run", "job.toml"]).code, 0);
    let export = [
        "export",
        "job",
        "--failures",
        "--to",
        "again.csv",
        "--with-errors",
    ];
    let answer = world.iterd(&export);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.err.contains("2 failures of job in again.csv"),
        "{answer:?}"
    );
    let again = fs::read_to_string(world.path("again.csv")).unwrap();
    assert_eq!(again, "id;text\n2;\"bad; \"\"very\"\"\"\n3;bad\n");
    let errors = fs::read_to_string(world.path("again.csv.errors.jsonl")).unwrap();
    assert_eq!(errors.lines().count(), 2);
    assert!(errors.contains("it is bad"), "{errors}");
    let text = fs::read_to_string(world.path("job.toml")).unwrap();
    let text = text
        .replace("name = \"job\"", "name = \"again\"")
        .replace("in.csv", "again.csv");
    world.write("again.toml", text.replace("./picky", "identity"));
    assert_eq!(world.iterd(&["run", "again.toml"]).code, 0);
    let report = world.iterd(&["report", "again", "--json"]).json();
    assert_eq!(
        (report["records"].as_u64(), report["done"].as_u64()),
        (Some(2), Some(2))
    );
    let left = fs::read_dir(world.path("")).unwrap();
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".again")
    });
    assert_eq!(hidden.count(), 0, "a temporary file was left");
}

#[test]
fn results_are_exported_to_a_file_or_to_standard_output_and_never_over_the_source() {
    let world = World::new();
    job(&world, "1;one\n2;two\n", "");
    assert_eq!(world.iterd(&["run", "job.toml"]).code, 0);
    let out = world.iterd(&["export", "job", "--results", "--to", "-"]);
    assert_eq!(out.json_lines().len(), 2, "{out:?}");
    assert_eq!(out.json_lines()[1]["result"]["text"], "two");
    let csv = world.iterd(&[
        "export",
        "job",
        "--results",
        "--to",
        "out.csv",
        "--format",
        "csv",
        "--json",
    ]);
    assert_eq!(csv.json()["rows"], 2, "{csv:?}");
    let text = fs::read_to_string(world.path("out.csv")).unwrap();
    assert_eq!(
        text,
        "index,id,id,text,version,attempts\n0,1,1,one,1,1\n1,2,2,two,1,1\n"
    );
    let before = fs::read(world.path("in.csv")).unwrap();
    let refused = world.iterd(&["export", "job", "--failures", "--to", "in.csv"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert_eq!(fs::read(world.path("in.csv")).unwrap(), before);
    let neither = world.iterd(&["export", "job", "--to", "x"]);
    assert_eq!(neither.code, 2, "{neither:?}");
    let both = world.iterd(&["export", "job", "--failures", "--with-errors", "--to", "-"]);
    assert_eq!(both.code, 2, "{both:?}");
    let unknown = world.iterd(&["report", "jab"]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
}

#[test]
fn a_run_under_way_is_reported_so_far_foreseen_with_a_range_and_exported() {
    let world = World::new();
    world.job("slow", 5000, "[limit]\npace = \"50 per s\"\n");
    let _daemon = world.serve();
    assert_eq!(world.iterd(&["start", "slow"]).code, 0);
    let status = world.wait_for(&["status", "slow", "--json"], |answer| {
        let answer = answer.json();
        answer["done"].as_u64() > Some(60) && answer["eta"].is_object()
    });
    let status = status.json();
    let instant =
        |key: &str| -> jiff::Timestamp { status["eta"][key].as_str().unwrap().parse().unwrap() };
    assert!(instant("earliest") <= instant("expected"), "{status}");
    assert!(instant("expected") <= instant("latest"), "{status}");
    let eta = status["eta_s"].as_f64().unwrap();
    // 5,000 records at 50 per second, of which few are done; a slow machine may manage less.
    assert!((60.0..=1000.0).contains(&eta), "{eta}");
    let report = world.iterd(&["report", "slow"]);
    assert_eq!(report.code, 1, "{report:?}");
    assert!(
        report
            .out
            .contains("so far not every record has an outcome"),
        "{report:?}"
    );
    let export = world.iterd(&["export", "slow", "--results", "--to", "-"]);
    assert!(export.json_lines().len() > 60, "{export:?}");
    assert!(export.err.contains("so far"), "{}", export.err);
    assert_eq!(world.iterd(&["pause", "slow"]).code, 0);
    let paused = world.wait_for(&["status", "slow", "--json"], |answer| {
        answer.json()["status"] == "paused"
    });
    assert_eq!(paused.json()["eta"]["never"], "it is paused");
}

#[test]
fn days_and_versions_balance_with_the_checkpoint_after_a_daemon_was_killed() {
    let world = World::new();
    world.job("long", 4000, "concurrency = 4\n");
    let daemon = world.serve();
    assert_eq!(world.iterd(&["start", "long"]).code, 0);
    world.wait_for(&["status", "long", "--json"], |answer| {
        answer.json()["done"].as_u64() > Some(200)
    });
    daemon.kill();
    for _ in 0..2 {
        let status = world.iterd(&["status", "long", "--json"]).json();
        let sum = |list: &str, key: &str| -> u64 {
            let list = status[list].as_array().unwrap();
            list.iter().map(|one| one[key].as_u64().unwrap()).sum()
        };
        let done = status["done"].as_u64().unwrap();
        assert_eq!(sum("calls_by_day", "done"), done, "{status}");
        assert_eq!(sum("versions", "done"), done, "{status}");
        let first = status["calls"]["first_tries"].as_u64().unwrap();
        assert_eq!(sum("calls_by_day", "first_tries"), first, "{status}");
        let ran = world.iterd(&["run", "config/jobs/long.toml"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(world.iterd(&["report", "long"]).code, 0);
}

#[test]
fn what_answers_of_too_many_cost_is_counted_by_day_and_reported() {
    let world = World::new();
    world.write(
        "shy/plugin.toml",
        "name = \"shy\"\nhost = \"process\"\ncommand = [\"sh\", \"handler.sh\"]\n",
    );
    world.write(
        "shy/handler.sh",
        "n=0\nwhile read -r line; do\n\
         id=$(echo \"$line\" | sed 's/^{\"id\":\\([0-9]*\\).*/\\1/')\n\
         n=$((n + 1))\n\
         if [ $n = 1 ]; then echo \"{\\\"id\\\":$id,\\\"error\\\":\\\"TooMany\\\",\\\"close_limiter_s\\\":1}\"\n\
         else echo \"{\\\"id\\\":$id,\\\"result\\\":1}\"; fi\ndone\n",
    );
    world.write("in.jsonl", "1\n2\n");
    world.write(
        "job.toml",
        "name = \"job\"\n[source]\nkind = \"jsonl\"\npath = \"in.jsonl\"\n[process]\nplugin = \"./shy\"\n",
    );
    let ran = world.iterd(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = world.iterd(&["report", "job", "--json"]).json();
    assert_eq!(report["throttled"]["calls"], 1, "{report}");
    let closed = report["throttled"]["closed_s"].as_f64().unwrap();
    assert!((0.9..=1.0).contains(&closed), "{report}");
    assert_eq!(report["versions"][0]["throttled"], 1, "{report}");
    assert_eq!(report["versions"][0]["failed_tries"], 0, "{report}");
    let page = world.iterd(&["report", "job"]).out;
    assert!(page.contains("put off    1 calls"), "{page}");
}
