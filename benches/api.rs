//! What the daemon does for clients over HTTP: durable starts a second beside the machine's own limit, how
//! long a synchronous start takes, and what a million waiting executions cost.
//!
//! `cargo bench --bench api [-- WORD]`; the words begin the names of its parts: `starts`, `sync`, `million`.
//! The daemon is the real one, a process of its own. The floor of `starts` is another process that answers
//! the same signed requests with a bare axum handler: one writer inserts the body, a group of them in each
//! durable commit. It checks no signature and runs nothing. Both sides take turns, under the same load.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its figures, and ends where it cannot measure"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use iterd::{
    api::{Key, STATES_TARGET_PREFIX, sigv4},
    store::Store,
    time::{Clock as _, SystemClock},
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};

/// Connections of the load.
const CONNECTIONS: u32 = 64;

/// Rounds of each pair; the median of the ratios is quoted.
const ROUNDS: usize = 5;

/// Starts of a round.
const STARTS: u32 = 30_000;

/// Synchronous starts a second, and for how long.
const SYNC_RATE: u32 = 200;
const SYNC_SECONDS: u32 = 20;

/// Executions that wait, and how long the last of them may take to be started.
const WAITING: u32 = 1_000_000;
const STARTED_WITHIN: Duration = Duration::from_mins(6);

/// Pages of a list that are timed, at its beginning and behind that many of them.
const PAGES: u32 = 20;

/// Begins the arguments of a process that is the floor.
const FLOOR: &str = "--floor";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        // Why: `cargo test --benches` runs this too, and wants no figures.
        return;
    }
    if let [first, directory] = arguments.as_slice()
        && first == FLOOR
    {
        return floor(Path::new(directory));
    }
    let words: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted =
        |name: &str| words.is_empty() || words.iter().any(|word| name.starts_with(&**word));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if wanted("starts") {
            starts().await;
        }
        if wanted("sync") {
            synchronous().await;
        }
        if wanted("million") {
            million().await;
        }
    });
}

/// A process that serves.
struct Server {
    child: Child,
    port: u16,
    key: Key,
    state: PathBuf,
}

impl Server {
    /// The daemon over this folder.
    fn iterd(folder: &Path) -> Self {
        let state = folder.join("state");
        let config = folder.join("iterd.toml");
        std::fs::write(&config, "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_iterd"));
        command
            .arg("--state")
            .arg(&state)
            .arg("--config")
            .arg(&config);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        let (child, port) = begin(&mut command, "listening address=127.0.0.1:");
        let key = Key::read(&state.join("key")).unwrap();
        Self {
            child,
            port,
            key,
            state,
        }
    }

    fn floor(folder: &Path, key: Key) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(FLOOR).arg(folder);
        let (child, port) = begin(&mut command, "listening address=127.0.0.1:");
        Self {
            child,
            port,
            key,
            state: folder.to_owned(),
        }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        Client {
            sender,
            key: self.key.clone(),
            host: format!("127.0.0.1:{}", self.port),
        }
    }

    /// A line of `/proc/PID/status`, in MiB.
    fn memory_mib(&self, line: &str) -> f64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|found| found.starts_with(line));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts a process, and waits until it says on which port it listens.
fn begin(command: &mut Command, says: &str) -> (Child, u16) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let port = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        let rest = line.split_once(says)?.1.to_owned();
        rest.trim().parse().ok()
    });
    // Why: nobody reads it any more, and a full pipe would stop the process.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (child, port.unwrap())
}

/// A connection of the load.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    key: Key,
    host: String,
}

impl Client {
    async fn call(&mut self, operation: &str, body: &Value) -> Value {
        let body = body.to_string();
        let headers = [
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("host", self.host.clone()),
            ("x-amz-target", format!("{STATES_TARGET_PREFIX}{operation}")),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let to_sign = sigv4::Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: body.as_bytes(),
        };
        let signature = sigv4::sign(&to_sign, &self.key, "us-east-1", SystemClock.now());
        let mut request = Request::post("/");
        for (name, value) in headers.iter().chain(&signature) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let good = response.status().is_success();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(good, "{operation}: {answer}");
        answer
    }

