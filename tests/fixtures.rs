//! State directories that earlier releases have written: every later release reads them and goes on.
//!
//! `tests/fixtures/state-vN/` holds an `iterd.db` with a run half way, rows of every kind among them,
//! and the files around it. [`write`] makes the one of this release in a temporary directory, and the
//! same checks run on that. `ITERD_WRITE_FIXTURE=1 cargo test --test fixtures` makes it in its place
//! instead; that is done once for a format of the file, and what is committed is never written again.
//!
//! Paths in the file begin with [`PLACE`], which stands for wherever the directory is copied to.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says so by a panic"
)]

use std::{
    fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use iterd::{
    config::{Config, job::JobFile},
    ids::{Cursor, Index, RunId},
    integration::source::{self, OpenContext, PageBounds},
    iteration::{Checkpoint, Counters, PauseReason, RowStatus, RunStatus},
    machine::{self, Execution, Input, StepContext},
    payload::{Failure, Payload},
    plugin::Launcher,
    runtime::{Engine, EngineSetup, IDENTITY, Plan, Selection},
    store::{
        Change, ChildRow, EventQuery, ExecutionStatus, FORMAT, FailureRow, RecordName, ResultRow,
        RunRow, Store, StoreSettings, VersionRow, WorkerRow,
    },
    time::{SystemClock, Timestamp},
};
use rusqlite::Connection;

/// Stands in the file for the directory it lies in.
const PLACE: &str = "/state-fixture";

/// The job at first: four records a day, so that it stops half way.
const FIRST: &str = "[limit]\nquota = \"4 per day\"\n";

/// The job as it is stored: with limits that let it come to its end.
const LATER: &str = "[limit]\npace = \"1000 per s\"\n";

fn job_text(limit: &str) -> String {
    format!(
        "name = \"half\"\n[source]\nkind = \"jsonl\"\npath = \"in.jsonl\"\nid = \"id\"\n\
         [process]\nplugin = \"identity\"\nconcurrency = 2\n\
         [pause_when]\nfailed = \"50% of total\"\n\
         [output]\nkind = \"jsonl\"\npath = \"out.jsonl\"\n{limit}"
    )
}

/// Sixteen records; the one at 4 is damaged.
fn records() -> String {
    let line = |n: u32| match n {
        4 => "{\"id\": \"C-4\", \"n\": ".to_owned(),
        n => format!("{{\"id\": \"C-{n}\", \"n\": {n}}}"),
    };
    (0..16).map(|n| line(n) + "\n").collect::<Vec<_>>().concat()
}

fn open(directory: &Path) -> Engine {
    let mut config = Config::default();
    config.store.disk_free_min = 0;
    let setup = EngineSetup {
        config,
        clock: Arc::new(SystemClock),
        working: true,
        service: false,
        hidden: Vec::new(),
        launcher: Launcher::default(),
    };
    Engine::open(directory, setup).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    came.expect("it never happened");
}

fn run_of(store: &Store) -> RunRow {
    store.newest_run("half").unwrap().unwrap()
}

/// Makes the fixture of this release in that directory.
fn write(directory: &Path) {
    fs::write(directory.join("in.jsonl"), records()).unwrap();
    let job = directory.join("half.toml");
    fs::write(&job, job_text(FIRST)).unwrap();
    let state = directory.join("state");
    let engine = open(&state);
    block_on(async {
        let file = JobFile::read(&job).unwrap();
        engine.start(&file, false).await.unwrap();
        until(|| {
            let counters = run_of(engine.store()).checkpoint.counters;
            (counters.done, counters.failed) == (4, 1)
        })
        .await;
        engine.shut_down(Duration::from_secs(10)).await;
    });
    drop(engine);
    let store = Store::open(&state, StoreSettings::default()).unwrap();
    fs::write(&job, job_text(LATER)).unwrap();
    let file = JobFile::read(&job).unwrap();
    store.commit_blocking(half_way(&store, &file)).unwrap();
    let path = store.path().to_owned();
    drop(store);
    let lines: Vec<String> = [0, 2].map(output_line).to_vec();
    fs::write(directory.join("out.jsonl"), lines.concat()).unwrap();
    let database = directory.join(Store::FILE);
    let compact = format!("VACUUM INTO '{}'", database.display());
    fs::remove_file(&database).ok();
    patiently(&path).execute_batch(&compact).unwrap();
    fs::remove_dir_all(&state).unwrap();
    move_paths(&database, &directory.to_string_lossy(), PLACE);
}

/// A connection to a file that its writer may have by the hand for a moment longer.
fn patiently(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    db
}

fn move_paths(database: &Path, from: &str, to: &str) {
    let db = patiently(database);
    for sql in [
        "UPDATE jobs SET path = replace(path, ?1, ?2)",
        "UPDATE runs SET plan = replace(plan, ?1, ?2)",
    ] {
        db.execute(sql, [from, to]).unwrap();
    }
}

fn output_line(index: u32) -> String {
    format!(
        "{{\"index\":{index},\"id\":\"C-{index}\",\"result\":{{\"id\": \"C-{index}\", \"n\": {index}}},\
         \"version\":1,\"attempts\":1}}\n"
    )
}

/// A run with every kind of row: 0 to 3 are done (1 came late), 4 is damaged, 5 is in flight with a
/// frame, 6 backs off, 7 waits, 8 is held, 9 was put back, 10 has failed; 11 and 13 are in doubt and
/// 12 is done; the rest was never dispatched.
fn half_way(store: &Store, file: &JobFile) -> Vec<Change> {
    let mut row = run_of(store);
    let run = row.id;
    let plan = Plan::of(file, IDENTITY, &Config::default(), None).unwrap();
    let cursors = cursors(&plan);
    row.checkpoint = Checkpoint {
        watermark: 11,
        cursor: cursors[10].clone(),
        high_mark: 14,
        done: vec![(12, 13)],
        counters: Counters {
            done: 5,
            failed: 2,
            retries: 3,
            interrupted: 1,
            throttled: 1,
            ..row.checkpoint.counters
        },
        ..row.checkpoint
    };
    let job = store.job("half").unwrap().unwrap();
    let text = fs::read_to_string(&file.file).unwrap();
    let at = row.changed;
    let frames = [frame(&plan, 5, false), frame(&plan, 6, true)];
    let children = [
        child(run, 5, RowStatus::InFlight, 1, Some(frames[0].clone())),
        child(run, 6, RowStatus::Retrying, 2, Some(frames[1].clone())),
        child(run, 7, RowStatus::Waiting, 0, None),
        child(run, 8, RowStatus::Held, 0, None),
        child(run, 9, RowStatus::Queued, 12, None),
    ];
    let bytes = [0, 2].map(output_line).concat().len() as u64;
    let mut changes = vec![
        Change::PutJob(iterd::store::JobRow { text, ..job }),
        Change::Results {
            run,
            rows: vec![result(12, at)],
        },
        Change::Failures {
            run,
            rows: vec![failure(10, at)],
        },
        Change::LateResult { run, index: 1 },
        Change::Export {
            row: iterd::store::ExportRow {
                run,
                next: 3,
                bytes,
            },
            late: Vec::new(),
        },
        Change::NewVersion(VersionRow {
            plugin: "enrich".to_owned(),
            version: 1,
            hash: "00ff".to_owned(),
            created: at,
        }),
        Change::WorkerStarted(WorkerRow {
            pid: 4_000_000,
            start_time: 1,
            session: 1,
            boot: "another boot".to_owned(),
        }),
        Change::Checkpoint {
            run,
            checkpoint: Box::new(row.checkpoint),
            at,
        },
    ];
    changes.extend(children.map(|child| Change::PutChild(Box::new(child))));
    changes
}

/// The position behind each record.
fn cursors(plan: &Plan) -> Vec<Cursor> {
    let spool = std::env::temp_dir();
    let mut source = source::open(
        &plan.source,
        &mut OpenContext {
            spool_dir: &spool,
            spool_bytes_max: 1,
            progress: &mut |_| std::ops::ControlFlow::Continue(()),
        },
    )
    .unwrap();
    let bounds = PageBounds {
        records_max: 100,
        bytes_max: 1 << 20,
        record_bytes_max: 1 << 20,
    };
    let page = source.read(&Cursor::start(), bounds).unwrap();
    page.records.into_iter().map(|record| record.end).collect()
}

fn payload(index: Index) -> Payload {
    Payload::parse(format!("{{\"id\": \"C-{index}\", \"n\": {index}}}")).unwrap()
}

/// The stored frame of a child whose first try has failed, and that backs off or tries again.
fn frame(plan: &Plan, index: Index, backs_off: bool) -> String {
    let (now, input) = (Timestamp(1_000_000), payload(index));
    let mut live = Execution::new();
    let mut tell = |input| {
        let mut random = || u64::MAX;
        let mut context = StepContext {
            now,
            random: &mut random,
            token: &machine::no_token,
            context: machine::Context {
                execution_id: "",
                execution_name: "",
                role_arn: None,
                started: now,
                redrive_count: 0,
                redriven: None,
                input: &payload(index),
                machine_id: "",
                machine_name: "",
                version_arn: None,
                alias_arn: None,
                item: None,
            },
        };
        machine::step(&plan.item, &mut live, input, &mut context)
    };
    let asked = |effects: Vec<machine::Effect>| {
        effects.into_iter().find_map(|effect| {
            if let machine::Effect::Invoke {
                frame, generation, ..
            } = effect
            {
                Some((frame, generation))
            } else {
                None
            }
        })
    };
    let (frame, generation) = asked(tell(Input::Start { input })).unwrap();
    tell(Input::TaskFailed {
        frame,
        generation,
        failure: Failure::new("Unavailable", "try again later"),
    });
    if !backs_off {
        asked(tell(Input::GoOn)).unwrap();
    }
    live.to_blob(&plan.item)
}

fn child(
    run: RunId,
    index: Index,
    status: RowStatus,
    attempts: u32,
    state: Option<String>,
) -> ChildRow {
    let tried = NonZeroU64::new(attempts.into()).is_some();
    ChildRow {
        redo: 0,
        cursor: None,
        run,
        index,
        items: 1,
        status,
        due: Timestamp(1_000_000),
        id: Some(format!("C-{index}")),
        attempts,
        payload: payload(index).text().to_owned(),
        state,
        error: tried.then(|| "Unavailable".to_owned()),
        cause: tried.then(|| "try again later".to_owned()),
        version: tried.then_some(1),
        changed: Timestamp(1_000_000),
    }
}

fn result(index: Index, at: Timestamp) -> ResultRow {
    ResultRow {
        redo: 0,
        index,
        id: Some(format!("C-{index}").into()),
        result: payload(index),
        version: 1,
        attempts: 1,
        at,
    }
}

fn failure(index: Index, at: Timestamp) -> FailureRow {
    FailureRow {
        redo: 0,
        index,
        items: 1,
        id: Some(format!("C-{index}")),
        error: "NotFound".to_owned(),
        cause: "there is no such customer".to_owned(),
        attempts: 12,
        version: 1,
        payload: Some(payload(index).text().to_owned()),
        at,
    }
}

/// Opens a copy of the fixture with the engine of this release, reads what is in it, and goes on with
/// the run to its end.
fn check(fixture: &Path) {
    let copy = tempfile::tempdir().unwrap();
    let state = copy.path().join("state");
    fs::create_dir(&state).unwrap();
    for name in ["in.jsonl", "out.jsonl"] {
        fs::copy(fixture.join(name), copy.path().join(name)).unwrap();
    }
    let database = state.join(Store::FILE);
    fs::copy(fixture.join(Store::FILE), &database).unwrap();
    move_paths(&database, PLACE, &copy.path().to_string_lossy());
    let engine = open(&state);
    check_read(&engine);
    block_on(async {
        engine.resume_all().await.unwrap();
        until(|| run_of(engine.store()).checkpoint.status != RunStatus::Running).await;
        engine.shut_down(Duration::from_secs(10)).await;
    });
    check_end(&engine, copy.path());
    drop(engine);
    check_redo(&open(&state));
}

/// Results of a former release are done again, though it stored nothing of where records begin.
fn check_redo(engine: &Engine) {
    let selection = Selection {
        names: Some(vec![
            RecordName::Id("C-12".to_owned()),
            RecordName::Index(2),
        ]),
        ..Selection::default()
    };
    let told = block_on(engine.redo("half", selection, "anna")).unwrap();
    assert_eq!((told.items, told.changed_items), (2, 0), "{told:?}");
    for index in [2, 12] {
        let child = engine.store().child(RunId(1), index).unwrap().unwrap();
        assert_eq!((child.status, child.redo), (RowStatus::Queued, 1));
        assert_eq!(child.payload, payload(index).text());
    }
}

fn check_read(engine: &Engine) {
    let store = engine.store();
    let row = run_of(store);
    let checkpoint = &row.checkpoint;
    assert_eq!((row.id, row.ended), (RunId(1), None));
    assert_eq!((checkpoint.watermark, checkpoint.high_mark), (11, 14));
    assert_eq!(checkpoint.done, [(12, 13)]);
    let counters = checkpoint.counters;
    assert_eq!((counters.done, counters.failed), (5, 2));
    let job = store.job("half").unwrap().unwrap();
    assert!(job.started);
    assert_eq!(job.text, job_text(LATER));
    let execution = store.execution(row.execution).unwrap().unwrap();
    assert_eq!(execution.status, ExecutionStatus::Running);
    assert!(!store.frames(row.execution).unwrap().is_empty());
    for (index, status, attempts, framed) in [
        (5, RowStatus::InFlight, 1, true),
        (6, RowStatus::Retrying, 2, true),
        (7, RowStatus::Waiting, 0, false),
        (8, RowStatus::Held, 0, false),
        (9, RowStatus::Queued, 12, false),
    ] {
        let child = store.child(row.id, index).unwrap().unwrap();
        let found = (child.status, child.attempts, child.state.is_some());
        assert_eq!(found, (status, attempts, framed), "child {index}");
    }
    let failures = store.failures(row.id, None, None, 9).unwrap().rows;
    let found: Vec<_> = failures
        .iter()
        .map(|f| (f.index, f.error.as_str()))
        .collect();
    assert_eq!(found, [(4, "Iterd.RecordMalformed"), (10, "NotFound")]);
    let results = store.results(row.id, 0, 99, 99).unwrap().rows;
    let found: Vec<Index> = results.iter().map(|result| result.index).collect();
    assert_eq!(found, [0, 1, 2, 3, 12]);
    assert_eq!(store.export(row.id).unwrap().unwrap().next, 3);
    assert_eq!(store.version_of("enrich", "00ff").unwrap(), Some(1));
    assert_eq!(
        store.workers().unwrap(),
        [],
        "those of another boot are gone"
    );
    assert!(store.limiter("job:half").unwrap().is_some());
    let events = store.events(&EventQuery {
        job: Some("half".to_owned()),
        rows_max: 9,
        ..EventQuery::default()
    });
    assert!(!events.unwrap().is_empty());
}

fn check_end(engine: &Engine, copy: &Path) {
    let store = engine.store();
    let row = run_of(store);
    let counters = row.checkpoint.counters;
    assert_eq!((counters.done, counters.failed), (13, 2));
    let held = PauseReason::Held { items: 1 };
    assert_eq!(row.checkpoint.pause, Some(held), "somebody has to decide");
    let results = store.results(row.id, 0, 99, 99).unwrap().rows;
    let attempts = |index: Index| results.iter().find(|r| r.index == index).unwrap().attempts;
    assert_eq!([5, 6, 7, 9, 11, 15].map(attempts), [2, 3, 1, 13, 1, 1]);
    for index in [5, 6, 7, 9] {
        assert_eq!(store.child(row.id, index).unwrap(), None, "its row is gone");
    }
    let output = fs::read_to_string(copy.join("out.jsonl")).unwrap();
    let mut written: Vec<Index> = output
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["index"].as_u64().unwrap()
        })
        .collect();
    written.sort_unstable();
    let each: Vec<Index> = results.iter().map(|result| result.index).collect();
    assert_eq!(written, each, "each result once");
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join(Store::FILE).exists())
        .collect();
    found.sort();
    found
}

#[test]
fn the_state_of_every_release_is_read_and_its_run_goes_on_to_the_end() {
    let found = fixtures();
    assert!(!found.is_empty(), "there is a fixture");
    for fixture in found {
        check(&fixture);
    }
}

#[test]
fn the_state_of_this_release_is_as_good_a_fixture() {
    if std::env::var_os("ITERD_WRITE_FIXTURE").is_some() {
        let name = format!("tests/fixtures/state-v{FORMAT}");
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        write(&directory);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    check(directory.path());
}
