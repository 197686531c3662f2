//! Durable transitions per second of executions, beside what SQLite does with the same rows.
//!
//! `cargo bench --bench executions [-- WORD]` runs a chain of ten Pass states with full history, 64 executions at a
//! time and one at a time, an inline Map over 10,000 items, and a chain of ten states that put an item each; the
//! floor is raw rusqlite that inserts the very rows that iterd left, into the same schema, in as many transactions
//! as iterd made commits.
//! Both sides take turns, because the speed of a disk changes within seconds.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its figures, and ends where it cannot measure"
)]

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use iterd::{
    config::Config,
    integration::service::{Call, Embedded, Moment},
    payload::Payload,
    plugin::Launcher,
    runtime::{Begun, Engine, EngineSetup, Program, StartExecution},
    store::{DefinitionHash, ExecutionKind, ExecutionStatus, MachineChange, Store, StoreSettings},
    time::SystemClock,
};
use rusqlite::{Connection, params_from_iter, types::Value};
use serde_json::json;

/// Rounds of each pair; the median of the ratios is quoted.
const ROUNDS: usize = 5;

/// Pass states of the chain.
const CHAIN: u32 = 10;

/// Executions of a round.
const TOGETHER: u32 = 20_000;
const ALONE: u32 = 3000;

/// Executions in flight.
const IN_FLIGHT: u32 = 64;

/// Items of the Map.
const ITEMS: u32 = 10_000;

/// Tables that executions write.
const TABLES: [&str; 4] = ["executions", "history", "history_payloads", "frames"];

/// The table that states put items into; and where these are rows.
const TABLE: &str = "bench";
const ITEM_ROWS: &str = "service_items";

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        // Why: `cargo test --benches` runs this too, and wants no figures.
        return;
    }
    let chain = chain();
    let map = map();
    let puts = puts();
    let cases = [
        (
            "a chain of ten, 64 at a time",
            &chain,
            TOGETHER,
            IN_FLIGHT,
            CHAIN,
        ),
        ("a chain of ten, one at a time", &chain, ALONE, 1, CHAIN),
        ("an inline Map of 10,000", &map, 1, 1, 2 * ITEMS),
        (
            "a chain of ten puts, 64 at a time",
            &puts,
            TOGETHER / 4,
            IN_FLIGHT,
            CHAIN,
        ),
        (
            "a chain of ten puts, one at a time",
            &puts,
            ALONE / 10,
            1,
            CHAIN,
        ),
    ];
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    for (name, definition, executions, in_flight, transitions) in cases {
        if words.is_empty() || words.iter().any(|word| name.contains(word)) {
            compare(name, definition, executions, in_flight, transitions);
        }
    }
}

/// What a round measured.
struct Round {
    ours: f64,
    floor: f64,
    commits: u64,
}

fn compare(name: &str, definition: &str, executions: u32, in_flight: u32, transitions: u32) {
    let rounds: Vec<Round> = (0..ROUNDS)
        .map(|_| round(definition, executions, in_flight, transitions))
        .collect();
    println!("{name}, transitions a second");
    for round in &rounds {
        println!(
            "  {:>9.0}/s / {:>9.0}/s = {:.2}   {} commits",
            round.ours,
            round.floor,
            round.ours / round.floor,
            round.commits
        );
    }
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.ours / round.floor)
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("  median ratio {:.2}", ratios[ratios.len() / 2]);
}

