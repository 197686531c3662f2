//! `kill -9` of the daemon while executions of state machines are under way: each ends as if it had run
//! through, with the same history.

use std::{path::Path, sync::Arc, time::Duration};

use iterd::{
    config::Config,
    ids::ExecutionId,
    machine::Event,
    payload::Payload,
    plugin::Launcher,
    runtime::{Begun, Engine, EngineSetup, Program, StartExecution, read_history},
    store::{DefinitionHash, ExecutionKind, ExecutionStatus, MachineChange, Store},
    time::SystemClock,
};

use crate::bed::{Bed, patience, scale};

/// Counts to `$.most`, with a commit for each round, then runs branches and an inline Map, with
/// variables across all of it.
const LOOP: &str = r#"{"StartAt": "Begin", "States": {
    "Begin": {"Type": "Pass", "Assign": {"most.$": "$.most", "seen": 0}, "Next": "First"},
    "First": {"Type": "Wait", "Seconds": 1, "Next": "Count"},
    "Count": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"},
        "Assign": {"seen.$": "States.MathAdd($seen, 1)"}, "Next": "More"},
    "More": {"Type": "Choice", "Default": "Both",
        "Choices": [{"Variable": "$.n", "NumericLessThanPath": "$most", "Next": "Wait"}]},
    "Wait": {"Type": "Wait", "Seconds": 0, "Next": "Count"},
    "Both": {"Type": "Parallel", "Next": "Each", "Branches": [
        {"StartAt": "One", "States": {"One": {"Type": "Wait", "Seconds": 1, "Next": "Left"},
            "Left": {"Type": "Pass", "Result": "left", "End": true}}},
        {"StartAt": "Two", "States": {"Two": {"Type": "Pass", "Result": "right", "End": true}}}]},
    "Each": {"Type": "Map", "MaxConcurrency": 2, "End": true,
        "ItemProcessor": {"StartAt": "Pause", "States": {
            "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Say"},
            "Say": {"Type": "Pass", "Parameters": {"said.$": "$", "seen.$": "$seen"}, "End": true}}}}}}"#;

/// Children that wait, some of which fail.
const CHILDREN: &str = r#"{"StartAt": "M", "States": {
    "M": {"Type": "Map", "MaxConcurrency": 100, "ToleratedFailurePercentage": 50, "ItemsPath": "$.items",
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Ask", "States": {
                "Ask": {"Type": "Choice", "Default": "Wait",
                    "Choices": [{"Variable": "$", "NumericEquals": 13, "Next": "Bad"}]},
                "Wait": {"Type": "Wait", "Seconds": 0, "Next": "Again"},
                "Again": {"Type": "Wait", "Seconds": 1, "Next": "Done"},
                "Done": {"Type": "Pass", "End": true},
                "Bad": {"Type": "Fail", "Error": "Thirteen"}}},
        "End": true}}}"#;

pub(crate) fn engine(state: &Path) -> Engine {
    let config = Config {
        plugins_dir: state.with_file_name("plugins"),
        ..Config::default()
    };
    let setup = EngineSetup {
        config,
        clock: Arc::new(SystemClock),
        working: true,
        service: false,
        hidden: Vec::new(),
        launcher: Launcher {
            program: env!("CARGO_BIN_EXE_iterd").into(),
        },
    };
    Engine::open(state, setup).unwrap()
}

pub(crate) fn program(engine: &Engine, machine: &str, text: &str) -> Program {
    let text = text.to_owned();
    let hash = DefinitionHash::of(&text);
    let put = MachineChange::PutDefinition { text };
    engine.store().commit_blocking(vec![put.into()]).unwrap();
    Program {
        kind: ExecutionKind::Standard,
        machine: machine.to_owned(),
        definition: engine.store().definition_id(hash).unwrap().unwrap(),
        version: None,
        alias: None,
        role_arn: None,
    }
}

pub(crate) async fn start(engine: &Engine, program: &Program, input: &str) -> ExecutionId {
    let asked = StartExecution {
        program: program.clone(),
        name: None,
        input: Payload::parse(input).unwrap(),
        trace_header: None,
    };
    match engine.start_execution(asked).await.unwrap() {
        Begun::Running { id, .. } => id,
        Begun::Exists { name, .. } => panic!("{name}"),
    }
}

/// Ids, and what was led to by what: all of a history but its instants.
fn outline(store: &Store, id: ExecutionId) -> Vec<(u64, u64, String)> {
    let page = read_history(store, id, 1, false, 100_000).unwrap();
    assert_eq!(page.next, None);
    let told = page.records.into_iter().map(|record| {
        let stored = record.event.to_stored();
        let payload = stored.payload.map(|payload| payload.text().to_owned());
        let text = format!("{} {} {payload:?}", stored.kind, stored.detail);
        (record.id, record.previous, text)
    });
    told.collect()
}

