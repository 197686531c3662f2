//! The shipped service: systemd reads it without a complaint and finds it well confined.
//!
//! Runs `systemd-analyze` over the files of `systemd/` and starts nothing. A machine without systemd
//! fails these tests; `tests/run` installs it.
#![expect(clippy::panic, reason = "a helper of a test ends the test")]

use std::process::Command;

/// The most that `systemd-analyze security` may find open, from 0 (nothing) to 10.
///
/// The unit stands at 1.2: what handlers need (the network, AF_UNIX, writable-executable memory, the
/// whole of /proc) is 1.1 of it. Another open door of the usual 0.2 to 0.3 does not fit unnoticed.
const EXPOSURE_MAX: f64 = 1.5;

fn shipped(name: &str) -> String {
    format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Standard output and error of a tool that has to succeed.
fn run(program: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install systemd"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{stdout}{stderr}",
        output.status
    );
    (stdout, stderr)
}

#[test]
fn the_unit_verifies_without_a_complaint() {
    let unit = std::fs::read_to_string(shipped("iterd.service")).unwrap();
    // Why: verify wants the program to exist, and here it is not installed.
    let installed = "ExecStart=/usr/local/bin/iterd ";
    assert!(unit.contains(installed), "{installed:?} is not in the unit");
    let here = format!("ExecStart={} ", env!("CARGO_BIN_EXE_iterd"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iterd.service");
    std::fs::write(&path, unit.replace(installed, &here)).unwrap();

    let (stdout, stderr) = run("systemd-analyze", &["verify", path.to_str().unwrap()]);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
}

#[test]
fn the_unit_leaves_little_open() {
    let (stdout, _) = run(
        "systemd-analyze",
        &[
            "security",
            "--offline=true",
            "--no-pager",
            &shipped("iterd.service"),
        ],
    );
    let exposure: f64 = stdout
        .lines()
        .find_map(|line| line.split("iterd.service: ").nth(1))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no overall exposure in:\n{stdout}"));
    assert!(
        exposure <= EXPOSURE_MAX,
        "exposure {exposure} is above {EXPOSURE_MAX}; what is open:\n{}",
        stdout
            .lines()
            .filter(|line| !line.contains('✓'))
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn the_unit_keeps_what_handlers_and_the_rescuer_need() {
    let unit = std::fs::read_to_string(shipped("iterd.service")).unwrap();
    let settings: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for (needed, why) in [
        (
            "User=iterd",
            "files outlive the service, so their owner must not change",
        ),
        (
            "StateDirectoryMode=0700",
            "records and keys are nobody else's",
        ),
        (
            "KillMode=mixed",
            "SIGTERM goes to the daemon, which drains its workers",
        ),
        (
            "OOMPolicy=continue",
            "a handler that eats the memory must not end the service",
        ),
        (
            "Environment=ITERD_SANDBOX=on",
            "handlers share the daemon's user",
        ),
    ] {
        assert!(settings.contains(&needed), "{needed} is missing: {why}");
    }
    for call in [
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    ] {
        assert!(
            settings
                .iter()
                .any(|line| line.starts_with("SystemCallFilter=@") && line.contains(call)),
            "{call} is not allowed by name, and not every @system-service has it"
        );
    }
    for (broken, why) in [
        (
            "MemoryDenyWriteExecute=yes",
            "Node and WASM compile just in time",
        ),
        (
            "ProcSubset=pid",
            "the rescuer reads the boot id in /proc/sys",
        ),
        (
            "DynamicUser=yes",
            "a user that changes cannot own files that stay",
        ),
    ] {
        assert!(
            !settings.contains(&broken),
            "{broken} breaks the service: {why}"
        );
    }
}

#[test]
fn the_user_and_group_of_the_unit_are_made_by_sysusers() {
    let (stdout, stderr) = run(
        "systemd-sysusers",
        &["--dry-run", &shipped("iterd.sysusers.conf")],
    );
    let said = format!("{stdout}{stderr}");
    // Where the user exists already, there is nothing to create and nothing is said.
    let exists = Command::new("id")
        .arg("iterd")
        .output()
        .is_ok_and(|id| id.status.success());
    assert!(exists || said.contains("Creating user 'iterd'"), "{said}");
}
