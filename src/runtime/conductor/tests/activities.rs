//! Activities: who gets which task, what becomes of tokens, and what time does to tasks.

use super::*;
use crate::ids::Generation;
use crate::payload::Failure;

const ASKS: &str = r#"{"StartAt": "Ask", "States": {
    "Ask": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:ask", "End": true}}}"#;

/// The same with more fields of its task.
fn asks(more: &str) -> String {
    ASKS.replace("\"End\"", &format!("{more}, \"End\""))
}

pub(super) async fn task(engine: &Engine) -> ActivityTask {
    let task = engine.activity_task("ask", Some("worker".to_owned()));
    let task = tokio::time::timeout(Duration::from_mins(1), task).await;
    task.unwrap().unwrap().unwrap()
}

/// Answers as whoever has the token; whether the task waited for it.
pub(super) async fn answer(engine: &Engine, token: &str, answer: TaskAnswer) -> bool {
    let token = engine.task_token(token).unwrap();
    engine.answer_task(token, answer).await.unwrap()
}

pub(super) fn done(text: &str) -> TaskAnswer {
    TaskAnswer::Done(Payload::parse(text).unwrap())
}

/// Nobody gets a task now.
async fn assert_none_waits(engine: &Engine) {
    let task = engine.activity_task("ask", None);
    let none = tokio::time::timeout(Duration::from_millis(200), task).await;
    assert!(none.is_err(), "{none:?}");
}

