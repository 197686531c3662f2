//! What each host costs beside the same handler in a bare loop of the same depth: calls a second as a ratio,
//! and what a call takes longer at p50 and p99 where one is made at a time.
//!
//! The bare loops are what anybody would write by hand: a Python loop over pipes, a minimal runtime API
//! server in Python for AWS's own client, a command started for each item, a request over a kept
//! connection. Both sides run in turn, several times, because machines are noisy; the medians are
//! compared. Components are measured in `benches/wasm.rs`.
//!
//! `cargo bench --bench hosts [-- process|lambda|exec|http]`. `lambda` installs AWS's client with pip.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that fails says so by a panic, and prints rounded figures"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use iterd::{
    arn::Place,
    ids::{Generation, VersionNumber},
    payload::Payload,
    plugin::{
        Answer, Call, Event, Events, Launcher, Manifest, NoAccess, Outcome, Pool, PoolSpec,
        RUNTIME_CLIENT, SecretSource, Spawner, Version, WorkerLog, WorkerLogError, WorkerRecord,
    },
    runtime::Requests,
    time::SystemClock,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

/// The depth that `process` and `http` are compared at.
const DEPTH: usize = 4;

const ITEM: &str =
    r#"{"customer_id": "C-001042", "country": "DE", "vat": "DE123456789", "amount": 12.5}"#;

const LOOP: &str = r"
import json, sys
source, sink = sys.stdin.buffer, sys.stdout.buffer
for line in source:
    call = json.loads(line)
    sink.write((json.dumps({'id': call['id'], 'result': call['item']}) + '\n').encode())
    sink.flush()
";

/// Serves the runtime API to one client until its time is over; prints what each invocation took, in
/// microseconds.
const SERVER: &str = r"
import http.server, os, subprocess, sys, time

item, seconds = sys.argv[1].encode(), float(sys.argv[2])
taken, began, over = [], 0.0, 0.0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        global began, over
        began = time.perf_counter()
        over = over or began + seconds
        self.send_response(200)
        self.send_header('Lambda-Runtime-Aws-Request-Id', 'one')
        self.send_header('Lambda-Runtime-Deadline-Ms', str(int(time.time() * 1000) + 60000))
        self.send_header('Lambda-Runtime-Invoked-Function-Arn', 'arn:aws:lambda:us-east-1:000000000000:function:f')
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(item)))
        self.end_headers()
        self.wfile.write(item)
        self.wfile.flush()

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        now = time.perf_counter()
        taken.append(now - began)
        self.send_response(202)
        self.send_header('Content-Length', '0')
        self.end_headers()
        self.wfile.flush()
        if now > over:
            client.kill()
            print(' '.join(str(int(one * 1e6)) for one in taken), flush=True)
            os._exit(0)


server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
client = subprocess.Popen(
    [sys.argv[3], '-m', 'awslambdaric', 'handler.main'],
    env={'AWS_LAMBDA_RUNTIME_API': '127.0.0.1:%d' % server.server_port, '_HANDLER': 'handler.main',
         'LAMBDA_TASK_ROOT': os.getcwd(), 'AWS_LAMBDA_FUNCTION_NAME': 'f', 'PATH': os.environ['PATH'],
         'AWS_LAMBDA_FUNCTION_VERSION': '1', 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE': '128'},
)
server.serve_forever()
";

struct Nowhere;

impl Events for Nowhere {
    fn event(&self, _: Event) {}
}

impl WorkerLog for Nowhere {
    fn started(&self, _: &WorkerRecord) -> Result<(), WorkerLogError> {
        Ok(())
    }
    fn ended(&self, _: &WorkerRecord) {}
}

/// What one round came to: calls a second, and what each took where one is made at a time.
struct Figures {
    rate: f64,
    taken: Vec<Duration>,
}

fn main() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    std::fs::write(root.join("loop.py"), LOOP).unwrap();
    std::fs::write(
        root.join("handler.py"),
        "def handle(item):\n    return item\n\n\ndef main(event, context):\n    return event\n",
    )
    .unwrap();
    let wanted = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if is_wanted("process") {
        let shim = |depth: usize| format!("handler = \"handler.py:handle\"\nin_flight = {depth}");
        compare(
            "process (Python)",
            DEPTH,
            || piped(root, DEPTH),
            |depth| (shim(depth), None),
            root,
        );
        compare(
            "process (Python)",
            1,
            || piped(root, 1),
            |depth| (shim(depth), None),
            root,
        );
    }
    if is_wanted("lambda") {
        let python = client();
        let environment = python.parent().unwrap().parent().unwrap().to_owned();
        let manifest = "host = \"lambda\"\nruntime = \"python\"\nhandler = \"handler.main\"";
        compare(
            "lambda (Python)",
            1,
            || served(root, &python),
            |_| (manifest.to_owned(), Some(environment.clone())),
            root,
        );
    }
    if is_wanted("exec") {
        let manifest = "host = \"exec\"\ncommand = [\"cat\"]";
        compare(
            "exec (cat)",
            1,
            executed,
            |_| (manifest.to_owned(), None),
            root,
        );
    }
    if is_wanted("http") {
        let address = web_service();
        let manifest = |depth: usize| {
            format!(
                "host = \"http\"\nin_flight = {depth}\nnetwork = [\"127.0.0.1\"]\n\
                 http = {{ url = \"http://{address}/\", body = \"{{% $item %}}\" }}"
            )
        };
        for depth in [DEPTH, 1] {
            compare(
                "http",
                depth,
                || requested(&address, depth),
                |depth| (manifest(depth), None),
                root,
            );
        }
    }
}

