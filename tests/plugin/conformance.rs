//! What every host does, in one table: the same behaviours of a handler, and what becomes of the call.
//!
//! A row is a host with a handler that does what its item says ([`crate::hosts`]); a column is a behaviour.
//! Where a host cannot have one, the row says why. What only one host has to do is in its own file.

use std::{fs, time::Duration};

use iterd::plugin::{Event, Outcome, Rollout};

use crate::{
    hosts::{Batches, Left, Met, Row, Started, TABLE, start},
    world::{World, call},
};

/// Runs a check with each host, in a world of its own, and has the host go on after it.
async fn each(check: impl AsyncFn(&Row, &World, &mut Started)) {
    for row in TABLE {
        let world = World::new();
        let mut host = start(row, &world).await;
        check(row, &world, &mut host).await;
        let mut outcome = Outcome::Interrupted;
        while matches!(outcome, Outcome::Interrupted) {
            // A worker may end behind its answer, and this call have been given to it by then.
            outcome = host.ask(call(99, r#"{"do":"echo","n":1.50}"#)).await;
        }
        let Outcome::Done(answer) = outcome else {
            panic!("{}: {outcome:?}", row.host);
        };
        let expected = if row.verbatim { "1.50" } else { "1.5" };
        assert_eq!(
            answer.text().replace(' ', ""),
            r#"{"do":"echo","n":1.50}"#.replace("1.50", expected),
            "{}: goes on",
            row.host
        );
        host.end().await;
    }
}

fn parsed(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_comes_back_as_it_went() {
    each(async |row, _, host| {
        let item = r#"{"do":"echo", "text": "ä \" \n 😀 'quotes' $(touch x) `touch y`"}"#;
        assert_eq!(
            parsed(&host.result(1, item).await),
            parsed(item),
            "{}",
            row.host
        );
        let large = format!(r#"{{"do":"echo", "text": "{}"}}"#, "x".repeat(50_000));
        assert_eq!(
            parsed(&host.result(2, &large).await),
            parsed(&large),
            "{}",
            row.host
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_handler_is_a_failure_with_its_words() {
    each(async |row, _, host| {
        let failure = host.failure(row.told(1, "fail")).await;
        let (error, words) = row.fail;
        assert_eq!(failure.error, error, "{}: {failure:?}", row.host);
        assert!(failure.cause.contains(words), "{}: {failure:?}", row.host);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_with_one_item_inside_fails_it() {
    each(async |row, _, host| {
        let failure = host.failure(row.told(1, "die")).await;
        let (error, words) = row.die;
        assert_eq!(failure.error, error, "{}: {failure:?}", row.host);
        assert!(failure.cause.contains(words), "{}: {failure:?}", row.host);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_leaves_nothing_alive() {
    each(async |row, world, host| {
        let mut hanging = row.told(1, "hang");
        // Long enough for the handler to have started its child.
        hanging.timeout = Some(Duration::from_secs(2));
        let failure = host.failure(hanging).await;
        assert_eq!(failure.error, "States.Timeout", "{}", row.host);
        match row.left {
            Left::Child => {
                let child = fs::read_to_string(world.root.join("scratch/child")).unwrap();
                let ended = crate::orphans::ends(child.trim().parse().unwrap());
                assert!(ended, "{}", row.host);
            }
            Left::Request => host.request_was_given_up().await,
            Left::Instance => {
                // It is what hung, and it is another one that goes on, in the same worker.
                assert_eq!(host.result(2, r#"{"do":"count"}"#).await, "1");
                assert_eq!(world.records.started.lock().unwrap().len(), 1);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_has_the_time_that_it_is_given() {
    each(async |row, world, host| {
        let mut slow = row.told(1, "slow");
        slow.timeout = Some(Duration::from_mins(1));
        let outcome = host.ask(slow).await;
        assert!(
            matches!(outcome, Outcome::Done(_)),
            "{}: {outcome:?}",
            row.host
        );
        assert_eq!(
            world.records.started.lock().unwrap().len(),
            1,
            "{}",
            row.host
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beyond_the_bound_fails_its_item() {
    each(async |row, _, host| {
        let failure = host.failure(row.told(2, "huge")).await;
        assert_eq!(failure.error, row.huge, "{}: {failure:?}", row.host);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_json_fails_its_item() {
    each(async |row, _, host| {
        let outcome = host.ask(row.told(1, "garbage")).await;
        match (&row.garbage, outcome) {
            (Met::By(error), Outcome::Failed(failure)) => {
                assert_eq!(failure.error, *error, "{}: {failure:?}", row.host);
            }
            (Met::Never { becomes, why }, Outcome::Done(result)) => {
                assert_eq!(result.text(), *becomes, "{}, {why}", row.host);
            }
            (_, outcome) => panic!("{}: {outcome:?}", row.host),
        }
    })
    .await;
}

/// Pitfall 26: what a handler prints is a log line, not an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_print_what_it_likes() {
    each(async |row, world, host| {
        let result = host.result(7, r#"{"do":"print"}"#).await;
        match &row.print {
            Met::By(expected) => {
                assert!(!result.contains("forged"), "{}: {result}", row.host);
                let items = world
                    .events
                    .wait_for(|event| match event {
                        Event::Log { line, items, .. } if line == expected => Some(items.clone()),
                        _ => None,
                    })
                    .await;
                // A log line may be read after the answer; then nothing is in flight.
                let own = items.iter().all(|item| item.index == 7);
                assert!(own, "{}: {items:?}", row.host);
            }
            Met::Never { becomes, why } => assert_eq!(result, *becomes, "{}, {why}", row.host),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_words_is_cut_and_stops_no_answer() {
    for row in TABLE {
        let world = World::new();
        let mut host = start(row, &world).await;
        let result = host.result(1, r#"{"do":"flood"}"#).await;
        assert!(!result.is_empty(), "{}", row.host);
        assert_eq!(
            parsed(&host.result(2, r#"{"do":"echo"}"#).await),
            parsed(r#"{"do":"echo"}"#),
            "{}",
            row.host
        );
        host.end().await;
        let dropped = |event: &Event| match event {
            Event::LogsDropped { lines, .. } => *lines,
            _ => 0,
        };
        let dropped: u64 = world.events.all().iter().map(dropped).sum();
        match &row.flood {
            Met::By(least) => assert!(dropped >= *least, "{}: {dropped}", row.host),
            Met::Never { becomes, why } => {
                assert_eq!(result, *becomes, "{}, {why}", row.host);
                assert_eq!(dropped, 0, "{}, {why}", row.host);
            }
        }
    }
}

/// Each item of a batch has an outcome of its own.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_those_fail_that_failed() {
    for row in TABLE {
        let Batches::Of { error, .. } = row.batches else {
            refuses_batches(row);
            continue;
        };
        let world = World::new();
        let mut host = row.batches.start(&world).await;
        host.pool.submit(batch(&["good", "bad", "good", "bad"]));
        for _ in 0..4 {
            let answer = host.answer().await;
            match (answer.ticket % 2, answer.outcome) {
                (1, Outcome::Done(_)) => {}
                (0, Outcome::Failed(failure)) => assert_eq!(failure.error, error, "{}", row.host),
                (_, outcome) => panic!("{}: {} {outcome:?}", row.host, answer.ticket),
            }
        }
        host.end().await;
    }
}

/// The one that kills its worker is found, and its neighbours lose nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_between_two_items_of_a_batch_blames_the_one() {
    for row in TABLE {
        let Batches::Of { death, .. } = &row.batches else {
            refuses_batches(row);
            continue;
        };
        let world = World::new();
        let mut host = row.batches.start(&world).await;
        let calls = batch(&["good", "good", "die", "good"]);
        let (done, _) = host.run_all(calls, |_, _| ()).await;
        assert_eq!(done.len(), 4);
        for (ticket, answer) in done {
            match (ticket, answer.outcome, death) {
                (3, Outcome::Failed(failure), Met::By(error)) => {
                    assert_eq!(failure.error, *error, "{}", row.host);
                }
                (1 | 2 | 4, Outcome::Done(_), Met::By(_)) => {}
                (_, Outcome::Failed(failure), Met::Never { becomes, why }) => {
                    assert_eq!(failure.error, *becomes, "{}, {why}", row.host);
                }
                (_, outcome, _) => panic!("{}: {ticket} {outcome:?}", row.host),
            }
        }
        host.end().await;
    }
}

fn batch(items: &[&str]) -> Vec<iterd::plugin::Call> {
    let calls = items.iter().zip(1_u64..);
    calls
        .map(|(item, ticket)| call(ticket, &format!("\"{item}\"")))
        .collect()
}

/// A host without batches says so, with the reason that the table has.
fn refuses_batches(row: &Row) {
    match row.batches {
        Batches::Refused(words) => {
            let manifest = row.manifest.replace("PORT", "1");
            let text = format!("name = \"test\"\nbatch = 4\n{manifest}");
            let error = iterd::plugin::Manifest::parse(&text).unwrap_err();
            assert!(error.to_string().contains(words), "{}: {error}", row.host);
        }
        Batches::AsOtherRow(name) => {
            let other = TABLE.iter().find(|other| other.host == name).unwrap();
            assert!(matches!(other.batches, Batches::Of { .. }), "{}", row.host);
        }
        Batches::Of { .. } => panic!("{} takes them", row.host),
    }
}

/// Pitfall 26: a program of the user's own prints beside its answers.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_answers_are_log_lines() {
    let world = World::new();
    let program = r#"
import json, sys
for line in sys.stdin:
    call = json.loads(line)
    print("debug: got", call["id"])
    print(json.dumps({"id": call["id"], "level": "info"}))
    print(json.dumps({"id": 999, "result": "nobody asked"}))
    print("[1,2")
    print(json.dumps({"id": call["id"], "result": call["index"]}), flush=True)
"#;
    let mut host = world.pool("command = [\"python3\", \"p.py\"]", &[("p.py", program)]);
    assert_eq!(host.result(7, "{}").await, "7");
    assert_eq!(
        world.events.lines(),
        [
            "debug: got 7",
            r#"{"id": 7, "level": "info"}"#,
            r#"{"id": 999, "result": "nobody asked"}"#,
            "[1,2"
        ]
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_answer_fails_its_item_at_once() {
    let world = World::new();
    let program = r#"
import json, sys
for line in sys.stdin:
    print('{"id": %d, "result": %s}' % (json.loads(line)["id"], json.loads(line)["item"]), flush=True)
"#;
    let mut host = world.pool("command = [\"python3\", \"p.py\"]", &[("p.py", program)]);
    for garbage in ["NaN", "{", "tru", "1e999"] {
        let failure = host.failure(call(1, &format!("\"{garbage}\""))).await;
        assert_eq!(failure.error, "Iterd.InvalidAnswer", "{garbage}");
    }
    assert_eq!(host.result(1, "\"[1.50]\"").await, "[1.50]");
    host.end().await;
}

#[tokio::test]
async fn identity_answers_its_input() {
    let world = World::new();
    let mut host = world.pool("host = \"identity\"\nworkers = 3", &[]);
    assert_eq!(host.pool.capacity(), 3);
    assert_eq!(host.result(1, "[ 1.50 ]").await, "[ 1.50 ]");
    assert!(matches!(
        host.pool.deploy(
            world.version(2, "host = \"identity\"", &[]),
            false,
            Rollout::AtOnce
        ),
        Err(iterd::plugin::PoolError::OtherKind { .. })
    ));
    host.end().await;
}

#[tokio::test]
async fn a_host_that_this_build_lacks_is_named() {
    let world = World::new();
    let refusal = |manifest: &str| {
        let version = world.version(1, manifest, &[]);
        world.try_pool(version).err().map(|error| error.to_string())
    };
    assert_eq!(
        refusal("host = \"wasm\"\nhandler = \"x.wasm\"").as_deref(),
        if cfg!(feature = "wasm") {
            None
        } else {
            Some(
                "plugin test: this build of iterd has no host \"wasm\"; build it with it: cargo build --release --features wasm",
            )
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_call_was_never_lost() {
    let world = World::new();
    let mut host = world.python("", "def handle(item):\n    return item");
    host.pool
        .submit((0..50).map(|ticket| call(ticket, "1")).collect());
    host.pool
        .shutdown(Duration::ZERO, Duration::from_secs(2))
        .await;
    let mut tickets = Vec::new();
    for _ in 0..50 {
        let answer = host.answer().await;
        assert!(!matches!(answer.outcome, Outcome::Failed(_)));
        tickets.push(answer.ticket);
    }
    tickets.sort_unstable();
    assert!(tickets.into_iter().eq(0..50));
}