fn round(definition: &str, executions: u32, in_flight: u32, transitions: u32) -> Round {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut config = Config::default();
    // Why: what is rolled up leaves no rows, and the floor would have less to write than iterd had.
    config.history.events_max = 1_000_000;
    let setup = EngineSetup {
        config,
        clock: Arc::new(SystemClock),
        working: true,
        service: false,
        hidden: Vec::new(),
        launcher: Launcher::default(),
    };
    let engine = Engine::open(&state, setup).unwrap();
    let program = program(&engine, definition);
    runtime.block_on(create_table(&engine));
    let before = engine.store().pulse().unwrap().commits;
    let started = Instant::now();
    runtime.block_on(async {
        engine.conduct();
        let share = executions / in_flight;
        let workers: Vec<_> = (0..in_flight)
            .map(|_| {
                let (engine, program) = (engine.clone(), program.clone());
                tokio::spawn(async move {
                    for _ in 0..share {
                        run(&engine, &program).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
    });
    let took = started.elapsed();
    let commits = engine.store().pulse().unwrap().commits - before;
    runtime.block_on(engine.shut_down(Duration::from_secs(5)));
    let executions = executions / in_flight * in_flight;
    let all = f64::from(executions) * f64::from(transitions);
    Round {
        ours: all / took.as_secs_f64(),
        floor: all / floor(&state, directory.path(), commits).as_secs_f64(),
        commits,
    }
}

async fn run(engine: &Engine, program: &Program) {
    let asked = StartExecution {
        program: program.clone(),
        name: None,
        input: Payload::parse(r#"{"customer": 17, "country": "DE"}"#).unwrap(),
        trace_header: None,
    };
    let Begun::Running { id, .. } = engine.start_execution(asked).await.unwrap() else {
        return;
    };
    loop {
        let row = engine.store().execution(id).unwrap().unwrap();
        match row.status {
            ExecutionStatus::Succeeded => return,
            ExecutionStatus::Running => tokio::time::sleep(Duration::from_millis(1)).await,
            other @ (ExecutionStatus::Failed
            | ExecutionStatus::TimedOut
            | ExecutionStatus::Aborted) => {
                println!("{other:?} {:?}", row.cause);
                return;
            }
        }
    }
}

/// The table that states put items into.
async fn create_table(engine: &Engine) {
    let call = Call {
        service: Embedded::DynamoDb,
        action: "CreateTable".to_owned(),
        parameters: json!({
            "TableName": TABLE,
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        }),
        moment: Moment {
            now: engine.now(),
            random: 0,
        },
        base: engine.queues(),
        settings: engine.config(),
        by_task: false,
    };
    engine.store().call(call).await.unwrap().unwrap();
}

/// The rows that iterd left, once more, in as many transactions.
fn floor(state: &Path, directory: &Path, commits: u64) -> Duration {
    let theirs = Connection::open(state.join(Store::FILE)).unwrap();
    let mut rows: Vec<(usize, Vec<Value>)> = Vec::new();
    let mut statements = Vec::new();
    for (place, table) in TABLES.iter().chain([&ITEM_ROWS]).enumerate() {
        let mut statement = theirs.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let marks = vec!["?"; columns].join(", ");
        statements.push(format!("INSERT INTO {table} VALUES ({marks})"));
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values = (0..columns).map(|column| row.get(column).unwrap());
            rows.push((place, values.collect()));
        }
    }
    let (mut items, mut rows): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|(place, _)| *place == TABLES.len());
    // Why in disorder: names of executions are random, and so were the places of their items.
    items.sort_by_cached_key(|(_, values)| hash_of(values));
    // As they were written: an execution and its history side by side.
    rows.sort_by_key(|(place, values)| {
        let id = match &values[0] {
            Value::Integer(id) => *id,
            Value::Null | Value::Real(_) | Value::Text(_) | Value::Blob(_) => 0,
        };
        (id, *place)
    });
    let ours = directory.join("floor");
    std::fs::create_dir(&ours).unwrap();
    let settings = StoreSettings {
        wal_bytes_max: Config::default().store.wal_bytes_max,
    };
    drop(Store::open(&ours, settings).unwrap());
    let mut db = Connection::open(ours.join(Store::FILE)).unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    let commits = usize::try_from(commits.max(1)).unwrap();
    let share = |all: &[(usize, Vec<Value>)]| all.len().div_ceil(commits).max(1);
    let (share, share_of_items) = (share(&rows), share(&items));
    let mut items = items.chunks(share_of_items);
    let started = Instant::now();
    for some in rows.chunks(share) {
        let transaction = db.transaction().unwrap();
        for (place, values) in some.iter().chain(items.next().unwrap_or_default()) {
            transaction
                .prepare_cached(&statements[*place])
                .unwrap()
                .execute(params_from_iter(values))
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    started.elapsed()
}

fn hash_of(values: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{values:?}").hash(&mut hasher);
    hasher.finish()
}

fn program(engine: &Engine, definition: &str) -> Program {
    let text = definition.to_owned();
    let hash = DefinitionHash::of(&text);
    let put = MachineChange::PutDefinition { text };
    engine.store().commit_blocking(vec![put.into()]).unwrap();
    Program {
        kind: ExecutionKind::Standard,
        machine: "bench".to_owned(),
        definition: engine.store().definition_id(hash).unwrap().unwrap(),
        version: None,
        alias: None,
        role_arn: None,
    }
}

fn chain() -> String {
    let states: Vec<String> = (0..CHAIN)
        .map(|number| {
            let next = if number + 1 == CHAIN {
                "\"End\": true".to_owned()
            } else {
                format!("\"Next\": \"S{}\"", number + 1)
            };
            format!("\"S{number}\": {{\"Type\": \"Pass\", {next}}}")
        })
        .collect();
    format!(
        "{{\"StartAt\": \"S0\", \"States\": {{{}}}}}",
        states.join(", ")
    )
}

fn puts() -> String {
    let states: Vec<String> = (0..CHAIN)
        .map(|number| {
            let next = if number + 1 == CHAIN {
                json!({"End": true})
            } else {
                json!({"Next": format!("S{}", number + 1)})
            };
            let id = format!("States.Format('{{}}-{number}', $$.Execution.Name)");
            let item = json!({"id": {"S.$": id}, "country": {"S.$": "$.country"}});
            let mut state = json!({
                "Type": "Task", "Resource": "arn:aws:states:::dynamodb:putItem", "ResultPath": null,
                "Parameters": {"TableName": TABLE, "Item": item},
            });
            let next = next.as_object().unwrap().clone();
            state.as_object_mut().unwrap().extend(next);
            format!("\"S{number}\": {state}")
        })
        .collect();
    format!(
        "{{\"StartAt\": \"S0\", \"States\": {{{}}}}}",
        states.join(", ")
    )
}

fn map() -> String {
    let items: Vec<u32> = (0..ITEMS).collect();
    format!(
        "{{\"StartAt\": \"Items\", \"States\": {{
            \"Items\": {{\"Type\": \"Pass\", \"Result\": {items:?}, \"Next\": \"M\"}},
            \"M\": {{\"Type\": \"Map\", \"End\": true, \"ItemProcessor\": {{\"StartAt\": \"P\", \"States\": {{
                \"P\": {{\"Type\": \"Pass\", \"End\": true}}}}}}}}}}}}"
    )
}
