//! Workers that die: who is blamed, who is interrupted, what comes after.

use std::time::Duration;

use iterd::plugin::{Event, Outcome};

use crate::world::{World, call};

/// Reads all that is there, works on it in turn, dies at the item `"poison"`.
const FRAGILE: &str = r#"
import json, os
rest = b""
while True:
    chunk = os.read(0, 1 << 16)
    if not chunk:
        break
    lines = (rest + chunk).split(b"\n")
    rest = lines.pop()
    for line in lines:
        call = json.loads(line)
        if call["item"] == "poison":
            os.write(2, b"my last words\n")
            os._exit(7)
        os.write(1, b'{"id": %d, "result": 1}\n' % call["id"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_its_worker_is_found_out_among_sixteen() {
    let world = World::new();
    let mut host = world.pool(
        "command = [\"python3\", \"p.py\"]\nin_flight = 16\nworkers = 2",
        &[("p.py", FRAGILE)],
    );
    let poison = [40, 41, 90];
    let calls = (0..200)
        .map(|ticket| {
            call(
                ticket,
                if poison.contains(&ticket) {
                    "\"poison\""
                } else {
                    "1"
                },
            )
        })
        .collect();
    let (answers, interruptions) = host.run_all(calls, |_, _| {}).await;
    for (ticket, answer) in &answers {
        match &answer.outcome {
            Outcome::Done(_) => assert!(!poison.contains(ticket)),
            Outcome::Failed(failure) => {
                assert!(poison.contains(ticket), "{ticket}: {failure:?}");
                assert_eq!(failure.error, "Iterd.WorkerExited");
                assert!(
                    failure
                        .cause
                        .contains("exit status 7; its last words: my last words"),
                    "{failure:?}"
                );
            }
            Outcome::FailedCanary(_) | Outcome::Reached(_) | Outcome::Interrupted => unreachable!(),
        }
    }
    // Each culprit takes its neighbours down once, not for ever.
    assert!(interruptions <= 3 * 16, "{interruptions}");
    host.end().await;
}

/// Pitfall 13: a call that the worker never read is not to blame for its death.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_between_two_items_costs_nobody_an_attempt() {
    let world = World::new();
    let once = r#"read line; id=${line#*:}; echo "{\"id\": ${id%%,*}, \"result\": 1}""#;
    let mut host = world.pool("command = [\"sh\", \"once.sh\"]", &[("once.sh", once)]);
    let (answers, _) = host
        .run_all((0..20).map(|t| call(t, "{}")).collect(), |_, _| {})
        .await;
    for answer in answers.values() {
        assert!(matches!(answer.outcome, Outcome::Done(_)), "{answer:?}");
    }
    host.end().await;
}

/// Pitfall 13: a service manager that stops a daemon signals its workers too.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_end_interrupts_its_call_and_the_next_time_fails_it() {
    let world = World::new();
    let code = "import os, signal\ndef handle(item):\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()";
    let mut host = world.python("", code);
    assert!(matches!(host.ask(call(1, "1")).await, Outcome::Interrupted));
    assert_eq!(host.failure(call(1, "1")).await.error, "Iterd.WorkerExited");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_blames_only_whose_time_is_over() {
    let world = World::new();
    let code = "import time\ndef handle(item):\n    time.sleep(item)\n    return item";
    let mut host = world.python("in_flight = 3", code);
    let mut slow = call(1, "300");
    slow.timeout = Some(Duration::from_millis(500));
    let mut patient = call(2, "300");
    patient.timeout = Some(Duration::from_mins(5));
    host.pool.submit(vec![slow, patient, call(3, "0")]);
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let answer = host.answer().await;
        outcomes.push(match answer.outcome {
            Outcome::Done(_) => format!("{} done", answer.ticket),
            Outcome::Failed(failure) => format!("{} {}", answer.ticket, failure.error),
            Outcome::FailedCanary(_) | Outcome::Reached(_) | Outcome::Interrupted => {
                format!("{} interrupted", answer.ticket)
            }
        });
    }
    outcomes.sort();
    assert_eq!(outcomes, ["1 States.Timeout", "2 interrupted", "3 done"]);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_closes_its_output_is_ended() {
    let world = World::new();
    let code = "exec sh -c 'read line; exec >&- 2>&-; sleep 300'";
    let mut host = world.pool("command = [\"sh\", \"p.sh\"]", &[("p.sh", code)]);
    let failure = host.failure(call(1, "1")).await;
    assert_eq!(failure.error, "Iterd.WorkerExited");
    assert!(
        failure.cause.contains("closed its input or output"),
        "{failure:?}"
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_start_says_why_and_charges_nobody() {
    for (manifest, files, expected) in [
        (
            "command = [\"no-such-program\"]",
            &[][..],
            "there is no program \"no-such-program\" in PATH",
        ),
        (
            "command = [\"python3\", \"missing.py\"]",
            &[],
            "No such file",
        ),
        (
            "command = [\"./data\"]",
            &[("data", "\u{1}")],
            "cannot execute",
        ),
        ("handler = \"missing.py:f\"", &[], "FileNotFoundError"),
        (
            "handler = \"h.py:f\"",
            &[("h.py", "import no_such_module")],
            "No module named 'no_such_module'",
        ),
        (
            "handler = \"h.py:f\"",
            &[("h.py", "x = 1")],
            "h.py has no function f",
        ),
        (
            "command = [\"sh\"]\nsecrets = { T = \"credential:none\" }",
            &[],
            "secret T: ",
        ),
        (
            "command = [\"sh\"]\nread = [\"/no/such/place\"]",
            &[],
            "`read` names /no/such/place",
        ),
    ] {
        let world = World::new();
        let mut host = world.pool(manifest, files);
        host.pool.submit(vec![call(1, "1")]);
        let cause = world
            .events
            .wait_for(|event| match event {
                Event::CannotStart { cause, .. } => Some(cause.clone()),
                _ => None,
            })
            .await;
        assert!(cause.contains(expected), "{manifest}: {cause}");
        host.pool
            .shutdown(Duration::ZERO, Duration::from_secs(2))
            .await;
        let outcome = host.answer().await.outcome;
        assert!(
            matches!(outcome, Outcome::Interrupted),
            "{manifest}: {outcome:?}"
        );
    }
}

/// Pitfall 12: a worker that dies at every item is not restarted in a hot loop.
#[tokio::test(flavor = "multi_thread")]
async fn restarts_after_deaths_without_an_answer_wait_ever_longer() {
    let world = World::new();
    let mut host = world.python("", "import os\ndef handle(item):\n    os._exit(1)");
    for ticket in 0..4 {
        assert_eq!(
            host.failure(call(ticket, "1")).await.error,
            "Iterd.WorkerExited"
        );
    }
    host.end().await;
    let waits: Vec<u128> = world
        .events
        .all()
        .iter()
        .filter_map(|event| match event {
            Event::WorkerEnded {
                restart_after,
                expected: false,
                ..
            } => Some(restart_after.as_millis()),
            _ => None,
        })
        .collect();
    assert_eq!(waits[..3], [100, 200, 400]);
}
