//! Executions from their start to their end, over the real store.

mod activities;
mod redrive;
mod services;
mod topics;

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::*;
use crate::{
    config::Config,
    machine::Event,
    plugin::Launcher,
    runtime::{EngineSetup, read_history},
    store::{Change, DefinitionHash, ExecutionKind, ExecutionRow, MachineChange},
    time::SystemClock,
};

mod readers;

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn open(&self) -> Engine {
        self.open_with(Config::default())
    }

    fn open_with(&self, config: Config) -> Engine {
        let engine = self.engine(config, false);
        engine.conduct();
        engine
    }

    fn engine(&self, mut config: Config, service: bool) -> Engine {
        config.history.events_max = 100;
        let setup = EngineSetup {
            config,
            clock: Arc::new(SystemClock),
            working: true,
            service,
            hidden: Vec::new(),
            launcher: Launcher::default(),
        };
        tokio::task::block_in_place(|| Engine::open(&self.state(), setup).unwrap())
    }

    /// Another process.
    async fn open_again(&self, engine: Engine) -> Engine {
        engine.shut_down(Duration::from_secs(5)).await;
        drop(engine);
        // Why again: tasks of the first engine may hold the directory for a moment still.
        let own =
            || tokio::task::block_in_place(|| crate::runtime::StateDir::own(&self.state()).is_ok());
        while !own() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.open()
    }
}

fn program(engine: &Engine, kind: ExecutionKind, text: &str) -> Program {
    let text = text.to_owned();
    let hash = DefinitionHash::of(&text);
    let definition = tokio::task::block_in_place(|| {
        let put = MachineChange::PutDefinition { text };
        engine.store().commit_blocking(vec![put.into()]).unwrap();
        engine.store().definition_id(hash).unwrap().unwrap()
    });
    Program {
        kind,
        machine: "pay".to_owned(),
        definition,
        version: None,
        alias: None,
        role_arn: None,
    }
}

async fn start(engine: &Engine, program: &Program, name: Option<&str>, input: &str) -> Begun {
    let asked = StartExecution {
        program: program.clone(),
        name: name.map(str::to_owned),
        input: Payload::parse(input).unwrap(),
        trace_header: None,
    };
    engine.start_execution(asked).await.unwrap()
}

fn id_of(begun: &Begun) -> ExecutionId {
    match begun {
        Begun::Running { id, .. } => *id,
        Begun::Exists { name, .. } => panic!("{name} exists"),
    }
}

async fn end(engine: &Engine, id: ExecutionId) -> ExecutionRow {
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let row = engine.store().execution(id).unwrap().unwrap();
        if row.status != ExecutionStatus::Running {
            return row;
        }
        assert!(std::time::Instant::now() < patience, "it does not end");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const PASSES: &str = r#"{"StartAt": "A", "States": {
    "A": {"Type": "Pass", "Result": {"a": 1}, "ResultPath": "$.made", "Next": "B"},
    "B": {"Type": "Pass", "End": true}}}"#;

