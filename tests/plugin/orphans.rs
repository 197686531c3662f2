//! A daemon that is killed: none of its workers is left when its successor dispatches.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use iterd::plugin::{Event, WorkerRecord, rescuer::rescue};

use crate::world::{PATIENCE, World, call};

/// Set for the process that plays the daemon: its state directory.
const DAEMON: &str = "ITERD_TEST_DAEMON";

/// Whether a process is there and not dead.
pub(crate) fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|line| {
        let status = line.rsplit_once(") ").unwrap().1;
        !status.starts_with(['Z', 'X'])
    })
}

/// Waits until a process has ended; false if it does not.
pub(crate) fn ends(pid: u32) -> bool {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let timeout = Timespec {
        tv_sec: PATIENCE.as_secs().try_into().unwrap(),
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

/// The daemon's part of the next test, in a process of its own; nothing in an ordinary run.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_will_be_killed() {
    let Ok(root) = std::env::var(DAEMON) else {
        return;
    };
    let world = World::at(PathBuf::from(root));
    let code = "import subprocess, sys, time\ndef handle(item):\n    child = subprocess.Popen(['sleep', '300'])\n    print('child', child.pid, file=sys.stderr)\n    time.sleep(300)";
    let host = world.python("", code);
    host.pool.submit(vec![call(1, "1")]);
    let child = world
        .events
        .wait_for(|event| match event {
            Event::Log { line, .. } => line.strip_prefix("child ").map(str::to_owned),
            _ => None,
        })
        .await;
    let record = world.records.started.lock().unwrap()[0].clone();
    println!("ready {child} {}", serde_json::to_string(&record).unwrap());
    std::future::pending::<()>().await;
}

/// Starts a daemon with a worker at work, and kills it. The worker's record, and what it had started.
fn kill_a_daemon() -> (WorkerRecord, u32) {
    let root = tempfile::tempdir().unwrap();
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "orphans::a_daemon_that_will_be_killed",
            "--nocapture",
        ])
        .env(DAEMON, root.path().canonicalize().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(daemon.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.split_once("ready ").map(|(_, rest)| rest.to_owned()))
        .unwrap();
    let (child, record) = line.split_once(' ').unwrap();
    let record: WorkerRecord = serde_json::from_str(record).unwrap();
    let child = child.parse().unwrap();
    assert!(lives(record.pid) && lives(child));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    (record, child)
}

/// Pitfall 24: the worker dies with the daemon, and what it had started with the successor's start.
#[test]
fn workers_of_a_killed_daemon_are_gone_before_the_next_dispatch() {
    let (record, child) = kill_a_daemon();
    rescue(std::slice::from_ref(&record), PATIENCE).unwrap();
    assert!(!lives(record.pid), "the worker");
    assert!(!lives(child), "what it had started");
}

/// Pitfall 24: without any rescuer, the kernel ends the worker itself.
#[test]
fn a_worker_dies_with_its_daemon() {
    let (record, _) = kill_a_daemon();
    assert!(ends(record.pid));
    rescue(&[record], PATIENCE).unwrap();
}