    async fn create(&mut self, name: &str, kind: &str, definition: &str) -> String {
        let machine = json!({"name": name, "type": kind, "definition": definition,
            "roleArn": "arn:aws:iam::000000000000:role/any"});
        let made = self.call("CreateStateMachine", &machine).await;
        made["stateMachineArn"].as_str().unwrap().to_owned()
    }
}

const ONE: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;

/// Sends so many starts over all connections; how long it took.
async fn load(server: &Server, machine: &str, starts: u32) -> Duration {
    let sent = Arc::new(AtomicU32::new(0));
    let body =
        json!({"stateMachineArn": machine, "input": "{\"customer\": 17, \"country\": \"DE\"}"});
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect().await);
    }
    let begun = Instant::now();
    let senders: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let (sent, body) = (Arc::clone(&sent), body.clone());
            tokio::spawn(async move {
                while sent.fetch_add(1, Ordering::Relaxed) < starts {
                    client.call("StartExecution", &body).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    begun.elapsed()
}

/// How many executions stand so.
fn count(state: &Path, status: &str) -> u32 {
    let file = Connection::open(state.join(Store::FILE)).unwrap();
    file.busy_timeout(Duration::from_mins(1)).unwrap();
    let count = "SELECT count(*) FROM executions WHERE status = ?1";
    file.query_row(count, [status], |row| row.get(0)).unwrap()
}

async fn starts() {
    println!(
        "StartExecution of a machine of one state, until it has succeeded, {CONNECTIONS} connections"
    );
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::iterd(folder.path());
        let machine = server.connect().await.create("one", "STANDARD", ONE).await;
        load(&server, &machine, 1000).await;
        let took = load(&server, &machine, STARTS).await;
        // Each is over when its start is answered.
        assert_eq!(count(&server.state, "succeeded"), STARTS + 1000);
        let key = server.key.clone();
        drop(server);
        let floor = Server::floor(folder.path(), key);
        load(&floor, &machine, 1000).await;
        let bare = load(&floor, &machine, STARTS).await;
        let rate = |took: Duration| f64::from(STARTS) / took.as_secs_f64();
        let ratio = rate(took) / rate(bare);
        println!(
            "  {:>7.0}/s / {:>7.0}/s = {ratio:.2}",
            rate(took),
            rate(bare)
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("  median ratio {:.2}", ratios[ROUNDS / 2]);
}

async fn synchronous() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::iterd(folder.path());
    let machine = server.connect().await.create("one", "EXPRESS", ONE).await;
    let body = json!({"stateMachineArn": machine, "input": "{\"customer\": 17}"});
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect().await);
    }
    let (idle, mut taken) = mpsc::unbounded_channel();
    for client in clients {
        idle.send(client).unwrap();
    }
    let (told, mut times) = mpsc::unbounded_channel();
    let begun = Instant::now();
    for number in 0..SYNC_RATE * SYNC_SECONDS {
        // Why from when it was due: a server that falls behind must not slow its load down.
        let due = begun + Duration::from_secs(1) * number / SYNC_RATE;
        tokio::time::sleep_until(due.into()).await;
        let mut client = taken.recv().await.unwrap();
        let (idle, told, body) = (idle.clone(), told.clone(), body.clone());
        tokio::spawn(async move {
            let answer = client.call("StartSyncExecution", &body).await;
            assert_eq!(answer["status"], "SUCCEEDED");
            told.send(due.elapsed()).unwrap();
            idle.send(client).ok();
        });
    }
    drop(told);
    let mut all = Vec::new();
    while let Some(time) = times.recv().await {
        all.push(time);
    }
    all.sort();
    let part = |of: usize| all[all.len() * of / 1000];
    println!(
        "StartSyncExecution at {SYNC_RATE}/s: median {:.1?}, p99 {:.1?}, longest {:.1?}",
        part(500),
        part(990),
        part(999)
    );
}