#[test]
fn executions_end_as_if_nobody_had_killed_the_daemon() {
    let (loops, rounds, children) = scale((50, 1200, 600), (100, 2000, 6000));
    let kills = scale(10, 50);
    let bed = Bed::new();
    let state = bed.path("state");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let loop_input = format!(r#"{{"n": 0, "most": {rounds}}}"#);
    let items: Vec<u32> = (0..children).collect();
    let (ids, map) = {
        let engine = engine(&state);
        let counts = program(&engine, "counts", LOOP);
        let maps = program(&engine, "maps", CHILDREN);
        runtime.block_on(async {
            engine.conduct();
            let map = start(&engine, &maps, &format!(r#"{{"items": {items:?}}}"#)).await;
            let mut ids = Vec::new();
            for _ in 0..loops {
                ids.push(start(&engine, &counts, &loop_input).await);
            }
            engine.shut_down(Duration::from_secs(5)).await;
            (ids, map)
        })
    };
    drop(runtime);
    let mut caught = 0;
    for _ in 0..kills {
        let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
        daemon.ends_within(Duration::from_micros(rand::random_range(20_000..400_000)));
        daemon.kill();
        let running = "SELECT count(*) FROM executions WHERE status = 'running'";
        caught += i32::from(bed.value::<i64>(running) > Some(0));
    }
    assert!(
        caught * 2 >= kills,
        "{caught} of {kills} kills met executions under way"
    );
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("all executions to end", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'running'") == Some(0)
    });
    daemon.kill();
    let store = Store::open_read_only(&state).unwrap();
    let through = through(&loop_input);
    for id in ids {
        let row = store.execution(id).unwrap().unwrap();
        assert_eq!(row.status, ExecutionStatus::Succeeded, "{:?}", row.cause);
        assert_eq!(row.output, through.0);
        assert_eq!(outline(&store, id), through.1, "execution {id}");
    }
    let row = store.execution(map).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Succeeded, "{:?}", row.cause);
    let output: Vec<u32> = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    let good: Vec<u32> = items.iter().copied().filter(|n| *n != 13).collect();
    assert_eq!(output, good);
    let count = "SELECT count(*) FROM executions WHERE run IS NOT NULL";
    assert_eq!(bed.value(count), Some(i64::from(children)), "one each");
    assert_eq!(bed.value("SELECT count(*) FROM timers"), Some(0));
    // What failed keeps its frames, to be redriven.
    let frames = "SELECT count(*) FROM frames WHERE execution NOT IN
        (SELECT id FROM executions WHERE status = 'failed')";
    assert_eq!(bed.value(frames), Some(0));
}

/// The output and history of the same execution where nobody kills.
fn through(input: &str) -> (Option<String>, Vec<(u64, u64, String)>) {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory.path().join("state"));
    let counts = program(&engine, "counts", LOOP);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = runtime.block_on(async {
        engine.conduct();
        let id = start(&engine, &counts, input).await;
        let until = std::time::Instant::now() + patience();
        loop {
            let row = engine.store().execution(id).unwrap().unwrap();
            if row.status != ExecutionStatus::Running {
                break;
            }
            assert!(std::time::Instant::now() < until, "it does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        engine.shut_down(Duration::from_secs(5)).await;
        id
    });
    let row = engine.store().execution(id).unwrap().unwrap();
    (row.output, outline(engine.store(), id))
}

/// Calls a function in each way that there is, with failures that are retried, caught, and one function
/// that is not there.
const CALLS: &str = r#"{"StartAt": "A", "States": {
    "A": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:h", "Next": "B"},
    "B": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Next": "Both",
        "Parameters": {"FunctionName": "h", "Payload.$": "$"}, "OutputPath": "$.Payload"},
    "Both": {"Type": "Parallel", "Next": "C", "ResultPath": "$.both", "Branches": [
        {"StartAt": "L", "States": {"L": {"Type": "Task",
            "Resource": "arn:aws:lambda:us-east-1:000000000000:function:h", "End": true}}},
        {"StartAt": "R", "States": {"R": {"Type": "Task",
            "Resource": "arn:aws:lambda:us-east-1:000000000000:function:h", "End": true}}}]},
    "C": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:h",
        "Parameters": {"bad": true}, "End": true,
        "Retry": [{"ErrorEquals": ["ValueError"], "MaxAttempts": 1, "IntervalSeconds": 1}],
        "Catch": [{"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.error", "Next": "D"}]},
    "D": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:none", "End": true,
        "Catch": [{"ErrorEquals": ["Lambda.ResourceNotFoundException"], "ResultPath": null, "Next": "E"}]},
    "E": {"Type": "Succeed"}}}"#;

/// A call that was lost with the daemon is made again, and counts as no attempt.
#[test]
fn functions_are_plugins_and_a_call_that_was_lost_is_made_again() {
    let bed = Bed::new();
    bed.handler(
        "",
        "time.sleep(0.2)\nif item.get(\"bad\"):\n    raise ValueError(\"bad\")\nreturn {\"n\": item[\"n\"] + 1}",
    );
    let state = bed.path("state");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids: Vec<ExecutionId> = {
        let engine = engine(&state);
        let calls = program(&engine, "calls", CALLS);
        runtime.block_on(async {
            engine.conduct();
            let mut ids = Vec::new();
            for _ in 0..scale(6, 40) {
                ids.push(start(&engine, &calls, r#"{"n": 1}"#).await);
            }
            engine.shut_down(Duration::from_secs(5)).await;
            ids
        })
    };
    drop(runtime);
    for _ in 0..scale(4, 20) {
        let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
        daemon.ends_within(Duration::from_micros(rand::random_range(200_000..900_000)));
        daemon.kill();
    }
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("all executions to end", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'running'") == Some(0)
    });
    daemon.kill();
    let store = Store::open_read_only(&state).unwrap();
    for id in ids {
        let row = store.execution(id).unwrap().unwrap();
        assert_eq!(row.status, ExecutionStatus::Succeeded, "{:?}", row.cause);
        let output: serde_json::Value =
            serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
        assert_eq!(output["n"], 3);
        assert_eq!(output["both"], serde_json::json!([{ "n": 4 }, { "n": 4 }]));
        assert_eq!(output["error"]["Error"], "ValueError");
        let page = read_history(&store, id, 1, false, 1000).unwrap();
        let failed = page
            .records
            .iter()
            .filter(|record| matches!(record.event, Event::TaskFailed { .. }))
            .count();
        assert_eq!(failed, 3, "two tries of C, one of D");
    }
}
