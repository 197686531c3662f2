//! What waiting costs: the CPU of a daemon that has nothing to do, and the commits of a job whose
//! limit is one call in ten seconds.
//!
//! `cargo bench --bench waiting` takes a minute. CPU is what the kernel accounts to the process.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its figures, and ends where it cannot measure"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use iterd::{
    config::{Config, job::JobFile},
    plugin::Launcher,
    runtime::{Engine, EngineSetup, RunView},
    time::SystemClock,
};

/// How long the idle daemon is watched.
const WATCHED: Duration = Duration::from_mins(1);

/// Records of the slow job; at 1 per 10s they take as long as the daemon is watched.
const RECORDS: u32 = 6;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        // Why: `cargo test --benches` runs this too, and wants no figures.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("iterd.toml");
    std::fs::create_dir(directory.path().join("jobs")).unwrap();
    std::fs::write(&settings, "jobs_dir = \"jobs\"\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_iterd"))
        .args(["--config".as_ref(), settings.as_os_str()])
        .args([
            "--state".as_ref(),
            directory.path().join("idle").as_os_str(),
        ])
        .arg("serve")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    pause(Duration::from_secs(3));
    let before = cpu_ms(daemon.id());
    let commits = slow_job(directory.path());
    let after = cpu_ms(daemon.id());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    println!(
        "an idle daemon: {:.1} ms of CPU in a minute",
        after - before
    );
    let items = RECORDS - 1;
    println!(
        "1 per 10s: {commits} commits for {items} items, {:.2} for each",
        f64::from(commits) / f64::from(items)
    );
}

/// Milliseconds of CPU of all threads of a process.
fn cpu_ms(pid: u32) -> f64 {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
            nanoseconds / 1e6
        })
        .sum()
}

/// Commits of a job from the end of its first item to the end of its last: what starting and
/// ending a job costs is left out.
fn slow_job(directory: &Path) -> u32 {
    let lines: Vec<String> = (0..RECORDS)
        .map(|index| format!("{{\"n\":{index}}}"))
        .collect();
    std::fs::write(directory.join("slow.jsonl"), lines.join("\n")).unwrap();
    let job = "name = \"slow\"\n[source]\nkind = \"jsonl\"\npath = \"slow.jsonl\"\n\
               [process]\nplugin = \"identity\"\n[limit]\npace = \"1 per 10s\"\n";
    let file = JobFile::parse(&directory.join("slow.toml"), job.to_owned()).unwrap();
    let setup = EngineSetup {
        config: Config::default(),
        clock: Arc::new(SystemClock),
        working: true,
        service: false,
        hidden: Vec::new(),
        launcher: Launcher::default(),
    };
    let engine = Engine::open(&directory.join("slow"), setup).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let commits = || engine.store().pulse().unwrap().commits;
    let spent = runtime.block_on(async {
        let watched = tokio::time::sleep(WATCHED);
        engine.start(&file, false).await.unwrap();
        let mut view = engine.view("slow").unwrap();
        let mut done = async |items| {
            let ended = |view: &RunView| view.figures.counters.done >= items;
            view.wait_for(ended).await.unwrap();
            commits()
        };
        let first = done(1).await;
        let last = done(u64::from(RECORDS)).await;
        watched.await;
        last - first
    });
    u32::try_from(spent).unwrap()
}

fn pause(duration: Duration) {
    std::thread::park_timeout(duration);
}
