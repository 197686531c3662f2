//! What waiting costs: the CPU of a daemon that has nothing to do, that of one with a thousand jobs
//! which wait for their limiters and their schedules, and the commits of a job whose limit is one
//! call in ten seconds.
//!
//! `cargo bench --bench waiting` takes two minutes. CPU is what the kernel accounts to the process.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its figures, and ends where it cannot measure"
)]

use std::{
    ffi::OsString,
    fmt::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
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

/// Jobs of the busy daemon, each with a limiter and a schedule of its own.
const JOBS: u32 = 1000;

/// Records of the slow job; at 1 per 10s they take as long as the daemon is watched.
const RECORDS: u32 = 6;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        // Why: `cargo test --benches` runs this too, and wants no figures.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let idle = Daemon::serve(&directory.path().join("idle"), "");
    let waiting = many_jobs(&directory.path().join("waiting"));
    let before = (idle.cpu_ms(), waiting.cpu_ms());
    let commits = slow_job(directory.path());
    let after = (idle.cpu_ms(), waiting.cpu_ms());
    println!(
        "an idle daemon: {:.1} ms of CPU in a minute, {:.1} MiB resident",
        after.0 - before.0,
        idle.resident_mib()
    );
    println!(
        "one with {JOBS} jobs that wait for their limiters, each with a schedule: {:.1} ms, {:.1} MiB",
        after.1 - before.1,
        waiting.resident_mib()
    );
    let items = RECORDS - 1;
    println!(
        "1 per 10s: {commits} commits for {items} items, {:.2} for each",
        f64::from(commits) / f64::from(items)
    );
}

/// A daemon with the jobs of its folder.
struct Daemon {
    child: Child,
    flags: [OsString; 4],
}

impl Daemon {
    /// Serves what lies in a folder; further settings may be given.
    fn serve(folder: &Path, settings: &str) -> Self {
        let config = folder.join("iterd.toml");
        std::fs::create_dir_all(folder.join("jobs")).unwrap();
        let text = format!("jobs_dir = \"jobs\"\nlisten = \"127.0.0.1:0\"\n{settings}");
        std::fs::write(&config, text).unwrap();
        let flags = [
            "--config".into(),
            config.into(),
            "--state".into(),
            folder.join("state").into(),
        ];
        let mut daemon = Self {
            child: iterd(&flags, &["serve"]).spawn().unwrap(),
            flags,
        };
        while !iterd(&daemon.flags, &["jobs"]).status().unwrap().success() {
            assert!(daemon.child.try_wait().unwrap().is_none(), "it ended");
            pause(Duration::from_millis(50));
        }
        daemon
    }

    fn cpu_ms(&self) -> f64 {
        cpu_ms(self.child.id())
    }

    fn resident_mib(&self) -> f64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn iterd(flags: &[OsString], words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iterd"));
    command.args(flags).args(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A daemon with many jobs, each of which has spent what its limiter grants in a day.
fn many_jobs(folder: &Path) -> Daemon {
    let jobs = folder.join("jobs");
    std::fs::create_dir_all(&jobs).unwrap();
    std::fs::write(jobs.join("two.jsonl"), "{\"n\":1}\n{\"n\":2}\n").unwrap();
    let mut settings = String::new();
    for number in 0..JOBS {
        writeln!(settings, "[limiters.l{number}]\nquota = \"1 per day\"").unwrap();
        let job = format!(
            "name = \"j{number}\"\n[source]\nkind = \"jsonl\"\npath = \"two.jsonl\"\n\
             [process]\nplugin = \"identity\"\n[limit]\nuse = \"l{number}\"\n\
             [schedule]\ncron = \"0 0 1 1 *\"\n"
        );
        std::fs::write(jobs.join(format!("j{number}.toml")), job).unwrap();
    }
    let daemon = Daemon::serve(folder, &settings);
    for number in 0..JOBS {
        let job = format!("j{number}");
        let start = || iterd(&daemon.flags, &["start", &job]).status().unwrap();
        // Why again: it answers before it has taken note of the whole folder.
        while !start().success() {
            assert!(number == 0, "{job} does not start");
            pause(Duration::from_millis(50));
        }
    }
    // Why: what starting them costs is not what waiting costs.
    pause(Duration::from_secs(10));
    daemon
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
