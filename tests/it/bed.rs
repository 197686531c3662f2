//! A test's own world: a directory with jobs, handlers, data and a state directory, and the real
//! binary in it.
//!
//! Invariant: every process that was started here, and every worker of theirs, is gone when the
//! [`Bed`] is dropped, also where the test panics.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, types::FromSql};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::Value;

use iterd::plugin::{WorkerRecord, rescuer::rescue};

/// A test that waits this long for something has failed; on an idle machine nothing takes a tenth.
pub(crate) fn patience() -> Duration {
    scale(Duration::from_mins(2), Duration::from_hours(2))
}

/// How often a condition is looked at: often enough that a moment which is waited for is not missed
/// by much, rarely enough to leave the machine to the daemon.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a test runs through: `normal`, or `long` where `ITERD_LONG` asks for the sizes of real life.
pub(crate) fn scale<T>(normal: T, long: T) -> T {
    if std::env::var_os("ITERD_LONG").is_some() {
        long
    } else {
        normal
    }
}

/// See the module.
pub(crate) struct Bed {
    root: PathBuf,
    _directory: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for folder in ["state", "jobs", "plugins", "log", "data"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        Self {
            root,
            _directory: directory,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Writes a file as editors do: beside it, then renamed over it.
    pub(crate) fn write(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fresh = path.with_extension("fresh~");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    /// A job `j` over `data/in.jsonl` with the handler `h`: what `[process]` holds beside the plugin,
    /// and further sections.
    pub(crate) fn job(&self, process: &str, sections: &str) {
        let text = format!(
            "name = \"j\"\n[source]\nkind = \"jsonl\"\npath = \"../data/in.jsonl\"\n\
             [process]\nplugin = \"../plugins/h\"\n{process}\n{sections}\n"
        );
        self.write("jobs/j.toml", text);
    }

    /// `data/in.jsonl` with these records, one in each line.
    pub(crate) fn records(&self, records: impl IntoIterator<Item = Value>) {
        let lines: Vec<String> = records
            .into_iter()
            .map(|record| format!("{record}\n"))
            .collect();
        self.write("data/in.jsonl", lines.concat());
    }

    /// The binary, with nothing of this process's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iterd"));
        command
            .args(arguments)
            .arg("--state")
            .arg(self.path("state"))
            .arg("--config")
            .arg(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("USER", "tester")
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// `iterd run` of the job `j`, under way.
    pub(crate) fn run(&self) -> Daemon {
        self.daemon(&["run", "jobs/j.toml"])
    }

    /// A process that keeps jobs running, with what it says in `daemon.log`.
    pub(crate) fn daemon(&self, arguments: &[&str]) -> Daemon {
        self.daemon_with(arguments, &[])
    }

    /// The same, with further variables.
    pub(crate) fn daemon_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let log = self.path("daemon.log");
        let words = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = self
            .command(arguments)
            .envs(variables.iter().copied())
            .stdout(words.try_clone().unwrap())
            .stderr(words)
            .spawn()
            .unwrap();
        Daemon { child, log }
    }

    /// What the daemons have said so far.
    pub(crate) fn words(&self) -> String {
        read(&self.path("daemon.log"))
    }

    /// What a command answers; it must succeed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let (code, out, words) = self.try_ask(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {words}");
        out
    }

    /// Exit code, standard output and standard error of a command.
    pub(crate) fn try_ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// The picture of the job `j`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ask(&["status", "j", "--json"])).unwrap()
    }

    /// The results of the job `j`, in the order of the answer.
    pub(crate) fn results(&self) -> Vec<Value> {
        self.lines(&["results", "j", "--json"])
    }

    /// An answer of a JSON value in each line.
    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let answer = self.ask(arguments);
        answer
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// One value of the state file, as it is now; none where file, table or row are missing.
    pub(crate) fn value<T: FromSql>(&self, query: &str) -> Option<T> {
        self.file()?.query_row(query, [], |row| row.get(0)).ok()
    }

    /// One number of the newest run; none before there is one.
    pub(crate) fn of_run<T: FromSql>(&self, column: &str) -> Option<T> {
        self.value(&format!(
            "SELECT {column} FROM runs ORDER BY id DESC LIMIT 1"
        ))
    }

    fn file(&self) -> Option<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = Connection::open_with_flags(self.path("state/iterd.db"), flags).ok()?;
        file.busy_timeout(patience()).ok()?;
        Some(file)
    }

    /// The workers that the state file knows of.
    pub(crate) fn workers(&self) -> Option<Vec<WorkerRecord>> {
        let file = self.file()?;
        let mut rows = file
            .prepare("SELECT pid, start_time, session, boot FROM workers")
            .ok()?;
        let workers = rows.query_map([], |row| {
            Ok(WorkerRecord {
                pid: row.get(0)?,
                start_time: row.get::<_, i64>(1)?.unsigned_abs(),
                session: row.get(2)?,
                boot: row.get(3)?,
            })
        });
        workers.ok()?.collect::<Result<_, _>>().ok()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let left = rescue(&self.workers().unwrap_or_default(), patience());
        if std::thread::panicking() {
            eprintln!("what the daemons said:\n{}", self.words());
        } else {
            left.unwrap();
        }
    }
}

/// Whether a process is there and not dead.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|line| {
        let status = line.rsplit_once(") ").unwrap().1;
        !status.starts_with(['Z', 'X'])
    })
}

/// The end of a long text.
fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(8_000);
    text.get(from..).unwrap_or(text)
}

/// A process that keeps jobs running; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end for so long at the most.
    pub(crate) fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if let Some(status) = self.child.try_wait().unwrap() {
            return Some(status);
        }
        let process = pidfd_open(self.raw_pid(), PidfdFlags::empty()).unwrap();
        let timeout = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap(),
            tv_nsec: patience.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => None,
            Ok(_) => Some(self.child.wait().unwrap()),
            Err(error) => panic!("cannot wait: {error}"),
        }
    }

    /// Its exit code, once it has ended by itself.
    pub(crate) fn code(mut self) -> i32 {
        let status = self.ends_within(patience());
        let status = status.unwrap_or_else(|| panic!("it does not end: {}", self.words()));
        let code = status.code();
        code.unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
    }

    /// Waits until something is so, while it runs.
    pub(crate) fn until(&mut self, what: &str, is_so: impl FnMut() -> bool) {
        if let Some(status) = self.until_or_end(what, is_so) {
            panic!("it ended ({status}) before {what}: {}", self.words());
        }
    }

    /// Waits until something is so, or for its end.
    pub(crate) fn until_or_end(
        &mut self,
        what: &str,
        mut is_so: impl FnMut() -> bool,
    ) -> Option<ExitStatus> {
        let begin = Instant::now();
        while !is_so() {
            assert!(
                begin.elapsed() < patience(),
                "waited for {what}: {}",
                self.words()
            );
            if let Some(status) = self.ends_within(LOOK_EVERY) {
                return Some(status);
            }
        }
        None
    }

    /// `kill -9`, and until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.raw_pid(), signal).unwrap();
    }

    /// A line of its `/proc/PID/status` in KiB; none once it is gone.
    pub(crate) fn memory_kib(&self, line: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let rest = status.lines().find_map(|it| it.strip_prefix(line))?;
        rest.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(self.pid().try_into().unwrap()).unwrap()
    }

    fn words(&self) -> String {
        read(&self.log)
    }

    fn end(&mut self) {
        // Why ok: it may have ended by itself, and was reaped then.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    tail(&text).to_owned()
}
