//! Handlers that mean harm: each is contained, ended with all that it started, and told of in a line.
//!
//! Relies on a kernel whose Landlock has all that the sandbox asks for (Linux 6.12); every test of it
//! says so itself ([`locked_in`]), and asks the same without a sandbox, where the answer is another one.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use iterd::plugin::{Event, WorkerRecord, orphans, rescuer::rescue};
use serde_json::{Value, json};

use crate::{
    orphans::{ends, lives},
    world::{PATIENCE, Running, World, call},
};

/// Tries what the item says, and answers what came of each.
const PROBE: &str = r#"
import ctypes, os, signal, socket, urllib.error, urllib.request
libc = ctypes.CDLL(None, use_errno=True)

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return "allowed"

def read(path):
    with open(path, "rb") as file:
        file.read(1)

def write(path):
    with open(path, "ab"):
        pass

def steal(pid):
    """A descriptor of another process."""
    descriptor = check_number(libc.syscall(434, int(pid), 0))
    check(libc.syscall(438, descriptor, 0, 0))

def check_number(result):
    check(result)
    return result

TRICKS = {
    "read": read,
    "write": write,
    "list": os.listdir,
    "follow": os.readlink,
    "signal": lambda pid: os.kill(int(pid), 0),
    "group": lambda pid: os.killpg(int(pid), 0),
    "trace": lambda pid: check(libc.ptrace(16, int(pid), 0, 0)),
    "steal": steal,
}

def attempt(what, on):
    try:
        TRICKS[what](on)
        return "allowed"
    except OSError as error:
        return os.strerror(error.errno)

def handle(item):
    if item == "pid":
        return os.getpid()
    return [attempt(what, on) for what, on in item]
"#;

/// Leaves something behind that holds a pipe open for as long as it lives.
const ESCAPE: &str = r#"
import os, signal

def deaf():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

def run_away(leave):
    """Is never the same process for long."""
    while True:
        if os.fork() != 0:
            os._exit(0)
        if leave:
            os.setsid()

def handle(kind):
    pipe = os.open(os.environ["HOME"] + "/pipe", os.O_WRONLY)
    os.set_inheritable(pipe, True)
    if os.fork() == 0:
        deaf()
        if kind != "group":
            os.setsid()
        if os.fork() == 0:
            os.write(pipe, b"%d\n" % os.getpid())
            if kind in ("runs away", "runs away from its session"):
                run_away(kind != "runs away")
            environment = dict(os.environ) if kind in ("group", "marked") else {}
            os.execve("/bin/sleep", ["sleep", "300"], environment)
        os._exit(0)
    os.wait()
    os.close(pipe)
    return kind
"#;

/// Set for the process that plays the daemon: its state directory, and what the handler is to do.
const DAEMON: &str = "ITERD_TEST_HOSTILE";

/// Fails where a worker ran with less than the whole sandbox.
fn locked_in(world: &World) {
    for event in world.events.all() {
        assert!(!matches!(event, Event::Unconfined { .. }), "{event:?}");
    }
}

async fn attempts(host: &mut Running, tricks: &[(&str, String)]) -> Vec<String> {
    let result = host.result(99, &json!(tricks).to_string()).await;
    serde_json::from_str(&result).unwrap()
}

/// The daemon's part of the tests below, in a process of its own; nothing in an ordinary run.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_handler_escapes() {
    let Ok(told) = std::env::var(DAEMON) else {
        return;
    };
    let (root, kind) = told.split_once('|').unwrap();
    orphans::adopt().unwrap();
    let world = World::at(PathBuf::from(root));
    let mut host = world.python("sandbox = \"on\"", ESCAPE);
    host.result(1, &json!(kind).to_string()).await;
    locked_in(&world);
    let record = world.records.started.lock().unwrap()[0].clone();
    println!("ready {}", serde_json::to_string(&record).unwrap());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    host.end().await;
    println!("ended");
    std::future::pending::<()>().await;
}

/// A daemon with a handler that has left something behind, and where that is heard of.
struct Escape {
    daemon: Child,
    said: BufReader<std::process::ChildStdout>,
    record: WorkerRecord,
    /// Its first process's number; closed when the last has ended.
    pipe: mpsc::Receiver<String>,
    _root: tempfile::TempDir,
}

