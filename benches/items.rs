//! Items per second with durable results, beside what the machine itself can do in the same run.
//!
//! `cargo bench --bench items` interleaves iterd with its floors and prints ratios: the speed of a
//! disk may change sixfold within seconds, a ratio of neighbours in time does not. Floors: raw
//! rusqlite that writes a cursor and 100 result rows in each transaction, and a bare loop over pipes
//! to four Python processes of the same depth. The machinery of a benchmark library is left out: its
//! samples would not be interleaved.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its figures, and ends where it cannot measure"
)]

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use iterd::{
    config::{Config, job::JobFile},
    plugin::{Launcher, launch},
    runtime::{Engine, EngineSetup},
    time::SystemClock,
};
use rusqlite::{Connection, params};

/// Rounds of each pair; the median of the ratios is quoted.
const ROUNDS: usize = 5;

/// Records through `identity` in a round: a few seconds.
const IDENTITY_RECORDS: u64 = 400_000;

/// Records through Python in a round: a few seconds.
const PYTHON_RECORDS: u64 = 60_000;

/// Workers, and items in each at a time.
const WORKERS: usize = 4;
const IN_FLIGHT: usize = 16;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args();
    if arguments
        .nth(1)
        .is_some_and(|first| first == launch::ARGUMENT)
    {
        // Why: workers are started through the program that starts them.
        return launch::main();
    }
    if std::env::args().any(|argument| argument == "--test") {
        // Why: `cargo test --benches` runs this too, and wants no figures.
        return std::process::ExitCode::SUCCESS;
    }
    let directory = tempfile::tempdir().unwrap();
    println!("fdatasync: {:.0}/s", fdatasyncs(directory.path()));
    compare(
        "identity, durable results",
        "raw rusqlite, a cursor and 100 rows a transaction",
        || floor(directory.path(), IDENTITY_RECORDS),
        || identity(directory.path()),
    );
    println!("fdatasync: {:.0}/s", fdatasyncs(directory.path()));
    compare(
        "four Python workers",
        "bare pipe loop of the same depth",
        || pipe_loop(directory.path()),
        || python(directory.path()),
    );
    println!("fdatasync: {:.0}/s", fdatasyncs(directory.path()));
    std::process::ExitCode::SUCCESS
}

fn compare(name: &str, floor_name: &str, floor: impl Fn() -> f64, ours: impl Fn() -> f64) {
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (floor(), ours())).collect();
    let mut ratios: Vec<f64> = rounds.iter().map(|(floor, ours)| ours / floor).collect();
    ratios.sort_by(f64::total_cmp);
    println!("{name} / {floor_name}");
    for (floor, ours) in &rounds {
        println!("  {ours:>9.0}/s / {floor:>9.0}/s = {:.2}", ours / floor);
    }
    println!("  median ratio {:.2}", ratios[ratios.len() / 2]);
}

/// How often a second a small write reaches the disk.
fn fdatasyncs(directory: &Path) -> f64 {
    let file = File::create(directory.join("sync")).unwrap();
    let started = Instant::now();
    let mut syncs = 0u32;
    while started.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[0; 4096], u64::from(syncs % 16) * 4096)
            .unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    f64::from(syncs) / started.elapsed().as_secs_f64()
}

fn floor(directory: &Path, records: u64) -> f64 {
    let path = directory.join("floor.db");
    let mut db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch(
        "CREATE TABLE cursors (run INTEGER PRIMARY KEY, cursor TEXT);
         CREATE TABLE results (run INTEGER, idx INTEGER, result TEXT, version INTEGER,
             attempts INTEGER, at_us INTEGER, PRIMARY KEY (run, idx)) WITHOUT ROWID;",
    )
    .unwrap();
    let started = Instant::now();
    for first in (0..records).step_by(100) {
        let transaction = db.transaction().unwrap();
        let mut insert = transaction
            .prepare_cached("INSERT INTO results VALUES (1, ?1, ?2, 1, 1, ?3)")
            .unwrap();
        for index in first..first + 100 {
            insert
                .execute(params![index.cast_signed(), record(index), 0])
                .unwrap();
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO cursors VALUES (1, ?1)")
            .unwrap()
            .execute([first.to_string()])
            .unwrap();
        drop(insert);
        transaction.commit().unwrap();
    }
    let rate = rate(records, started);
    drop(db);
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(directory.join(format!("floor.db{suffix}"))).ok();
    }
    rate
}

