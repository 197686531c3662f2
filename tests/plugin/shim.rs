//! Python handlers: what the shim gives them and takes from them.

use std::time::Duration;

use iterd::plugin::Outcome;

use crate::world::{World, call};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_parameter_tells_about_the_call() {
    let world = World::new();
    let code =
        "def handle(item, call):\n    return [item, call.attempt, call.key, call.index, call.id]";
    let mut host = world.python("", code);
    let mut again = call(7, "\"x\"");
    again.attempt = 3;
    let Outcome::Done(result) = host.ask(again).await else {
        panic!("it succeeds");
    };
    assert_eq!(
        result.value(),
        &serde_json::json!(["x", 3, "key-7", 7, "C-7"])
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_may_say_what_to_do() {
    let world = World::new();
    let code = "
class TooManyRequests(Exception):
    retry = True
    retry_after_s = 30
    close_limiter_s = 2.5

class Gone(Exception):
    retry = False
    retry_after_s = 'soon'

class Odd(Exception):
    def __str__(self):
        raise ValueError

def deep(item):
    raise {'busy': TooManyRequests, 'gone': Gone, 'odd': Odd}[item]('told')

def handle(item):
    return deep(item)
";
    let mut host = world.python("", code);
    let busy = host.failure(call(1, "\"busy\"")).await;
    assert_eq!(busy.error, "TooManyRequests");
    assert_eq!(busy.retry, Some(true));
    assert_eq!(busy.retry_after, Some(Duration::from_secs(30)));
    assert_eq!(busy.close_limiter, Some(Duration::from_millis(2500)));
    assert!(busy.cause.starts_with("told\n"), "{}", busy.cause);
    assert!(
        busy.cause.contains("handler.py\", line 16, in deep"),
        "{}",
        busy.cause
    );
    assert!(!busy.cause.contains("shim"), "{}", busy.cause);
    let gone = host.failure(call(2, "\"gone\"")).await;
    assert_eq!((gone.retry, gone.retry_after), (Some(false), None));
    assert_eq!(host.failure(call(3, "\"odd\"")).await.error, "Odd");
    assert_eq!(host.failure(call(4, "\"else\"")).await.error, "KeyError");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_no_json_says_so() {
    let world = World::new();
    let code = "def handle(item):\n    return {'set': {1}, 'nan': float('nan')}[item]";
    let mut host = world.python("", code);
    for item in ["\"set\"", "\"nan\""] {
        let failure = host.failure(call(1, item)).await;
        assert_eq!(failure.error, "Iterd.InvalidAnswer");
        assert!(
            failure.cause.contains("the result is no JSON"),
            "{failure:?}"
        );
    }
    host.end().await;
}

const MEETING: &str = "
import threading
barrier = threading.Barrier(4)
def handle(item):
    barrier.wait(timeout=20)
    return item
";

const ASYNC_MEETING: &str = "
import asyncio
there = 0
everybody = asyncio.Event()
async def handle(item, call):
    global there
    there += 1
    if there == 4:
        everybody.set()
    await asyncio.wait_for(everybody.wait(), 20)
    if item == 3:
        raise LookupError('three')
    return item
";

#[tokio::test(flavor = "multi_thread")]
async fn items_in_flight_run_side_by_side_in_threads_and_in_coroutines() {
    for (code, failures) in [(MEETING, 0), (ASYNC_MEETING, 1)] {
        let world = World::new();
        let mut host = world.python("in_flight = 4", code);
        let calls = (0..4)
            .map(|ticket| call(ticket, &ticket.to_string()))
            .collect();
        let (answers, _) = host.run_all(calls, |_, _| {}).await;
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(failure) if failure.error == "LookupError");
        assert_eq!(
            answers
                .values()
                .filter(|answer| failed(&answer.outcome))
                .count(),
            failures
        );
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_has_its_neighbours_and_no_input() {
    let world = World::new();
    let handler = "import sys, helper\ndef handle(item):\n    assert sys.stdin.read() == ''\n    return helper.double(item)";
    let helper = "def double(item):\n    return 2 * item";
    let mut host = world.pool(
        "handler = \"handler.py:handle\"",
        &[("handler.py", handler), ("helper.py", helper)],
    );
    assert_eq!(host.result(1, "21").await, "42");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_item_reaches_the_handler() {
    let world = World::new();
    let mut host = world.python("", "def handle(item):\n    return len(item)");
    let item = format!("\"{}\"", "x".repeat(5_000_000));
    assert_eq!(host.result(1, &item).await, "5000000");
    host.end().await;
}

/// Calls that are quick are made in place, one behind another: what then takes long must not be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_after_many_quick_ones_keeps_nobody_waiting() {
    let world = World::new();
    let code = "
import threading
gates = [threading.Event() for _ in range(3)]

def handle(item):
    if item['do'] == 'wait':
        gates[item['gate']].wait()
    elif item['do'] == 'open':
        gates[item['gate']].set()
    return item['do']
";
    let mut host = world.python("workers = 1\nin_flight = 4", code);
    let mut next = 0;
    let mut calls = |items: &[&str]| {
        let calls = items.iter().map(|item| {
            next += 1;
            call(next, item)
        });
        calls.collect::<Vec<_>>()
    };
    for gate in 0..3 {
        for _ in 0..50 {
            host.pool.submit(calls(&[r#"{"do": "pass"}"#; 4]));
            for _ in 0..4 {
                assert!(matches!(host.answer().await.outcome, Outcome::Done(_)));
            }
        }
        let wait = format!(r#"{{"do": "wait", "gate": {gate}}}"#);
        let open = format!(r#"{{"do": "open", "gate": {gate}}}"#);
        host.pool.submit(calls(&[&wait, &wait, &wait, &open]));
        for _ in 0..4 {
            assert!(matches!(host.answer().await.outcome, Outcome::Done(_)));
        }
    }
    host.end().await;
}
