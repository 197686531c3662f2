//! A place for one test: a folder with job files, a state directory, and the binary.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    rc::Rc,
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take before a test gives up: far above what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as JSON lines.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
        };
        self.out.lines().map(parse).collect()
    }
}

pub(crate) struct World {
    folder: Rc<tempfile::TempDir>,
    state: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = Rc::new(tempfile::tempdir().unwrap());
        let state = folder.path().join("state");
        fs::create_dir(folder.path().join("config")).unwrap();
        Self { folder, state }
    }

    /// The same files with another state directory.
    pub(crate) fn with_state(&self, state: PathBuf) -> Self {
        let folder = Rc::clone(&self.folder);
        Self { folder, state }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A job over `NAME.csv` with so many records, whose handler answers what it is given.
    pub(crate) fn job(&self, name: &str, records: usize, more: &str) {
        let rows: Vec<String> = (0..records).map(|n| format!("{n},row {n}\n")).collect();
        self.write(
            &format!("config/jobs/{name}.csv"),
            format!("id,text\n{}", rows.concat()),
        );
        let job = format!(
            "name = \"{name}\"\n[source]\nkind = \"csv\"\npath = \"{name}.csv\"\nid = \"id\"\n\
             [process]\nplugin = \"identity\"\n{more}"
        );
        self.write(&format!("config/jobs/{name}.toml"), job);
    }

    /// The binary, in this place and with nothing of the tester's own environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iterd"));
        command
            .args(["--state".as_ref(), self.state.as_os_str()])
            .args(["--config".as_ref(), self.path("config").as_os_str()])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TZ", "UTC")
            .env("USER", "tester")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn iterd(&self, arguments: &[&str]) -> Answer {
        answer_of(&mut self.command(arguments))
    }

    /// Asks until the answer is right.
    pub(crate) fn wait_for(&self, arguments: &[&str], right: impl Fn(&Answer) -> bool) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = self.iterd(arguments);
            if right(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{arguments:?}: {answer:?}");
        }
    }

    /// Starts a command that goes on; `arguments` with its own `--listen` where it is to serve.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Starts the daemon on a free port, and waits until it serves.
    pub(crate) fn serve(&self) -> Running {
        let mut daemon = self.start(&["serve", "--listen", "127.0.0.1:0"]);
        daemon.wait_for_line(" serving ");
        daemon
    }
}

/// Runs a command to its end.
pub(crate) fn answer_of(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process that goes on, and what it says on standard error. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// What was said so far.
    pub(crate) said: Vec<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads on until a line has this part.
    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("{part:?} was not said ({error}): {:#?}", self.said),
            }
        }
    }

    /// The port of a daemon, as it says it.
    pub(crate) fn port(&self) -> u16 {
        let line = self.said.iter().find(|line| line.contains("listening"));
        let line = line.unwrap_or_else(|| panic!("not listening: {:#?}", self.said));
        let (_, port) = line.rsplit_once(':').unwrap();
        port.trim().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its end by itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it goes on: {:#?}", self.said);
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Why ok: it may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