impl Escape {
    fn new(kind: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().canonicalize().unwrap();
        fs::create_dir(place.join("scratch")).unwrap();
        let path = place.join("scratch/pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "hostile::a_daemon_whose_handler_escapes",
                "--nocapture",
            ])
            .env(DAEMON, format!("{}|{kind}", place.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, pipe) = mpsc::channel();
        std::thread::spawn(move || listen(&path, &sender));
        let mut said = BufReader::new(daemon.stdout.take().unwrap());
        let record = serde_json::from_str(&said_after(&mut said, "ready ")).unwrap();
        Self {
            daemon,
            said,
            record,
            pipe,
            _root: root,
        }
    }

    fn stop_worker(&mut self) {
        use std::io::Write as _;
        writeln!(self.daemon.stdin.as_mut().unwrap(), "stop").unwrap();
        said_after(&mut self.said, "ended");
    }

    /// Nothing has it open any more; false if that does not come.
    fn is_gone(&self) -> bool {
        loop {
            match self.pipe.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

impl Drop for Escape {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn listen(path: &Path, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(File::open(path).unwrap()).lines() {
        sender.send(line.unwrap()).ok();
    }
}

fn said_after(said: &mut impl std::io::BufRead, word: &str) -> String {
    said.lines()
        .map(Result::unwrap)
        .find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()))
        .unwrap()
}

#[test]
fn what_leaves_its_group_ends_with_its_worker() {
    for kind in [
        "group",
        "marked",
        "bare",
        "runs away",
        "runs away from its session",
    ] {
        let mut escape = Escape::new(kind);
        let first: u32 = escape.pipe.recv_timeout(PATIENCE).unwrap().parse().unwrap();
        assert!(kind.starts_with("runs") || lives(first), "{kind}");
        escape.stop_worker();
        assert!(escape.is_gone(), "{kind}");
    }
}

/// What has taken its mark off as well is left to the service manager, as decision 31 says.
#[test]
fn what_a_killed_daemons_worker_left_in_other_groups_is_gone_before_the_next_dispatch() {
    for kind in ["group", "marked"] {
        let mut escape = Escape::new(kind);
        let first: u32 = escape.pipe.recv_timeout(PATIENCE).unwrap().parse().unwrap();
        escape.daemon.kill().unwrap();
        escape.daemon.wait().unwrap();
        assert!(lives(first), "{kind}");
        rescue(std::slice::from_ref(&escape.record), PATIENCE).unwrap();
        assert!(!lives(first), "{kind}");
        assert!(escape.is_gone(), "{kind}");
    }
}

/// The worker's own end, told in one line.
async fn end_of(world: &World) -> String {
    let how = world
        .events
        .wait_for(|event| match event {
            Event::WorkerEnded { how, .. } => Some(how.clone()),
            _ => None,
        })
        .await;
    assert!(!how.contains('\n'), "{how}");
    how
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_hears_no_signal_is_killed_at_the_shutdown() {
    let world = World::new();
    let code = "import signal, sys\nfor number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n    signal.signal(number, signal.SIG_IGN)\ndef handle(item):\n    print('deaf', file=sys.stderr)\n    while True:\n        signal.pause()";
    let mut host = world.python("sandbox = \"on\"", code);
    host.pool.submit(vec![call(1, "1")]);
    world
        .events
        .wait_for(|event| matches!(event, Event::Log { line, .. } if line == "deaf").then_some(()))
        .await;
    host.pool
        .shutdown(Duration::ZERO, Duration::from_millis(100))
        .await;
    assert!(host.answers.try_recv().is_ok());
    assert!(
        end_of(&world)
            .await
            .starts_with("killed by SIGKILL (stopped)")
    );
    assert!(ends(world.records.started.lock().unwrap()[0].pid));
    locked_in(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fills_its_memory_fails_its_own_item() {
    let world = World::new();
    let code = "def handle(item):\n    return len(bytearray(item))";
    let mut host = world.python("limits = { memory_bytes = 536870912 }", code);
    assert_eq!(host.result(1, "1000000").await, "1000000");
    let failure = host.failure(call(2, "8000000000")).await;
    assert_eq!(failure.error, "MemoryError");
    assert_eq!(host.result(3, "7").await, "7");
    host.end().await;
}

/// The most memory that this process ever had, in bytes.
fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_costs_the_daemon_no_memory_and_the_call_nothing() {
    let megabytes: u64 = if std::env::var_os("ITERD_LONG").is_some() {
        1024
    } else {
        200
    };
    let world = World::new();
    let code = "import os\ndef handle(megabytes):\n    chunk = (b'x' * 127 + b'\\n') * 8192\n    for _ in range(megabytes):\n        rest = chunk\n        while rest:\n            rest = rest[os.write(2, rest):]\n    return megabytes";
    let mut host = world.python("sandbox = \"on\"", code);
    let before = memory_peak();
    let result = host.result(1, &megabytes.to_string()).await;
    assert_eq!(result, megabytes.to_string());
    host.end().await;
    // Why so much: the other tests of this process are at work beside it.
    assert!(memory_peak() - before < 100 << 20);
    let lines: u64 = world
        .events
        .all()
        .iter()
        .map(|event| match event {
            Event::Log { .. } => 1,
            Event::LogsDropped { lines, .. } => *lines,
            _ => 0,
        })
        .sum();
    assert_eq!(lines, megabytes * 8192, "each line is passed on or counted");
    locked_in(&world);
}

/// What is none of a plugin's business, and is there. Other processes are asked for by their numbers.
fn booty(world: &World, daemon: u32, worker: u32) -> Vec<(&'static str, String)> {
    let root = |path: &str| world.root.join(path).display().to_string();
    for path in [
        "iterd.db",
        "keys/admin",
        "config/iterd.toml",
        "credentials/token",
        "scratch/2/file",
    ] {
        fs::create_dir_all(world.root.join(path).parent().unwrap()).unwrap();
        fs::write(world.root.join(path), "x").unwrap();
    }
    let mut tricks = vec![
        ("list", root("")),
        ("read", root("iterd.db")),
        ("write", root("iterd.db")),
        ("read", root("keys/admin")),
        ("read", root("config/iterd.toml")),
        ("read", root("credentials/token")),
        ("read", root("plugins/2/handler.py")),
        ("write", root("plugins/2/handler.py")),
        ("list", root("scratch")),
        ("list", root("scratch/2")),
        ("read", root("scratch/2/file")),
        ("write", root("scratch/2/new")),
    ];
    for pid in [daemon, worker] {
        for file in ["environ", "mem", "maps"] {
            tricks.push(("read", format!("/proc/{pid}/{file}")));
        }
        for folder in ["cwd", "root"] {
            tricks.push(("list", format!("/proc/{pid}/{folder}/")));
        }
        // How many there are is no secret of Linux's, what they are of is.
        tricks.push(("follow", format!("/proc/{pid}/fd/0")));
        for trick in ["signal", "steal"] {
            tricks.push((trick, pid.to_string()));
        }
    }
    tricks.push(("group", worker.to_string()));
    tricks.push(("trace", worker.to_string()));
    tricks
}

async fn pid_of(host: &mut Running) -> u32 {
    host.result(98, "\"pid\"").await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_daemons_or_of_another_plugins_can_be_had() {
    let world = World::new();
    // Stands for the daemon in what would hit this process, and may be traced by its own kind.
    let files = &[("handler.py", PROBE)];
    let manifest =
        |sandbox: &str| format!("handler = \"handler.py:handle\"\nsandbox = \"{sandbox}\"");
    let mut victim = world.plugin(2, &manifest("on"), files);
    let victim_pid = pid_of(&mut victim).await;
    let mut enclosed = world.plugin(1, &manifest("on"), files);
    let mut free = world.plugin(3, &manifest("off"), files);
    let tricks = booty(&world, std::process::id(), victim_pid);
    let denied = attempts(&mut enclosed, &tricks).await;
    locked_in(&world);
    let allowed = attempts(&mut free, &tricks).await;
    let untraceable = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
        .is_ok_and(|scope| scope.trim() != "0");
    for ((trick, denied), allowed) in tricks.iter().zip(&denied).zip(&allowed) {
        assert!(
            denied == "Permission denied" || denied == "Operation not permitted",
            "{trick:?}: {denied}"
        );
        // The first byte of a process's memory is never there, so that it was opened shows by that; and
        // some kernels let nobody trace a process that is not his child.
        let reached = allowed == "allowed"
            || (trick.1.ends_with("/mem") && allowed == "Input/output error")
            || (untraceable && ["trace", "steal"].contains(&trick.0));
        assert!(reached, "{trick:?} without a sandbox: {allowed}");
    }
    for host in [enclosed, free, victim] {
        host.end().await;
    }
}

/// Descriptors that whoever started this process had left open for all that it starts.
fn passed_on() -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = fs::read_dir("/proc/self/fdinfo").unwrap().map(name);
    let names = names.map(|name| name.into_string().unwrap());
    let inheritable = |name: &String| {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        // O_CLOEXEC.
        flags.is_some_and(|flags| flags & 0o2_000_000 == 0)
    };
    names.filter(inheritable).collect()
}

/// The descriptors of the daemon are for itself: whatever it opens is closed for what it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_inherits_its_three_pipes_and_nothing_else() {
    let world = World::new();
    let code = r#"read line; id=${line#*:}; id=${id%%,*}
for fd in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -e /proc/$$/fd/$fd ] && found="$found $fd=$(readlink /proc/$$/fd/$fd)"
done
echo "{\"id\": $id, \"result\": \"$found\"}""#;
    // Something to inherit, at a high number and at the lowest that is free.
    let _open = (File::open("/dev/null").unwrap(), fs::read_dir("/").unwrap());
    let mut host = world.pool(
        "command = [\"sh\", \"p.sh\"]\nsandbox = \"on\"",
        &[("p.sh", code)],
    );
    let found: String = serde_json::from_str(&host.result(1, "1").await).unwrap();
    // The shell's own script.
    let script = world.root.join("plugins/1/p.sh").display().to_string();
    let passed_on = passed_on();
    for descriptor in found.split_whitespace() {
        let (number, file) = descriptor.split_once('=').unwrap();
        assert!(
            file == script || passed_on.iter().any(|it| it == number),
            "{found}"
        );
    }
    host.end().await;
}

/// Asks the daemon for its jobs, by its socket and by TCP.
const KNOCK: &str = r#"
import hashlib, hmac, socket

def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

def ask(connection, host, authorization):
    body = "{}"
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n"
    head += "Content-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"
    head += f"X-Amz-Date: 20300101T000000Z\r\n{authorization}Content-Length: {len(body)}\r\n\r\n{body}"
    connection.sendall(head.encode())
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return answer.decode()

def made_up(key):
    scope = "20300101/us-east-1/states/aws4_request"
    signing = b"AWS4" + b"made-up"
    for part in scope.split("/"):
        signing = sign(signing, part)
    signature = hmac.new(signing, b"anything", hashlib.sha256).hexdigest()
    return (f"Authorization: AWS4-HMAC-SHA256 Credential={key}/{scope}, "
            f"SignedHeaders=host;x-amz-date;x-amz-target, Signature={signature}\r\n")

def connect(place):
    if isinstance(place, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place)
        return connection
    return socket.create_connection(("127.0.0.1", place))

def handle(item):
    return [ask(connect(place), "localhost", authorization)
            for place in item["places"]
            for authorization in ["", made_up("AKIAMADEUP"), made_up(item["key"])]]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_refuses_requests_of_its_own_user_without_its_key() {
    let world = World::new();
    let state = world.root.join("state");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_iterd"))
        .args(["--state".as_ref(), state.as_os_str(), "serve".as_ref()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .env("ITERD_CONFIG", world.root.join("config"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(daemon.stderr.take().unwrap());
    said_after(&mut said, "serving");
    std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
    let mut host = world.python("sandbox = \"on\"", KNOCK);
    let item = json!({
        "places": [state.join("iterd.sock"), port],
        "key": "admin",
    });
    let answers: Vec<String> =
        serde_json::from_str(&host.result(1, &item.to_string()).await).unwrap();
    for answer in &answers {
        let head = answer.lines().next().unwrap();
        assert!(head.contains(" 403 ") || head.contains(" 400 "), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let kind = body["__type"].as_str().unwrap();
        assert!(
            kind.contains("MissingAuthenticationToken")
                || kind.contains("UnrecognizedClient")
                || kind.contains("InvalidSignature")
                || kind.contains("IncompleteSignature"),
            "{answer}"
        );
    }
    locked_in(&world);
    host.end().await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