/// Runs both sides in turn and prints what came of them.
fn compare(
    name: &str,
    depth: usize,
    bare: impl Fn() -> Figures,
    manifest: impl Fn(usize) -> (String, Option<PathBuf>),
    root: &Path,
) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut rates, mut taken) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let (text, environment) = manifest(depth);
        let root = root.to_owned();
        let bare = bare();
        // Why a task of its own: the main thread is none of the runtime's. Why not sooner: it would run
        // beside the bare loop.
        let hosted = runtime.spawn(async move { pool(&root, &text, environment, depth).await });
        let sides = [bare, runtime.block_on(hosted).unwrap()];
        for (side, figures) in sides.into_iter().enumerate() {
            rates[side].push(figures.rate);
            taken[side].extend(figures.taken);
        }
    }
    let [bare, host] = rates.map(median);
    let ratio = host / bare;
    println!("{name}, depth {depth}: bare {bare:.0}/s, host {host:.0}/s, ratio {ratio:.2}");
    if depth == 1 {
        let [bare, host] = taken.map(|mut taken| {
            taken.sort_unstable();
            [50, 99].map(|share| taken[taken.len() * share / 100].as_secs_f64() * 1e6)
        });
        println!(
            "  a call takes {:.0} us at p50 and {:.0} us at p99; bare {:.0} and {:.0}: added {:.0} and {:.0}",
            host[0],
            host[1],
            bare[0],
            bare[1],
            host[0] - bare[0],
            host[1] - bare[1]
        );
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn line(number: u64) -> String {
    format!(
        "{{\"id\":{number},\"item\":{ITEM},\"attempt\":1,\"key\":\"key-{number}\",\"index\":{number}}}\n"
    )
}

/// A Python loop over pipes that is kept so full.
fn piped(root: &Path, depth: usize) -> Figures {
    let mut child = Command::new("python3")
        .arg(root.join("loop.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(stdout).lines();
    stdin.write_all(line(0).as_bytes()).unwrap();
    lines.next().unwrap().unwrap();
    let (begin, mut done, mut taken) = (Instant::now(), 0_u64, Vec::new());
    for number in 0..depth {
        stdin.write_all(line(number as u64).as_bytes()).unwrap();
    }
    while begin.elapsed() < ROUND {
        let before = Instant::now();
        lines.next().unwrap().unwrap();
        if depth == 1 {
            taken.push(before.elapsed());
        }
        done += 1;
        stdin.write_all(line(done).as_bytes()).unwrap();
    }
    end(child);
    Figures {
        rate: done as f64 / begin.elapsed().as_secs_f64(),
        taken,
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The interpreter of an environment with AWS's client.
fn client() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts-venv");
    let python = home.join("bin/python");
    let run = |command: &mut Command| assert!(command.status().unwrap().success());
    if !home.join("bin/pip").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home));
    }
    let pip = ["-m", "pip", "install", "--quiet", RUNTIME_CLIENT];
    run(Command::new(&python).args(pip));
    python
}

/// AWS's client with a minimal server in Python.
fn served(root: &Path, python: &Path) -> Figures {
    let output = Command::new("python3")
        .args(["-c", SERVER, ITEM, &ROUND.as_secs_f64().to_string()])
        .arg(python)
        .current_dir(root)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let taken: Vec<Duration> = text
        .split_whitespace()
        .map(|word| Duration::from_micros(word.parse().unwrap()))
        .collect();
    Figures {
        rate: taken.len() as f64 / ROUND.as_secs_f64(),
        taken,
    }
}

/// A command started for each item.
fn executed() -> Figures {
    let (begin, mut taken) = (Instant::now(), Vec::new());
    while begin.elapsed() < ROUND {
        let before = Instant::now();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(ITEM.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap();
        taken.push(before.elapsed());
    }
    Figures {
        rate: taken.len() as f64 / begin.elapsed().as_secs_f64(),
        taken,
    }
}

/// A service that answers what it is sent; ends with this process.
fn web_service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers each request on a connection with its body.
fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let body = read_message(&mut reader)?;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let whole = [head.into_bytes(), body].concat();
        stream.write_all(&whole).ok()?;
    }
}

