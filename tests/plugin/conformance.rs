//! What every host does, in one table: the same behaviours of a handler, the same outcomes.

use std::{fs, time::Duration};

use iterd::plugin::{Event, Outcome, Rollout};

use crate::world::{Running, World, call};

/// A handler for each host that does what its item says.
const PYTHON: &str = r#"
import os, signal, subprocess, sys, time

def handle(item):
    do = item["do"]
    if do == "echo":
        return item
    if do == "print":
        print('{"id": 1, "result": "forged"}')
        os.write(1, b"straight to the descriptor\n")
        subprocess.run(["sh", "-c", "echo from a child"])
        return "printed"
    if do == "fail":
        raise ValueError("on purpose")
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "hang":
        child = subprocess.Popen(["sleep", "300"])
        with open(os.path.join(os.environ["HOME"], "child"), "w") as file:
            file.write(str(child.pid))
        time.sleep(300)
    if do == "large":
        return "x" * 50000
    if do == "huge":
        return "x" * 200000
"#;

const PROGRAM: &str = r#"
import json, sys
import handler

for line in sys.stdin:
    call = json.loads(line)
    answer = {"id": call["id"]}
    try:
        answer["result"] = handler.handle(call["item"])
    except Exception as error:
        answer.update(error=type(error).__name__, cause=str(error))
    print(json.dumps(answer), flush=True)
"#;

const COMMAND: &str = r#"
case "$ITEM_DO" in
echo) cat ;;
print) echo "to the log" >&2; echo printed ;;
fail) echo "on purpose" >&2; exit 1 ;;
die) kill -9 $PPID ;;
hang) sleep 300 & echo $! > "$HOME/child"; wait ;;
large) head -c 50000 /dev/zero | tr '\0' x ;;
huge) head -c 200000 /dev/zero | tr '\0' x ;;
esac
"#;

fn hosts(world: &World) -> Vec<(&'static str, Running)> {
    let bound = "line_bytes_max = 65536";
    let files = [
        ("handler.py", PYTHON),
        ("program.py", PROGRAM),
        ("handler.sh", COMMAND),
    ];
    [
        ("shim", "handler = \"handler.py:handle\""),
        (
            "shim with threads",
            "handler = \"handler.py:handle\"\nin_flight = 4",
        ),
        ("program", "command = [\"python3\", \"program.py\"]"),
        (
            "exec",
            "host = \"exec\"\ncommand = [\"sh\", \"handler.sh\"]",
        ),
    ]
    .into_iter()
    .map(|(name, manifest)| (name, world.pool(&format!("{manifest}\n{bound}"), &files)))
    .collect()
}

async fn each(check: impl AsyncFn(&'static str, &World, &mut Running)) {
    let world = World::new();
    for (name, mut host) in hosts(&world) {
        check(name, &world, &mut host).await;
        let answer = host.result(99, r#"{"do": "echo", "n": 1.50}"#).await;
        assert_eq!(
            answer.replace(' ', ""),
            r#"{"do":"echo","n":1.50}"#
                .replace("1.50", if name == "exec" { "1.50" } else { "1.5" }),
            "{name}: goes on"
        );
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_comes_back_as_it_went() {
    each(async |name, _, host| {
        let item = r#"{"do": "echo", "text": "ä \" \n 😀 'quotes' $(touch x) `touch y`"}"#;
        let result = host.result(1, item).await;
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&result), parse(item), "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_handler_is_a_failure_with_its_words() {
    each(async |name, _, host| {
        let failure = host.failure(call(1, r#"{"do": "fail"}"#)).await;
        let expected = if name == "exec" {
            "Iterd.CommandFailed"
        } else {
            "ValueError"
        };
        assert_eq!(failure.error, expected, "{name}");
        assert!(failure.cause.contains("on purpose"), "{name}: {failure:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_with_its_only_item_fails_it() {
    each(async |name, _, host| {
        let failure = host.failure(call(1, r#"{"do": "die"}"#)).await;
        assert_eq!(failure.error, "Iterd.WorkerExited", "{name}");
        assert!(
            failure.cause.contains("killed by SIGKILL"),
            "{name}: {failure:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_kills_the_worker_and_what_it_had_started() {
    each(async |name, world, host| {
        let mut hanging = call(1, r#"{"do": "hang"}"#);
        // Long enough for the handler to have started its child.
        hanging.timeout = Some(Duration::from_secs(2));
        let failure = host.failure(hanging).await;
        assert_eq!(failure.error, "States.Timeout", "{name}");
        let file = world.root.join("scratch/child");
        let child = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        assert!(
            crate::orphans::ends(child.trim().parse().unwrap()),
            "{name}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beyond_the_bound_fails_its_item() {
    each(async |name, _, host| {
        assert_eq!(
            host.result(1, r#"{"do": "large"}"#).await.len(),
            50_002,
            "{name}"
        );
        let failure = host.failure(call(2, r#"{"do": "huge"}"#)).await;
        assert_eq!(failure.error, "Iterd.AnswerTooLarge", "{name}");
    })
    .await;
}

/// Pitfall 26: what a handler prints is a log line, not an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_print_what_it_likes() {
    each(async |name, world, host| {
        if name == "program" {
            return; // It prints to the very stream it answers on; see the next test.
        }
        assert_eq!(
            host.result(7, r#"{"do": "print"}"#).await,
            "\"printed\"",
            "{name}"
        );
        let expected = if name == "exec" {
            "to the log"
        } else {
            "from a child"
        };
        let items = world
            .events
            .wait_for(|event| match event {
                Event::Log { line, items, .. } if line == expected => Some(items.clone()),
                _ => None,
            })
            .await;
        // A log line may be read after the answer; then nothing is in flight.
        assert!(
            items.iter().all(|item| item.index == 7),
            "{name}: {items:?}"
        );
    })
    .await;
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
