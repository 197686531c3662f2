//! Redrives over the real store: executions, their restarts, and children of Map Runs.

use super::{
    activities::{answer, done, task},
    *,
};
use crate::payload::Failure;

const PARALLEL: &str = r#"{"StartAt": "First", "States": {
    "First": {"Type": "Pass", "Parameters": {"from": "First"}, "Next": "P"},
    "P": {"Type": "Parallel", "End": true, "Branches": [
        {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:ask", "End": true}}},
        {"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:ask",
            "Retry": [{"ErrorEquals": ["Broken"], "IntervalSeconds": 1, "MaxAttempts": 1}], "End": true}}}]}}}"#;

fn broken() -> TaskAnswer {
    TaskAnswer::Failed(Failure::new("Broken", "for now"))
}

async fn redrive(engine: &Engine, id: ExecutionId, token: Option<&str>) -> Redriven {
    let token = token.map(str::to_owned);
    engine.redrive_execution(id, token).await.unwrap()
}

async fn refused(engine: &Engine, id: ExecutionId) -> String {
    let Redriven::Refused(why) = redrive(engine, id, None).await else {
        panic!("it was to be refused")
    };
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_where_it_failed_over_restarts() {
    let world = World::new();
    let mut engine = world.open();
    let program = program(&engine, ExecutionKind::Standard, PARALLEL);
    let id = id_of(&start(&engine, &program, Some("one"), "{}").await);
    let (a, b) = (task(&engine).await, task(&engine).await);
    assert!(answer(&engine, &a.token, done("\"a\"")).await);
    assert_eq!(
        refused(&engine, id).await,
        "Execution is RUNNING and cannot be redriven"
    );
    assert!(answer(&engine, &b.token, broken()).await);
    let b = task(&engine).await;
    assert!(answer(&engine, &b.token, broken()).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Failed);
    for count in 1..=2 {
        engine = world.open_again(engine).await;
        let token = format!("token-{count}");
        let Redriven::At(at) = redrive(&engine, id, Some(&token)).await else {
            panic!("it can be redriven")
        };
        let again = redrive(&engine, id, Some(&token)).await;
        assert_eq!(again, Redriven::At(at), "the same wish again");
        let row = engine.store().execution(id).unwrap().unwrap();
        assert_eq!(
            (row.status, row.redrives),
            (ExecutionStatus::Running, count)
        );
        assert_eq!(
            (row.redriven, row.stopped, row.error),
            (Some(at), None, None)
        );
        engine = world.open_again(engine).await;
        // All its retries are there again.
        for _ in 0..2 {
            let b = task(&engine).await;
            assert_eq!(b.input, r#"{"from":"First"}"#);
            assert!(answer(&engine, &b.token, broken()).await);
        }
        assert_eq!(end(&engine, id).await.status, ExecutionStatus::Failed);
        let again = redrive(&engine, id, Some(&token)).await;
        assert_eq!(again, Redriven::At(at), "also when it has failed again");
    }
    assert!(matches!(redrive(&engine, id, None).await, Redriven::At(_)));
    let b = task(&engine).await;
    assert!(answer(&engine, &b.token, done("\"b\"")).await);
    let row = end(&engine, id).await;
    assert_eq!(row.output.as_deref(), Some(r#"["a","b"]"#));
    assert_eq!(
        refused(&engine, id).await,
        "Execution is SUCCEEDED and cannot be redriven"
    );
    assert_eq!(engine.store().frames(id).unwrap(), [], "nothing is left");
    let page = read_history(engine.store(), id, 1, false, 1000).unwrap();
    let ids: Vec<u64> = page.records.iter().map(|record| record.id).collect();
    let all: Vec<u64> = (1..=ids.len() as u64).collect();
    assert_eq!(ids, all, "the history goes on");
    let redriven =
        |record: &&crate::machine::Record| matches!(record.event, Event::ExecutionRedriven { .. });
    assert_eq!(page.records.iter().filter(redriven).count(), 3);
    assert_eq!(
        redrive(&engine, ExecutionId(99), None).await,
        Redriven::Unknown
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_redriven_can_tell_when_and_how_often() {
    let text = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:ask", "Next": "Tell"},
        "Tell": {"Type": "Pass", "End": true, "Parameters":
            {"count.$": "$$.Execution.RedriveCount", "at.$": "$$.Execution.RedriveTime"}}}}"#;
    let world = World::new();
    let engine = world.open();
    let program = program(&engine, ExecutionKind::Standard, text);
    let id = id_of(&start(&engine, &program, None, "{}").await);
    let first = task(&engine).await;
    assert!(answer(&engine, &first.token, broken()).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Failed);
    let Redriven::At(at) = redrive(&engine, id, None).await else {
        panic!("it can be redriven")
    };
    let engine = world.open_again(engine).await;
    let again = task(&engine).await;
    assert!(answer(&engine, &again.token, done("1")).await);
    let output = end(&engine, id).await.output.unwrap();
    assert_eq!(output, format!(r#"{{"count":1,"at":"{at}"}}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_or_took_too_long_goes_on_with_all_its_time() {
    let world = World::new();
    let engine = world.open();
    let text = WAITS.replacen('{', "{\"TimeoutSeconds\": 2,", 1);
    let waits = program(&engine, ExecutionKind::Standard, &text);
    let id = id_of(&start(&engine, &waits, None, r#"{"seconds": 1}"#).await);
    engine
        .stop_execution(id, Some("Why".into()), None)
        .await
        .unwrap();
    // At once: the end may be on its way still.
    assert!(matches!(redrive(&engine, id, None).await, Redriven::At(_)));
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);
    let long = id_of(&start(&engine, &waits, None, r#"{"seconds": 1000}"#).await);
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        assert_eq!(end(&engine, long).await.status, ExecutionStatus::TimedOut);
        assert!(begun.elapsed() > Duration::from_millis(1500));
        assert!(matches!(
            redrive(&engine, long, None).await,
            Redriven::At(_)
        ));
    }
    engine.stop_execution(long, None, None).await.unwrap();
    assert_eq!(engine.store().first_timers(10).unwrap(), []);
}

const MAP: &str = r#"{"StartAt": "M", "States": {
    "M": {"Type": "Map", "MaxConcurrency": 2, "Label": "each", "End": true,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Before", "States": {
                "Before": {"Type": "Pass", "Next": "Ask"},
                "Ask": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:ask",
                    "End": true}}}}}}"#;

/// Works the tasks of the activity until the execution ends; whether each succeeds.
async fn work(engine: &Engine, id: ExecutionId, good: impl Fn(&str) -> bool) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let next = engine.activity_task("ask", None);
        let next = tokio::time::timeout(Duration::from_millis(300), next).await;
        let Ok(Ok(Some(task))) = next else {
            let row = engine.store().execution(id).unwrap().unwrap();
            if row.status == ExecutionStatus::Running {
                continue;
            }
            return seen;
        };
        let said = if good(&task.input) {
            done(&format!("[{}]", task.input))
        } else {
            broken()
        };
        answer(engine, &task.token, said).await;
        seen.push(task.input);
    }
}

async fn check_map(kind: &str) {
    let world = World::new();
    let engine = world.open();
    let text = MAP.replace("\"STANDARD\"", &format!("\"{kind}\""));
    let map = program(&engine, ExecutionKind::Standard, &text);
    let id = id_of(&start(&engine, &map, None, "[0,1,2,3,4,5,6,7]").await);
    // The fifth fails, and with it the run; who was beside it is stopped.
    work(&engine, id, |input| input != "4").await;
    let row = end(&engine, id).await;
    assert_eq!(
        row.error.as_deref(),
        Some("States.ExceedToleratedFailureThreshold")
    );
    let run = engine.store().map_runs_of(id).unwrap().remove(0).run;
    let children: Vec<u64> = engine
        .store()
        .child_counts(run)
        .unwrap()
        .iter()
        .map(|(_, count)| *count)
        .collect();
    assert!(matches!(redrive(&engine, id, None).await, Redriven::At(_)));
    let again = work(&engine, id, |input| input != "4").await;
    assert!(
        again
            .iter()
            .all(|input| !["0", "1", "2"].contains(&input.as_str())),
        "{again:?}"
    );
    assert!(again.contains(&"4".to_owned()));
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Failed);
    let engine = world.open_again(engine).await;
    assert!(matches!(redrive(&engine, id, None).await, Redriven::At(_)));
    let engine = world.open_again(engine).await;
    work(&engine, id, |_| true).await;
    let row = end(&engine, id).await;
    assert_eq!(
        row.output.as_deref(),
        Some("[[0],[1],[2],[3],[4],[5],[6],[7]]"),
        "{:?} {children:?}",
        row.cause
    );
    let runs = engine.store().map_runs_of(id).unwrap();
    assert_eq!((runs.len(), runs[0].redrives), (1, 2), "it is the same run");
    assert_eq!(engine.store().queued_count(run).unwrap(), 0);
    if kind == "STANDARD" {
        let child = engine.store().newest_child(run, 4).unwrap().unwrap();
        assert_eq!(
            (child.redrives, child.status),
            (2, ExecutionStatus::Succeeded)
        );
        let counts = engine.store().child_counts(run).unwrap();
        assert_eq!(counts, [(ExecutionStatus::Succeeded, 8)], "each child once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_stopped_children_of_a_run_go_on_within_its_concurrency() {
    check_map("STANDARD").await;
}