fn read_message(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// Requests over kept connections, so many at a time.
fn requested(address: &str, depth: usize) -> Figures {
    let begin = Instant::now();
    let threads: Vec<_> = (0..depth)
        .map(|_| {
            let address = address.to_owned();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut taken = Vec::new();
                while begin.elapsed() < ROUND {
                    let before = Instant::now();
                    let head = format!(
                        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{ITEM}",
                        ITEM.len()
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    read_message(&mut reader).unwrap();
                    taken.push(before.elapsed());
                }
                taken
            })
        })
        .collect();
    let taken: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    Figures {
        rate: taken.len() as f64 / begin.elapsed().as_secs_f64(),
        taken,
    }
}

/// The host, kept as full through its pool.
async fn pool(root: &Path, manifest: &str, environment: Option<PathBuf>, depth: usize) -> Figures {
    let (sender, mut answers) = unbounded_channel();
    let launcher = Launcher {
        program: env!("CARGO_BIN_EXE_iterd").into(),
    };
    let spec = PoolSpec {
        version: Version {
            number: VersionNumber(1),
            folder: root.to_owned(),
            environment,
            manifest: Manifest::parse(&format!("name = \"bench\"\n{manifest}")).unwrap(),
        },
        concurrency: NonZeroU32::MIN,
        scratch: root.join("scratch"),
        runtime_dir: root.join("runtime"),
        hidden: Vec::new(),
        secrets: SecretSource::default(),
        access: Arc::new(NoAccess),
        spawner: Spawner::start(launcher, Arc::new(Nowhere)).unwrap(),
        composer: Arc::new(Requests::new(Arc::new(SystemClock))),
        events: Arc::new(Nowhere),
        place: Place {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
        },
    };
    let pool = Pool::start(spec, sender).unwrap();
    let payload = Payload::parse(ITEM).unwrap();
    let mut next = 0;
    let mut submit = || {
        next += 1;
        pool.submit(vec![call(next, &payload)]);
    };
    submit();
    done(&mut answers).await;
    let (begin, mut count, mut taken) = (Instant::now(), 0_u64, Vec::new());
    for _ in 0..depth {
        submit();
    }
    let mut before = Instant::now();
    while begin.elapsed() < ROUND {
        done(&mut answers).await;
        if depth == 1 {
            taken.push(before.elapsed());
        }
        count += 1;
        before = Instant::now();
        submit();
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    pool.shutdown(Duration::ZERO, Duration::from_secs(1)).await;
    Figures { rate, taken }
}

async fn done(answers: &mut UnboundedReceiver<Answer>) {
    let answer = answers.recv().await.unwrap();
    assert!(
        matches!(answer.outcome, Outcome::Done(_)),
        "{:?}",
        answer.outcome
    );
}

fn call(ticket: u64, payload: &Payload) -> Call {
    Call {
        ticket,
        index: ticket,
        id: None,
        generation: Generation(1),
        payload: payload.clone(),
        attempt: 1,
        key: format!("key-{ticket}").into(),
        timeout: Some(Duration::from_mins(1)),
        cursor: None,
    }
}