fn record(index: u64) -> String {
    format!(r#"{{"id":{index},"name":"customer {index}","country":"DE","active":true}}"#)
}

fn write_records(path: &Path, records: u64) {
    let mut text = String::new();
    for index in 0..records {
        writeln!(text, "{}", record(index)).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

fn identity(directory: &Path) -> f64 {
    let source = directory.join("identity.jsonl");
    if !source.exists() {
        write_records(&source, IDENTITY_RECORDS);
    }
    let job = "name = \"bench\"\n[source]\nkind = \"jsonl\"\npath = \"identity.jsonl\"\n\
               [process]\nplugin = \"identity\"\nconcurrency = 2000\n";
    run_job(directory, job, IDENTITY_RECORDS)
}

fn python(directory: &Path) -> f64 {
    let source = directory.join("python.jsonl");
    if !source.exists() {
        write_records(&source, PYTHON_RECORDS);
        let plugin = directory.join("echo");
        std::fs::create_dir(&plugin).unwrap();
        let manifest = format!(
            "name = \"echo\"\nhost = \"process\"\nhandler = \"handler.py:handle\"\n\
             workers = {WORKERS}\nin_flight = {IN_FLIGHT}\n"
        );
        std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
        let handler = "def handle(item):\n    return item\n";
        std::fs::write(plugin.join("handler.py"), handler).unwrap();
    }
    let job = format!(
        "name = \"bench\"\n[source]\nkind = \"jsonl\"\npath = \"python.jsonl\"\n\
         [process]\nplugin = \"./echo\"\nconcurrency = {}\n",
        WORKERS * IN_FLIGHT
    );
    run_job(directory, &job, PYTHON_RECORDS)
}

fn run_job(directory: &Path, job: &str, records: u64) -> f64 {
    let state = tempfile::tempdir_in(directory).unwrap();
    let file = JobFile::parse(&directory.join("bench.toml"), job.to_owned()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let setup = EngineSetup {
        config: Config::default(),
        clock: Arc::new(SystemClock),
        working: true,
        service: false,
        hidden: Vec::new(),
        launcher: Launcher::default(),
    };
    let engine = Engine::open(state.path(), setup).unwrap();
    let started = Instant::now();
    let rate = runtime.block_on(async {
        engine.start(&file, false).await.unwrap();
        if let Some(mut view) = engine.view("bench") {
            // It is over when nobody is left to publish a view.
            while view.changed().await.is_ok() {}
        }
        rate(records, started)
    });
    let row = engine.store().newest_run("bench").unwrap().unwrap();
    assert_eq!(row.checkpoint.counters.done, records);
    if let Some(pulse) = engine.store().pulse() {
        println!("    {} commits", pulse.commits);
    }
    rate
}

#[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
fn rate(records: u64, started: Instant) -> f64 {
    records as f64 / started.elapsed().as_secs_f64()
}

/// A worker as the pipe loop talks to it.
struct Pipe {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// Python processes that echo lines, each kept at the same depth, nothing durable.
fn pipe_loop(directory: &Path) -> f64 {
    let script = directory.join("loop.py");
    let code = "import json, sys\n\
                for line in sys.stdin.buffer:\n\
                \x20   call = json.loads(line)\n\
                \x20   answer = {'id': call['id'], 'result': call['item']}\n\
                \x20   sys.stdout.buffer.write(json.dumps(answer).encode() + b'\\n')\n\
                \x20   sys.stdout.buffer.flush()\n";
    std::fs::write(&script, code).unwrap();
    let mut pipes: Vec<Pipe> = (0..WORKERS).map(|_| pipe(&script)).collect();
    let started = Instant::now();
    let share = PYTHON_RECORDS / WORKERS as u64;
    std::thread::scope(|scope| {
        for pipe in &mut pipes {
            scope.spawn(move || talk(pipe, share));
        }
    });
    let rate = rate(PYTHON_RECORDS, started);
    for mut pipe in pipes {
        drop(pipe.to);
        pipe.child.wait().unwrap();
    }
    rate
}

fn pipe(script: &Path) -> Pipe {
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Pipe {
        to: child.stdin.take().unwrap(),
        from: BufReader::new(child.stdout.take().unwrap()),
        child,
    }
}

fn talk(pipe: &mut Pipe, records: u64) {
    let call = |index: u64| {
        let item = record(index);
        format!("{{\"id\":{index},\"item\":{item},\"attempt\":1,\"key\":\"k\"}}\n")
    };
    for index in 0..IN_FLIGHT as u64 {
        pipe.to.write_all(call(index).as_bytes()).unwrap();
    }
    let mut line = String::new();
    for answered in 0..records {
        line.clear();
        pipe.from.read_line(&mut line).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(answer["id"].is_u64());
        let next = answered + IN_FLIGHT as u64;
        if next < records {
            pipe.to.write_all(call(next).as_bytes()).unwrap();
        }
    }
}
