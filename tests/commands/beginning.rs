//! The first hour of an owner: a new job in each language, what a check tells of it, and a run without
//! a call. The tests that `init` writes are run as they are, with the language's own means.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use iterd::cli::exit;
use serde_json::{Value, json};

use super::world::{Answer, World, answer_of};

const PEOPLE: &str = "id;name;city\n7;ada;Paris\n8;grace;\n9;;\n";

/// A world in which `iterd init NAME --source PATH LANGUAGE` has made a job.
fn made(world: &World, name: &str, source: &str, language: &str) -> Answer {
    let answer = world.iterd(&["init", name, "--source", source, language]);
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    answer
}

/// Runs a line that a command told, in the world's folder, with the binary in the PATH.
fn shell(world: &World, line: &str) -> Answer {
    let binary = Path::new(env!("CARGO_BIN_EXE_iterd")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let home = std::env::var("HOME").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(world.path(""))
        .env_clear()
        .env("PATH", format!("{}:{path}", binary.display()))
        // Cargo and Python find what they have installed there.
        .env("HOME", home)
        .envs(
            std::env::vars()
                .filter(|(name, _)| name.starts_with("CARGO") || name.starts_with("RUSTUP")),
        )
        .env("STATE_DIRECTORY", world.state());
    answer_of(&mut command)
}

/// Every command that `init` tells is true: the test passes, the check and the run end well. Answers
/// the results.
fn check_told(world: &World, name: &str, source: &str, language: &str) -> Vec<Value> {
    let told = made(world, name, source, language);
    let (_, next) = told.out.split_once("next:\n").unwrap();
    let mut commands: Vec<&str> = next
        .lines()
        .map(|line| line.split_once("  #").unwrap().0.trim())
        .collect();
    assert!(commands.len() >= 3, "{told:?}");
    let run = commands.pop().unwrap();
    for command in commands {
        let answer = shell(world, command);
        assert_eq!(answer.code, 0, "{command}: {answer:?}");
        if command.starts_with("iterd check") {
            assert!(!answer.out.contains("warnings:"), "{answer:?}");
            assert!(answer.out.contains(&format!("run it: {run}")), "{answer:?}");
        }
    }
    let answer = shell(world, run);
    assert_eq!(answer.code, i32::from(exit::DONE), "{run}: {answer:?}");
    world.iterd(&["results", name, "--json"]).json_lines()
}

fn check_people(name: &str, language: &str, wanted: &[Value]) {
    let world = World::new();
    world.write("data/people.csv", PEOPLE);
    let results = check_told(&world, name, "data/people.csv", language);
    let ids: Vec<&Value> = results.iter().map(|result| &result["id"]).collect();
    assert_eq!(ids, ["7", "8", "9"]);
    let results: Vec<&Value> = results.iter().map(|result| &result["result"]).collect();
    assert_eq!(results, wanted.iter().collect::<Vec<_>>());
}

fn named() -> [Value; 3] {
    [
        json!({ "filled": 3, "empty": [] }),
        json!({ "filled": 2, "empty": ["city"] }),
        json!({ "filled": 1, "empty": ["name", "city"] }),
    ]
}

#[test]
fn a_new_job_in_python_runs_as_it_was_told() {
    check_people("in-python", "--python", &named());
}

#[test]
fn a_new_job_for_node_runs_as_it_was_told() {
    check_people("in_node", "--node", &named());
}

#[test]
fn a_new_job_in_shell_runs_as_it_was_told() {
    let counted =
        [(3, 0), (2, 1), (1, 2)].map(|(filled, empty)| json!({ "filled": filled, "empty": empty }));
    check_people("shell", "--shell", &counted);
}

/// Cargo's own download is what the tests' host has already: this package's lock file and registry.
fn offline(world: &World, name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(
        root.join("Cargo.lock"),
        world.path(&format!("{name}/handler/Cargo.lock")),
    )
    .unwrap();
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("init");
    world.write(
        &format!("{name}/handler/.cargo/config.toml"),
        format!(
            "[net]\noffline = true\n[build]\ntarget-dir = \"{}\"\n",
            target.display()
        ),
    );
}

#[test]
fn a_new_job_in_rust_builds_and_runs_as_it_was_told() {
    let world = World::new();
    world.write("people.csv", PEOPLE);
    let told = made(&world, "rusty", "people.csv", "--rust");
    offline(&world, "rusty");
    assert!(told.out.contains("cargo fetches serde_json"), "{told:?}");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("init");
    let target = target.display();
    for command in [
        format!("cd rusty/handler && CARGO_TARGET_DIR={target} cargo test --release"),
        format!("cd rusty/handler && CARGO_TARGET_DIR={target} sh ../build.sh"),
        "iterd check rusty/job.toml --strict".to_owned(),
        "iterd run rusty/job.toml".to_owned(),
    ] {
        let answer = shell(&world, &command);
        assert_eq!(answer.code, 0, "{command}: {answer:?}");
    }
    let results = world.iterd(&["results", "rusty", "--json"]).json_lines();
    let empty: Vec<&Value> = results
        .iter()
        .map(|result| &result["result"]["empty"])
        .collect();
    assert_eq!(
        empty,
        [&json!([]), &json!(["city"]), &json!(["city", "name"])]
    );
}

#[test]
fn a_job_over_a_directory_reads_its_files_in_the_sandbox() {
    let world = World::new();
    world.write("in box/one.txt", "one\ntwo\n");
    world.write("in box/two.txt", "three");
    for (name, language) in [("py", "--python"), ("sh", "--shell"), ("js", "--node")] {
        let results = check_told(&world, name, "in box", language);
        let measured: Vec<(&Value, &Value)> = results
            .iter()
            .map(|result| (&result["result"]["bytes"], &result["result"]["lines"]))
            .collect();
        assert_eq!(
            measured,
            [(&json!(8), &json!(2)), (&json!(5), &json!(0))],
            "{language}"
        );
    }
}

#[test]
fn records_of_any_shape_become_a_job_that_runs() {
    let world = World::new();
    let mut packed = flate2_of(
        "{\"a\": \"it's\", \"b\": \"$(x) `y` \\\\ \\u202e\"}\n{\"a\": \"é\", \"b\": null}\n",
    );
    world.write("quotes.jsonl.gz", &packed);
    world.write("one.jsonl", "{\"a\": 1}"); // no line end
    packed = flate2_of("[[1, 2], \"x\", 17]");
    world.write("packed", &packed);
    world.write(
        "page.json",
        "{\"meta\": 1, \"data\": [{\"n\": 1}, {\"n\": 2}]}",
    );
    for (source, records) in [
        ("one.jsonl", 1),
        ("quotes.jsonl.gz", 2),
        ("packed", 3),
        ("page.json", 2),
    ] {
        for (at, language) in ["--python", "--shell", "--node"].into_iter().enumerate() {
            let name = format!("job{at}-{}", source.replace('.', "_"));
            let results = check_told(&world, &name, source, language);
            assert_eq!(results.len(), records, "{source} {language}");
        }
    }
}

fn flate2_of(text: &str) -> Vec<u8> {
    let mut command = Command::new("gzip");
    command
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn init_overwrites_nothing_and_says_what_is_wrong() {
    let world = World::new();
    world.write("people.csv", PEOPLE);
    world.write("taken/notes.txt", "mine");
    world.write("empty.csv", "id,name\n");
    let init = |arguments: &[&str]| world.iterd(&[&["init"], arguments].concat());
    for (arguments, code, words) in [
        (
            &["taken", "--source", "people.csv", "--python"][..],
            exit::CONFLICT,
            "is there already",
        ),
        (
            &["new", "--source", "empty.csv", "--python"],
            exit::INVALID,
            "no record that can be read yet",
        ),
        (
            &["new", "--source", "gone.csv", "--python"],
            exit::INVALID,
            "gone.csv",
        ),
        (
            &["no/name", "--source", "people.csv", "--python"],
            exit::USAGE,
            "\"no/name\" is no name",
        ),
        (&["new", "--source", "people.csv"], exit::USAGE, "--python"),
        (
            &["new", "--source", "people.csv", "--python", "--rust"],
            exit::USAGE,
            "cannot be used with",
        ),
    ] {
        let answer = init(arguments);
        assert_eq!(answer.code, i32::from(code), "{answer:?}");
        assert!(answer.err.contains(words), "{words:?}: {answer:?}");
    }
    assert_eq!(fs::read_dir(world.path("taken")).unwrap().count(), 1);
    let left = fs::read_dir(world.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        !left
            .into_iter()
            .any(|name| name.to_string_lossy().contains("partial"))
    );
    let answer = init(&[
        "new",
        "--source",
        "people.csv",
        "--shell",
        "--in",
        "deep/er",
        "--json",
    ])
    .json();
    assert_eq!(answer["source"], json!({ "kind": "csv", "delimiter": ";" }));
    assert_eq!(answer["id"], "id");
    assert!(world.path("deep/er/new/job.toml").exists());
    assert_eq!(
        world.iterd(&["check", "deep/er/new/job.toml"]).code,
        i32::from(exit::DONE)
    );
}

/// A job file over 3,000 records with what stands in it.
fn job(world: &World, rest: &str) {
    let rows: Vec<String> = (0..3_000).map(|n| format!("{n},row {n}\n")).collect();
    let rows = rows.concat();
    world.write("rows.csv", format!("id,text\n{rows}"));
    world.write(
        "job.toml",
        format!("name = \"j\"\n[source]\nkind = \"csv\"\npath = \"rows.csv\"\nid = \"id\"\n{rest}"),
    );
}

#[test]
fn a_check_estimates_time_calls_and_room() {
    let world = World::new();
    job(
        &world,
        "[process]\nplugin = \"identity\"\n[limit]\nquota = \"100 per day\"\ntime_zone = \"UTC\"\n",
    );
    let answer = world.iterd(&["check", "job.toml", "--json"]).json();
    let estimate = &answer["estimate"];
    assert_eq!(estimate["calls"], json!({ "least": 3_000, "most": 3_334 }));
    let days = |key: &str| estimate["seconds"][key].as_f64().unwrap() / 86_400.0;
    // Of an untouched day some is left now, and what is left over goes at the last midnight.
    assert!((28.0..=29.0).contains(&days("least")), "{estimate}");
    assert!((32.0..=33.0).contains(&days("most")), "{estimate}");
    assert_eq!(estimate["calls_per_day_max"], 100);
    assert_eq!(answer["warnings"], json!([]));
    let people = world.iterd(&["check", "job.toml"]);
    assert!(people.out.contains("calls   10"), "{people:?}");
    assert!(
        people
            .out
            .contains("if retries take their share all the time"),
        "{people:?}"
    );
}

#[test]
fn the_estimated_state_is_about_what_a_run_leaves() {
    let world = World::new();
    job(
        &world,
        "[process]\nplugin = \"identity\"\nconcurrency = 50\n",
    );
    let rows: Vec<String> = (0..20_000_u32)
        .map(|n| format!("C-{},{}\n", n.wrapping_mul(2_654_435_761), "x".repeat(200)))
        .collect();
    let rows = rows.concat();
    world.write("rows.csv", format!("id,text\n{rows}"));
    let answer = world.iterd(&["check", "job.toml", "--json"]).json();
    let estimated = answer["estimate"]["state"]["bytes"].as_u64().unwrap();
    let run = world.iterd(&["run", "job.toml"]);
    assert_eq!(run.code, i32::from(exit::DONE), "{run:?}");
    let left = fs::metadata(world.state().join("iterd.db")).unwrap().len();
    let off = estimated.abs_diff(left) * 100 / left;
    assert!(off <= 20, "estimated {estimated}, left {left}");
}

#[test]
fn a_check_warns_with_the_place_and_the_mend_and_fails_only_if_it_is_told_to() {
    let world = World::new();
    job(
        &world,
        "[process]\nplugin = \"./plugin\"\ntimeout = \"never\"\nconcurrency = 8\n\
         [limit]\npace = \"100000 per s\"\nquota = \"500 per day\"\n\
         [retry]\nattempts = 40\nmax_delay = \"365d\"\n\
         [pause_when]\nfailing = \"never\"\nin_a_row = \"never\"\nfailed = \"never\"\n\
         [output]\nkind = \"jsonl\"\npath = \"plugin/out.jsonl\"\n",
    );
    world.write("rows.csv", "id,text\n1,one\n2,two\n1,again\n,none\n");
    world.write(
        "plugin/plugin.toml",
        "name = \"p\"\nhost = \"exec\"\ncommand = [\"true\"]\nworkers = 2\n",
    );
    let answer = world.iterd(&["check", "job.toml", "--json"]);
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    let answer = answer.json();
    let found: Vec<(&str, &str, &str)> = answer["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["level"].as_str().unwrap(),
                one["at"].as_str().unwrap(),
                one["key"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("warning", "job.toml:5:6", "source.id"),
            ("warning", "job.toml:5:6", "source.id"),
            ("warning", "job.toml:8:11", "process.timeout"),
            ("warning", "job.toml:9:15", "process.concurrency"),
            ("warning", "job.toml:9:15", "process.concurrency"),
            ("hint", "job.toml:12:9", "limit.quota"),
            ("warning", "job.toml:15:13", "retry.max_delay"),
            ("warning", "job.toml:16:1", "pause_when"),
            ("warning", "job.toml:22:8", "output.path"),
        ]
    );
    assert_eq!(
        (&answer["duplicate_ids"], &answer["malformed"]),
        (&json!(1), &json!(1))
    );
    let people = world.iterd(&["check", "job.toml", "--strict"]);
    assert_eq!(people.code, i32::from(exit::INVALID), "{people:?}");
    for words in [
        "warnings:",
        "hints:",
        "#2 1",
        "a record may wait 365 days",
        "time_zone = \"Europe/Berlin\"",
    ] {
        assert!(people.out.contains(words), "{words:?}: {people:?}");
    }
}

#[test]
fn a_quick_check_of_a_long_source_says_that_it_is_an_estimate() {
    let world = World::new();
    job(&world, "[process]\nplugin = \"identity\"\n");
    let row = format!("1,{}\n", "x".repeat(1_000));
    world.write("rows.csv", format!("id,text\n{}", row.repeat(40_000)));
    let quick = world
        .iterd(&["check", "job.toml", "--quick", "--json"])
        .json();
    assert_eq!(quick["estimate"]["exact"], false);
    let read = quick["estimate"]["records_read"].as_u64().unwrap();
    assert!((10_000..30_000).contains(&read), "{read}");
    let records = quick["records"].as_u64().unwrap();
    assert!((39_800..=40_200).contains(&records), "{records}");
    let people = world.iterd(&["check", "job.toml", "--quick"]);
    assert!(
        people.out.contains("the rest is taken to be like them"),
        "{people:?}"
    );
}

#[test]
fn what_aws_would_not_honour_is_listed() {
    let world = World::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/jobs/enrich.toml");
    let answer = world
        .iterd(&["check", file, "--target", "aws", "--json"])
        .json();
    let findings = answer["target"]["findings"].as_array().unwrap().clone();
    let keys: Vec<&str> = findings
        .iter()
        .filter_map(|one| one["key"].as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "source.path",
            "source.id",
            "source.on_change",
            "process.plugin",
            "process.order",
            "limit.pace",
            "limit.quota",
            "retry.quota_share",
            "pause_when",
            "output"
        ]
    );
    let people = world.iterd(&["check", file, "--target", "aws"]);
    assert!(
        people
            .out
            .contains("enrich.toml:21:8: limit.pace: a Map Run has no pace"),
        "{people:?}"
    );
}

/// What a handler was given, by the calls of a dry run and by those of a run.
#[test]
fn a_dry_run_shows_the_calls_that_a_run_makes() {
    let world = World::new();
    job(
        &world,
        "[process]\nplugin = \"./plugin\"\n[limit]\npace = \"1 per s\"\n",
    );
    world.write(
        "plugin/plugin.toml",
        "name = \"p\"\nhost = \"exec\"\ncommand = [\"sh\", \"h.sh\"]\n",
    );
    world.write("plugin/h.sh", "printf '{\"key\":\"%s\",\"attempt\":%s,\"item\":' \"$ITERD_KEY\" \"$ITERD_ATTEMPT\"; cat; echo '}'\n");
    let dry = world.iterd(&["run", "job.toml", "--dry-run", "--calls", "2", "--json"]);
    assert_eq!(dry.code, i32::from(exit::DONE), "{dry:?}");
    let dry = dry.json();
    assert!(!world.state().exists(), "a dry run leaves nothing");
    assert_eq!(
        (&dry["records"], &dry["dispatched"]),
        (&json!(3_000), &json!(3_000))
    );
    let time = |key: &str| {
        dry[key]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let apart = time("last_call_at").duration_since(time("first_call_at"));
    assert_eq!(apart.as_secs(), 2_999);
    world.write("rows.csv", "id,text\n0,row 0\n1,row 1\n");
    assert_eq!(
        world.iterd(&["run", "job.toml"]).code,
        i32::from(exit::DONE)
    );
    let made = world.iterd(&["results", "j", "--json"]).json_lines();
    let calls = dry["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    for (call, made) in calls.iter().zip(&made) {
        let made = &made["result"];
        assert_eq!(
            (&call["item"], &call["attempt"]),
            (&made["item"], &made["attempt"])
        );
        let key = made["key"].as_str().unwrap().replace("j-1:", "j-N:");
        assert_eq!(call["key"], key);
    }
    // A job that the state knows, by its name, and without a daemon.
    let again = world.iterd(&["start", "j", "--dry-run"]);
    assert!(again.out.contains("2 calls to begin with"), "{again:?}");
}

#[test]
fn a_dry_run_ends_with_the_code_of_a_wrong_source_where_records_cannot_be_read() {
    let world = World::new();
    job(&world, "[process]\nplugin = \"identity\"\n");
    world.write("rows.csv", "id,text\n1,one\n2,\"two\"x\n1,three\n");
    let dry = world.iterd(&["run", "job.toml", "--dry-run"]);
    assert_eq!(dry.code, i32::from(exit::INVALID), "{dry:?}");
    for words in [
        "2 calls to begin with",
        "#1 line 3",
        "#2 1",
        "as the handler sees them",
    ] {
        assert!(dry.out.contains(words), "{words:?}: {dry:?}");
    }
    assert!(!world.state().exists());
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let answer = world.iterd(&["completions", shell]);
        assert!(
            answer.out.contains("dry-run") && answer.out.contains("init"),
            "{shell}"
        );
    }
    let answer = world.iterd(&["man", "pages"]);
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    let page = fs::read_to_string(world.path("pages/iterd-check.1")).unwrap();
    assert!(page.contains("strict"), "{page}");
}