async fn million() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::iterd(folder.path());
    let idle = server.memory_mib("VmRSS:");
    let due = SystemClock.now().after(STARTED_WITHIN);
    let wait = json!({"StartAt": "W", "States": {"W":
        {"Type": "Wait", "Timestamp": due.to_string(), "End": true}}});
    let machine = server
        .connect()
        .await
        .create("waits", "STANDARD", &wait.to_string())
        .await;
    let took = load(&server, &machine, WAITING).await;
    println!(
        "{WAITING} executions in a Wait: started at {:.0}/s, {:.1} MiB resident, {idle:.1} MiB idle",
        f64::from(WAITING) / took.as_secs_f64(),
        server.memory_mib("VmRSS:")
    );
    pages(&server, &machine).await;
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let killed = Instant::now();
    server = Server::iterd(folder.path());
    let describe = json!({"stateMachineArn": machine});
    server
        .connect()
        .await
        .call("DescribeStateMachine", &describe)
        .await;
    println!(
        "  after kill -9: answers after {:.1?}, {:.1} MiB resident",
        killed.elapsed(),
        server.memory_mib("VmRSS:")
    );
    let left = due.since(SystemClock.now());
    assert!(!left.is_zero(), "they were due before all had been started");
    tokio::time::sleep(left).await;
    let begun = Instant::now();
    while count(&server.state, "running") > 0 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!(
        "  all due at once: {:.0}/s end, {:.1} MiB resident at the most",
        f64::from(WAITING) / begun.elapsed().as_secs_f64(),
        server.memory_mib("VmHWM:")
    );
    assert_eq!(count(&server.state, "succeeded"), WAITING);
}

/// How long a page of a thousand takes at the beginning of the list, and far behind it.
async fn pages(server: &Server, machine: &str) {
    let mut client = server.connect().await;
    let mut token = Value::Null;
    let mut times = Vec::new();
    for _ in 0..WAITING / 1000 {
        let mut list = json!({"stateMachineArn": machine, "maxResults": 1000});
        if !token.is_null() {
            list["nextToken"] = token;
        }
        let begun = Instant::now();
        let mut answer = client.call("ListExecutions", &list).await;
        times.push(begun.elapsed());
        assert_eq!(answer["executions"].as_array().unwrap().len(), 1000);
        token = answer["nextToken"].take();
    }
    let some = |from: usize| {
        let some = &times[from..from + PAGES as usize];
        some.iter().sum::<Duration>() / PAGES
    };
    println!(
        "  a page of 1,000 of the list: {:.1?} at its beginning, {:.1?} at its end",
        some(0),
        some(times.len() - PAGES as usize)
    );
}

/// What a body waits in until it is durable.
type Writing = mpsc::Sender<(Bytes, oneshot::Sender<()>)>;

/// Serves as the bare handler.
fn floor(folder: &Path) {
    let file = Connection::open(folder.join("floor.db")).unwrap();
    file.pragma_update(None, "journal_mode", "WAL").unwrap();
    file.pragma_update(None, "synchronous", "FULL").unwrap();
    file.execute_batch("CREATE TABLE IF NOT EXISTS starts (id INTEGER PRIMARY KEY, body BLOB)")
        .unwrap();
    let (writing, mut asked) = mpsc::channel::<(Bytes, oneshot::Sender<()>)>(1024);
    std::thread::spawn(move || {
        let mut group = Vec::new();
        while asked.blocking_recv_many(&mut group, 1024) > 0 {
            file.execute_batch("BEGIN IMMEDIATE").unwrap();
            for (body, _) in &group {
                let mut insert = file.prepare_cached("INSERT INTO starts (body) VALUES (?1)");
                insert.as_mut().unwrap().execute([&**body]).unwrap();
            }
            file.execute_batch("COMMIT").unwrap();
            for (_, done) in group.drain(..) {
                done.send(()).ok();
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let router = Router::new().fallback(bare).with_state(writing);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        eprintln_port(&listener);
        axum::serve(listener, router).await.unwrap();
    });
}

#[expect(clippy::print_stderr, reason = "the process that measures reads it")]
fn eprintln_port(listener: &tokio::net::TcpListener) {
    eprintln!("listening address={}", listener.local_addr().unwrap());
}

async fn bare(State(writing): State<Writing>, body: Bytes) -> String {
    let (done, durable) = oneshot::channel();
    writing.send((body, done)).await.unwrap();
    durable.await.unwrap();
    json!({"executionArn": "arn:aws:states:us-east-1:000000000000:execution:one:one", "startDate": 1.5})
        .to_string()
}
