//! What is wrong is said in one clear place, with the mend, and with the documented exit code.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use iterd::cli::exit;

use super::world::{World, answer_of};

const SOURCE: &str = "[source]\nkind = \"csv\"\npath = \"rows.csv\"\n";
const PROCESS: &str = "[process]\nplugin = \"identity\"\n";

/// A world with `job.toml` and a source of two rows.
fn world(job: &str) -> World {
    let world = World::new();
    world.write("rows.csv", "id,text\n1,one\n2,two\n");
    world.write("job.toml", job);
    world
}

/// `run` and `check` of such a job file say the same, in these words, and leave no run behind.
fn check_job(job: &str, words: &[&str]) {
    let world = world(job);
    for command in ["check", "run"] {
        let answer = world.iterd(&[command, "job.toml"]);
        assert_eq!(answer.code, i32::from(exit::INVALID), "{answer:?}");
        assert_eq!(answer.out, "", "{answer:?}");
        for word in words {
            assert!(answer.err.contains(word), "{word:?}: {answer:?}");
        }
        assert!(!answer.err.contains("panicked"), "{answer:?}");
    }
    let known = world.iterd(&["jobs", "--json"]);
    assert!(known.code != 0 || known.json()["jobs"] == serde_json::json!([]));
}

#[test]
fn a_broken_job_file_is_told_with_its_place_and_the_mend() {
    let named = |rest: &str| format!("name = \"j\"\n{rest}");
    check_job("name = \"j\n", &["job.toml:1:"]);
    check_job(
        &named(&format!("{SOURCE}{PROCESS}concurency = 4\n")),
        &[
            "job.toml:7:1",
            "\"concurency\"",
            "did you mean \"concurrency\"",
        ],
    );
    check_job(
        &named(&format!("{SOURCE}{PROCESS}concurrency = 0\n")),
        &["job.toml:7:", "from 1 to 10000"],
    );
    check_job(
        &named(&format!(
            "[source]\nkind = \"cvs\"\npath = \"rows.csv\"\n{PROCESS}"
        )),
        &["job.toml:3:8", "did you mean \"csv\""],
    );
    check_job(
        &named(&format!("{SOURCE}pat = \"x\"\n{PROCESS}")),
        &["job.toml:5:", "\"pat\"", "did you mean \"path\""],
    );
    check_job(&named(SOURCE), &["[process] is missing"]);
    check_job(
        &named(&format!("{SOURCE}{PROCESS}[limit]\npace = \"often\"\n")),
        &["job.toml:8:", "limit.pace", "\"often\""],
    );
    check_job(
        &named(&format!(
            "{SOURCE}{PROCESS}[schedule]\ncron = \"0 2 * * *\"\noverlap = \"allow\"\n"
        )),
        &["job.toml:9:", "schedule.overlap", "\"queue\""],
    );
}

#[test]
fn a_missing_plugin_handler_or_source_is_named() {
    let with = |plugin: &str| format!("name = \"j\"\n{SOURCE}[process]\nplugin = \"{plugin}\"\n");
    check_job(&with("./gone"), &["./gone", "there is no such folder"]);
    check_job(&with("gone"), &["no folder", "\"./gone\""]);
    check_job(
        &format!("name = \"j\"\n[source]\nkind = \"csv\"\npath = \"gone.csv\"\n{PROCESS}"),
        &["gone.csv", "No such file"],
    );
    check_job(
        &format!("name = \"j\"\n{SOURCE}id = \"idd\"\n{PROCESS}"),
        &["idd", "did you mean \"id\""],
    );
    let world = world(&with("./plugin"));
    world.write(
        "plugin/plugin.toml",
        "name = \"plugin\"\nhandler = \"handler.py:go\"\n",
    );
    let answer = world.iterd(&["run", "job.toml"]);
    assert_eq!(answer.code, i32::from(exit::INVALID), "{answer:?}");
    assert!(
        answer.err.contains("handler.py, which is not in"),
        "{answer:?}"
    );
}

#[test]
fn a_handler_that_does_not_start_pauses_the_run_and_says_why() {
    let world = world(&format!(
        "name = \"j\"\n{SOURCE}[process]\nplugin = \"./plugin\"\n"
    ));
    world.write(
        "plugin/plugin.toml",
        "name = \"plugin\"\nhandler = \"handler.py:go\"\n",
    );
    world.write("plugin/handler.py", "import no_such_module\n");
    let answer = world.iterd(&["run", "job.toml"]);
    assert_eq!(answer.code, i32::from(exit::PAUSED), "{answer:?}");
    assert!(
        answer.out.contains("No module named 'no_such_module'"),
        "{answer:?}"
    );
    assert!(
        answer.out.contains("go on: iterd run job.toml"),
        "{answer:?}"
    );
    world.write(
        "plugin/handler.py",
        "def go(item, context):\n    return item\n",
    );
    let answer = world.iterd(&["run", "job.toml"]);
    assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
    assert!(answer.out.contains("2 done, 0 failed"), "{answer:?}");
}