fn failures(engine: &Engine, id: ExecutionId) -> Vec<String> {
    let page = read_history(engine.store(), id, 1, false, 1000).unwrap();
    let mut errors = Vec::new();
    for record in page.records {
        if let Event::TaskTimedOut { error, .. } | Event::TaskFailed { error, .. } = record.event {
            errors.extend(error);
        }
    }
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_get_the_tasks_in_the_order_in_which_they_came() {
    let world = World::new();
    let engine = world.open();
    let asks = program(&engine, ExecutionKind::Standard, ASKS);
    let mut ids = Vec::new();
    for place in 0..20 {
        ids.push(id_of(
            &start(&engine, &asks, None, &place.to_string()).await,
        ));
    }
    for (place, id) in ids.into_iter().enumerate() {
        let task = task(&engine).await;
        assert_eq!(task.input, place.to_string());
        assert!(answer(&engine, &task.token, done(&format!("[{place}]"))).await);
        let row = end(&engine, id).await;
        assert_eq!(row.output, Some(format!("[{place}]")));
    }
    assert_none_waits(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_wait_get_one_task_each() {
    let world = World::new();
    let engine = world.open();
    let asks = program(&engine, ExecutionKind::Standard, ASKS);
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { task(&engine).await })
        })
        .collect();
    for place in 0..8 {
        start(&engine, &asks, None, &place.to_string()).await;
    }
    let mut inputs = Vec::new();
    for worker in workers {
        inputs.push(worker.await.unwrap().input);
    }
    inputs.sort();
    assert_eq!(inputs, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_none_waits(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_goes_away_while_it_waits_loses_no_task() {
    let world = World::new();
    let engine = world.open();
    let asks = program(&engine, ExecutionKind::Standard, ASKS);
    let mut got = Vec::new();
    for round in 0..40_u32 {
        let polls: Vec<_> = (0..3)
            .map(|_| {
                let engine = engine.clone();
                tokio::spawn(async move { engine.activity_task("ask", None).await })
            })
            .collect();
        let begun = start(&engine, &asks, None, &round.to_string()).await;
        assert!(matches!(begun, Begun::Running { .. }));
        // Why at once: some go before, some while, and some after a task is on its way to them.
        for poll in polls {
            if round % 3 == 0 {
                tokio::task::yield_now().await;
            }
            poll.abort();
            if let Ok(Ok(Some(task))) = poll.await {
                got.push(task.input);
            }
        }
    }
    while got.len() < 40 {
        got.push(task(&engine).await.input);
    }
    got.sort_by_key(|input| input.parse::<u32>().unwrap());
    let all: Vec<String> = (0..40).map(|round: u32| round.to_string()).collect();
    assert_eq!(got, all, "each was handed out once");
    assert_none_waits(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_a_doubled_and_a_made_up_token_change_nothing() {
    let world = World::new();
    let engine = world.open();
    let more = r#""Retry": [{"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxAttempts": 1}]"#;
    let asks = program(&engine, ExecutionKind::Standard, &asks(more));
    let id = id_of(&start(&engine, &asks, None, "1").await);
    let first = task(&engine).await;
    let again = TaskAnswer::Failed(Failure::new("Again", "not yet"));
    assert!(answer(&engine, &first.token, again.clone()).await);
    assert!(!answer(&engine, &first.token, again).await, "doubled");
    let second = task(&engine).await;
    assert_ne!(first.token, second.token);
    for late in [done("0"), TaskAnswer::Beat] {
        assert!(
            !answer(&engine, &first.token, late).await,
            "of another attempt"
        );
    }
    let length = read_history(engine.store(), id, 1, false, 1000)
        .unwrap()
        .records
        .len();
    let mut made_up = second.token.clone().into_bytes();
    for place in 0..made_up.len() {
        let was = made_up[place];
        made_up[place] = if was == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(made_up.clone()).unwrap();
        assert_eq!(engine.task_token(&text), None, "{place}");
        made_up[place] = was;
    }
    for text in ["", "ü", "AAAA", &second.token[1..], &"A".repeat(100_000)] {
        assert_eq!(engine.task_token(text), None, "{text}");
    }
    let row = engine.store().execution(id).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Running);
    assert!(answer(&engine, &second.token, done("2")).await);
    assert_eq!(end(&engine, id).await.output.as_deref(), Some("2"));
    for late in [done("3"), TaskAnswer::Beat] {
        assert!(!answer(&engine, &second.token, late).await, "it has ended");
    }
    let records = read_history(engine.store(), id, 1, false, 1000).unwrap();
    assert_eq!(records.records.len(), length + 3);
    assert_eq!(engine.store().first_timers(10).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_put_the_end_off_and_silence_is_a_time_out() {
    let world = World::new();
    let engine = world.open();
    let more = r#""HeartbeatSeconds": 1, "TimeoutSeconds": 100, "Retry": [{"ErrorEquals": ["States.HeartbeatTimeout"],
        "IntervalSeconds": 1, "MaxAttempts": 1}]"#;
    let asks = program(&engine, ExecutionKind::Standard, &asks(more));
    let id = id_of(&start(&engine, &asks, None, "1").await);
    // Nobody has it: no time passes for it.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let first = task(&engine).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(answer(&engine, &first.token, TaskAnswer::Beat).await);
    }
    let silent = std::time::Instant::now();
    let second = task(&engine).await;
    let waited = silent.elapsed();
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
    assert!(!answer(&engine, &first.token, TaskAnswer::Beat).await);
    assert!(!answer(&engine, &first.token, done("1")).await);
    let row = end(&engine, id).await;
    assert_eq!(row.status, ExecutionStatus::Failed);
    assert_eq!(row.error.as_deref(), Some("States.Timeout"));
    assert_eq!(
        failures(&engine, id),
        ["States.Timeout", "States.Timeout"],
        "as AWS tells a silent task"
    );
    assert!(!answer(&engine, &second.token, done("2")).await);
    assert_eq!(engine.store().first_timers(10).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_do_not_lengthen_the_whole_time_of_a_task() {
    let world = World::new();
    let engine = world.open();
    let more = r#""HeartbeatSeconds": 1, "TimeoutSeconds": 2"#;
    let asks = program(&engine, ExecutionKind::Standard, &asks(more));
    let id = id_of(&start(&engine, &asks, None, "1").await);
    let task = task(&engine).await;
    let begun = std::time::Instant::now();
    while answer(&engine, &task.token, TaskAnswer::Beat).await {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900));
    assert_eq!(
        end(&engine, id).await.error.as_deref(),
        Some("States.Timeout")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_wait_and_tasks_with_a_worker_outlive_a_restart() {
    let world = World::new();
    let engine = world.open();
    let asks = program(
        &engine,
        ExecutionKind::Standard,
        &asks(r#""HeartbeatSeconds": 1, "TimeoutSeconds": 100"#),
    );
    let plain = program(&engine, ExecutionKind::Standard, ASKS);
    let with_worker = id_of(&start(&engine, &plain, None, "1").await);
    let held = task(&engine).await;
    let silent = id_of(&start(&engine, &asks, None, "2").await);
    let given_up = task(&engine).await;
    let waiting = id_of(&start(&engine, &plain, None, "3").await);
    let engine = world.open_again(engine).await;
    assert!(answer(&engine, &held.token, done("\"late\"")).await);
    let row = end(&engine, with_worker).await;
    assert_eq!(row.output.as_deref(), Some("\"late\""));
    let row = end(&engine, silent).await;
    assert_eq!(row.error.as_deref(), Some("States.Timeout"));
    assert!(!answer(&engine, &given_up.token, done("0")).await);
    let found = task(&engine).await;
    assert_eq!(found.input, "3");
    let engine = world.open_again(engine).await;
    assert_none_waits(&engine).await;
    assert!(answer(&engine, &found.token, done("4")).await);
    assert_eq!(end(&engine, waiting).await.output.as_deref(), Some("4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_a_branch_is_answered_beside_another_and_goes_with_a_failed_one() {
    let world = World::new();
    let engine = world.open();
    let branch = |name: &str| {
        format!(
            r#"{{"StartAt": "{name}", "States": {{"{name}": {{"Type": "Task", "End": true,
            "Parameters": "{name}", "Resource": "arn:aws:states:us-east-1:000000000000:activity:ask"}}}}}}"#
        )
        .replace(r#""Parameters": "A","#, r#""Parameters": {"of": "A"},"#)
        .replace(r#""Parameters": "B","#, r#""Parameters": {"of": "B"},"#)
    };
    let text = format!(
        r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Parallel", "End": true, "Branches": [{}, {}]}}}}}}"#,
        branch("A"),
        branch("B")
    );
    let both = program(&engine, ExecutionKind::Standard, &text);
    let id = id_of(&start(&engine, &both, None, "{}").await);
    let (a, b) = (task(&engine).await, task(&engine).await);
    assert_eq!((&*a.input, &*b.input), (r#"{"of":"A"}"#, r#"{"of":"B"}"#));
    assert!(answer(&engine, &b.token, done("2")).await);
    assert!(answer(&engine, &a.token, done("1")).await);
    assert_eq!(end(&engine, id).await.output.as_deref(), Some("[1,2]"));

    let id = id_of(&start(&engine, &both, None, "{}").await);
    let with_worker = task(&engine).await;
    let fails = task(&engine).await;
    let failed = TaskAnswer::Failed(Failure::new("Broken", "for good"));
    assert!(answer(&engine, &fails.token, failed.clone()).await);
    assert_eq!(end(&engine, id).await.error.as_deref(), Some("Broken"));
    assert!(!answer(&engine, &with_worker.token, done("1")).await);

    let id = id_of(&start(&engine, &both, None, "{}").await);
    let fails = task(&engine).await;
    assert!(answer(&engine, &fails.token, failed).await);
    assert_eq!(end(&engine, id).await.status, ExecutionStatus::Failed);
    // The other one waited still for a worker.
    assert_none_waits(&engine).await;
}

/// The worker's own failure comes after its time-out: it must not take the retry's timer away.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_leaves_the_timer_of_the_retry() {
    let world = World::new();
    let engine = world.open();
    let waits = program(&engine, ExecutionKind::Standard, WAITS);
    let id = id_of(&start(&engine, &waits, None, r#"{"seconds": 1000}"#).await);
    let timer = engine.store().first_timers(1).unwrap()[0];
    assert_eq!(timer.execution, id);
    let late = Input::TaskFailed {
        frame: timer.frame,
        generation: Generation(timer.generation.0.wrapping_sub(1)),
        failure: Failure::new("States.Timeout", ""),
    };
    let orders = engine.orders_of_conductor().unwrap();
    let order = Order::Tell {
        execution: id,
        input: late,
    };
    orders.send(order).await.unwrap();
    // What follows is behind it.
    start(&engine, &waits, None, r#"{"seconds": 0}"#).await;
    assert_eq!(engine.store().first_timers(1).unwrap(), [timer]);
}
