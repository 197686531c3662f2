//! What the pool costs beside the pipes: calls through four Python workers with 16 in flight, as a
//! ratio to a bare loop over the same pipes with the same depth, and the identity host by itself.
//!
//! The two sides run in turn, several times, because machines are noisy; the medians are compared.
//! `cargo bench --bench plugin`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that fails says so by a panic, and prints rounded figures"
)]

use std::{
    io::{Read as _, Write as _},
    num::NonZeroU32,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use iterd::{
    arn::Place,
    ids::{Generation, VersionNumber},
    payload::Payload,
    plugin::{
        Answer, Call, Event, Events, Launcher, Manifest, NoAccess, Pool, PoolSpec, SecretSource,
        Spawner, Version, WorkerLog, WorkerLogError, WorkerRecord,
    },
    runtime::Requests,
    time::SystemClock,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const WORKERS: usize = 4;
const DEPTH: usize = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

const ITEM: &str =
    r#"{"customer_id": "C-001042", "country": "DE", "vat": "DE123456789", "amount": 12.5}"#;

/// What anybody would write by hand.
const BARE: &str = r"
import json, sys
source, sink = sys.stdin.buffer, sys.stdout.buffer
for line in source:
    call = json.loads(line)
    sink.write((json.dumps({'id': call['id'], 'result': call['item']}) + '\n').encode())
    sink.flush()
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

fn main() {
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let manifests = [
        (
            "program",
            format!(
                "command = [\"python3\", \"bare.py\"]\nworkers = {WORKERS}\nin_flight = {DEPTH}"
            ),
        ),
        (
            "shim",
            format!("handler = \"handler.py:handle\"\nworkers = {WORKERS}\nin_flight = {DEPTH}"),
        ),
        (
            "shim, one in flight",
            format!("handler = \"handler.py:handle\"\nworkers = {WORKERS}"),
        ),
    ];
    for (name, manifest) in &manifests {
        let depth = if name.ends_with("one in flight") {
            1
        } else {
            DEPTH
        };
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            rates[0].push(bare(depth));
            rates[1].push(runtime.block_on(on_a_worker(root.path(), manifest)));
        }
        let [bare, pool] = rates.map(median);
        println!(
            "{name}: bare {bare:.0}/s, pool {pool:.0}/s, ratio {:.2}",
            pool / bare
        );
    }
    let identity = runtime.block_on(on_a_worker(
        root.path(),
        "host = \"identity\"\nworkers = 64",
    ));
    println!("identity: {identity:.0}/s");
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Answers a second of bare loops, a thread for each worker.
fn bare(depth: usize) -> f64 {
    let begin = Instant::now();
    let threads: Vec<_> = (0..WORKERS)
        .map(|_| std::thread::spawn(move || bare_worker(depth, begin)))
        .collect();
    let answers: u64 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    answers as f64 / ROUND.as_secs_f64()
}

fn bare_worker(depth: usize, begin: Instant) -> u64 {
    let mut child = Command::new("python3")
        .args(["-c", BARE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut next, mut answers, mut room) = (0_u64, 0_u64, vec![0; 1 << 16]);
    let mut more = depth;
    let mut started = None;
    loop {
        let mut lines = Vec::new();
        for _ in 0..more {
            next += 1;
            writeln!(
                lines,
                r#"{{"id":{next},"item":{ITEM},"attempt":1,"key":"key-{next}","index":{next}}}"#
            )
            .unwrap();
        }
        stdin.write_all(&lines).unwrap();
        let count = stdout.read(&mut room).unwrap();
        more = room[..count].split(|byte| *byte == b'\n').count() - 1;
        // From the first answer on: the start of the interpreter is not measured.
        if begin.elapsed() > ROUND + *started.get_or_insert_with(|| begin.elapsed()) {
            break;
        }
        answers += more as u64;
    }
    drop(stdin);
    child.kill().unwrap();
    child.wait().unwrap();
    answers
}

/// Why a task of its own: the main thread is none of the runtime's, and each wake-up of it would cost
/// a switch that the daemon never makes.
async fn on_a_worker(root: &Path, manifest: &str) -> f64 {
    let (root, manifest) = (root.to_owned(), manifest.to_owned());
    tokio::spawn(async move { pool(&root, &manifest).await })
        .await
        .unwrap()
}

/// Answers a second of a pool that is kept full.
async fn pool(root: &Path, manifest: &str) -> f64 {
    std::fs::write(root.join("bare.py"), BARE).unwrap();
    std::fs::write(
        root.join("handler.py"),
        "def handle(item):\n    return item",
    )
    .unwrap();
    let (sender, mut answers) = unbounded_channel();
    let pool = Pool::start(
        PoolSpec {
            version: Version {
                number: VersionNumber(1),
                folder: root.to_owned(),
                environment: None,
                manifest: Manifest::parse(&format!("name = \"bench\"\n{manifest}")).unwrap(),
            },
            concurrency: NonZeroU32::MIN,
            scratch: root.join("scratch"),
            runtime_dir: root.join("runtime"),
            hidden: Vec::new(),
            secrets: SecretSource::default(),
            access: Arc::new(NoAccess),
            spawner: Spawner::start(
                Launcher {
                    program: env!("CARGO_BIN_EXE_iterd").into(),
                },
                Arc::new(Nowhere),
            )
            .unwrap(),
            composer: Arc::new(Requests::new(Arc::new(SystemClock))),
            events: Arc::new(Nowhere),
            place: Place {
                region: "us-east-1".to_owned(),
                account: "000000000000".to_owned(),
            },
        },
        sender,
    )
    .unwrap();
    let payload = Payload::parse(ITEM).unwrap();
    let mut next = 0;
    let mut submit = |count: usize| {
        let calls = (0..count).map(|_| {
            next += 1;
            call(next, &payload)
        });
        pool.submit(calls.collect());
    };
    // Until all workers are up.
    submit(pool.capacity());
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_secs(1) {
        let count = take(&mut answers).await;
        submit(count);
    }
    let begin = Instant::now();
    let mut done = 0;
    while begin.elapsed() < ROUND {
        let count = take(&mut answers).await;
        done += count;
        submit(count);
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    pool.shutdown(Duration::ZERO, Duration::from_secs(1)).await;
    rate
}

/// The answers that are there, at least one.
async fn take(answers: &mut UnboundedReceiver<Answer>) -> usize {
    let mut batch = Vec::new();
    answers.recv_many(&mut batch, 1024).await
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