const WAITS: &str = r#"{"StartAt": "W", "States": {
    "W": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "B"},
    "B": {"Type": "Pass", "Result": "over", "End": true}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_runs_to_its_end_in_one_commit_and_tells_its_history() {
    let world = World::new();
    let engine = world.open();
    let program = program(&engine, ExecutionKind::Standard, PASSES);
    let before = engine.store().pulse().unwrap().commits;
    let begun = start(&engine, &program, Some("one"), r#"{"in":  true}"#).await;
    assert_eq!(engine.store().pulse().unwrap().commits, before + 1);
    let row = end(&engine, id_of(&begun)).await;
    assert_eq!(row.status, ExecutionStatus::Succeeded);
    assert_eq!(row.output.as_deref(), Some(r#"{"in":true,"made":{"a":1}}"#));
    let page = read_history(engine.store(), row.id, 1, false, 1000).unwrap();
    assert_eq!(page.next, None);
    let ids: Vec<u64> = page.records.iter().map(|record| record.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    assert!(matches!(
        page.records[0].event,
        Event::ExecutionStarted { .. }
    ));
    assert!(matches!(
        page.records[5].event,
        Event::ExecutionSucceeded { .. }
    ));
    let backwards = read_history(engine.store(), row.id, u64::MAX, true, 4).unwrap();
    assert_eq!(backwards.next, Some(2));
    let ids: Vec<u64> = backwards.records.iter().map(|record| record.id).collect();
    assert_eq!(ids, [6, 5, 4, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_once_and_the_same_start_again_is_answered_as_the_first() {
    let world = World::new();
    let engine = world.open();
    let waits = program(&engine, ExecutionKind::Standard, WAITS);
    let first = start(&engine, &waits, Some("one"), r#"{"seconds": 1000}"#).await;
    let again = start(&engine, &waits, Some("one"), r#"{"seconds": 1000}"#).await;
    assert_eq!(id_of(&first), id_of(&again));
    let new = |begun: &Begun| matches!(begun, Begun::Running { new: true, .. });
    assert!(new(&first) && !new(&again), "{first:?} {again:?}");
    let other = start(&engine, &waits, Some("one"), r#"{"seconds": 1001}"#).await;
    assert!(
        matches!(other, Begun::Exists { same: false, .. }),
        "{other:?}"
    );
    let id = id_of(&first);
    let stopped = engine
        .stop_execution(id, Some("Why".into()), None)
        .await
        .unwrap();
    let row = end(&engine, id).await;
    assert_eq!(
        (row.status, row.stopped),
        (ExecutionStatus::Aborted, stopped)
    );
    assert_eq!(row.error.as_deref(), Some("Why"));
    let again = engine.stop_execution(id, None, None).await.unwrap();
    assert_eq!(again, stopped, "one that has ended stays as it is");
    let unknown = engine.stop_execution(ExecutionId(99), None, None).await;
    assert_eq!(unknown.unwrap(), None);
    let ended = start(&engine, &waits, Some("one"), r#"{"seconds": 1000}"#).await;
    assert!(
        matches!(ended, Begun::Exists { same: true, .. }),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_a_row_and_goes_on_in_another_process() {
    let world = World::new();
    let engine = world.open();
    let waits = program(&engine, ExecutionKind::Standard, WAITS);
    let short = id_of(&start(&engine, &waits, None, r#"{"seconds": 1}"#).await);
    let long = id_of(&start(&engine, &waits, None, r#"{"seconds": 3000}"#).await);
    assert!(!engine.store().execution(long).unwrap().unwrap().awake);
    let engine = world.open_again(engine).await;
    let row = end(&engine, short).await;
    assert_eq!(row.output.as_deref(), Some("\"over\""));
    assert_eq!(engine.store().first_timers(10).unwrap().len(), 1);
    let row = engine.store().execution(long).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_takes_longer_than_it_may_times_out() {
    let world = World::new();
    let engine = world.open();
    let text = WAITS.replacen('{', "{\"TimeoutSeconds\": 1,", 1);
    let waits = program(&engine, ExecutionKind::Standard, &text);
    let id = id_of(&start(&engine, &waits, None, r#"{"seconds": 1000}"#).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::TimedOut);
    assert_eq!(engine.store().first_timers(10).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_express_execution_that_is_waited_for_leaves_nothing() {
    let world = World::new();
    let engine = world.open();
    let waits = program(&engine, ExecutionKind::Express, WAITS);
    let before = engine.store().pulse().unwrap().commits;
    let asked = StartExecution {
        program: waits.clone(),
        name: None,
        input: Payload::parse(r#"{"seconds": 1}"#).unwrap(),
        trace_header: None,
    };
    let end = engine.run_execution(asked, None).await.unwrap();
    assert_eq!(end.status, ExecutionStatus::Succeeded);
    assert_eq!(end.output.unwrap().text(), "\"over\"");
    assert_eq!(engine.store().pulse().unwrap().commits, before);
    let id = id_of(&start(&engine, &waits, None, r#"{"seconds": 1}"#).await);
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while engine.store().execution(id).unwrap().is_some() {
        assert!(std::time::Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_express_execution_has_its_seat_until_its_end_though_nobody_waits_for_it() {
    let world = World::new();
    let engine = world.open();
    let asked = StartExecution {
        program: program(&engine, ExecutionKind::Express, WAITS),
        name: None,
        input: Payload::parse(r#"{"seconds": 3}"#).unwrap(),
        trace_header: None,
    };
    let seats = engine.triggers().seats();
    let seat = seats.take("t", 1);
    assert!(seat.is_some());
    let waiting = engine.run_execution(asked, seat);
    let given_up = tokio::time::timeout(Duration::from_millis(100), waiting).await;
    assert!(given_up.is_err());
    assert!(seats.take("t", 1).is_none());
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while seats.take("t", 1).is_none() {
        assert!(std::time::Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(engine.store().triggered().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_keeps_its_first_and_its_newest_events_and_each_payload_once() {
    let world = World::new();
    let engine = world.open();
    let text = r#"{"StartAt": "Count", "States": {
        "Count": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)", "ballast.$": "$.ballast"}, "Next": "More"},
        "More": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 200, "Next": "Wait"}], "Default": "Over"},
        "Wait": {"Type": "Wait", "Seconds": 0, "Next": "Count"},
        "Over": {"Type": "Succeed"}}}"#;
    let loops = program(&engine, ExecutionKind::Standard, text);
    let ballast = "x".repeat(10_000);
    let input = format!(r#"{{"n": 0, "ballast": "{ballast}"}}"#);
    let id = id_of(&start(&engine, &loops, None, &input).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);
    let (mut records, mut from) = (Vec::new(), Some(1));
    while let Some(first) = from {
        let page = read_history(engine.store(), id, first, false, 10_000).unwrap();
        let bytes = page.records.iter().map(|it| it.event.payload_bytes());
        assert!(bytes.sum::<usize>() < 5 << 20, "a page is bounded in bytes");
        records.extend(page.records);
        from = page.next;
    }
    let ids: Vec<u64> = records.iter().map(|record| record.id).collect();
    assert_eq!(ids[0], 1);
    assert!(ids.is_sorted());
    assert!(*ids.last().unwrap() > 1000, "{ids:?}");
    assert!(ids.len() > 50, "the newest stay: {ids:?}");
    assert!(matches!(
        records.last().unwrap().event,
        Event::ExecutionSucceeded { .. }
    ));
}

const MAPS: &str = r#"{"StartAt": "M", "States": {
    "M": {"Type": "Map", "MaxConcurrency": 3, "Label": "each", "ToleratedFailureCountPath": "$.bears",
        "ItemsPath": "$.items",
        "ItemSelector": {"value.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index"},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Ask", "States": {
                "Ask": {"Type": "Choice", "Default": "Wait",
                    "Choices": [{"Variable": "$.value", "NumericLessThan": 0, "Next": "Bad"}]},
                "Wait": {"Type": "Wait", "Seconds": 0, "Next": "Done"},
                "Done": {"Type": "Pass", "OutputPath": "$.index", "End": true},
                "Bad": {"Type": "Fail", "Error": "Negative", "Cause": "below zero"}}},
        "End": true}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_distributed_map_runs_its_children_as_executions_and_gathers_their_outputs() {
    let world = World::new();
    let engine = world.open();
    let maps = program(&engine, ExecutionKind::Standard, MAPS);
    let items: Vec<u32> = (0..700).collect();
    let input = format!(r#"{{"bears": 0, "items": {items:?}}}"#);
    let id = id_of(&start(&engine, &maps, None, &input).await);
    let row = end(&engine, id).await;
    assert_eq!(row.status, ExecutionStatus::Succeeded, "{:?}", row.cause);
    let output: Vec<u32> = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    assert_eq!(output, items);
    let runs = engine.store().map_runs_of(id).unwrap();
    assert_eq!((runs.len(), runs[0].label.as_str()), (1, "each"));
    assert_eq!(engine.store().running_children(runs[0].run).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_fails_beyond_the_failures_that_it_bears_and_stops_its_children() {
    let world = World::new();
    let engine = world.open();
    let maps = program(&engine, ExecutionKind::Standard, MAPS);
    let bears = id_of(
        &start(
            &engine,
            &maps,
            None,
            r#"{"bears": 2, "items": [1, -1, 2, -2]}"#,
        )
        .await,
    );
    let fails = id_of(
        &start(
            &engine,
            &maps,
            None,
            r#"{"bears": 1, "items": [1, -1, 2, -2]}"#,
        )
        .await,
    );
    let row = end(&engine, bears).await;
    assert_eq!(row.output.as_deref(), Some("[0,2]"), "{:?}", row.cause);
    let row = end(&engine, fails).await;
    assert_eq!(row.status, ExecutionStatus::Failed);
    assert_eq!(
        row.error.as_deref(),
        Some("States.ExceedToleratedFailureThreshold")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_an_execution_stops_its_run_and_the_children() {
    let world = World::new();
    let engine = world.open();
    let text = MAPS.replace("\"Seconds\": 0", "\"Seconds\": 1000");
    let maps = program(&engine, ExecutionKind::Standard, &text);
    let id = id_of(
        &start(
            &engine,
            &maps,
            None,
            r#"{"bears": 0, "items": [1, 2, 3, 4, 5]}"#,
        )
        .await,
    );
    let runs = loop {
        let runs = engine.store().map_runs_of(id).unwrap();
        if !runs.is_empty() && engine.store().running_children(runs[0].run).unwrap().len() == 3 {
            break runs;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    engine.stop_execution(id, None, None).await.unwrap();
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while !engine
        .store()
        .running_children(runs[0].run)
        .unwrap()
        .is_empty()
    {
        assert!(std::time::Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(engine.store().first_timers(10).unwrap(), []);
}

/// Never waits for anything.
const ENDLESS: &str = r#"{"StartAt": "Count", "States": {
    "Count": {"Type": "Pass", "Next": "Again"},
    "Again": {"Type": "Choice", "Default": "Count",
        "Choices": [{"Variable": "$.enough", "IsPresent": true, "Next": "Done"}]},
    "Done": {"Type": "Succeed"}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn executions_that_never_pause_keep_nobody_waiting() {
    let world = World::new();
    let engine = world.open();
    let endless = program(&engine, ExecutionKind::Standard, ENDLESS);
    let mut loops = Vec::new();
    for _ in 0..5 {
        loops.push(id_of(&start(&engine, &endless, None, "{}").await));
    }
    let waits = ENDLESS.replace(
        r#""Type": "Succeed""#,
        r#""Type": "Wait", "Seconds": 1, "End": true"#,
    );
    let waits = program(&engine, ExecutionKind::Standard, &waits);
    let id = id_of(&start(&engine, &waits, None, r#"{"enough": 1}"#).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);

    engine.stop_execution(loops[0], None, None).await.unwrap();
    assert_eq!(
        end(&engine, loops[0]).await.status,
        ExecutionStatus::Aborted
    );
    let engine = world.open_again(engine).await;
    for id in &loops[1..] {
        engine.stop_execution(*id, None, None).await.unwrap();
        assert_eq!(end(&engine, *id).await.status, ExecutionStatus::Aborted);
    }
}

/// A distributed Map beside a state that fails in the same step.
const CANCELLED: &str = r#"{"StartAt": "P", "States": {
    "P": {"Type": "Parallel", "Next": "After", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "After"}],
        "Branches": [
            {"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1000, "End": true}}}}}},
            {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "No"}}}]},
    "After": {"Type": "Wait", "Seconds": 1, "End": true}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_any_more_does_not_begin() {
    let world = World::new();
    let engine = world.open();
    let cancelled = program(&engine, ExecutionKind::Standard, CANCELLED);
    let id = id_of(&start(&engine, &cancelled, None, "[1, 2, 3]").await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);
    assert_eq!(engine.store().running_map_runs().unwrap(), []);
    assert_eq!(engine.store().map_runs_of(id).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_execution_ended_just_before_the_process_is_stopped_by_the_next() {
    let world = World::new();
    let engine = world.open();
    let text = MAPS.replace("\"Seconds\": 0", "\"Seconds\": 1000");
    let maps = program(&engine, ExecutionKind::Standard, &text);
    let input = r#"{"bears": 0, "items": [1, 2, 3, 4, 5]}"#;
    let id = id_of(&start(&engine, &maps, None, input).await);
    let run = loop {
        let runs = engine.store().map_runs_of(id).unwrap();
        if !runs.is_empty() && engine.store().running_children(runs[0].run).unwrap().len() == 3 {
            break runs[0].run;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let ends = Change::EndExecution {
        execution: id,
        status: ExecutionStatus::Aborted,
        output: None,
        error: None,
        cause: None,
        at: engine.now(),
    };
    // As if it were another process: the conductor of this one learns nothing of it.
    engine.store().commit(vec![ends]).await.await.unwrap();
    let engine = world.open_again(engine).await;
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while !engine.store().running_children(run).unwrap().is_empty() {
        assert!(std::time::Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let waits = program(&engine, ExecutionKind::Standard, WAITS);
    let id = id_of(&start(&engine, &waits, None, r#"{"seconds": 0}"#).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);
    assert_eq!(engine.store().running_map_runs().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_parent_is_damaged_keeps_nobody_else_waiting() {
    let world = World::new();
    let engine = world.open();
    let text = MAPS.replace("\"Seconds\": 0", "\"Seconds\": 1");
    let maps = program(&engine, ExecutionKind::Standard, &text);
    let input = r#"{"bears": 0, "items": [1, 2, 3, 4, 5]}"#;
    let bad = id_of(&start(&engine, &maps, None, input).await);
    while engine.store().map_runs_of(bad).unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let waits = program(&engine, ExecutionKind::Standard, WAITS);
    let good = id_of(&start(&engine, &waits, None, r#"{"seconds": 2}"#).await);
    engine.shut_down(Duration::from_secs(5)).await;
    drop(engine);
    let file = rusqlite::Connection::open(world.state().join("iterd.db")).unwrap();
    file.busy_timeout(Duration::from_mins(1)).unwrap();
    let damage = "UPDATE frames SET body = '{}' WHERE execution = ?1 AND part = 'frame'";
    assert!(file.execute(damage, [bad.0]).unwrap() > 0);
    drop(file);
    let engine = world.open();
    assert_eq!(end(&engine, good).await.status, ExecutionStatus::Succeeded);
    let again = id_of(&start(&engine, &maps, None, input).await);
    assert_eq!(end(&engine, again).await.status, ExecutionStatus::Succeeded);
    let row = engine.store().execution(bad).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Running, "it is left as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_rows_are_damaged_keeps_nobody_else_waiting() {
    let world = World::new();
    let engine = world.open();
    let waits = program(&engine, ExecutionKind::Standard, WAITS);
    let bad = id_of(&start(&engine, &waits, None, r#"{"seconds": 2}"#).await);
    let good = id_of(&start(&engine, &waits, None, r#"{"seconds": 3}"#).await);
    engine.shut_down(Duration::from_secs(5)).await;
    drop(engine);
    let file = rusqlite::Connection::open(world.state().join("iterd.db")).unwrap();
    file.busy_timeout(Duration::from_mins(1)).unwrap();
    let damage = "UPDATE frames SET body = '{}' WHERE execution = ?1 AND part = 'frame'";
    assert!(file.execute(damage, [bad.0]).unwrap() > 0);
    drop(file);
    let engine = world.open();
    assert_eq!(end(&engine, good).await.status, ExecutionStatus::Succeeded);
    let row = engine.store().execution(bad).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Running, "it is left as it is");
    assert_eq!(engine.store().first_timers(9).unwrap().len(), 1);
}
