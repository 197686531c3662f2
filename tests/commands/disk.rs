//! A full disk: the daemon waits and says so, goes on by itself when there is room, and loses nothing.
//!
//! The state directory is a tiny file system in memory. Mounting one needs a mount namespace, so each
//! test runs itself once more within one; without the right to make one it fails, it is never skipped.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::world::World;

/// Says to the test within where its file system is to be mounted.
const INSIDE: &str = "ITERD_TEST_DISK";

/// Size of the file system.
const DISK_MIB: usize = 24;

/// Runs the body in a namespace of its own, with a tiny file system at the path that it is given.
fn on_a_tiny_disk(test: &str, body: impl FnOnce(&Path)) {
    if let Some(place) = std::env::var_os(INSIDE) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={DISK_MIB}m,mode=700"))
            .arg("tmpfs")
            .arg(&place)
            .status()
            .unwrap();
        assert!(mounted.success(), "mount needs the right to mount a tmpfs");
        body(Path::new(&place));
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let namespace = if rustix::process::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let output = Command::new("unshare")
        .arg(namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, place.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    assert!(
        printed.contains("1 passed"),
        "{test} is no test here: {printed}"
    );
}

/// A world whose state lies on that disk, with a job of so many records.
fn world(disk: &Path, records: usize, free_min: &str) -> World {
    let world = World::new();
    world.job(
        "filling",
        records,
        "[limit]\npace = \"200 per s burst 20\"\n",
    );
    let settings = format!("[store]\ndisk_free_min = \"{free_min}\"\nwal_bytes_max = \"4 MiB\"\n");
    world.write("config/iterd.toml", settings);
    world.with_state(disk.join("state"))
}

/// Takes all of the disk but so many bytes.
fn fill(disk: &Path, leave: u64) -> PathBuf {
    let path = disk.join("ballast");
    let mut file = fs::File::create(&path).unwrap();
    let block = [1; 4096];
    loop {
        let stat = rustix::fs::statvfs(disk).unwrap();
        // Why the error counts as well: the daemon writes beside us.
        if stat.f_bavail * stat.f_frsize <= leave || file.write_all(&block).is_err() {
            return path;
        }
    }
}

fn status(world: &World) -> Value {
    world.iterd(&["status", "filling", "--json"]).json()
}

fn wait_until(world: &World, right: impl Fn(&Value) -> bool) -> Value {
    let answer = world.wait_for(&["status", "filling", "--json"], |answer| {
        answer.code == 0 && right(&answer.json())
    });
    answer.json()
}

fn waits_for(status: &Value, words: &str) -> bool {
    status["waits_for"]
        .as_str()
        .is_some_and(|what| what.contains(words))
}

/// Every record has its one result.
fn assert_complete(world: &World, records: usize) {
    let status = wait_until(world, |status| status["status"] == "succeeded");
    assert_eq!(status["done"].as_u64(), Some(records as u64), "{status}");
    assert_eq!(status["failed"], 0, "{status}");
    let results = world.iterd(&["results", "filling", "--json"]);
    let indices: Vec<u64> = results
        .json_lines()
        .iter()
        .map(|line| line["index"].as_u64().unwrap())
        .collect();
    assert!(indices.into_iter().eq(0..records as u64));
}

#[test]
fn below_the_free_minimum_nothing_is_dispatched_until_there_is_room() {
    let name = "disk::below_the_free_minimum_nothing_is_dispatched_until_there_is_room";
    on_a_tiny_disk(name, |disk| {
        const RECORDS: usize = 2000;
        let world = world(disk, RECORDS, "8 MiB");
        let mut daemon = world.serve();
        world.iterd(&["start", "filling"]);
        wait_until(&world, |status| status["done"].as_u64() > Some(5));
        let ballast = fill(disk, 6 << 20);
        daemon.wait_for_line("the disk is nearly full");
        let waiting = wait_until(&world, |status| {
            waits_for(status, "room on the disk") && status["in_flight"] == 0
        });
        assert_eq!(waiting["disk"]["full"], true, "{waiting}");
        let people = world.iterd(&["status", "filling"]);
        assert!(
            people.out.contains("waits for room on the disk"),
            "{people:?}"
        );
        let before = waiting["done"].as_u64();
        assert!(before < Some(RECORDS as u64), "{waiting}");
        for _ in 0..20 {
            assert_eq!(status(&world)["done"].as_u64(), before);
        }
        fs::remove_file(ballast).unwrap();
        daemon.wait_for_line("there is room on the disk again");
        assert_complete(&world, RECORDS);
    });
}

#[test]
fn on_a_full_disk_the_daemon_waits_and_loses_nothing() {
    on_a_tiny_disk(
        "disk::on_a_full_disk_the_daemon_waits_and_loses_nothing",
        |disk| {
            const RECORDS: usize = 3000;
            let world = world(disk, RECORDS, "1 MiB");
            let mut daemon = world.serve();
            world.iterd(&["start", "filling"]);
            wait_until(&world, |status| status["done"].as_u64() > Some(5));
            let ballast = fill(disk, 0);
            daemon.wait_for_line("cannot write for now");
            let waiting = wait_until(&world, |status| waits_for(status, "to be writable"));
            let told = waiting["done"].as_u64().unwrap();
            let results = world.iterd(&["results", "filling", "--json"]);
            assert!(results.json_lines().len() as u64 <= told, "{waiting}");
            fs::remove_file(ballast).unwrap();
            assert_complete(&world, RECORDS);
        },
    );
}

/// Pitfall 1: killed while it cannot write, and started where it still cannot.
#[test]
fn killed_on_a_full_disk_it_goes_on_when_there_is_room() {
    on_a_tiny_disk(
        "disk::killed_on_a_full_disk_it_goes_on_when_there_is_room",
        |disk| {
            const RECORDS: usize = 1500;
            let world = world(disk, RECORDS, "1 MiB");
            let mut daemon = world.serve();
            world.iterd(&["start", "filling"]);
            wait_until(&world, |status| status["done"].as_u64() > Some(5));
            let ballast = fill(disk, 0);
            daemon.wait_for_line("cannot write for now");
            let stored = world.iterd(&["results", "filling", "--json"]).json_lines();
            daemon.kill();
            let kept = world.iterd(&["results", "filling", "--json"]).json_lines();
            assert!(
                kept.starts_with(&stored),
                "{} of {}",
                kept.len(),
                stored.len()
            );
            fs::remove_file(ballast).unwrap();
            let _daemon = world.serve();
            assert_complete(&world, RECORDS);
            let results = world.iterd(&["results", "filling", "--json"]).json_lines();
            assert!(results.starts_with(&kept));
        },
    );
}