#[test]
fn an_unknown_job_is_told_with_its_nearest_neighbour() {
    let world = World::new();
    world.job("enrich", 2, "");
    world.iterd(&["run", "config/jobs/enrich.toml"]);
    for command in [
        "status", "items", "results", "start", "stop", "pause", "resume", "retry",
    ] {
        let answer = world.iterd(&[command, "enrihc"]);
        assert_eq!(
            answer.code,
            i32::from(exit::NOT_FOUND),
            "{command}: {answer:?}"
        );
        assert!(
            answer.err.contains("did you mean \"enrich\""),
            "{command}: {answer:?}"
        );
    }
}

#[test]
fn where_nothing_was_ever_run_a_command_says_so_and_leaves_nothing_behind() {
    let world = World::new();
    for arguments in [
        &["status"][..],
        &["jobs"],
        &["pause", "x"],
        &["results", "x"],
    ] {
        let answer = world.iterd(arguments);
        assert_eq!(answer.code, i32::from(exit::NOT_FOUND), "{answer:?}");
        assert!(
            answer.err.contains("nothing was ever run here"),
            "{answer:?}"
        );
    }
    assert!(!world.state().exists());
}

#[test]
fn a_finished_job_is_run_again_only_when_asked_to() {
    let world = World::new();
    world.job("small", 3, "");
    let file = "config/jobs/small.toml";
    let run = |arguments: &[&str]| {
        let answer = world.iterd(arguments);
        assert_eq!(answer.code, i32::from(exit::DONE), "{answer:?}");
        world.iterd(&["status", "small", "--json"]).json()["run"].clone()
    };
    let first = run(&["run", file]);
    let again = world.iterd(&["run", file]);
    assert!(again.err.contains("--again begins a new run"), "{again:?}");
    assert_eq!(run(&["run", file]), first);
    assert_ne!(run(&["run", file, "--again"]), first);
    let refused = world.iterd(&["pause", "small"]);
    assert_eq!(refused.code, i32::from(exit::CONFLICT), "{refused:?}");
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let world = world(&format!("name = \"j\"\n{SOURCE}{PROCESS}"));
    world.write("file", "");
    world.write("damaged/iterd.db", vec![7_u8; 9000]);
    for (state, word) in [
        ("file", "not a directory"),
        (
            "/proc/nowhere",
            "name a directory that this user can write to",
        ),
        ("damaged", "the state file is damaged"),
    ] {
        for arguments in [
            &["run", "job.toml"][..],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            let world = world.with_state(world.path(state));
            let answer = world.iterd(arguments);
            assert_eq!(answer.code, i32::from(exit::STATE), "{answer:?}");
            assert!(answer.err.contains(word), "{answer:?}");
        }
    }
}

/// Root may write anywhere, so the daemon runs as nobody here where the test runs as root.
#[test]
fn a_state_directory_without_permission_is_named() {
    let world = world(&format!("name = \"j\"\n{SOURCE}{PROCESS}"));
    let closed = world.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    // Why a copy: the build's own folder may be closed to others.
    let binary = world.path("iterd");
    fs::copy(env!("CARGO_BIN_EXE_iterd"), &binary).unwrap();
    let mut command = Command::new(&binary);
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary);
    }
    command
        .arg("--state")
        .arg(closed.join("state"))
        .args(["run", "job.toml"])
        .current_dir(world.path(""))
        .env("HOME", world.path(""));
    let answer = answer_of(&mut command);
    assert_eq!(answer.code, i32::from(exit::STATE), "{answer:?}");
    assert!(answer.err.contains("Permission denied"), "{answer:?}");
}

#[test]
fn a_state_file_of_a_newer_version_is_left_alone() {
    let world = World::new();
    world.job("small", 1, "");
    world.iterd(&["run", "config/jobs/small.toml"]);
    let file = world.state().join("iterd.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute(
        "INSERT INTO refinery_schema_history VALUES (9999, 'later', '2030-01-01T00:00:00Z', '1')",
        [],
    )
    .unwrap();
    drop(db);
    for arguments in [&["status"][..], &["run", "config/jobs/small.toml"]] {
        let answer = world.iterd(arguments);
        assert_eq!(answer.code, i32::from(exit::STATE), "{answer:?}");
        assert!(answer.err.contains("a newer iterd"), "{answer:?}");
    }
}
